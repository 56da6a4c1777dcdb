import type { Corridor } from "../../../corridor/command.js";
import { checkId, checkWhole, optionsOf } from "../../../domain/check.js";
import { copyOf } from "../../../domain/copy.js";
import type { JsonValue } from "../../../domain/json.js";
import type { ProcessLease } from "../../../domain/lease.js";
import { countedWaitKey, givenWaitKey } from "../../../domain/process/wait.js";
import { type Limits, TEN_YEARS_MS } from "../../../domain/time.js";
import type { Clock } from "../../../ports/clock.js";
import { loadReplay } from "../../../stores/process/events.js";
import type { Restarted } from "../../../stores/process/runs/restarts.rules.js";
import {
  oldestSignal,
  type Received,
  receivedOf,
  type SignalWait,
  settleSignalWait,
} from "../../../stores/process/waits/signals.js";
import { type SleepWait, settleSleep } from "../../../stores/process/waits/sleeps.js";
import { endOfWait, type WaitOf } from "../../../stores/process/waits/waiting.js";
import type { HeldLease } from "../../host/leases/held-lease.js";
import type { Fault } from "../../host/loop-contract.js";
import type { MadeOf, NamesOf, Schemas } from "../definition/definition.js";
import type { SchemasInRun } from "../definition/run-schemas.js";
import type { RunWaits } from "../waits/run-waits.js";
import type { OwnWork } from "./own-work.js";

/** A signal as a wait took it. */
export interface ReceivedSignal<Payload = JsonValue> {
  payload: Payload;
  signalId: string;
  /** The sequence of its `process.signal` event. */
  sequence: number;
}

/**
 * Waits that outlive their owner: what they wait for is stored, and a later owner goes on with it. Each gives the handler's slot back. After a
 * cancel request they reject with the reason of `context.signal`, unless their end is stored already: a handler that lets that pass ends its
 * process as cancelled.
 */
export interface WaitCalls<Signals> {
  /**
   * Resolves so many milliseconds after it was first called with this key, in whichever tab that was: a later owner waits for the rest. The
   * same key again resolves at once. A whole number from 0 to ten years, else `invalid`. Keys of steps are others.
   */
  sleep(key: string, durationMs: number): Promise<void>;
  /** The same until a time in epoch milliseconds, at most ten years ahead; one that has passed resolves at once. */
  sleepUntil(key: string, atMs: number): Promise<void>;
  /**
   * Resolves with the oldest signal of the name that no wait of this process has taken; one that was sent before is taken at once. `key` names
   * the wait in this process, and its result is stored under it: the same key answers the same for ever. Without a key, the waits for a name
   * are counted in the run. `payload` is what the definition's schema makes of the stored one, anew each time; a signal that does not fit it
   * is skipped for good, and told as a fault. Rejects `invalid` for a name that the definition does not declare, if it declares any.
   */
  waitForSignal<K extends NamesOf<Signals>>(
    name: K,
    options?: { key?: string; timeoutMs?: undefined },
  ): Promise<ReceivedSignal<MadeOf<Signals, K>>>;
  /**
   * With a timeout, `undefined` where no signal came so many milliseconds after the wait first began, for ever under this key. A signal that
   * is stored before that is decided wins. From 0 to ten years.
   */
  waitForSignal<K extends NamesOf<Signals>>(
    name: K,
    options: { key?: string; timeoutMs: number },
  ): Promise<ReceivedSignal<MadeOf<Signals, K>> | undefined>;
}

export interface WaitCallParts {
  readonly corridor: Corridor;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly processId: string;
  /** No event was stored before this claim: no wait has ended. */
  readonly fresh: boolean;
  /** The process's row as it was claimed. */
  readonly claimed: Restarted;
  readonly heldLease: HeldLease;
  readonly waits: RunWaits;
  /** There if the definition that runs has schemas. */
  readonly definition: SchemasInRun | undefined;
  fault(fault: Fault): void;
}

type Unleased<T> = T extends unknown ? Omit<T, "lease"> : never;

export function waitCalls(parts: WaitCallParts, { own }: OwnWork): WaitCalls<Schemas> {
  const { corridor, clock, limits, processId, heldLease, waits, definition } = parts;
  /** Waits under way, by kind and key. */
  const underway = new Map<string, Promise<unknown>>();
  /** How many waits without a key there were for each name. */
  const counts = new Map<string, number>();

  /** Sequences of signals that were told as skipped. */
  const skipped = new Set<number>();

  /** Calls with the same key share one wait. */
  function share<T>({ kind, key }: Unleased<WaitOf>, begin: () => Promise<T>): Promise<T> {
    const name = `${kind}:${key}`;
    const known = underway.get(name);
    if (known) return known as Promise<T>;
    const begun = begin().finally(() => underway.delete(name));
    underway.set(name, begun);
    return begun;
  }

  const write = <T>(work: (lease: ProcessLease) => Promise<T>): Promise<T> => own(() => heldLease.write(work));

  /** The event that holds the wait's result, if it ended before. */
  const storedEnd = async (wait: Unleased<WaitOf>) => {
    if (parts.fresh) return undefined;
    const end = endOfWait({ ...wait, lease: heldLease.lease });
    return await own(() => corridor.query(["events"], (reader) => loadReplay(reader, end, parts.claimed)));
  };

  async function timer(timer: Unleased<SleepWait>): Promise<void> {
    const settle = () => write((lease) => corridor.run(settleSleep, { ...timer, lease } as SleepWait));
    if (await storedEnd(timer)) return;
    const begun = await settle();
    if ("answer" in begun) return;
    const { kind, key } = timer;
    const { dueAtMs } = begun;
    await waits.until({ kind, key, dueAtMs }, async () => {
      const settled = clock.now() < dueAtMs ? begun : await settle();
      return "answer" in settled ? settled : undefined;
    });
  }

  async function receive(wait: Unleased<SignalWait>): Promise<Received> {
    const { kind, key, name } = wait;
    const ended = await storedEnd(wait);
    if (ended) return receivedOf(ended);
    const begun = await settleSignal(wait);
    if ("answer" in begun) return begun.answer;
    const { dueAtMs } = begun;
    return await waits.until({ kind, key, name, ...(dueAtMs !== undefined && { dueAtMs }) }, async () => {
      const isDue = dueAtMs !== undefined && dueAtMs <= clock.now();
      const isThere = () => own(() => corridor.query(["events"], (reader) => oldestSignal(reader, wait)));
      if (!isDue && !(await isThere())) return undefined;
      const settled = await settleSignal(wait);
      return "answer" in settled ? settled : undefined;
    });
  }

  /** Ends the wait if it can; the signals that it finds are judged outside of the transactions. */
  async function settleSignal(wait: Unleased<SignalWait>): Promise<{ answer: Received } | { dueAtMs: number | undefined }> {
    const { name } = wait;
    let judged: SignalWait["judged"] = definition?.hasSignal(name) ? { sequence: 0, fits: false } : undefined;
    let misfit: string | undefined;
    for (;;) {
      const input = { ...wait, ...(judged && { judged }) };
      const state = await write((lease) => corridor.run(settleSignalWait, { ...input, lease }));
      if (judged && misfit !== undefined) tellSkipped(name, judged.sequence, misfit);
      if ("answer" in state || "dueAtMs" in state) return state;
      misfit = undefined;
      if ("skipped" in state) continue;
      const { sequence, payload } = state.unjudged;
      misfit = (await definition?.judgeSignal(name, payload))?.misfit;
      judged = { sequence, fits: misfit === undefined };
    }
  }

  /** The signal is skipped by now, by this wait or by another of the run. */
  function tellSkipped(name: string, sequence: number, misfit: string): void {
    if (skipped.has(sequence)) return;
    skipped.add(sequence);
    const message = `signal "${name}" (sequence ${sequence}) does not fit its schema and is skipped: ${misfit}`;
    parts.fault({ area: "signals", code: "invalid", message, processId });
  }

  return {
    async sleep(key, durationMs) {
      const wait = { processId, kind: "timer", key: checkId("key", key, limits.idLength) } as const;
      const timing = { durationMs: checkWhole("durationMs", durationMs, 0, TEN_YEARS_MS) };
      await share(wait, () => timer({ ...wait, ...timing }));
    },
    async sleepUntil(key, atMs) {
      const wait = { processId, kind: "timer", key: checkId("key", key, limits.idLength) } as const;
      const timing = { atMs: checkWhole("atMs", atMs, 0) };
      await share(wait, () => timer({ ...wait, ...timing }));
    },
    async waitForSignal(given: string, options: { key?: string; timeoutMs?: number | undefined } = {}) {
      const name = checkId("name", given, limits.idLength);
      const m = optionsOf("waitForSignal", options, ["key", "timeoutMs"]);
      const givenKey = m.key === undefined ? undefined : givenWaitKey(checkId("options.key", m.key, limits.idLength));
      const timing =
        m.timeoutMs === undefined ? {} : { timeoutMs: checkWhole("options.timeoutMs", m.timeoutMs, 0, TEN_YEARS_MS) };
      definition?.hasSignal(name);
      const wait = { processId, kind: "signal", name, key: givenKey ?? countedKey(name), ...timing } as const;
      const received = await share(wait, () => receive(wait));
      if (received === null) return undefined as never;
      const { payload, ...signal } = copyOf(received);
      return { payload: (await madeOf(name, payload)) as never, ...signal };
    },
  };

  function countedKey(name: string): string {
    const count = (counts.get(name) ?? 0) + 1;
    counts.set(name, count);
    return countedWaitKey(name, count);
  }

  async function madeOf(name: string, payload: JsonValue): Promise<unknown> {
    return definition?.hasSignal(name) ? await definition.madeOfSignal(name, payload) : payload;
  }
}
