import { accept, type Command, type Corridor, refuse } from "../../corridor/command.js";
import { checkId, checkWhole, someMembersOf } from "../../domain/check.js";
import { HoldfastError } from "../../domain/errors.js";
import { checkLease, madeLength, type ProcessLease, type ProcessLeaseCompletion } from "../../domain/lease.js";
import { checkRuntimeId } from "../../domain/runtime-id.js";
import type { Limits } from "../../domain/time.js";
import type { Write } from "../../ports/storage.js";
import { loadFloor } from "../host/floors.js";
import { saidFarewell } from "../host/hosts.js";
import {
  attemptsOf,
  fence,
  grant,
  type Host,
  heldChange,
  isLive,
  leaseChange,
  leaseLost,
  leaseOf,
  released,
  renewed,
} from "../host/leases.rules.js";
import type { LeaseRow } from "../host/tables.js";
import { loadRow } from "../schema.js";
import { unknownProcess } from "./processes.rules.js";
import type { ProcessRow } from "./tables.js";

export interface ClaimProcessLease {
  processId: string;
  ownerId: string;
  ttlMs: number;
  nonce: string;
  host?: Host;
  /** The token of the grant to replace. Refused if the lease was claimed or freed since. */
  over?: string;
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
    if (input.over !== undefined && lease?.leaseToken !== input.over) return refuse(leaseLost(input.processId));
    const { processId: resource, ...claim } = input;
    const row = grant(
      lease,
      { resource, ...claim },
      { farewell, floor, ...(process.progressFence !== undefined && { progressFence: process.progressFence }) },
      nowMs,
    );
    if (row instanceof HoldfastError) return refuse(row);
    return accept(
      { lease: leaseOf(row), process, attempt: attemptsOf(row), fruitless: row.fruitless },
      [{ table: "leases", put: row }],
      // A runner's lease has the usual time to live, so no loop looks before that. A caller that claims by hand chooses its own time to live.
      [claim.host ? heldChange(resource) : leaseChange(resource)],
    );
  },
};

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

export interface LeaseMethods {
  /** The live lease without its token, or `undefined`. Takes the runtime id of a session, too. */
  getLease(processId: string): Promise<Omit<ProcessLease, "leaseToken"> | undefined>;
  /**
   * Claims the process for `ttlMs` milliseconds. The lease's fencing token is higher than that of every lease before it. Rejects `lease-held`
   * while another lease is live, `terminal` where the process has ended, `not-found`, `invalid`.
   */
  claimProcessLease(processId: string, ownerId: string, ttlMs: number): Promise<ProcessLease>;
  /** Makes the lease live for `ttlMs` milliseconds from now. Rejects `lease-lost` where it is not the live one. */
  renewProcessLease(lease: ProcessLease, ttlMs: number): Promise<ProcessLease>;
  /** Hands the lease back. A token that is not the live lease's changes nothing. */
  completeProcessLease(completion: ProcessLeaseCompletion): Promise<void>;
}

export function leaseMethods(corridor: Corridor, limits: Limits, newNonce: () => string): LeaseMethods {
  return {
    async getLease(processId) {
      // The id may also be a session's runtime id: its lease names the executor.
      const resource = checkRuntimeId("processId", processId, limits.idLength);
      const row = await corridor.query(["leases"], async (reader, now) => {
        const stored = await loadRow(reader, "leases", resource);
        return isLive(stored, now()) ? stored : undefined;
      });
      if (!row) return undefined;
      const { leaseToken: _, ...shown } = leaseOf(row);
      return shown;
    },
    async claimProcessLease(processId, ownerId, ttlMs) {
      const input = {
        processId: checkId("processId", processId, limits.idLength),
        ownerId: checkId("ownerId", ownerId, limits.idLength),
        ttlMs: checkTtl(ttlMs),
        nonce: newNonce(),
      };
      return (await corridor.run(claimProcessLease, input)).lease;
    },
    async renewProcessLease(lease, ttlMs) {
      const presented = checkLease("lease", lease, limits.idLength);
      const [renewal] = await corridor.run(renewLeases, { leases: [presented], ttlMs: checkTtl(ttlMs) });
      if (renewal && "lease" in renewal) return renewal.lease;
      throw leaseLost(presented.processId);
    },
    async completeProcessLease(completion) {
      const { processId, leaseToken } = someMembersOf("completion", completion, ["processId", "leaseToken"]);
      const lease = {
        processId: checkId("completion.processId", processId, limits.idLength),
        leaseToken: checkId("completion.leaseToken", leaseToken, madeLength(limits.idLength)),
      };
      await corridor.run(releaseLeases, { leases: [lease] });
    },
  };
}

/** A time to live for which the expiry stays a safe integer. */
function checkTtl(value: unknown): number {
  return checkWhole("ttlMs", value, 0, 1e15);
}
