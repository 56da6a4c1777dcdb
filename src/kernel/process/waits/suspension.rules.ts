import { leastDueMs } from "../../../stores/process/waits/waits.rules.js";
import type { RunWait } from "./run-waits.js";

/** A run whose waits all last longer than it would be kept for is suspended after so long at most. */
const SOON_MS = 1_000;

/**
 * For how long a run must be in nothing but these waits before it is suspended; undefined: it is not. `nowMs` is when it began to be, by the
 * clock of the storage.
 */
export function suspendsInMs(waits: Iterable<RunWait>, suspendAfterMs: number, nowMs: number): number | undefined {
  const all = [...waits];
  if (all.length === 0 || suspendAfterMs === Number.POSITIVE_INFINITY) return undefined;
  return leastDueMs(all) > nowMs + suspendAfterMs ? Math.min(suspendAfterMs, SOON_MS) : suspendAfterMs;
}
