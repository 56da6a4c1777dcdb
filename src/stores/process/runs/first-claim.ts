import { accept, type Command, type StateOf } from "../../../corridor/command.js";
import type { ProcessRecord } from "../../../domain/process/process.js";
import { leaseOf } from "../../host/claims.rules.js";
import { attemptsOf, isLive } from "../../host/leases.rules.js";
import { type ClaimProcessLease, type ClaimReply, claimProcessLease } from "../leases.js";
import { type RegisterProcess, registerProcess } from "../processes.js";
import type { ProcessRow } from "../tables.js";

/** A claim for the host that registers the process. */
export type FirstClaim = Omit<ClaimProcessLease, "processId" | "over">;

/**
 * Registers a process and claims it in one write: both are stored or neither is. A process that is registered already is not claimed: it is
 * left to the host that has it.
 */
export const registerAndClaim: Command<
  { register: RegisterProcess; claim: FirstClaim },
  { registered: StateOf<typeof registerProcess>; claimed: StateOf<typeof claimProcessLease> },
  { record: ProcessRecord; claim?: ClaimReply }
> = {
  tables: [...new Set([...registerProcess.tables, ...claimProcessLease.tables])],
  async load(reader, { register, claim }) {
    const [registered, claimed] = await Promise.all([
      registerProcess.load(reader, register),
      claimProcessLease.load(reader, { processId: register.registration.id, ...claim }),
    ]);
    return { registered, claimed };
  },
  decide({ registered, claimed }, { register, claim }, nowMs) {
    const decided = registerProcess.decide(registered, register, nowMs);
    if (decided.kind !== "accept") return decided;
    const { reply: record, writes, changes } = decided;
    const { stored } = registered;
    if (stored) {
      // The same command runs again: its own first write was stored, but the reply was lost.
      const { lease } = claimed;
      if (!isLive(lease, nowMs) || lease.ownerId !== claim.ownerId) return accept({ record }, writes, changes);
      const { process } = stored;
      const held = { lease: leaseOf(lease), process, attempt: attemptsOf(lease), fruitless: lease.fruitless };
      return accept({ record, claim: held }, writes, changes);
    }
    const process = writes.find(({ table }) => table === "processes") as unknown as { put: ProcessRow };
    const given = claimProcessLease.decide({ ...claimed, process: process.put }, { processId: record.id, ...claim }, nowMs);
    if (given.kind !== "accept") return accept({ record }, writes, changes);
    return accept({ record, claim: given.reply }, [...writes, ...given.writes], [...changes, ...given.changes]);
  },
  repeatable: () => true,
};
