import { HoldfastError } from "../../domain/errors.js";
import type { ProcessLease } from "../../domain/lease.js";
import type { Change } from "../../ports/notices.js";
import { ROW_VERSION } from "../table.js";
import { attemptsOf, type HeldLeaseRow, type Host, isLive, leaseChange } from "./leases.rules.js";
import type { LeaseRow } from "./tables.js";

export interface Claim {
  resource: string;
  ownerId: string;
  ttlMs: number;
  /** 128 random bits as hex. The lease token is the nonce followed by the fencing token. */
  nonce: string;
  host?: Host;
}

/** What is stored of the previous owner beside the lease row. */
export interface PreviousOwner {
  /** The fencing token under which a lease holder last stored an event. */
  progressFence?: number;
  /** Whether its host left a farewell. */
  farewell: boolean;
  /** The highest fencing token of removed rows. Read only if the resource has no row. */
  floor?: number;
}

export function grant(
  row: LeaseRow | undefined,
  claim: Claim,
  previous: PreviousOwner,
  nowMs: number,
): HeldLeaseRow | HoldfastError {
  if (isLive(row, nowMs) && row.ownerId !== claim.ownerId) {
    return new HoldfastError(
      "lease-held",
      `process "${claim.resource}" is already leased by \`${row.ownerId}\` until ${row.expiresAtMs}`,
      {
        details: { ownerId: row.ownerId, expiresAtMs: row.expiresAtMs },
      },
    );
  }
  const fencingToken = (row?.fencingToken ?? previous.floor ?? 0) + 1;
  return {
    v: ROW_VERSION,
    resource: claim.resource,
    fencingToken,
    attempts: row === undefined ? 1 : attemptsOf(row) + 1,
    claimedAtMs: nowMs,
    expiresAtMs: nowMs + claim.ttlMs,
    ownerId: claim.ownerId,
    leaseToken: `${claim.nonce}.${fencingToken}`,
    ...(claim.host && { hostId: claim.host.hostId, bootId: claim.host.bootId, ...(claim.host.locked && { locked: 1 as const }) }),
    fruitless: row === undefined ? 0 : fruitlessAfter(row, claim, previous),
  };
}

/** Fruitless claims so far. An owner that claims its own lease again continues its attempt, so that one is not counted. */
function fruitlessAfter(row: LeaseRow, claim: Claim, previous: PreviousOwner): number {
  if (previous.progressFence === row.fencingToken) return 0;
  const uncounted = row.endedInOrder || row.waiting || previous.farewell || row.ownerId === claim.ownerId;
  return uncounted ? row.fruitless : row.fruitless + 1;
}

/** `isWaiting` is undefined where that is unknown: then what is stored stays. */
export function renewed(row: HeldLeaseRow, ttlMs: number, nowMs: number, isWaiting?: boolean): HeldLeaseRow {
  const { waiting, ...rest } = row;
  return { ...rest, expiresAtMs: nowMs + ttlMs, ...((isWaiting ?? waiting) && { waiting: 1 as const }) };
}

/** The lease as its holder gets it. */
export function leaseOf(row: HeldLeaseRow): ProcessLease {
  const { resource: processId, ownerId, leaseToken, fencingToken, claimedAtMs, expiresAtMs } = row;
  return { schemaVersion: 1, processId, ownerId, leaseToken, fencingToken, claimedAtMs, expiresAtMs };
}

/** The lease was granted: hosts that could claim it wait until it is released or may have run out. */
export function heldChange(resource: string): Change {
  return { ...leaseChange(resource), member: "held" };
}
