import { accept, type Command, type StateOf } from "../../../corridor/command.js";
import { handlerOf, type ProcessRecord, runnableBy } from "../../../domain/process/process.js";
import { isLive } from "../../host/leases.rules.js";
import { type ClaimProcessLease, type ClaimReply, replyOf } from "../leases.js";
import { type RegisterProcess, registerProcess } from "../processes.js";
import type { ProcessRow } from "../tables.js";
import { limitWaits } from "../waits/waits.rules.js";
import { claimForRunner, loadRunnerClaim } from "./limits.js";

/** A claim for the host that registers the process. */
export type FirstClaim = Omit<ClaimProcessLease, "processId" | "over">;

/**
 * Registers a process and claims it in one write: both are stored or neither is. If a limit holds it back, it is registered so. A process
 * that is registered already is not claimed: it is left to the host that has it.
 */
export const registerAndClaim: Command<
  { register: RegisterProcess; claim: FirstClaim },
  { registered: StateOf<typeof registerProcess>; claimed: StateOf<typeof claimForRunner> },
  { record: ProcessRecord; claim?: ClaimReply }
> = {
  tables: [...new Set([...registerProcess.tables, ...claimForRunner.tables])],
  async load(reader, { register, claim }) {
    const { id: processId, input } = register.registration;
    const [registered, claimed] = await Promise.all([
      registerProcess.load(reader, register),
      loadRunnerClaim(reader, { processId, ...claim }, runnableBy(input.type, handlerOf(input))),
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
      return accept({ record, claim: replyOf(stored.process, lease) }, writes, changes);
    }
    const process = writes.find(({ table }) => table === "processes") as unknown as { put: ProcessRow };
    const given = claimForRunner.decide({ ...claimed, process: process.put }, { processId: record.id, ...claim }, nowMs);
    if (given.kind !== "accept") return accept({ record }, writes, changes);
    const { reply } = given;
    const started =
      "heldBack" in reply ? { record: { ...record, waiting: limitWaits(reply.heldBack) } } : { record, claim: reply };
    return accept(started, [...writes, ...given.writes], [...changes, ...given.changes]);
  },
  repeatable: () => true,
};
