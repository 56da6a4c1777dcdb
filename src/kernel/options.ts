import { guarded } from "../domain/admit.js";
import { checkFunction, checkId, checkObject, checkOneOf, checkSignal, checkWhole, membersOf } from "../domain/check.js";
import { invalid } from "../domain/errors.js";
import { madeLength } from "../domain/lease.js";
import { checkLimits, checkTimings, type Limits, type Timings } from "../domain/time.js";
import type { Clock } from "../ports/clock.js";
import type { Locks } from "../ports/locks.js";
import type { ChannelFactory } from "../ports/notices.js";
import type { Durability, KernelStorage } from "../ports/storage.js";
import type { Retention } from "../stores/host/retention.js";
import type { Random } from "./host/ids.js";
import type { ProcessHandler } from "./process/context.js";

export interface KernelOptions {
  /** Database name and namespace: 1 to 64 of A-Z a-z 0-9 . _ - */
  name: string;
  /** Default: IndexedDB where it exists, else memory. One that is there but cannot be opened is `unavailable`. */
  storage?: KernelStorage;
  /** By task name, or `tool:<toolName>`. Only processes with a handler here are claimed. */
  handlers?: Record<string, ProcessHandler>;
  /** Handlers running at once on this host. Default 8. */
  concurrency?: number;
  /** Claims in a row that end out of order and store nothing, until the process fails. Default 5. */
  attemptBudget?: number;
  /**
   * Default "worker" where it can be used, else "inline". A "worker" that was asked for and cannot be used is told as a fault. "off":
   * nothing is claimed, renewed, beaten or swept.
   */
  loop?: "worker" | "inline" | "off";
  /** For bundlers that must build the worker themselves, and pages with Trusted Types: makes one that runs `holdfast/worker`. */
  worker?: () => Worker;
  /** Identity of this tab or process, 16 characters shorter than an id may be; default a fresh UUID. */
  hostId?: string;
  /** "strict" (default) asks the browser to flush to disk at each commit, "relaxed" leaves that to the operating system. */
  durability?: Durability;
  timings?: Partial<Timings>;
  limits?: Partial<Limits>;
  /** What is removed by itself, and how long after its end. Default: nothing. */
  retention?: Retention;
  clock?: Clock;
  random?: Random;
  /** Default: BroadcastChannel. `false`: none, waits poll. */
  channel?: ChannelFactory | false;
  /** Default: navigator.locks. `false`: none, a dead host is noticed by the expiry of its leases. */
  locks?: Locks | false;
  /** Aborting it closes the kernel. While it opens, `createKernel` rejects `aborted` instead, with the reason as cause; nothing stays open. */
  signal?: AbortSignal;
}

/** An owner id is the host id and a suffix per attempt. */
const OWNER_SUFFIX = 16;

const NAME = /^[A-Za-z0-9._-]{1,64}$/;

/** Defaults filled in; throws `invalid` naming the option and its rule. */
export function checkOptions(given: unknown) {
  // One that is missing here, or too many, does not compile.
  const m: Record<keyof KernelOptions, unknown> = membersOf("options", given, [
    "name",
    "storage",
    "handlers",
    "concurrency",
    "attemptBudget",
    "loop",
    "worker",
    "hostId",
    "durability",
    "timings",
    "limits",
    "retention",
    "clock",
    "random",
    "channel",
    "locks",
    "signal",
  ] satisfies (keyof KernelOptions)[]);
  if (typeof m.name !== "string" || !NAME.test(m.name)) throw invalid("name must be 1 to 64 of A-Z a-z 0-9 . _ -");
  const limits = checkLimits(m.limits);
  const withMethods = <T>(field: string, value: unknown, methods: readonly (keyof T & string)[]): T => {
    const found = membersOf(field, value, methods);
    for (const method of methods) checkFunction(`${field}.${method}`, found[method]);
    return value as T;
  };
  return {
    name: m.name,
    limits,
    timings: checkTimings(m.timings),
    retention: checkRetention(m.retention),
    handlers: checkHandlers(m.handlers, limits),
    concurrency: m.concurrency === undefined ? 8 : checkWhole("concurrency", m.concurrency, 1),
    attemptBudget: m.attemptBudget === undefined ? 5 : checkWhole("attemptBudget", m.attemptBudget, 1),
    loop: m.loop === undefined ? undefined : checkOneOf("loop", m.loop, ["worker", "inline", "off"]),
    durability: m.durability === undefined ? "strict" : checkOneOf("durability", m.durability, ["strict", "relaxed"]),
    storage: m.storage === undefined ? undefined : withMethods<KernelStorage>("storage", m.storage, ["open"]),
    worker: m.worker === undefined ? undefined : checkFunction("worker", m.worker as () => Worker),
    hostId: m.hostId === undefined ? undefined : checkId("hostId", m.hostId, madeLength(limits.idLength) - OWNER_SUFFIX),
    clock: m.clock === undefined ? undefined : withMethods<Clock>("clock", m.clock, ["now", "monotonicMs", "setTimer"]),
    random: m.random === undefined ? undefined : checkFunction("random", m.random as Random),
    channel: m.channel === undefined || m.channel === false ? m.channel : checkFunction("channel", m.channel as ChannelFactory),
    locks: m.locks === undefined || m.locks === false ? m.locks : withMethods<Locks>("locks", m.locks, ["request", "query"]),
    signal: checkSignal("signal", m.signal),
  } as const;
}

function checkRetention(given: unknown): Retention {
  if (given === undefined) return {};
  const { offlineAgentsMs, terminalProcessesMs }: Record<keyof Retention, unknown> = membersOf("retention", given, [
    "offlineAgentsMs",
    "terminalProcessesMs",
  ]);
  const after = (field: string, value: unknown) =>
    value === undefined ? {} : { [field]: checkWhole(`retention.${field}`, value, 1) };
  return { ...after("offlineAgentsMs", offlineAgentsMs), ...after("terminalProcessesMs", terminalProcessesMs) };
}

function checkHandlers(given: unknown, limits: Limits): ReadonlyMap<string, ProcessHandler> {
  if (given === undefined) return new Map();
  checkObject("handlers", given);
  const names = guarded("handlers", () => Object.keys(given));
  const members = membersOf("handlers", given, names);
  return new Map(
    names.map((name) => [
      checkId(`handlers: the name "${name}"`, name, limits.idLength),
      checkFunction(`handlers.${name}`, members[name] as ProcessHandler),
    ]),
  );
}
