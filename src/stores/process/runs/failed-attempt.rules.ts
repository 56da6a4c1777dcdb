import type { FailedAttempts, ProcessRow } from "../tables.js";
import { parkedUntil } from "./claimable.rules.js";

/** The process after a run whose handler threw: no host may claim it before the pause, or the time of the process, is over. */
export function pausedAfter(
  process: ProcessRow,
  { lastError, retryAtMs }: Pick<FailedAttempts, "lastError"> & { retryAtMs: number },
  nowMs: number,
): ProcessRow {
  const attempts = {
    failed: failedAttempts(process) + 1,
    ...(lastError && { lastError }),
    retryAtMs,
    atMs: nowMs,
  };
  const { deadlineAtMs = retryAtMs } = process;
  return { ...parkedUntil(process, Math.min(retryAtMs, deadlineAtMs)), attempts };
}

export function failedAttempts({ attempts }: ProcessRow): number {
  return attempts?.failed ?? 0;
}
