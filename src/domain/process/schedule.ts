import { checkId, checkOneOf, checkWhole, membersOf } from "../check.js";
import { invalid } from "../errors.js";
import type { JsonValue } from "../json.js";
import { isRuntimeId } from "../runtime-id.js";
import type { ProcessScope } from "../scope.js";
import type { ProcessHandleDescriptor, ProcessProvenance } from "./process.js";

/** When a schedule starts a process. Times in epoch milliseconds, from 0 up. */
export type ScheduleWhen =
  /**
   * A cron expression of five fields (minute, hour, day of the month, month, day of the week) or six (a second before them), and the IANA
   * name of the time zone that it is meant in. Default: the zone of the machine at the `put` that stored it. Where a clock change skips a
   * local time, it runs at the next valid one; where a local time comes twice, it runs at the first. An expression for every hour (hour
   * field `*`) names no hour: it runs in each hour that passes.
   */
  | { cron: string; timeZone?: string }
  /** Every so many milliseconds, 1 and more, counted from the anchor. Default of the anchor: the moment of the `put` that stored it. */
  | { everyMs: number; anchorMs?: number }
  /** Once. */
  | { atMs: number };

/** What a schedule starts, as `kernel.start(name, options)` does. */
export interface ScheduleStart {
  name: string;
  /** Given to the handler as `context.args`. */
  input?: JsonValue;
  /** Makes each process visible to a scope, in the same transaction. */
  grant?: { scope: ProcessScope; descriptor?: ProcessHandleDescriptor };
  /** Without `causedBy`, which names the schedule. */
  provenance?: Omit<ProcessProvenance, "causedBy">;
}

/** A schedule. Each of its occurrences is one process with the id `<schedule id>@<time of the occurrence>`. */
export interface ScheduleSpec {
  /** At most 37 characters shorter than an id may be. */
  id: string;
  when: ScheduleWhen;
  start: ScheduleStart;
  /**
   * What becomes of occurrences that came while no tab was there: `"last"` (default) runs the latest one, `"skip"` none, `"all"` each, the
   * latest 100 at most; a fault of area `schedules` tells how many were left out.
   */
  catchUp?: "skip" | "last" | "all";
  /**
   * What becomes of an occurrence that comes while the process of the one before still runs, or is suspended: `"skip"` (default) lets it
   * go, `"allow"` starts a second one. What `catchUp: "all"` runs is not let go.
   */
  overlap?: "skip" | "allow";
  /** No occurrence is later than this. */
  untilMs?: number;
}

/** A stored schedule: the spec as it was put, and how far it is. Times in epoch milliseconds. */
export interface ScheduleRecord extends ScheduleSpec {
  /** The next occurrence. Absent while the schedule is paused, and after its last occurrence. */
  nextAtMs?: number;
  /** The time of the newest occurrence that has a process, and that process. A replaced schedule keeps both. */
  lastAtMs?: number;
  lastProcessId?: string;
  paused: boolean;
  /**
   * Occurrences since the spec was put that had no tab at their time, whether they were caught up or not, or that were let go because the
   * process before still ran. Of a cron at most 1,000 are counted for one absence.
   */
  missed: number;
}

export type CatchUp = NonNullable<ScheduleSpec["catchUp"]>;

/** The latest time that a Date can be. */
export const LAST_DATE_MS = 8_640_000_000_000_000;

/** Room for `@` and the UUID of a triggered process. */
const SUFFIX = 37;

/** The cause of a process that a schedule starts. */
export type ScheduleCause =
  | { type: "host_event"; scheduleId: string }
  | { type: "host_event"; scheduleId: string; scheduledAtMs: number };

export function occurrenceId(scheduleId: string, atMs: number): string {
  return `${scheduleId}@${atMs}`;
}

export function checkScheduleId(field: string, value: unknown, idLength: number): string {
  const id = checkId(field, value, idLength - SUFFIX);
  if (isRuntimeId(id)) throw invalid(`${field} must not begin like the id of a session's runtime`);
  return id;
}

/** All of a spec but what it starts, each member read once. The cron expression and the zone are not judged yet. */
export function checkTimes(
  given: { readonly [Name in "when" | "catchUp" | "overlap" | "untilMs"]: unknown },
  idLength: number,
): Omit<ScheduleSpec, "id" | "start"> {
  const { catchUp, overlap, untilMs } = given;
  return {
    when: checkWhen("spec.when", given.when, idLength),
    ...(catchUp !== undefined && { catchUp: checkOneOf<CatchUp>("spec.catchUp", catchUp, ["skip", "last", "all"]) }),
    ...(overlap !== undefined && {
      overlap: checkOneOf<"skip" | "allow">("spec.overlap", overlap, ["skip", "allow"]),
    }),
    ...(untilMs !== undefined && { untilMs: checkTime("spec.untilMs", untilMs) }),
  };
}

const WHEN_MEMBERS = { cron: ["cron", "timeZone"], everyMs: ["everyMs", "anchorMs"], atMs: ["atMs"] } as const;

function checkWhen(field: string, value: unknown, idLength: number): ScheduleWhen {
  const m = membersOf(field, value, Object.values(WHEN_MEMBERS).flat());
  const kinds = (["cron", "everyMs", "atMs"] as const).filter((kind) => m[kind] !== undefined);
  const [kind] = kinds;
  if (kind === undefined || kinds.length > 1) throw invalid(`${field} must have exactly one of cron, everyMs and atMs`);
  membersOf(field, m, WHEN_MEMBERS[kind]);
  if (kind === "atMs") return { atMs: checkTime(`${field}.atMs`, m.atMs) };
  if (kind === "everyMs")
    return {
      everyMs: checkWhole(`${field}.everyMs`, m.everyMs, 1, LAST_DATE_MS),
      ...(m.anchorMs !== undefined && { anchorMs: checkTime(`${field}.anchorMs`, m.anchorMs) }),
    };
  return {
    cron: checkId(`${field}.cron`, m.cron, idLength),
    ...(m.timeZone !== undefined && { timeZone: checkId(`${field}.timeZone`, m.timeZone, idLength) }),
  };
}

function checkTime(field: string, value: unknown): number {
  return checkWhole(field, value, 0, LAST_DATE_MS);
}
