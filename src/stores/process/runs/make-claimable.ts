import { accept, type Command } from "../../../corridor/command.js";
import { leaseChange } from "../../host/leases.rules.js";
import { findRow } from "../../schema.js";
import type { ProcessRow } from "../tables.js";
import { claimable, isParked } from "./claimable.rules.js";

/** Makes those of the processes claimable that are parked and due. Replies with their ids. An unreadable row harms no other. */
export const makeClaimable: Command<{ processIds: readonly string[] }, ProcessRow[], string[]> = {
  tables: ["processes"],
  async load(reader, { processIds }) {
    const rows = await Promise.all(processIds.map((processId) => findRow(reader, "processes", processId)));
    return rows.filter((row) => row !== undefined && row !== "unreadable");
  },
  decide(processes, _, nowMs) {
    const due = processes.filter((process) => process.parked !== undefined && !isParked(process, nowMs));
    const ids = due.map(({ processId }) => processId);
    return accept(
      ids,
      due.map((process) => ({ table: "processes", put: claimable(process) })),
      ids.map(leaseChange),
    );
  },
  repeatable: () => true,
  // A power cut that loses it leaves the processes parked, and due.
  durability: "relaxed",
};
