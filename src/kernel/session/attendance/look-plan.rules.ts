import { isRuntimeId } from "../../../domain/runtime-id.js";
import type { Change } from "../../../ports/notices.js";
import type { DueSessions } from "../../../stores/session/inputs/due.js";

/**
 * Decides when a tab looks for sessions that wait, and at which. Every time is passed in, in monotonic milliseconds; sessions are named by
 * their runtime ids:
 *
 *     hear, note -> nextMs -> begin: everything, or the sessions that were heard of -> sawAll or saw -> nextMs ...
 */
export interface LookPlan {
  /** Notices came. `isOpen` tells which sessions this tab has open; `dueMs` gives the time at which news of others is looked at. */
  hear(changes: readonly Change[], isOpen: (id: string) => boolean, dueMs: () => number): void;
  /** The session is looked at, at `dueMs()`, or with those that were heard of before. */
  note(id: string, dueMs: () => number): void;
  /** The next look, while the tab has so many free places. */
  nextMs(free: number): number;
  /** A look begins. */
  begin(nowMs: number): Look;
  /** Everything is read now: what is heard from here on is newer than that. */
  readsAll(): void;
  /** What a look at everything found. `most`: how many sessions it asked for. */
  sawAll(seen: SeenAll, most: number): void;
  /** What a look at the sessions that were heard of found; the poll comes at `pollAtMs` at the latest. */
  saw(found: DueSessions, pollAtMs: number): void;
  /** Inputs of older sessions were counted: what was counted may wait now. */
  counted(nowMs: number): void;
  failed(nowMs: number): void;
  /** A session that waits found no free place. */
  noPlace(): void;
  /** More sessions wait than there are places. */
  readonly hasBacklog: boolean;
}

export interface Look {
  /** It looks at every session that waits. */
  readonly isWhole: boolean;
  /** It also looks at those that others run: their leases may have run out without a notice. */
  readonly isSurvey: boolean;
  /** It also looks for sessions of older schemas, whose inputs were never counted. */
  readonly findsUncounted: boolean;
  /** The sessions that were heard of. */
  readonly ids: readonly string[];
}

interface SeenAll {
  readonly waiting: DueSessions;
  readonly running: DueSessions | undefined;
  readonly uncounted: DueSessions | undefined;
  /** When the next poll and the next survey are due. */
  readonly pollAtMs: number;
  readonly surveyAtMs: number;
}

/** Sessions that notices name. If there are more, a look at everything finds them. */
const MOST_HEARD = 64;

export function createLookPlan(pollMs: number, startMs: number): LookPlan {
  const heard = new Set<string>();
  let heardDueMs = 0;
  /** Sessions that another tab ran when this was last heard or read, with the highest input revision heard since. */
  const held = new Map<string, number>();
  let hasBacklog = false;
  let pollAtMs = startMs;
  let surveyAtMs = startMs;
  let hasUncounted = false;

  function note(id: string, dueMs: () => number): void {
    if (heard.size === 0) heardDueMs = dueMs();
    heard.add(id);
    if (heard.size <= MOST_HEARD) return;
    heard.clear();
    pollAtMs = Math.min(pollAtMs, heardDueMs);
  }

  function takeHeld({ held: taken }: DueSessions): void {
    for (const id of taken.keys()) held.set(id, held.get(id) ?? 0);
  }

  return {
    hear(changes, isOpen, dueMs) {
      const leases = new Map(changes.filter(({ about }) => about === "lease").map((change) => [change.id, change]));
      for (const { about, id, sequence = Number.POSITIVE_INFINITY } of changes) {
        if ((about !== "input" && about !== "runtime" && about !== "lease") || !isRuntimeId(id) || isOpen(id)) continue;
        const revision = Math.max(held.get(id) ?? 0, about === "input" ? sequence : 0);
        const lease = leases.get(id);
        // The holder of the lease goes on by itself while something waits.
        if (lease ? lease.member === "held" : held.has(id)) {
          held.set(id, revision);
          heard.delete(id);
        }
        // The last holder left nothing to do of all that it knew of.
        else if (lease?.member !== "idle" || revision > (lease.sequence ?? 0)) note(id, dueMs);
      }
      for (const [id, { member }] of leases) if (member !== "held") held.delete(id);
    },
    note,
    nextMs(free) {
      // Without a free place, only a poll looks: it finds out whether other sessions wait.
      if (free === 0) return pollAtMs;
      if (hasBacklog) return 0;
      return heard.size > 0 ? Math.min(pollAtMs, heardDueMs) : pollAtMs;
    },
    begin(nowMs) {
      const ids = [...heard];
      heard.clear();
      const isSurvey = nowMs >= surveyAtMs;
      return { isWhole: hasBacklog || nowMs >= pollAtMs, isSurvey, findsUncounted: isSurvey || hasUncounted, ids };
    },
    readsAll: () => held.clear(),
    sawAll({ waiting, running, uncounted, ...next }, most) {
      ({ pollAtMs } = next);
      if (running) ({ surveyAtMs } = next);
      // Places that fell free meanwhile take what the look left out.
      hasBacklog = [waiting, running].some((due) => due?.found.length === most);
      if (uncounted) hasUncounted = uncounted.found.length > 0;
      for (const due of [running, waiting]) if (due) takeHeld(due);
    },
    saw(found, nextPollAtMs) {
      pollAtMs = Math.min(pollAtMs, nextPollAtMs);
      takeHeld(found);
    },
    counted(nowMs) {
      pollAtMs = nowMs;
    },
    failed(nowMs) {
      pollAtMs = nowMs + pollMs;
      hasBacklog = false;
    },
    noPlace() {
      hasBacklog = true;
    },
    get hasBacklog() {
      return hasBacklog;
    },
  };
}
