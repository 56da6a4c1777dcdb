import { accept, type Command, refuse } from "../../../corridor/command.js";
import { HoldfastError } from "../../../domain/errors.js";
import type { ProcessLease } from "../../../domain/lease.js";
import { fence, placeChange, released } from "../../host/leases.rules.js";
import type { LeaseRow } from "../../host/tables.js";
import { loadRow } from "../../schema.js";
import { parkedChanges, parkedUntil } from "../runs/claimable.rules.js";
import type { EventRow, ProcessRow } from "../tables.js";
import { oldestSignal } from "./signals.js";
import { leastDueMs } from "./waits.rules.js";

interface Suspend {
  readonly lease: ProcessLease;
  /** All that the run waits for. */
  readonly waits: readonly { readonly dueAtMs?: number; readonly name?: string }[];
}

/**
 * Hands the lease of a run that only waits back, and parks its process until the first of the waits or the process's own deadline is due.
 * Replies false and writes nothing where the run has something to do: it was asked to cancel, a wait or the deadline is due, or a signal that
 * it waits for is stored.
 */
export const suspendProcess: Command<
  Suspend,
  { process: ProcessRow | undefined; lease: LeaseRow | undefined; signals: readonly (EventRow | undefined)[] },
  boolean
> = {
  tables: ["processes", "leases", "events"],
  async load(reader, { lease: { processId }, waits }) {
    const names = new Set(waits.flatMap(({ name }) => (name === undefined ? [] : [name])));
    const [process, lease, signals] = await Promise.all([
      loadRow(reader, "processes", processId),
      loadRow(reader, "leases", processId),
      Promise.all([...names].map((name) => oldestSignal(reader, { processId, name }))),
    ]);
    return { process, lease, signals };
  },
  decide({ process, lease: row, signals }, { lease, waits }, nowMs) {
    if (process && isSuspendedAlready(process, row, lease)) return accept(true);
    const held = fence(row, lease, nowMs);
    if (held instanceof HoldfastError) return refuse(held);
    if (process?.state !== "running" || process.cancelRequested !== undefined) return accept(false);
    const least = Math.min(process.deadlineAtMs ?? NEVER, leastDueMs(waits));
    if (least <= nowMs || signals.some((signal) => signal !== undefined)) return accept(false);
    const parked = parkedUntil(process, least === NEVER ? undefined : least, true);
    return accept(
      true,
      [
        { table: "processes", put: parked },
        { table: "leases", put: released(held, true) },
      ],
      [...parkedChanges(parked), ...placeChange(held)],
    );
  },
  repeatable: () => true,
};

const NEVER = Number.POSITIVE_INFINITY;

/** The first commit of a write that is repeated returned its own lease, and no host claimed it since. */
function isSuspendedAlready({ suspended }: ProcessRow, row: LeaseRow | undefined, lease: ProcessLease): boolean {
  return suspended === 1 && row?.fencingToken === lease.fencingToken && row.leaseToken === undefined;
}
