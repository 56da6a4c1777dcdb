import { HoldfastError } from "../../domain/errors.js";
import type { ProcessLease } from "../../domain/lease.js";
import type { Change } from "../../ports/notices.js";
import { ROW_VERSION } from "../table.js";
import type { LeaseRow } from "./tables.js";

/**
 * One row per resource:
 *
 *     free --claim--> held --release--> free        held --expiry--> free (computed on read, never written)
 *
 * Every grant raises the fence and makes a new token, also for the owner itself: its earlier lease is dead then.
 */
export interface HeldLeaseRow extends LeaseRow {
  readonly ownerId: string;
  readonly leaseToken: string;
}

/** Whom a runner claims for. */
export interface Host {
  hostId: string;
  bootId: string;
  /** It holds the Web Lock of its boot id. */
  locked: boolean;
}

/** Live means that the expiry is still to come: at the very millisecond it is over. */
export function isLive(row: LeaseRow | undefined, nowMs: number): row is HeldLeaseRow {
  return row?.leaseToken !== undefined && row.expiresAtMs > nowMs;
}

/** The stored lease behind a presented one if it is the live one, else why not. The presented times say nothing. */
export function fence(row: LeaseRow | undefined, lease: ProcessLease, nowMs: number): HeldLeaseRow | HoldfastError {
  if (
    isLive(row, nowMs) &&
    row.leaseToken === lease.leaseToken &&
    row.ownerId === lease.ownerId &&
    row.fencingToken === lease.fencingToken
  ) {
    return row;
  }
  return leaseLost(lease.processId);
}

export function leaseLost(processId: string): HoldfastError {
  return new HoldfastError("lease-lost", `the lease of process "${processId}" is missing or expired`, { details: { processId } });
}

export interface Claim {
  resource: string;
  ownerId: string;
  ttlMs: number;
  /** 128 random bits as hex; the fence completes them to the token. */
  nonce: string;
  host?: Host;
}

/** What the last owner left behind, beside its lease row. */
export interface Estate {
  /** The fence under which the newest event of a lease holder was stored. */
  progressFence?: number;
  /** Its host said farewell. */
  farewell: boolean;
  /** The highest fence of removed rows; asked for only where there is no row. */
  floor?: number;
}

/** Grants of this row so far: a fence may begin above a floor, so it counts nothing. */
export function attemptsOf({ attempts, fencingToken }: LeaseRow): number {
  return attempts ?? fencingToken;
}

export function grant(row: LeaseRow | undefined, claim: Claim, estate: Estate, nowMs: number): HeldLeaseRow | HoldfastError {
  if (isLive(row, nowMs) && row.ownerId !== claim.ownerId) {
    return new HoldfastError(
      "lease-held",
      `process "${claim.resource}" is already leased by \`${row.ownerId}\` until ${row.expiresAtMs}`,
      {
        details: { ownerId: row.ownerId, expiresAtMs: row.expiresAtMs },
      },
    );
  }
  const fencingToken = (row?.fencingToken ?? estate.floor ?? 0) + 1;
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
    fruitless: row === undefined ? 0 : fruitlessAfter(row, claim, estate),
  };
}

/** Whether the last claim counts against the attempt budget. An owner that claims its own lease again goes on with it. */
function fruitlessAfter(row: LeaseRow, claim: Claim, estate: Estate): number {
  if (estate.progressFence === row.fencingToken) return 0;
  const uncounted = row.endedInOrder || estate.farewell || row.ownerId === claim.ownerId;
  return uncounted ? row.fruitless : row.fruitless + 1;
}

export function renewed(row: HeldLeaseRow, ttlMs: number, nowMs: number): HeldLeaseRow {
  return { ...row, expiresAtMs: nowMs + ttlMs };
}

export function released(row: LeaseRow, inOrder: boolean): LeaseRow {
  return {
    v: ROW_VERSION,
    resource: row.resource,
    fencingToken: row.fencingToken,
    attempts: attemptsOf(row),
    claimedAtMs: 0,
    expiresAtMs: 0,
    fruitless: row.fruitless,
    ...(inOrder && { endedInOrder: 1 as const }),
  };
}

/** The holder's own object, rebuilt from the stored row. */
export function leaseOf(row: HeldLeaseRow): ProcessLease {
  const { resource: processId, ownerId, leaseToken, fencingToken, claimedAtMs, expiresAtMs } = row;
  return { schemaVersion: 1, processId, ownerId, leaseToken, fencingToken, claimedAtMs, expiresAtMs };
}

/** Free as far as it is known, where nothing else is said: those that could take it look. */
export function leaseChange(resource: string): Change {
  return { about: "lease", id: resource };
}

/** It was granted: those that would take it wait until it comes back, or may have run out. */
export function heldChange(resource: string): Change {
  return { ...leaseChange(resource), member: "held" };
}
