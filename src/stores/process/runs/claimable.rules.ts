import type { Change } from "../../../ports/notices.js";
import { leaseChange } from "../../host/leases.rules.js";
import type { ProcessRow } from "../tables.js";

/**
 * Whether hosts find a running process that one of them may claim:
 *
 *     runnable --parkedUntil--> parked (at `dueAtMs`, or without one, it is found again) --claimable--> runnable
 *     runnable --heldBack--> limited (found by the limit's key, while that has a place) --claimable--> runnable
 *
 * Exactly one of the columns `runnable`, `parked` and `limited` is there. None is there after its end, nor in a process that no host runs.
 */
export function parkedUntil(process: ProcessRow, dueAtMs: number | undefined, isSuspended = false): ProcessRow {
  const [name, rest] = withoutPlace(process);
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
  const [name, rest] = withoutPlace(process);
  return name === undefined || name === process.runnable ? process : ({ ...rest, runnable: name } as ProcessRow);
}

/** What a host needs to run it, whichever column holds that, and the row without what says how hosts find it. */
export function withoutPlace(process: ProcessRow): [name: string | undefined, rest: Omit<ProcessRow, "runnable">] {
  const {
    runnable,
    parked,
    dueAtMs: _,
    suspended: _1,
    limited,
    limitKey: _2,
    limitedAtMs: _3,
    unclaimed: _4,
    ...rest
  } = unpaused(process);
  return [runnable ?? parked ?? limited, rest];
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
export function afterCancel({ parked, suspended, unclaimed }: ProcessRow): "ended" | "claimable" | "asked" {
  if (parked === undefined) return unclaimed ? "ended" : "asked";
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
