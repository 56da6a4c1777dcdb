import { checkId, checkWhole, membersOf, someMembersOf } from "./check.js";
import { invalid } from "./errors.js";
import { checkRuntimeId } from "./runtime-id.js";

/**
 * One owner's right to write, as its holder has it. `fencingToken` grows by one with every claim. Times in epoch milliseconds.
 */
export interface ProcessLease {
  schemaVersion: 1;
  processId: string;
  ownerId: string;
  /** Known to the holder alone: reads, notices and logs do not have it. */
  leaseToken: string;
  fencingToken: number;
  claimedAtMs: number;
  expiresAtMs: number;
}

/** Gives a lease back: the part of a lease that `completeProcessLease` takes. */
export interface ProcessLeaseCompletion {
  processId: string;
  leaseToken: string;
}

/** The kernel makes owner ids and tokens of up to 64 characters, whatever limit an app sets for its own. */
export function madeLength(maxLength: number): number {
  return Math.max(maxLength, 64);
}

/** Times in a presented lease are ignored: the stored expiry decides. A lease of a newer holdfast may have more members. */
export function checkLease(field: string, value: unknown, maxLength: number): ProcessLease {
  const m = someMembersOf(field, value, [
    "schemaVersion",
    "processId",
    "ownerId",
    "leaseToken",
    "fencingToken",
    "claimedAtMs",
    "expiresAtMs",
  ]);
  if (m.schemaVersion !== 1) throw invalid(`${field}.schemaVersion must be 1`);
  return {
    schemaVersion: 1,
    processId: checkRuntimeId(`${field}.processId`, m.processId, maxLength),
    ownerId: checkId(`${field}.ownerId`, m.ownerId, madeLength(maxLength)),
    leaseToken: checkId(`${field}.leaseToken`, m.leaseToken, madeLength(maxLength)),
    fencingToken: checkWhole(`${field}.fencingToken`, m.fencingToken, 1),
    claimedAtMs: checkWhole(`${field}.claimedAtMs`, m.claimedAtMs, Number.MIN_SAFE_INTEGER),
    expiresAtMs: checkWhole(`${field}.expiresAtMs`, m.expiresAtMs, Number.MIN_SAFE_INTEGER),
  };
}

/** The lease in the options of a write. The write is refused when that lease is not the live one. */
export function checkFence(field: string, value: unknown, maxLength: number): ProcessLease | undefined {
  if (value === undefined) return undefined;
  const { lease } = membersOf(field, value, ["lease"]);
  return lease === undefined ? undefined : checkLease(`${field}.lease`, lease, maxLength);
}
