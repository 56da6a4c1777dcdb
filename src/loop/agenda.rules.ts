import type { Timings } from "../domain/time.js";

/**
 * What a turn of the loop must do, and when the next turn is. The agenda is told every time, in monotonic milliseconds, and does nothing
 * itself:
 *
 *     begin -> whether to beat and renew        look -> at everything, at the backlog, at what is due        nextMs -> when again
 *
 * Processes and sessions are heard of by their ids. A turn looks at those that were heard of before it asked the page, so that what the
 * page told holds for them; later ones wait for the next turn.
 */
export interface Agenda {
  /** Turns in a row that failed. */
  readonly failedTurns: number;
  /** Until when new processes are left to other hosts, while any are. */
  readonly leftUntilMs: number | undefined;
  /** The next look is at everything. */
  lookAtAll(): void;
  /** The next turn looks at it. */
  hear(id: string): void;
  /** Something is there for the next turn, which is to come at once. */
  readonly hasHeard: boolean;
  /** Left to another host, which may claim it first. One time holds for all that are left. */
  leave(id: string, untilMs: number): void;
  /** Another host has it, or it has ended. True when no more are left, so that their time is no time for a turn. */
  drop(id: string): boolean;
  /** A turn begins: what was heard of is due. */
  begin(startedMs: number): { readonly beats: boolean; readonly renews: boolean };
  /** This turn looks at these, too. */
  add(ids: Iterable<string>): void;
  /** What is left to do once the page has told what it can run. */
  look(startedMs: number, page: { readonly hasBacklog: boolean; readonly free: number }): Look;
  /** What is due, once. */
  take(): string[];
  /** The beat was written, or sent; a failed one is tried again sooner. */
  beaten(nowMs: number, hasFailed?: boolean): void;
  renewed(nowMs: number, hasFailed?: boolean): void;
  succeeded(): void;
  /** Nothing is known of what the turn left undone. */
  failed(): void;
  /** When the next turn is, at the latest at `othersMs`. */
  nextMs(nowMs: number, othersMs: number): number;
}

/** "backlog": a slot fell free, and processes wait for one. "due": the ids that `take` gives, and no others. */
export type Look = "everything" | "backlog" | "due" | "nothing";

/** Between two turns, but for processes whose time to be left to other hosts is over. */
const SOONEST_MS = 20;
/** How long a new process is left to the host that registered it, and by how much hosts differ in that. */
const LEAVE_MS = 40;
/** What failed is tried again after so much of its time. */
const RETRY = 1 / 4;

/** A busy host waits longer, and `chance`, from 0 up to 1, keeps hosts from coming all at once. */
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
  // At once: the loop that was here before may have died long after its last renewal.
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
    lookAtAll() {
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
    look(startedMs, { hasBacklog, free }) {
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
