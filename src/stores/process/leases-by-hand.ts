import type { Corridor } from "../../corridor/command.js";
import { checkId, checkWhole, someMembersOf } from "../../domain/check.js";
import { checkLease, madeLength, type ProcessLease, type ProcessLeaseCompletion } from "../../domain/lease.js";
import { checkRuntimeId } from "../../domain/runtime-id.js";
import type { Limits } from "../../domain/time.js";
import { leaseOf } from "../host/claims.rules.js";
import { isLive, leaseLost } from "../host/leases.rules.js";
import { loadRow } from "../schema.js";
import { claimProcessLease, releaseLeases, renewLeases } from "./leases.js";

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
