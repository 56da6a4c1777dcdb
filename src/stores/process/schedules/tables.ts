import type { ScheduleSpec } from "../../../domain/process/schedule.js";
import { flag, list, maybe, object, type RowOf, table, text, time, whole } from "../../table.js";

export const schedules = table(
  "schedules",
  {
    key: ["scheduleId"],
    indexes: { due: ["dueAtMs", "scheduleId"] },
    columns: {
      scheduleId: text,
      /** As it was put. */
      spec: object<ScheduleSpec>,
      /** New at every write: a write that was prepared from an older row is refused. */
      revision: text,
      /** Only of `everyMs`: the anchor, also where the spec has none. */
      anchorMs: maybe(time),
      /** Only of `cron`: the zone, also where the spec has none. */
      timeZone: maybe(text),
      /** The names of the events that the definition declared in the tab of the put, if it had one. */
      eventTypes: maybe(list<string>),
      /** The next occurrence. Absent while it is paused, and after the last one. */
      nextAtMs: maybe(time),
      /** The first missed occurrence that is still to be run. So are all later ones before `nextAtMs`. */
      catchUpAtMs: maybe(time),
      /** The earlier one of these two: hosts find by this what is due. */
      dueAtMs: maybe(time),
      lastAtMs: maybe(time),
      lastProcessId: maybe(text),
      paused: maybe(flag),
      missed: whole,
    },
  },
  ({ spec: { when, start }, anchorMs, timeZone }) =>
    typeof start?.name === "string" &&
    typeof when === "object" &&
    when !== null &&
    ("cron" in when
      ? typeof when.cron === "string" && timeZone !== undefined
      : "everyMs" in when
        ? typeof when.everyMs === "number" && anchorMs !== undefined
        : typeof when.atMs === "number"),
);
export type ScheduleRow = RowOf<typeof schedules>;
