import { isPlain } from "../domain/admit.js";
import {
  checkFunction,
  checkId,
  checkOneOf,
  checkSignal,
  checkWhole,
  membersOf,
  optionsOf,
  someMembersOf,
} from "../domain/check.js";
import { invalid } from "../domain/errors.js";
import { madeLength } from "../domain/lease.js";
import { checkRetry, type RetryPolicy } from "../domain/retry.rules.js";
import { checkLimits, checkTimings, type Limits, type Timings } from "../domain/time.js";
import type { Clock } from "../ports/clock.js";
import type { Locks } from "../ports/locks.js";
import type { ChannelFactory } from "../ports/notices.js";
import type { KeyStore } from "../ports/seal.js";
import type { Durability, KernelStorage } from "../ports/storage.js";
import type { Retention } from "../stores/host/retention.js";
import type { Random } from "./host/ids.js";
import type { ProcessHandler, ProcessHandlerWithTerms } from "./process/context/context.js";
import { checkDefinitions, checkHandlers } from "./process/definition/define.js";
import type { ProcessDefinition } from "./process/definition/definition.js";
import type { AnyTurnHandler } from "./session/turn.js";

/** What a kernel is opened with. Only `name` must be given. Times and durations are in milliseconds. */
export interface KernelOptions {
  /** Database name and namespace: 1 to 64 of A-Z a-z 0-9 . _ - */
  name: string;
  /** Default: IndexedDB where it exists, else memory. If IndexedDB is there but cannot be opened, `createKernel` rejects `unavailable`. */
  storage?: KernelStorage;
  /** What this host runs, as `defineProcess` gives it. Only processes with a definition or a handler here are claimed. A name may stand here once, and not in `handlers` too. */
  processes?: readonly ProcessDefinition[];
  /** Handlers without a definition, by task name, or `tool:<toolName>`. The other members are those of `defineProcess`. */
  handlers?: Record<string, ProcessHandler | ProcessHandlerWithTerms>;
  /**
   * The turns of all sessions that have no handler of their own in this tab, whether the app opened them or not: a session that waits, or
   * was left by a tab that died, is gone on with here. `concurrency` bounds how many sessions that the app has not opened run at once. A
   * process of type `session_turn` runs only in a tab where the app has its session open.
   */
  turns?: AnyTurnHandler;
  /** Handlers running at once on this host. Default 8. */
  concurrency?: number;
  /** Claims in a row that end out of order and store nothing, until the process fails. Default 5. */
  attemptBudget?: number;
  /**
   * When a failed turn is tried again; a session may have a policy of its own. Default: `{ attempts: 3, backoffMs: 1_000, factor: 4,
   * maxBackoffMs: 60_000 }`.
   */
  turnRetry?: RetryPolicy;
  /**
   * Default "worker" where it can be used, else "inline". A "worker" that was asked for and cannot be used is told as a fault. "off":
   * nothing is claimed, renewed, beaten or swept, and no schedule starts anything.
   */
  loop?: "worker" | "inline" | "off";
  /** Makes a worker that runs `holdfast/worker`: for bundlers that must build it themselves, and pages with Trusted Types. */
  worker?: () => Worker;
  /** Identity of this tab or process, 16 characters shorter than an id may be; default a fresh UUID. */
  hostId?: string;
  /** "strict" (default) asks the browser to flush to disk at each commit, "relaxed" leaves that to the operating system. */
  durability?: Durability;
  timings?: Partial<Timings>;
  limits?: Partial<Limits>;
  /** What is removed automatically, and how many milliseconds after its end. Default: nothing. */
  retention?: Retention;
  clock?: Clock;
  random?: Random;
  /** Default: BroadcastChannel. `false`: none, waits poll. */
  channel?: ChannelFactory | false;
  /** Default: navigator.locks. `false`: none, a dead host is noticed by the expiry of its leases. */
  locks?: Locks | false;
  /**
   * What is called with the faults that a developer must mend: a handler, turn or listener that threw, a handler that no host has, a step
   * that is used in a wrong way, a worker that was given up. Default: `console.error` and `console.warn`. `false`: nothing is logged.
   */
  log?: ((entry: { level: "warn" | "error"; message: string; error?: unknown }) => void) | false;
  /**
   * Keeps the key that secrets and logins are sealed with. Default: the storage keeps it, where it can (IndexedDB can); elsewhere
   * secrets are "memory-only" (`status().secrets`). A database that has a key already goes on with that one.
   */
  keys?: KeyStore;
  /** Aborting it closes the kernel. While it opens, `createKernel` rejects `aborted` instead, with the reason as cause; nothing stays open. */
  signal?: AbortSignal;
}

/** An owner id is the host id and a suffix per attempt. */
const OWNER_SUFFIX = 16;

const TURN_RETRY: RetryPolicy = { attempts: 3, backoffMs: 1_000, factor: 4, maxBackoffMs: 60_000 };

const NAME = /^[A-Za-z0-9._-]{1,64}$/;

type OptionCheck = (value: unknown, field: string, limits: Limits) => unknown;

/** The check of each option, in this order; a check that is missing, or one too many, does not compile. */
const OPTION_CHECKS = {
  name: checkName,
  limits: checkLimits,
  timings: checkTimings,
  retention: checkRetention,
  processes: (value, _, limits) => checkDefinitions(value, limits),
  handlers: (value, _, limits) => checkHandlers(value, limits),
  turns: optional(callable<AnyTurnHandler>),
  concurrency: (value = 8, field) => checkWhole(field, value, 1),
  attemptBudget: (value = 5, field) => checkWhole(field, value, 1),
  turnRetry: (value = TURN_RETRY, field) => checkRetry(field, value),
  loop: optional((value, field) => checkOneOf<NonNullable<KernelOptions["loop"]>>(field, value, ["worker", "inline", "off"])),
  durability: (value = "strict", field) => checkOneOf<Durability>(field, value, ["strict", "relaxed"]),
  storage: optional(checkStorage),
  worker: optional(callable<() => Worker>),
  hostId: optional((value, field, limits) => checkId(field, value, madeLength(limits.idLength) - OWNER_SUFFIX)),
  clock: optional(withMethods<Clock>("now", "monotonicMs", "setTimer")),
  random: optional(callable<Random>),
  channel: optional(orFalse(callable<ChannelFactory>)),
  locks: optional(orFalse(withMethods<Locks>("request", "query"))),
  log: optional(orFalse(callable<Exclude<KernelOptions["log"], false | undefined>>)),
  keys: optional(checkKeys),
  signal: (value, field) => checkSignal(field, value),
} as const satisfies Record<keyof KernelOptions, OptionCheck>;

export type CheckedOptions = { readonly [Name in keyof typeof OPTION_CHECKS]: ReturnType<(typeof OPTION_CHECKS)[Name]> };

/** Defaults filled in; throws `invalid` naming the option and its rule. */
export function checkOptions(given: unknown): CheckedOptions {
  const names = Object.keys(OPTION_CHECKS) as (keyof KernelOptions)[];
  const members = optionsOf("createKernel", given, names);
  const checked: Partial<Record<keyof KernelOptions, unknown>> = {};
  for (const name of names) {
    const check: OptionCheck = OPTION_CHECKS[name];
    checked[name] = check(members[name], name, checked.limits as Limits);
  }
  const { processes, handlers } = checked as CheckedOptions;
  for (const name of processes.keys())
    if (handlers.has(name)) throw invalid(`handlers.${name}: a definition in processes has this name`);
  return { ...(checked as CheckedOptions), handlers: new Map([...processes, ...handlers]) };
}

function optional<T>(check: (value: unknown, field: string, limits: Limits) => T) {
  return (value: unknown, field: string, limits: Limits): T | undefined =>
    value === undefined ? undefined : check(value, field, limits);
}

export function checkName(value: unknown): string {
  if (typeof value !== "string" || !NAME.test(value)) throw invalid("name must be 1 to 64 of A-Z a-z 0-9 . _ -");
  return value;
}

export function checkStorage(value: unknown, field: string): KernelStorage {
  return withMethods<KernelStorage>("open")(value, field);
}

function orFalse<T>(check: (value: unknown, field: string) => T) {
  return (value: unknown, field: string): T | false => (value === false ? false : check(value, field));
}

function callable<T>(value: unknown, field: string): T {
  return checkFunction(field, value as T);
}

function withMethods<T>(...methods: (keyof T & string)[]) {
  return (value: unknown, field: string): T => {
    const found = someMembersOf(field, value, methods);
    for (const method of methods) checkFunction(`${field}.${method}`, found[method]);
    return value as T;
  };
}

/** An instance of an app's class may have members of its own; a plain object has the two methods alone. */
function checkKeys(value: unknown, field: string): KeyStore {
  const keys = withMethods<KeyStore>("load", "store")(value, field);
  if (isPlain(Object.getPrototypeOf(keys), 0)) membersOf(field, keys, ["load", "store"]);
  return keys;
}

const RETENTION: Record<keyof Retention, true> = { offlineAgentsMs: true, terminalProcessesMs: true, externalProcessesMs: true };

function checkRetention(given: unknown = {}): Retention {
  const names = Object.keys(RETENTION) as (keyof Retention)[];
  const members = membersOf("retention", given, names);
  const wanted = names.filter((name) => members[name] !== undefined);
  return Object.fromEntries(wanted.map((name) => [name, checkWhole(`retention.${name}`, members[name], 1)]));
}
