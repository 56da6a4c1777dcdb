import { HoldfastError } from "../../domain/errors.js";
import type { ProcessLease } from "../../domain/lease.js";
import type { Change } from "../../ports/notices.js";
import type { Write } from "../../ports/storage.js";
import { ROW_VERSION } from "../table.js";
import type { LeaseRow } from "./tables.js";

/**
 * A lease is one row per resource:
 *
 *     free --claim--> held --release--> free        held --expiry--> free (computed on read, never written)
 *
 * Every grant raises the fencing token and makes a new lease token, also if the owner claims again: its earlier lease is then dead.
 */
export interface HeldLeaseRow extends LeaseRow {
  readonly ownerId: string;
  readonly leaseToken: string;
}

/** The host that a runner claims for. */
export interface Host {
  hostId: string;
  bootId: string;
  /** Whether it holds the Web Lock of its boot id. */
  locked: boolean;
  /** The names of the handlers that it runs. */
  handlers?: readonly string[];
  /** Whether it runs turns of all sessions. */
  turns?: boolean;
}

/** Whether the lease is held and its expiry is still to come. At the very millisecond of its expiry it is over. */
export function isLive(row: LeaseRow | undefined, nowMs: number): row is HeldLeaseRow {
  return row?.leaseToken !== undefined && row.expiresAtMs > nowMs;
}

/** The stored lease if the presented one is live, else the refusal. The times of the presented one are not looked at. */
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

/** Grants of this row so far. The fencing token is no count: it may begin above a floor. */
export function attemptsOf({ attempts, fencingToken }: LeaseRow): number {
  return attempts ?? fencingToken;
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

/** What a fenced write of a holder adds: it waits no more. */
export function awoken(row: LeaseRow | undefined): Write[] {
  if (!row?.waiting) return [];
  const { waiting: _, ...rest } = row;
  return [{ table: "leases", put: rest as LeaseRow }];
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
    ...((inOrder || row.waiting) && { endedInOrder: 1 as const }),
  };
}

/** The lease as its holder gets it. */
export function leaseOf(row: HeldLeaseRow): ProcessLease {
  const { resource: processId, ownerId, leaseToken, fencingToken, claimedAtMs, expiresAtMs } = row;
  return { schemaVersion: 1, processId, ownerId, leaseToken, fencingToken, claimedAtMs, expiresAtMs };
}

/** The lease changed and may be free: hosts that could claim it look at it. */
export function leaseChange(resource: string): Change {
  return { about: "lease", id: resource };
}

/** The lease was granted: hosts that could claim it wait until it is released or may have run out. */
export function heldChange(resource: string): Change {
  return { ...leaseChange(resource), member: "held" };
}
