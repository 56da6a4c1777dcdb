import type { Corridor } from "../../../corridor/command.js";
import { isHoldfastError } from "../../../domain/errors.js";
import { rollOf } from "../../../domain/retry.rules.js";
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
import { createLookPlan, type Look } from "./look-plan.rules.js";

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
export function createAttendant(parts: AttendantParts): Attendant {
  const { corridor, clock, timings, concurrency, entries } = parts;
  const options = checkSessionOptions({}, parts.limits);
  /** By runtime id; with the session, once it is open. */
  const visits = new Map<string, Opened | undefined>();
  const backOff = createBackOff(timings.pollMs);
  const looks = createLookPlan(timings.pollMs, clock.monotonicMs());
  let isLooking = false;
  let isOver = false;
  let cancelTimer = () => {};

  const free = () => concurrency - visits.size;
  const isOpen = (runtimeId: string) => entries.has(runtimeId);
  const passes = (runtimeId: string) =>
    isOpen(runtimeId) || visits.has(runtimeId) || backOff.lasts(runtimeId, clock.monotonicMs());

  function hear(changes: readonly Change[]): void {
    for (const { about, id, sequence = Number.POSITIVE_INFINITY } of changes)
      if (about === "input" && !isOpen(id)) backOff.hear(id, sequence);
    looks.hear(changes, isOpen, newsDueMs);
    plan();
  }

  /** A busy tab waits longer, and chance keeps tabs from looking all at once. */
  function leaveMs(): number {
    return Math.ceil(NEWS_LEFT_MS * (1 + visits.size / concurrency + rollOf(parts.newNonce())));
  }

  const newsDueMs = () => clock.monotonicMs() + leaveMs();

  function plan(): void {
    cancelTimer();
    if (isOver || isLooking) return;
    const inMs = looks.nextMs(free()) - clock.monotonicMs();
    if (inMs > 0) cancelTimer = clock.setTimer(plan, inMs);
    else void look();
  }

  async function look(): Promise<void> {
    isLooking = true;
    const { ids, ...how } = looks.begin(clock.monotonicMs());
    const heard = ids.filter((id) => !passes(id));
    try {
      if (how.isWhole) await lookAtAll(how);
      else if (heard.length > 0) {
        const due = await corridor.query(DUE_TABLES, (reader, now) => loadDueOf(reader, heard, now));
        looks.saw(due, pollFor(due));
        begin(due);
      }
    } catch (error) {
      if (!isOver) tellSessionFault(parts, error);
      looks.failed(clock.monotonicMs());
    }
    isLooking = false;
    plan();
  }

  /** The next poll, which is no later than the end of the first pause. Chance decides which tab is first, and the others find it held. */
  function pollFor({ nextMs }: DueSessions): number {
    const inMs = nextMs === undefined ? timings.pollMs : Math.max(0, nextMs - clock.now()) + leaveMs();
    return clock.monotonicMs() + Math.min(timings.pollMs, inMs);
  }

  /** The next look at sessions that others run: when the first of their leases may have run out. */
  function surveyFor(running: DueSessions | undefined, nowMs: number): number {
    const soonestMs = Math.min(clock.now() + timings.leaseTtlMs, ...(running?.held.values() ?? []));
    return nowMs + Math.max(timings.pollMs, soonestMs - clock.now());
  }

  async function lookAtAll({ isSurvey, findsUncounted }: Pick<Look, "isSurvey" | "findsUncounted">): Promise<void> {
    const nowMs = clock.monotonicMs();
    // One more than there are places: it tells whether there is a backlog.
    const most = free() + 1;
    looks.readsAll();
    const [waiting, running, uncounted] = await corridor.query(DUE_TABLES, async (reader, now) => {
      const waiting = await loadDue(reader, "waiting", most, passes, now);
      return [
        waiting,
        isSurvey ? await loadDue(reader, "running", most, passes, now) : undefined,
        findsUncounted && waiting.found.length === 0
          ? await loadDue(reader, "uncounted", COUNTED_AT_ONCE, passes, now)
          : undefined,
      ] as const;
    });
    const next = { pollAtMs: pollFor(waiting), surveyAtMs: surveyFor(running, nowMs) };
    looks.sawAll({ waiting, running, uncounted, ...next }, most);
    // Sessions whose owner died come first: they were under way.
    if (running) begin(running);
    begin(waiting);
    if (!uncounted || uncounted.found.length === 0) return;
    await Promise.all(uncounted.found.map(count));
    looks.counted(clock.monotonicMs());
  }

  async function count({ runtimeId, incarnation, revision }: DueSession): Promise<void> {
    try {
      await corridor.run(countInputs, { runtimeId, incarnation });
    } catch (error) {
      tellSessionFault(parts, error);
      backOff.begin(runtimeId, clock.monotonicMs(), revision);
    }
  }

  function begin({ found }: DueSessions): void {
    for (const session of found) {
      if (isOver || visits.has(session.runtimeId)) continue;
      if (free() === 0) {
        looks.noPlace();
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
          mayBegin: () => !hasRun || !looks.hasBacklog,
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
      looks.note(runtimeId, newsDueMs);
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
