import type { ClaimLimit, RateSpec } from "../../../domain/process/limit.js";
import { ROW_VERSION } from "../../table.js";
import type { ProcessRow, RateRow } from "../tables.js";
import { withoutPlace } from "./claimable.rules.js";

/** What is stored of a limit's key. */
export interface Places {
  readonly key: string;
  /** The resources of the leases that take a place, also of those that ran out and were not freed. No more than the limit lets run, and one. */
  readonly held: readonly string[];
  readonly rate: RateRow | undefined;
}

/** How many of the processes, the oldest first, may be claimed now; and when that may change by time alone. */
export function countWithPlace(
  { held, rate }: Places,
  limit: ClaimLimit,
  processes: readonly ProcessRow[],
  nowMs: number,
): { readonly count: number; readonly nextAtMs?: number } {
  let places = (limit.concurrency ?? Number.POSITIVE_INFINITY) - held.length;
  const startsAtMs = limit.rate ? startTimes(limit.rate, rate?.claimsAtMs ?? [], nowMs) : undefined;
  let starts = 0;
  for (const [count, process] of processes.entries()) {
    // A lease of its own, which ran out and was not freed, does not count against a process.
    const own = held.includes(process.processId) ? 1 : 0;
    if (places + own <= 0) return { count };
    const atMs = process.rated ? nowMs : (startsAtMs?.(starts++) ?? nowMs);
    if (atMs > nowMs) return { count, nextAtMs: atMs };
    places += own - 1;
  }
  return { count: processes.length };
}

/** When the next start is allowed after `starts` more ones at `nowMs`: the `count`-th last one is `perMs` old then. */
function startTimes({ count, perMs }: RateSpec, claimsAtMs: readonly number[], nowMs: number): (starts: number) => number {
  return (starts) => {
    const before = starts >= count ? nowMs : claimsAtMs[claimsAtMs.length + starts - count];
    return before === undefined ? nowMs : before + perMs;
  };
}

/** The row after one more claim that counts. A host with a higher count needs the older times that this one does not. */
export function rateAfter(row: RateRow | undefined, key: string, { count, perMs }: RateSpec, nowMs: number): RateRow {
  const before = row?.claimsAtMs ?? [];
  // The clock may have been set back.
  const claimsAtMs = [...before, nowMs].sort((a, b) => a - b).slice(-Math.max(count, before.length));
  const overAtMs = Math.max(row?.overAtMs ?? 0, (claimsAtMs.at(-1) ?? nowMs) + perMs);
  return { v: ROW_VERSION, limitKey: key, claimsAtMs, overAtMs };
}

/** Within a key the oldest goes first. */
export function isOlder(one: ProcessRow, other: ProcessRow): boolean {
  if (one.createdAtMs !== other.createdAtMs) return one.createdAtMs < other.createdAtMs;
  return one.processId < other.processId;
}

/** The process as a limit holds it back. The same row where a limit of that key does already. */
export function heldBack(process: ProcessRow, limitKey: string, isUnclaimed: boolean, nowMs: number): ProcessRow {
  const [name, rest] = withoutPlace(process);
  if (name === undefined || process.limitKey === limitKey) return process;
  const limitedAtMs = process.limitedAtMs ?? nowMs;
  return { ...rest, limited: name, limitKey, limitedAtMs, ...(isUnclaimed && { unclaimed: 1 as const }) } as ProcessRow;
}

/** The process whose handler threw, or that begins anew: its next claim counts for the rate of a limit again. */
export function unrated(process: ProcessRow): ProcessRow {
  const { rated: _, ...rest } = process;
  return rest as ProcessRow;
}
