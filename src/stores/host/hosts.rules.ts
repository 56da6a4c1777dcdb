import { ROW_VERSION } from "../table.js";
import type { Host } from "./leases.rules.js";
import type { HostRow } from "./tables.js";

/**
 * A host has one row per boot:
 *
 *     beating --silence--> silent --beat--> beating           (one revival more: its agents get a new incarnation)
 *     beating | silent --its lock falls free--> crashed --beat--> beating
 *     beating | silent --farewell, close--> left               for good: it comes back under another boot
 */
type HostEnd = NonNullable<HostRow["end"]>;

/** The row after a beat. It takes the clock as it is, even if the clock went back. */
export function seen(row: HostRow | undefined, { bootId, hostId, locked, handlers, turns }: Host, nowMs: number): HostRow {
  const revivals = (row?.revivals ?? 0) + (row?.end === undefined ? 0 : 1);
  return {
    v: ROW_VERSION,
    bootId,
    hostId,
    lastSeenAtMs: nowMs,
    ...(locked && { locked: 1 as const }),
    ...(handlers && { handlers }),
    ...(turns && { turns: 1 as const }),
    ...(row?.moves !== undefined && { moves: row.moves }),
    ...(revivals > 0 && { revivals }),
  };
}

/** The row after the host's end. Only a silent host may still hold its lock. */
export function over(row: HostRow, end: HostEnd, endedAtMs: number): HostRow {
  const { locked, ...rest } = row;
  return { ...rest, ...(end === "silent" && locked && { locked }), end, endedAtMs };
}

/** The row after one of the host's agents was registered or deregistered elsewhere. */
export function moved(row: HostRow): HostRow {
  return { ...row, moves: (row.moves ?? 0) + 1 };
}

/**
 * Whether a beat must write. This is decided before presence is touched, so that trouble with presence costs only a write.
 * A row from the future proves nothing: the clock went back.
 */
export function needsWrite(
  row: HostRow | undefined,
  host: Host,
  { nowMs, flushMs, fast }: { nowMs: number; flushMs: number; fast: boolean },
): boolean {
  if (!fast || !row || row.end !== undefined || (row.locked === 1) !== host.locked || !row.handlers !== !host.handlers)
    return true;
  const agoMs = nowMs - row.lastSeenAtMs;
  return agoMs >= flushMs || agoMs < 0;
}

/** Silence is judged as of a moment at which the sweeper was known to be awake, and once more in the write: a beat in between wins. */
export interface Silence {
  readonly asOfMs: number;
  readonly staleAfterMs: number;
  /** A row further in the future than this does not count: after the clock went back, it would keep its host alive for an unknown time. */
  readonly aheadMs: number;
}

export function isSilent(lastSeenAtMs: number, { asOfMs, staleAfterMs }: Silence): boolean {
  return asOfMs - lastSeenAtMs >= staleAfterMs;
}

export function isAhead(lastSeenAtMs: number, { asOfMs, aheadMs }: Silence): boolean {
  return lastSeenAtMs - asOfMs > aheadMs;
}
