import { accept, type Command, refuse } from "../../../corridor/command.js";
import { HoldfastError } from "../../../domain/errors.js";
import type { JsonValue } from "../../../domain/json.js";
import type { ProcessLease } from "../../../domain/lease.js";
import { type ProcessEventType, SIGNAL_EVENT } from "../../../domain/process/event-type.js";
import { ownKey } from "../../../domain/process/own-key.js";
import type { Reader } from "../../../ports/storage.js";
import { awoken, leaseChange } from "../../host/leases.rules.js";
import { loadRow, loadRows } from "../../schema.js";
import type { DeclaredTypes } from "../declared-types.js";
import { loadReplay } from "../events.js";
import { type Appended, type AppendInput, type AppendState, append, eventChange } from "../events.rules.js";
import { unknownProcess } from "../processes.rules.js";
import { claimable } from "../runs/claimable.rules.js";
import { resultOfStep } from "../runs/steps.js";
import type { EventRow, WaitRow } from "../tables.js";
import { loadWaits } from "./wait-rows.js";
import { beginWait, endWait, loadWaiting, refuseUnheld, storedDue, WAIT_TABLES, type WaitOf, type WaitState } from "./waiting.js";
import { dropWait } from "./waits.rules.js";

/** A signal for a process. A given lease is the one of the process that sends it: without that lease the signal is refused. */
export interface Signal {
  readonly processId: string;
  readonly name: string;
  readonly signalId: string;
  readonly payload: JsonValue;
  readonly lease?: ProcessLease;
}

export function signalEvent({ processId, name, signalId, payload, lease }: Signal): AppendInput {
  const { replayKey } = ownKey(processId, "signal", signalId);
  return {
    processId,
    eventType: SIGNAL_EVENT,
    payload: { name, signalId, payload },
    own: true,
    replayKey,
    pendingSignal: name,
    ...(lease && { lease }),
  };
}

/** Stores a signal, once per id. If the process is suspended and awaits the name, hosts find it again. */
export const storeSignal: Command<
  Signal & { readonly declared: DeclaredTypes },
  AppendState & { readonly declaredTypes: readonly ProcessEventType[] | undefined; readonly waits: readonly WaitRow[] },
  void
> = {
  tables: [...WAIT_TABLES, "registrations"],
  async load(reader, { declared, ...signal }) {
    const { processId, lease } = signal;
    const reading = loadRow(reader, "processes", processId);
    const [process, declaredTypes, leaseRow, replayed] = await Promise.all([
      reading,
      declared.load(reader, processId, reading),
      lease && loadRow(reader, "leases", lease.processId),
      loadReplay(reader, signalEvent(signal), reading),
    ]);
    const waits = process?.suspended ? await loadWaits(reader, process) : [];
    return { process, declaredTypes, eventTypes: undefined, lease: leaseRow, replayed, waits };
  },
  decide({ declaredTypes, waits, ...state }, signal, nowMs) {
    const { processId, name } = signal;
    const { process, replayed } = state;
    if (!process) return refuse(unknownProcess(processId));
    if (declaredTypes?.some((type) => type.name === SIGNAL_EVENT)) {
      const message = `process "${processId}" declared the event type "${SIGNAL_EVENT}" as its own: it takes no signals`;
      return refuse(new HoldfastError("conflict", message, { details: { processId } }));
    }
    if (!replayed && process.state !== "running") {
      const message = `process "${processId}" is already terminal: ${process.state}`;
      return refuse(new HoldfastError("terminal", message, { details: { state: process.state } }));
    }
    const awaited = waits.filter((wait) => wait.kind === "signal" && wait.name === name);
    const [oldest] = awaited.sort((a, b) => a.sinceMs - b.sinceMs);
    const rows = { ...state, process: oldest ? claimable(process) : process };
    const { writes, result } = append(rows, signalEvent(signal), undefined, nowMs) as Appended;
    if (writes.length === 0) return accept(undefined);
    // It waits for this signal no longer, although a limit may hold it back before its handler takes the signal.
    if (oldest) writes.push(dropWait(oldest));
    return accept(undefined, writes, [eventChange(result.event), ...(oldest ? [leaseChange(processId)] : [])]);
  },
  repeatable: () => true,
};

/** What a wait for a signal came to: the signal as it was sent, or null for a timeout. */
export type Received = { readonly payload: JsonValue; readonly signalId: string; readonly sequence: number } | null;

/** A wait of a run for the oldest signal of a name that no wait has taken. */
export interface SignalWait extends WaitOf {
  readonly kind: "signal";
  readonly name: string;
  /** Counts from the first beginning of the wait. */
  readonly timeoutMs?: number;
  /** Given where a schema judges what is taken: the sequence of the signal that it judged last, 0 for none, and whether that one fits. */
  readonly judged?: { readonly sequence: number; readonly fits: boolean };
}

/** It has ended; it goes on, until then at most; or the schema must judge this signal first. */
export type SignalWaitState =
  | { readonly answer: Received }
  | { readonly dueAtMs: number | undefined }
  | { readonly unjudged: NonNullable<Received> }
  | { readonly skipped: true };

/**
 * Ends the wait with the oldest signal that no wait has taken; only if there is none, with its timeout. A signal that does not fit its schema
 * is taken by no wait: it is skipped for good. If the wait never began, its beginning is stored.
 */
export const settleSignalWait: Command<SignalWait, WaitState & { readonly oldest: EventRow | undefined }, SignalWaitState> = {
  tables: WAIT_TABLES,
  async load(reader, wait) {
    const [state, oldest] = await Promise.all([loadWaiting(reader, wait), oldestSignal(reader, wait)]);
    return { ...state, oldest };
  },
  decide({ oldest, ...state }, wait, nowMs) {
    const { judged, timeoutMs } = wait;
    if (state.ended) return accept({ answer: receivedOf(state.ended) });
    if (oldest) {
      const signal = sentSignal(oldest);
      if (judged && judged.sequence !== signal.sequence) return accept({ unjudged: signal });
      const { pendingSignal: _, ...rest } = oldest;
      const taken = { table: "events", put: rest as EventRow };
      if (judged?.fits !== false) return endWait(state, wait, signal, { answer: signal }, nowMs, [taken]);
      refuseUnheld(state, wait, nowMs);
      return accept({ skipped: true }, [taken, ...awoken(state.lease)]);
    }
    const { dueAtMs } = storedDue(state) ?? (timeoutMs === undefined ? {} : { dueAtMs: nowMs + timeoutMs });
    return dueAtMs !== undefined && dueAtMs <= nowMs
      ? endWait(state, wait, null, { answer: null }, nowMs)
      : beginWait(state, wait, dueAtMs, { dueAtMs }, nowMs);
  },
  repeatable: () => true,
};

/** The oldest signal of the name that no wait has taken, found by an index alone. */
export async function oldestSignal(
  reader: Reader,
  { processId, name }: Pick<SignalWait, "processId" | "name">,
): Promise<EventRow | undefined> {
  return (await loadRows(reader, "events", { index: "pendingSignals", prefix: [processId, name], limit: 1 }))[0];
}

function sentSignal({ payload: stored, sequence }: EventRow): NonNullable<Received> {
  const { payload, signalId } = stored as { payload: JsonValue; signalId: string };
  return { payload, signalId, sequence };
}

/** What the event of an ended wait holds. */
export function receivedOf(ended: EventRow): Received {
  return resultOfStep(ended) as Received;
}
