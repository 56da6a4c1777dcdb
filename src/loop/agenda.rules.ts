import type { Timings } from "../domain/time.js";

/**
 * Decides what a turn of the loop must do, and when the next turn is. Every time is passed in, in monotonic milliseconds:
 *
 *     begin -> whether to beat and renew      search -> everything, the backlog or what is due      nextMs -> when the next turn is
 *
 * Processes and sessions are named by their ids. A turn looks at the ids that were heard of before it asked the page, so that the page's
 * answer holds for them. Later ids wait for the next turn.
 */
export interface Agenda {
  /** Turns in a row that failed. */
  readonly failedTurns: number;
  /** The time until which new processes are left to other hosts; undefined if none are left. */
  readonly leftUntilMs: number | undefined;
  /** The next search covers everything. */
  searchAll(): void;
  /** The next turn looks at this id. */
  hear(id: string): void;
  /** Ids were heard of: the next turn must come at once. */
  readonly hasHeard: boolean;
  /** Leaves a process to another host, which may claim it first. One time holds for all that are left. */
  leave(id: string, untilMs: number): void;
  /** Another host holds the process, or it has ended. True if it was the last one left: no turn is needed for these any more. */
  drop(id: string): boolean;
  /** A turn begins: what was heard of is due. */
  begin(startedMs: number): { readonly beats: boolean; readonly renews: boolean };
  /** This turn looks at these ids, too. */
  add(ids: Iterable<string>): void;
  /** What this turn searches, once the page has told what it can run. */
  search(startedMs: number, page: { readonly hasBacklog: boolean; readonly free: number }): Search;
  /** The ids that are due; each is given once. */
  take(): string[];
  /** Sets the time of the next beat; a failed one is tried again sooner. */
  beaten(nowMs: number, hasFailed?: boolean): void;
  /** Sets the time of the next renewal; a failed one is tried again sooner. */
  renewed(nowMs: number, hasFailed?: boolean): void;
  succeeded(): void;
  /** The next search covers everything: it is unknown what this turn left undone. */
  failed(): void;
  /** The time of the next turn: `othersMs` at the latest. */
  nextMs(nowMs: number, othersMs: number): number;
}

/** "backlog": a slot fell free, and processes wait for one. "due": the ids that `take` gives, and no others. */
export type Search = "everything" | "backlog" | "due" | "nothing";

/** The least time between two turns, unless processes that were left to other hosts are due. */
const SOONEST_MS = 20;
/** The unit of the time for which a new process is left to the host that registered it. */
const LEAVE_MS = 40;
/** What failed is tried again after this share of its interval. */
const RETRY = 1 / 4;

/** A busy host waits longer; `chance`, from 0 up to 1, keeps hosts from coming all at once. */
export function leaveMs({ free, slots }: { readonly free: number; readonly slots: number }, chance: number): number {
  return Math.ceil(LEAVE_MS * (1 - free / slots + chance));
}

export function createAgenda(timings: Timings, nowMs: number): Agenda {
  const { heartbeatMs, leaseRenewMs, sweepMs } = timings;
  const heard = new Set<string>();
  const left = new Set<string>();
  const due = new Set<string>();
  let leftUntilMs: number | undefined;
  let everything = true;
  // Both are due at once: the loop before this one may have died long after its last renewal.
  let beatAtMs = nowMs;
  let renewAtMs = nowMs;
  let sweepAtMs = nowMs + sweepMs;
  let failedTurns = 0;

  return {
    get failedTurns() {
      return failedTurns;
    },
    get leftUntilMs() {
      return leftUntilMs;
    },
    get hasHeard() {
      return heard.size > 0;
    },
    searchAll() {
      everything = true;
    },
    hear: (id) => void heard.add(id),
    leave(id, untilMs) {
      left.add(id);
      leftUntilMs ??= untilMs;
    },
    drop(id) {
      heard.delete(id);
      if (!left.delete(id) || left.size > 0) return false;
      leftUntilMs = undefined;
      return true;
    },
    begin(startedMs) {
      for (const id of heard) due.add(id);
      heard.clear();
      if (leftUntilMs !== undefined && startedMs >= leftUntilMs) {
        for (const id of left) due.add(id);
        left.clear();
        leftUntilMs = undefined;
      }
      return { beats: startedMs >= beatAtMs, renews: startedMs >= renewAtMs };
    },
    add(ids) {
      for (const id of ids) due.add(id);
    },
    search(startedMs, { hasBacklog, free }) {
      const isSweep = startedMs >= sweepAtMs;
      if (isSweep) sweepAtMs = startedMs + sweepMs;
      if (isSweep || everything) {
        everything = false;
        return "everything";
      }
      if (hasBacklog && free > 0) return "backlog";
      return due.size > 0 ? "due" : "nothing";
    },
    take() {
      const ids = [...due];
      due.clear();
      return ids;
    },
    beaten(atMs, hasFailed = false) {
      beatAtMs = atMs + heartbeatMs * (hasFailed ? RETRY : 1);
    },
    renewed(atMs, hasFailed = false) {
      renewAtMs = atMs + leaseRenewMs * (hasFailed ? RETRY : 1);
    },
    succeeded() {
      failedTurns = 0;
    },
    failed() {
      failedTurns++;
      everything = true;
    },
    nextMs(atMs, othersMs) {
      const soonest = failedTurns > 0 ? atMs + leaseRenewMs * RETRY : Math.min(sweepAtMs, renewAtMs, beatAtMs, othersMs);
      return Math.min(Math.max(soonest, atMs + SOONEST_MS), leftUntilMs ?? Number.POSITIVE_INFINITY);
    },
  };
}
