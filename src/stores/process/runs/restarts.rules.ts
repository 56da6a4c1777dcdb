import { STEP_EVENT } from "../../../domain/process/event-type.js";
import { type OwnKeyKind, ownKey, restOfOwnKey } from "../../../domain/process/own-key.js";
import type { EventRow, ProcessRow } from "../tables.js";

/** What of a process's row says how its replay keys are read. */
export type Restarted = Pick<ProcessRow, "restarts">;

/** The kinds of own keys that stand for something new after a restart. Steps, timers and what waits came to keep theirs: they go on. A wait without an end begins anew, and so does its time. */
const COUNTED: ReadonlySet<string> = new Set<OwnKeyKind>(["terminal", "cancel_requested", "attempt_failed", "step_failed"]);

/** The request with the replay key that it has since the newest restart; the same request where a restart changes nothing of it. */
export function keyedSince<R extends { readonly processId: string; readonly replayKey?: string }>(
  request: R,
  process: Restarted | undefined,
): R {
  const { processId, replayKey } = request;
  const count = process?.restarts?.count;
  const rest = count === undefined || replayKey === undefined ? undefined : restOfOwnKey(processId, replayKey);
  const isCounted = rest !== undefined && (COUNTED.has(rest.slice(0, rest.indexOf(":"))) || rest.startsWith("waiting:signal:"));
  if (!isCounted) return request;
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

/** Whether the event ended the process before its newest restart. */
export function isFormerEnd({ sequence }: Pick<EventRow, "sequence">, { restarts }: Restarted): boolean {
  return restarts !== undefined && sequence < restarts.sequence;
}
