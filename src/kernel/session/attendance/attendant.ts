import type { Corridor } from "../../../corridor/command.js";
import { isHoldfastError } from "../../../domain/errors.js";
import { rollOf } from "../../../domain/retry.rules.js";
import { isRuntimeId } from "../../../domain/runtime-id.js";
import type { Limits, Timings } from "../../../domain/time.js";
import type { Clock } from "../../../ports/clock.js";
import type { Change, Notices } from "../../../ports/notices.js";
import {
  countInputs,
  DUE_TABLES,
  type DueSession,
  type DueSessions,
  loadDue,
  loadDueOf,
} from "../../../stores/session/inputs/due.js";
import type { Fault } from "../../host/loop-contract.js";
import { type LocalSession, tellSessionFault } from "../local-session.js";
import type { LookEnd } from "../pacing.rules.js";
import { type CheckedSessionOptions, checkSessionOptions } from "../session.js";
import { createBackOff } from "./back-off.rules.js";

/**
 * Goes on with the sessions that wait and that no code of this tab has open, with the kernel's own turn handler:
 *
 *     notice or poll -> look (which sessions are due, and not held?) -> visit: open the session, let its executor run until it rests, leave
 *
 * A visit takes one of the tab's places. What finds no place waits for the next free one, and those that wait the longest go first.
 */
export interface Attendant {
  /** The app has left the session, and something may wait in it. */
  left(runtimeId: string): void;
  /** Looks no more, and ends its visits. The executors were ended already. */
  stop(): void;
}

/** The time for which the attendant has a session open, or the kernel after the app left it in the middle of a turn of the kernel's. */
interface Visit {
  /** Another turn may begin. While other sessions wait for the place, a visit has one turn. */
  mayBegin(): boolean;
  /** A turn is run with the kernel's handler. */
  ran(): void;
  rested(end: LookEnd): void;
}

/** A session that this tab has open. */
export interface Opened {
  readonly session: LocalSession;
  /** Options of the app's call that opened it first. */
  options: CheckedSessionOptions;
  /** How many objects of it the app holds. */
  uses: number;
  /** How many turns the kernel's handler runs in it. */
  turns: number;
  /** While the kernel has it open for its own handler. */
  visit: Visit | undefined;
}

interface AttendantParts {
  readonly corridor: Corridor;
  readonly notices: Notices;
  readonly clock: Clock;
  readonly timings: Timings;
  /** How many visits there may be at once. */
  readonly concurrency: number;
  newNonce(): string;
  readonly limits: Limits;
  /** The sessions that this tab has open, by runtime id. */
  readonly entries: Map<string, Opened>;
  openHere(
    sessionId: string,
    options: CheckedSessionOptions,
    hold: (entry: Opened) => void,
    incarnation: number,
  ): Promise<unknown>;
  /** Closes the session here, unless the app has it open. */
  leave(entry: Opened): Promise<void>;
  fault(fault: Fault): void;
}

/** The unit of the time for which news is left to the tab that made it, which mostly goes on by itself. */
const NEWS_LEFT_MS = 40;
/** Sessions of older schemas whose inputs one look counts. */
const COUNTED_AT_ONCE = 16;
/** Sessions that notices name. If there are more, a look finds them by the index. */
const MOST_HEARD = 64;

export function createAttendant(parts: AttendantParts): Attendant {
  const { corridor, clock, timings, concurrency, entries } = parts;
  const options = checkSessionOptions({}, parts.limits);
  /** By runtime id; with the session, once it is open. */
  const visits = new Map<string, Opened | undefined>();
  /** Sessions that a notice named, and the time at which they are looked at. */
  const heard = new Set<string>();
  let heardDueMs = 0;
  /** Sessions that another tab ran when this was last heard or read, with the highest input revision heard since. Emptied at each poll. */
  const held = new Map<string, number>();
  const backOff = createBackOff(timings.pollMs);
  /** More sessions wait than there are places. */
  let hasBacklog = false;
  let pollAtMs = clock.monotonicMs();
  /** When the sessions that others run are looked at: their leases may have run out without a notice. */
  let surveyAtMs = pollAtMs;
  /** Sessions of older schemas were found, whose inputs were never counted. */
  let hasUncounted = false;
  let isLooking = false;
  let isOver = false;
  let cancelTimer = () => {};

  const free = () => concurrency - visits.size;

  function hear(changes: readonly Change[]): void {
    const leases = new Map(changes.filter(({ about }) => about === "lease").map((change) => [change.id, change]));
    for (const { about, id, sequence = Number.POSITIVE_INFINITY } of changes) {
      if ((about !== "input" && about !== "runtime" && about !== "lease") || !isRuntimeId(id) || entries.has(id)) continue;
      const revision = Math.max(held.get(id) ?? 0, about === "input" ? sequence : 0);
      if (about === "input") backOff.hear(id, sequence);
      const lease = leases.get(id);
      // The holder of the lease goes on by itself while something waits.
      if (lease ? lease.member === "held" : held.has(id)) {
        held.set(id, revision);
        heard.delete(id);
      }
      // The last holder left nothing to do of all that it knew of.
      else if (lease?.member !== "idle" || revision > (lease.sequence ?? 0)) note(id);
    }
    for (const [id, { member }] of leases) if (member !== "held") held.delete(id);
    plan();
  }

  function note(runtimeId: string): void {
    if (heard.size === 0) heardDueMs = clock.monotonicMs() + leaveMs();
    heard.add(runtimeId);
    if (heard.size <= MOST_HEARD) return;
    heard.clear();
    pollAtMs = Math.min(pollAtMs, heardDueMs);
  }

  /** A busy tab waits longer, and chance keeps tabs from looking all at once. */
  function leaveMs(): number {
    return Math.ceil(NEWS_LEFT_MS * (1 + visits.size / concurrency + rollOf(parts.newNonce())));
  }

  function plan(): void {
    cancelTimer();
    if (isOver || isLooking) return;
    const inMs = nextLookMs() - clock.monotonicMs();
    if (inMs > 0) cancelTimer = clock.setTimer(plan, inMs);
    else void look();
  }

  function nextLookMs(): number {
    // Without a free place, only a poll looks: it finds out whether other sessions wait.
    if (free() === 0) return pollAtMs;
    if (hasBacklog) return 0;
    return heard.size > 0 ? Math.min(pollAtMs, heardDueMs) : pollAtMs;
  }

  async function look(): Promise<void> {
    isLooking = true;
    const nowMs = clock.monotonicMs();
    const isWhole = hasBacklog || nowMs >= pollAtMs;
    const ids = [...heard].filter((id) => !passes(id));
    heard.clear();
    try {
      if (isWhole) await lookAtAll(nowMs);
      else if (ids.length > 0) {
        const due = await corridor.query(DUE_TABLES, (reader, now) => loadDueOf(reader, ids, now));
        pollAtMs = Math.min(pollAtMs, pollFor(due));
        begin(due);
      }
    } catch (error) {
      if (!isOver) tellSessionFault(parts, error);
      pollAtMs = clock.monotonicMs() + timings.pollMs;
      hasBacklog = false;
    }
    isLooking = false;
    plan();
  }

  /** The next poll, which is no later than the end of the first pause. Chance decides which tab is first, and the others find it held. */
  function pollFor({ nextMs }: DueSessions): number {
    const inMs = nextMs === undefined ? timings.pollMs : Math.max(0, nextMs - clock.now()) + leaveMs();
    return clock.monotonicMs() + Math.min(timings.pollMs, inMs);
  }

  const passes = (runtimeId: string) =>
    entries.has(runtimeId) || visits.has(runtimeId) || backOff.lasts(runtimeId, clock.monotonicMs());

  async function lookAtAll(nowMs: number): Promise<void> {
    const isSurvey = nowMs >= surveyAtMs;
    // One more than there are places: it tells whether there is a backlog.
    const most = free() + 1;
    // What is heard from here on is newer than what is read.
    held.clear();
    const [waiting, running, uncounted] = await corridor.query(DUE_TABLES, async (reader, now) => {
      const waiting = await loadDue(reader, "waiting", most, passes, now);
      const isDone = waiting.found.length > 0 || !(isSurvey || hasUncounted);
      return [
        waiting,
        isSurvey ? await loadDue(reader, "running", most, passes, now) : undefined,
        isDone ? undefined : await loadDue(reader, "uncounted", COUNTED_AT_ONCE, passes, now),
      ] as const;
    });
    pollAtMs = pollFor(waiting);
    if (running) {
      const soonestMs = Math.min(clock.now() + timings.leaseTtlMs, ...running.held.values());
      surveyAtMs = nowMs + Math.max(timings.pollMs, soonestMs - clock.now());
    }
    // Places that fell free meanwhile take what the look left out.
    hasBacklog = [waiting, running].some((due) => due?.found.length === most);
    // Sessions whose owner died come first: they were under way.
    if (running) begin(running);
    begin(waiting);
    if (!uncounted) return;
    hasUncounted = uncounted.found.length > 0;
    await Promise.all(uncounted.found.map(count));
    // What was counted now may wait.
    if (hasUncounted) pollAtMs = clock.monotonicMs();
  }

  async function count({ runtimeId, incarnation, revision }: DueSession): Promise<void> {
    try {
      await corridor.run(countInputs, { runtimeId, incarnation });
    } catch (error) {
      tellSessionFault(parts, error);
      backOff.begin(runtimeId, clock.monotonicMs(), revision);
    }
  }

  function begin({ found, held: taken }: DueSessions): void {
    for (const runtimeId of taken.keys()) held.set(runtimeId, held.get(runtimeId) ?? 0);
    for (const session of found) {
      if (isOver || visits.has(session.runtimeId)) continue;
      if (free() === 0) {
        hasBacklog = true;
        return;
      }
      void visit(session);
    }
  }

  async function visit({ runtimeId, sessionId, incarnation, revision }: DueSession): Promise<void> {
    visits.set(runtimeId, undefined);
    let hasRun = false;
    let isElsewhere = false;
    /** What waits may not begin yet, and the stored time says when. */
    let isPaused = false;
    let hasTrouble = false;
    let isIdle = false;
    try {
      await new Promise<void>((resolve, reject) => {
        const made: Visit = {
          mayBegin: () => !hasRun || !hasBacklog,
          ran() {
            hasRun = true;
          },
          rested(end) {
            // The tabs that go first take it, or its owner sleeps and gets a moment to return.
            if (end.kind === "later" || (end.kind === "held" && end.expired)) return;
            isElsewhere = end.kind === "held";
            isIdle = end.kind === "idle";
            isPaused = end.kind === "idle" && end.retryAtMs !== undefined;
            hasTrouble = end.kind === "trouble" || end.kind === "failed";
            resolve();
          },
        };
        const hold = (entry: Opened) => {
          visits.set(runtimeId, entry);
          if (isOver) resolve();
          else entry.visit = made;
        };
        parts.openHere(sessionId, options, hold, incarnation).catch(reject);
      });
    } catch (error) {
      tellSessionFault(parts, error);
      // A deleted session is found no more.
      isElsewhere = isHoldfastError(error) && error.code === "not-found";
    }
    // Another tab was quicker and has run what waited: that is no reason to stay away.
    const isServed = isElsewhere || isPaused || (hasRun && !hasTrouble) || (isIdle && !(await isDue(runtimeId)));
    await end(runtimeId);
    if (isServed) backOff.end(runtimeId);
    else backOff.begin(runtimeId, clock.monotonicMs(), revision);
    plan();
  }

  async function isDue(runtimeId: string): Promise<boolean> {
    try {
      const { found } = await corridor.query(DUE_TABLES, (reader, now) => loadDueOf(reader, [runtimeId], now));
      return found.length > 0;
    } catch {
      return true;
    }
  }

  async function end(runtimeId: string): Promise<void> {
    const entry = visits.get(runtimeId);
    if (entry) {
      entry.visit = undefined;
      await parts.leave(entry);
    }
    visits.delete(runtimeId);
  }

  const unsubscribe = parts.notices.subscribe(hear);
  plan();
  return {
    left(runtimeId) {
      note(runtimeId);
      plan();
    },
    stop() {
      isOver = true;
      unsubscribe();
      cancelTimer();
      for (const [runtimeId, entry] of visits) {
        if (!entry) continue;
        entry.visit = undefined;
        if (entry.uses > 0) continue;
        // Its attachment goes with the host's boot.
        if (entries.get(runtimeId) === entry) entries.delete(runtimeId);
        entry.session.close();
      }
      visits.clear();
    },
  };
}
