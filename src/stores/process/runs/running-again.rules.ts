import { runnableBy } from "../../../domain/process/process.js";
import type { ProcessRow } from "../tables.js";
import { parkedUntil } from "./claimable.rules.js";

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
