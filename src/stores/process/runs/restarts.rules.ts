import { STEP_EVENT } from "../../../domain/process/event-type.js";
import { type OwnKeyKind, ownKey, restOfOwnKey } from "../../../domain/process/own-key.js";
import { runnableBy } from "../../../domain/process/process.js";
import type { EventRow, ProcessRow } from "../tables.js";
import { parkedUntil } from "./claimable.rules.js";

/** What of a process's row says how its replay keys are read. */
export type Restarted = Pick<ProcessRow, "restarts">;

/** The kinds of own keys that stand for something new after a restart. Steps, timers and waits keep theirs: they go on. */
const COUNTED: ReadonlySet<string> = new Set<OwnKeyKind>(["terminal", "cancel_requested", "attempt_failed", "step_failed"]);

/** The request with the replay key that it has since the newest restart; the same request where a restart changes nothing of it. */
export function keyedSince<R extends { readonly processId: string; readonly replayKey?: string }>(
  request: R,
  process: Restarted | undefined,
): R {
  const { processId, replayKey } = request;
  const count = process?.restarts?.count;
  const rest = count === undefined || replayKey === undefined ? undefined : restOfOwnKey(processId, replayKey);
  if (rest === undefined || !COUNTED.has(rest.slice(0, rest.indexOf(":")))) return request;
  return { ...request, ...ownKey(processId, "run", `${count}:${rest}`) };
}

/** The event that counts of those under one replay key: the newest that is not forgotten. */
export function countingEvent(rows: readonly EventRow[], process: Restarted | undefined): EventRow | undefined {
  if (!process?.restarts) return rows[0];
  const { forgotten } = process.restarts;
  return rows.filter((row) => !isForgotten(row, forgotten)).sort((a, b) => b.sequence - a.sequence)[0];
}

/** Only what a run stored is forgotten: what others sent, as signals, is not. */
function isForgotten(
  { sequence, eventType, fencingToken }: EventRow,
  forgotten: readonly (readonly [number, number])[],
): boolean {
  const isOfRun = fencingToken !== undefined || eventType === STEP_EVENT;
  return isOfRun && forgotten.some(([first, last]) => first <= sequence && sequence <= last);
}

/**
 * The row of an ended process that runs again. `restarted` is its row after the event that says so; `from` the sequence of the first event
 * that is forgotten.
 */
export function runningAgain(restarted: ProcessRow, from: number | undefined, nonce: string, nowMs: number): ProcessRow {
  const { awaitOutput: _, endedAtMs: _1, cancelRequested: _2, attempts: _3, progress: _4, restarts: before, ...kept } = restarted;
  const { inputType, handler, lastSequence: sequence, startAtMs = 0 } = kept;
  const older = before?.forgotten ?? [];
  const runnable = runnableBy(inputType, handler);
  const process = {
    ...kept,
    state: "running",
    ...(runnable !== undefined && { runnable }),
    ...(inputType === "external" && { externalAtMs: nowMs }),
    restarts: {
      count: (before?.count ?? 0) + 1,
      sequence,
      nonce,
      forgotten: from === undefined ? older : [...older.filter(([first]) => first < from), [from, sequence] as const],
    },
  } as ProcessRow;
  return startAtMs > nowMs ? parkedUntil(process, startAtMs) : process;
}

/** Whether the event ended the process before its newest restart. */
export function isFormerEnd({ sequence }: Pick<EventRow, "sequence">, { restarts }: Restarted): boolean {
  return restarts !== undefined && sequence < restarts.sequence;
}
