import { type CatchUp, LAST_DATE_MS, type ScheduleRecord } from "../../../domain/process/schedule.js";
import type { ScheduleRow } from "./tables.js";

/** The times of a schedule, in ascending order. A range is `(afterMs, upToMs]`. */
export interface Occurrences {
  /** The first one after this time. */
  after(ms: number): number | undefined;
  /** How many are in the range. */
  count(afterMs: number, upToMs: number): number;
  /** The last ones in the range, at most `most`, in order. */
  last(most: number, afterMs: number, upToMs: number): number[];
}

export function onceAt(atMs: number): Occurrences {
  const isIn = (afterMs: number, upToMs: number) => afterMs < atMs && atMs <= upToMs;
  return {
    after: (ms) => (ms < atMs ? atMs : undefined),
    count: (afterMs, upToMs) => (isIn(afterMs, upToMs) ? 1 : 0),
    last: (most, afterMs, upToMs) => (most > 0 && isIn(afterMs, upToMs) ? [atMs] : []),
  };
}

export function everyFrom(anchorMs: number, everyMs: number): Occurrences {
  /** The number of the last occurrence up to this time; -1 before the anchor. Whole numbers alone: a quotient of large ones is rounded. */
  const numberAt = (ms: number): number => {
    const passedMs = Math.floor(ms) - anchorMs;
    return passedMs < 0 ? -1 : (passedMs - (passedMs % everyMs)) / everyMs;
  };
  const timeOf = (number: number) => anchorMs + number * everyMs;
  return {
    after(ms) {
      const atMs = timeOf(numberAt(ms) + 1);
      return atMs <= LAST_DATE_MS ? atMs : undefined;
    },
    count: (afterMs, upToMs) => Math.max(0, numberAt(upToMs) - numberAt(afterMs)),
    last(most, afterMs, upToMs) {
      const to = numberAt(upToMs);
      const from = Math.max(numberAt(afterMs) + 1, to - most + 1);
      return Array.from({ length: Math.max(0, to - from + 1) }, (_, at) => timeOf(from + at));
    },
  };
}

/** Without those after `untilMs`. */
export function upTo(untilMs: number | undefined, all: Occurrences): Occurrences {
  if (untilMs === undefined) return all;
  const least = (ms: number) => Math.min(ms, untilMs);
  return {
    after(ms) {
      const atMs = all.after(ms);
      return atMs === undefined || atMs > untilMs ? undefined : atMs;
    },
    count: (afterMs, upToMs) => all.count(afterMs, least(upToMs)),
    last: (most, afterMs, upToMs) => all.last(most, afterMs, least(upToMs)),
  };
}

/** Missed occurrences that `catchUp: "all"` runs, at most. */
export const MOST_CAUGHT_UP = 100;

/** What is to be run of the occurrences that were missed in a range. */
interface Missed {
  readonly count: number;
  /** The first one that is to be run; so are all later ones of the range. */
  readonly catchUpAtMs: number | undefined;
  readonly leftOut: number;
}

/** `isSuperseded`: a later occurrence is due in its time, and stands for the latest missed one. */
export function missedIn(
  occurrences: Occurrences,
  catchUp: CatchUp = "last",
  [afterMs, upToMs]: readonly [afterMs: number, upToMs: number],
  isSuperseded = false,
): Missed {
  const count = occurrences.count(afterMs, upToMs);
  const most = catchUp === "all" ? MOST_CAUGHT_UP : catchUp === "skip" || isSuperseded ? 0 : 1;
  const run = count === 0 || most === 0 ? [] : occurrences.last(most, afterMs, upToMs);
  return { count, catchUpAtMs: run[0], leftOut: catchUp === "all" ? count - run.length : 0 };
}

/**
 * Where a schedule stands:
 *
 *     caught up: every occurrence in [catchUpAtMs, nextAtMs)      then: the occurrences from nextAtMs on, each at its time
 */
interface Position {
  readonly nextAtMs: number | undefined;
  readonly catchUpAtMs?: number | undefined;
}

/** The row at another position; without one, nothing of it is due. */
export function positioned(
  row: ScheduleRow,
  { nextAtMs, catchUpAtMs }: Position,
  changed: Partial<ScheduleRow> = {},
): ScheduleRow {
  const { nextAtMs: _, catchUpAtMs: __, dueAtMs: ___, ...rest } = { ...row, ...changed };
  const dueAtMs = catchUpAtMs ?? nextAtMs;
  return {
    ...rest,
    ...(nextAtMs !== undefined && { nextAtMs }),
    ...(catchUpAtMs !== undefined && { catchUpAtMs }),
    ...(dueAtMs !== undefined && { dueAtMs }),
  } as ScheduleRow;
}

/** A schedule that is put, or that replaces `former`. Occurrences after the anchor and up to now are missed. */
export function putRow(
  row: ScheduleRow,
  former: ScheduleRow | undefined,
  occurrences: Occurrences,
  nowMs: number,
): { row: ScheduleRow; leftOut: number } {
  const { lastAtMs, lastProcessId, paused } = former ?? {};
  const kept = {
    ...(lastAtMs !== undefined && { lastAtMs }),
    ...(lastProcessId !== undefined && { lastProcessId }),
    ...(paused && { paused }),
  };
  const anchorMs = "atMs" in row.spec.when ? -1 : (row.anchorMs ?? nowMs);
  const missed = missedIn(occurrences, row.spec.catchUp, [Math.max(anchorMs, lastAtMs ?? -1), nowMs]);
  const begun = { ...row, ...kept, missed: missed.count };
  if (paused) return { row: positioned(begun, { nextAtMs: undefined }), leftOut: 0 };
  const position = { nextAtMs: nextAfter(begun, occurrences, nowMs), catchUpAtMs: missed.catchUpAtMs };
  return { row: positioned(begun, position), leftOut: missed.leftOut };
}

export function nextAfter({ lastAtMs }: ScheduleRow, occurrences: Occurrences, nowMs: number): number | undefined {
  return occurrences.after(Math.max(nowMs, lastAtMs ?? nowMs));
}

/** The next thing to do with a schedule. Every move is one write. */
export type Move =
  /** Occurrences came while no tab was there: they are counted, and those that are to be run are noted. */
  { readonly kind: "miss"; readonly row: ScheduleRow; readonly leftOut: number } | ({ readonly kind: "run" } & Run);

/** An occurrence whose process is to be registered. */
export interface Run {
  readonly atMs: number;
  /** It is let go while the last process runs. */
  readonly yields: boolean;
  /** The row once the occurrence is registered, if it is let go, and if its id is taken. */
  readonly ran: ScheduleRow;
  readonly letGo: ScheduleRow;
  readonly taken: ScheduleRow;
}

interface LookAt {
  readonly nowMs: number;
  /** Occurrences from here on came while a tab was there. */
  readonly sinceMs: number;
  readonly lastProcessId: (atMs: number) => string;
  readonly revision: string;
}

/** A loop may be so late for an occurrence that it did not wait for. */
const ON_TIME_MS = 1_000;

/** Undefined if nothing is due. */
export function nextMove(row: ScheduleRow, occurrences: Occurrences, moment: LookAt): Move | undefined {
  const { nowMs, revision } = moment;
  const { catchUpAtMs, nextAtMs, missed } = row;
  const { catchUp, overlap } = row.spec;
  const run = (atMs: number, yields: boolean, then: Position, letGo: Position, more: number): Move => {
    const lastProcessId = moment.lastProcessId(atMs);
    return {
      kind: "run",
      atMs,
      yields: yields && overlap !== "allow",
      ran: positioned(row, then, { revision, lastAtMs: atMs, lastProcessId }),
      letGo: positioned(row, letGo, { revision, missed: missed + more }),
      taken: positioned(row, then, { revision }),
    };
  };

  if (catchUpAtMs !== undefined && catchUpAtMs <= nowMs) {
    const following = occurrences.after(catchUpAtMs);
    const isLast = following === undefined || (nextAtMs !== undefined && following >= nextAtMs);
    const then = { nextAtMs, catchUpAtMs: isLast ? undefined : following };
    return run(catchUpAtMs, catchUp !== "all", then, then, 0);
  }
  if (nextAtMs === undefined || nextAtMs > nowMs) return undefined;
  const onTimeMs = Math.min(moment.sinceMs, nowMs - ON_TIME_MS);
  if (nextAtMs < onTimeMs) {
    const range = [nextAtMs - 1, onTimeMs - 1] as const;
    const following = occurrences.after(range[1]);
    const missing = missedIn(occurrences, catchUp, range, following !== undefined && following <= nowMs);
    const position = { nextAtMs: following, catchUpAtMs: missing.catchUpAtMs };
    const counted = positioned(row, position, { revision, missed: missed + missing.count });
    return { kind: "miss", row: counted, leftOut: missing.leftOut };
  }
  const letGo = { nextAtMs: occurrences.after(nowMs) };
  return run(nextAtMs, true, { nextAtMs: occurrences.after(nextAtMs) }, letGo, occurrences.count(nextAtMs - 1, nowMs));
}

export function scheduleRecordOf(row: ScheduleRow): ScheduleRecord {
  const { nextAtMs, lastAtMs, lastProcessId, paused, missed } = row;
  return {
    ...row.spec,
    ...(nextAtMs !== undefined && { nextAtMs }),
    ...(lastAtMs !== undefined && { lastAtMs }),
    ...(lastProcessId !== undefined && { lastProcessId }),
    paused: paused === 1,
    missed,
  };
}
