import { accept, type Command, refuse } from "../../../corridor/command.js";
import { HoldfastError } from "../../../domain/errors.js";
import type { ProcessLease } from "../../../domain/lease.js";
import type { ProcessProgress } from "../../../domain/process/process.js";
import { awoken, fence } from "../../host/leases.rules.js";
import type { LeaseRow } from "../../host/tables.js";
import { loadRow } from "../../schema.js";
import { unknownProcess, withProgress } from "../processes.rules.js";
import type { ProcessRow } from "../tables.js";

/** How far a handler says it is. The next progress overwrites it, so it may be lost in a power cut. */
export const setProgress: Command<
  { progress: Omit<ProcessProgress, "atMs">; lease: ProcessLease },
  { process: ProcessRow | undefined; lease: LeaseRow | undefined },
  void
> = {
  tables: ["processes", "leases"],
  async load(reader, { lease: { processId } }) {
    const [process, lease] = await Promise.all([loadRow(reader, "processes", processId), loadRow(reader, "leases", processId)]);
    return { process, lease };
  },
  decide({ process, lease: leaseRow }, { progress, lease }, nowMs) {
    if (!process) return refuse(unknownProcess(lease.processId));
    const fenced = fence(leaseRow, lease, nowMs);
    if (fenced instanceof HoldfastError) return refuse(fenced);
    return accept(
      undefined,
      [{ table: "processes", put: withProgress(process, progress, nowMs) }, ...awoken(leaseRow)],
      [{ about: "record", id: lease.processId }],
    );
  },
  repeatable: () => true,
  durability: "relaxed",
};
