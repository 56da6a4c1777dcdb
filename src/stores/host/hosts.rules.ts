import { ROW_VERSION } from "../table.js";
import type { Host } from "./leases.rules.js";
import type { HostRow } from "./tables.js";

/**
 * One row per boot of a host:
 *
 *     beating --silence--> silent --beat--> beating           (one revival more: its agents are another incarnation)
 *     beating | silent --its lock falls free--> crashed --beat--> beating
 *     beating | silent --farewell, close--> left               for good: it comes back under another boot
 */
export type HostEnd = NonNullable<HostRow["end"]>;

/** As a beat leaves it. By the clock as it is now, also when that went back. */
export function seen(row: HostRow | undefined, { bootId, hostId, locked }: Host, nowMs: number): HostRow {
  const revivals = (row?.revivals ?? 0) + (row?.end === undefined ? 0 : 1);
  return {
    v: ROW_VERSION,
    bootId,
    hostId,
    lastSeenAtMs: nowMs,
    ...(locked && { locked: 1 as const }),
    ...(row?.moves !== undefined && { moves: row.moves }),
    ...(revivals > 0 && { revivals }),
  };
}

/** Only a silent one still holds its lock. */
export function over(row: HostRow, end: HostEnd, endedAtMs: number): HostRow {
  const { locked, ...rest } = row;
  return { ...rest, ...(end === "silent" && locked && { locked }), end, endedAtMs };
}

/** One of its agents is another's now. */
export function moved(row: HostRow): HostRow {
  return { ...row, moves: (row.moves ?? 0) + 1 };
}

/**
 * Whether a beat has to write. Decided before the fast record is touched, so that trouble with that one costs a write and nothing else.
 * A row from the future says nothing: the clock went back.
 */
export function needsWrite(
  row: HostRow | undefined,
  host: Host,
  { nowMs, flushMs, fast }: { nowMs: number; flushMs: number; fast: boolean },
): boolean {
  if (!fast || !row || row.end !== undefined || (row.locked === 1) !== host.locked) return true;
  const agoMs = nowMs - row.lastSeenAtMs;
  return agoMs >= flushMs || agoMs < 0;
}

/** Silence is judged as of a moment at which the judge was known to be awake, and once more in the write: a beat in between wins. */
export interface Silence {
  readonly asOfMs: number;
  readonly staleAfterMs: number;
  /** Nothing is seen so far in the future: after the clock went back, such a row would vouch for who knows how long. */
  readonly aheadMs: number;
}

export function isSilent(lastSeenAtMs: number, { asOfMs, staleAfterMs }: Silence): boolean {
  return asOfMs - lastSeenAtMs >= staleAfterMs;
}

export function isAhead(lastSeenAtMs: number, { asOfMs, aheadMs }: Silence): boolean {
  return lastSeenAtMs - asOfMs > aheadMs;
}
