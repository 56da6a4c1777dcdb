import type { ScheduleRecord, ScheduleSpec } from "../../../domain/process/schedule.js";
import type { ProcessHandle } from "../handle.js";

/**
 * Starts processes at set times. Every tab and program of the database whose loop is on looks for what is due, and one of them registers
 * the process, in the write that moves the schedule on. A tab with `loop: "off"` starts none. While no tab is there nothing runs: `catchUp`
 * says what becomes of what was missed. Times in epoch milliseconds.
 */
export interface KernelSchedules {
  /**
   * Stores a schedule. The same spec again changes nothing. Another one replaces it and keeps `lastAtMs`, `lastProcessId` and whether it is
   * paused. Occurrences after the anchor, up to now, are missed ones; so is an `atMs` that is not ahead. Rejects `invalid` for a broken
   * spec, among them an unknown time zone, a cron expression without an occurrence, and an input that does not fit the schema of this
   * kernel's definition of that name.
   */
  put(spec: ScheduleSpec): Promise<ScheduleRecord>;
  /** The schedule as it is stored, or `undefined`. */
  get(id: string): Promise<ScheduleRecord | undefined>;
  /** The schedules by id. `after` is the id of the last one of the page before, `limit` a number of records; default: all. */
  list(options?: { after?: string; limit?: number }): Promise<ScheduleRecord[]>;
  /** Nothing is started until `resume`; processes that run go on. A paused schedule stays as it is. Rejects `not-found`. */
  pause(id: string): Promise<ScheduleRecord>;
  /** Goes on with the first occurrence after now: those during the pause are neither run nor missed. Rejects `not-found`. */
  resume(id: string): Promise<ScheduleRecord>;
  /**
   * Starts one process now, also while the schedule is paused or the last process runs. The schedule stays as it is. The id of the process
   * is `<schedule id>@<UUID>`, its `causedBy` names the schedule. Rejects `not-found`.
   */
  trigger(id: string): Promise<ProcessHandle>;
  /** Its processes stay. Does nothing if there is no schedule of that id. */
  delete(id: string): Promise<void>;
}
