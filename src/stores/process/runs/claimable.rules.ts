import type { Change } from "../../../ports/notices.js";
import { leaseChange } from "../../host/leases.rules.js";
import type { ProcessRow } from "../tables.js";

/**
 * Whether hosts find a running process that one of them may claim:
 *
 *     runnable --parkedUntil--> parked (at `dueAtMs`, or without one, it is found again) --claimable--> runnable
 *
 * Exactly one of the columns `runnable` and `parked` is there. Neither is there after its end, nor in a process that no host runs.
 */
export function parkedUntil(process: ProcessRow, dueAtMs: number | undefined, isSuspended = false): ProcessRow {
  const { runnable, parked, dueAtMs: _, suspended: __, ...rest } = unpaused(process);
  const name = runnable ?? parked;
  if (name === undefined) return process;
  return {
    ...rest,
    parked: name,
    ...(dueAtMs !== undefined && { dueAtMs }),
    ...(isSuspended && { suspended: 1 as const }),
  } as ProcessRow;
}

/** The process as hosts find it again at once. The same row if they do already. */
export function claimable(process: ProcessRow): ProcessRow {
  const { parked, dueAtMs: _, suspended: __, ...rest } = unpaused(process);
  return parked === undefined ? process : ({ ...rest, runnable: parked } as ProcessRow);
}

/** Whether no host may claim it yet. */
export function isParked({ parked, dueAtMs }: ProcessRow, nowMs: number): boolean {
  return parked !== undefined && (dueAtMs === undefined || dueAtMs > nowMs);
}

/** The process after the pause between two tries of it, or at its end. */
export function unpaused(process: ProcessRow): ProcessRow {
  if (process.attempts?.retryAtMs === undefined) return process;
  const { retryAtMs: _, ...attempts } = process.attempts;
  return { ...process, attempts };
}

/**
 * What a cancel request does at once: `ended`: no handler has the process and none is waited for, so it ends as cancelled in the same write;
 * `claimable`: a host takes it up, and its handler ends it; `asked`: its handler, or the next host that claims it, ends it.
 */
export function afterCancel({ parked, suspended }: ProcessRow): "ended" | "claimable" | "asked" {
  if (parked === undefined) return "asked";
  return suspended ? "claimable" : "ended";
}

/** What a write that parks a process tells: its lease is free, but no host may claim it before it is due. */
export function parkedChanges(process: ProcessRow): Change[] {
  return [{ ...leaseChange(process.processId), member: "parked" }, ...dueChanges(process)];
}

/** When the process is due, if it is parked: hosts that can run it look at that time. */
export function dueChanges({ parked, dueAtMs }: ProcessRow): Change[] {
  return parked === undefined || dueAtMs === undefined ? [] : [{ about: "parked", id: parked, sequence: dueAtMs }];
}
