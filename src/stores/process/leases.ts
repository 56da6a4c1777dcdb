import { accept, type Command, refuse } from "../../corridor/command.js";
import { HoldfastError } from "../../domain/errors.js";
import type { ProcessLease, ProcessLeaseCompletion } from "../../domain/lease.js";
import type { ClaimLimit } from "../../domain/process/limit.js";
import type { Write } from "../../ports/storage.js";
import { grant, heldChange, leaseOf, renewed } from "../host/claims.rules.js";
import { loadFloor } from "../host/floors.js";
import { saidFarewell } from "../host/hosts.js";
import {
  attemptsOf,
  fence,
  type HeldLeaseRow,
  type Host,
  leaseChange,
  leaseLost,
  placeChange,
  released,
} from "../host/leases.rules.js";
import type { LeaseRow } from "../host/tables.js";
import { loadRow } from "../schema.js";
import { unknownProcess } from "./processes.rules.js";
import { claimable, isParked } from "./runs/claimable.rules.js";
import type { ProcessRow } from "./tables.js";

export interface ClaimProcessLease {
  processId: string;
  ownerId: string;
  ttlMs: number;
  nonce: string;
  host?: Host;
  terms?: ClaimTerms | undefined;
  /** The key by which the process counts for the limit in `terms`. A claim over a lease of its own keeps that lease's key. */
  limitKey?: string | undefined;
  /** The token of the grant to replace. Refused if the lease was claimed or freed since. */
  over?: string;
}

/** What the host that claims has declared for the handler: plain data, since a loop in a worker claims by it. */
export interface ClaimTerms {
  /** The process ends as failed so long after its first claim. */
  readonly timeoutMs?: number;
  /** Only claims of a host's runner are judged by it. */
  readonly limit?: ClaimLimit;
}

/** The lease, and what a runner needs to know at this moment. `process` is the stored row. */
export interface ClaimReply {
  lease: ProcessLease;
  process: ProcessRow;
  /** Claims so far, including this one. */
  attempt: number;
  /** Consecutive claims before this one that ended out of order and stored nothing. */
  fruitless: number;
}

/** What a claim reads. */
export interface ClaimState {
  readonly process: ProcessRow | undefined;
  readonly lease: LeaseRow | undefined;
  readonly farewell: boolean;
  readonly floor: number;
}

/** The rows as a claim leaves them, or why it is refused. */
export function claimed(
  { process, lease, farewell, floor }: ClaimState,
  input: ClaimProcessLease,
  nowMs: number,
): { process: ProcessRow; lease: HeldLeaseRow } | HoldfastError {
  if (!process) return unknownProcess(input.processId);
  if (process.state !== "running") {
    return new HoldfastError("terminal", `process "${input.processId}" is already terminal`, {
      details: { state: process.state },
    });
  }
  if (isParked(process, nowMs)) return notYet(process);
  if (input.over !== undefined && lease?.leaseToken !== input.over) return leaseLost(input.processId);
  const { processId: resource, terms, ...claim } = input;
  const row = grant(
    lease,
    { resource, ...claim },
    { farewell, floor, ...(process.progressFence !== undefined && { progressFence: process.progressFence }) },
    nowMs,
  );
  if (row instanceof HoldfastError) return row;
  return { process: withDeadline(claimable(process), terms, nowMs), lease: row };
}

export function replyOf(process: ProcessRow, lease: HeldLeaseRow): ClaimReply {
  return { lease: leaseOf(lease), process, attempt: attemptsOf(lease), fruitless: lease.fruitless };
}

/** A claim that no limit judges. */
export const claimProcessLease: Command<ClaimProcessLease, ClaimState, ClaimReply> = {
  tables: ["processes", "leases", "farewells", "floors"],
  async load(reader, { processId }) {
    const [process, lease] = await Promise.all([loadRow(reader, "processes", processId), loadRow(reader, "leases", processId)]);
    const [farewell, floor] = await Promise.all([saidFarewell(reader, lease?.bootId), lease ? 0 : loadFloor(reader, "leases")]);
    return { process, lease, farewell, floor };
  },
  decide(state, input, nowMs) {
    const rows = claimed(state, input, nowMs);
    if (rows instanceof HoldfastError) return refuse(rows);
    const { process, lease } = rows;
    return accept(
      replyOf(process, lease),
      [{ table: "leases", put: lease }, ...(process === state.process ? [] : [{ table: "processes", put: process }])],
      // A runner's lease has the usual time to live, so no loop looks before that. A caller that claims by hand chooses its own time to live.
      [input.host ? heldChange(input.processId) : leaseChange(input.processId), ...(state.lease ? placeChange(state.lease) : [])],
    );
  },
};

function notYet({ processId, dueAtMs, suspended }: ProcessRow): HoldfastError {
  const until = dueAtMs === undefined ? "a write brings it back" : `${dueAtMs}`;
  return new HoldfastError("lease-held", `process "${processId}" ${suspended ? "is suspended" : "waits"} until ${until}`, {
    details: { processId, ...(dueAtMs !== undefined && { dueAtMs }) },
  });
}

/** The deadline is set once, by the first claim of a host that has one. */
function withDeadline(process: ProcessRow, terms: ClaimTerms | undefined, nowMs: number): ProcessRow {
  if (terms?.timeoutMs === undefined || process.deadlineAtMs !== undefined) return process;
  return { ...process, deadlineAtMs: Math.min(nowMs + terms.timeoutMs, Number.MAX_SAFE_INTEGER) };
}

type Renewal = { lease: ProcessLease } | { lost: true };

/** Renews all leases of one host in one transaction. Each lease is renewed or lost alone. `waiting`: whose handlers only wait, if known. */
export const renewLeases: Command<
  { leases: readonly ProcessLease[]; ttlMs: number; waiting?: readonly string[] | undefined },
  (LeaseRow | undefined)[],
  Renewal[]
> = {
  tables: ["leases"],
  load: (reader, { leases }) => Promise.all(leases.map(({ processId }) => loadRow(reader, "leases", processId))),
  decide(rows, { leases, ttlMs, waiting }, nowMs) {
    const writes: Write[] = [];
    const renewals = leases.map((lease, at): Renewal => {
      const held = fence(rows[at], lease, nowMs);
      if (held instanceof HoldfastError) return { lost: true };
      const row = renewed(held, ttlMs, nowMs, waiting?.includes(lease.processId));
      writes.push({ table: "leases", put: row });
      return { lease: leaseOf(row) };
    });
    return accept(renewals, writes);
  },
  repeatable: () => true,
};

/** Releases leases whose owners ended in order. A lease whose token is not the stored one is left alone. */
export const releaseLeases: Command<{ leases: readonly ProcessLeaseCompletion[] }, (LeaseRow | undefined)[], void> = {
  tables: ["leases"],
  load: (reader, { leases }) => Promise.all(leases.map(({ processId }) => loadRow(reader, "leases", processId))),
  decide(rows, { leases }) {
    const ours = rows.filter(
      (row, at): row is LeaseRow => row?.leaseToken !== undefined && row.leaseToken === leases[at]?.leaseToken,
    );
    return accept(
      undefined,
      ours.map((row) => ({ table: "leases", put: released(row, true) })),
      ours.flatMap((row) => [leaseChange(row.resource), ...placeChange(row)]),
    );
  },
  repeatable: () => true,
};
