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

/** Grants of this row so far. The fencing token is no count: it may begin above a floor. */
export function attemptsOf({ attempts, fencingToken }: LeaseRow): number {
  return attempts ?? fencingToken;
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

/** The lease that is given back or freed leaves its place in a limit: hosts look at what the limit holds back. */
export function placeChange({ limitKey }: LeaseRow): Change[] {
  return limitKey === undefined ? [] : [{ about: "limit", id: limitKey }];
}

/** The lease changed and may be free: hosts that could claim it look at it. */
export function leaseChange(resource: string): Change {
  return { about: "lease", id: resource };
}
