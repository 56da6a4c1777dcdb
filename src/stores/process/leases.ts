import { accept, type Command, refuse } from "../../corridor/command.js";
import { HoldfastError } from "../../domain/errors.js";
import type { ProcessLease, ProcessLeaseCompletion } from "../../domain/lease.js";
import type { Write } from "../../ports/storage.js";
import { grant, heldChange, leaseOf, renewed } from "../host/claims.rules.js";
import { loadFloor } from "../host/floors.js";
import { saidFarewell } from "../host/hosts.js";
import { attemptsOf, fence, type Host, leaseChange, leaseLost, released } from "../host/leases.rules.js";
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
  /** The token of the grant to replace. Refused if the lease was claimed or freed since. */
  over?: string;
}

/** What the host that claims has declared for the handler: plain data, since a loop in a worker claims by it. */
export interface ClaimTerms {
  /** The process ends as failed so long after its first claim. */
  readonly timeoutMs?: number;
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

export const claimProcessLease: Command<
  ClaimProcessLease,
  { process: ProcessRow | undefined; lease: LeaseRow | undefined; farewell: boolean; floor: number },
  ClaimReply
> = {
  tables: ["processes", "leases", "farewells", "floors"],
  async load(reader, { processId }) {
    const [process, lease] = await Promise.all([loadRow(reader, "processes", processId), loadRow(reader, "leases", processId)]);
    const [farewell, floor] = await Promise.all([saidFarewell(reader, lease?.bootId), lease ? 0 : loadFloor(reader, "leases")]);
    return { process, lease, farewell, floor };
  },
  decide({ process, lease, farewell, floor }, input, nowMs) {
    if (!process) return refuse(unknownProcess(input.processId));
    if (process.state !== "running") {
      return refuse(
        new HoldfastError("terminal", `process "${input.processId}" is already terminal`, { details: { state: process.state } }),
      );
    }
    if (isParked(process, nowMs)) return refuse(notYet(process));
    if (input.over !== undefined && lease?.leaseToken !== input.over) return refuse(leaseLost(input.processId));
    const { processId: resource, terms, ...claim } = input;
    const row = grant(
      lease,
      { resource, ...claim },
      { farewell, floor, ...(process.progressFence !== undefined && { progressFence: process.progressFence }) },
      nowMs,
    );
    if (row instanceof HoldfastError) return refuse(row);
    const claimed = withDeadline(claimable(process), terms, nowMs);
    return accept(
      { lease: leaseOf(row), process: claimed, attempt: attemptsOf(row), fruitless: row.fruitless },
      [{ table: "leases", put: row }, ...(claimed === process ? [] : [{ table: "processes", put: claimed }])],
      // A runner's lease has the usual time to live, so no loop looks before that. A caller that claims by hand chooses its own time to live.
      [claim.host ? heldChange(resource) : leaseChange(resource)],
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
      ours.map(({ resource }) => leaseChange(resource)),
    );
  },
  repeatable: () => true,
};
