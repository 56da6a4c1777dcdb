import type { ScheduleRow } from "../../stores/process/schedules/tables.js";
import type { ProcessRow, RegistrationRow } from "../../stores/process/tables.js";
import { CRON_EVERY_MS } from "../flows.js";
import type { ObservedRows } from "../machine/rows.js";
import type { RowRule } from "./trial.js";

/** The time of the occurrence that a process is, by its id; undefined for a process that no schedule started in its time. */
function occurrenceOf(processId: string): { scheduleId: string; atMs: number } | undefined {
  const [, scheduleId = "", atMs = ""] = /^(d\d)@(\d+)$/.exec(processId) ?? [];
  return scheduleId === "" ? undefined : { scheduleId, atMs: Number(atMs) };
}

/** The times of a schedule from `fromMs` to before `toMs`. */
function timesOf(
  { spec: { when, untilMs = Number.POSITIVE_INFINITY }, anchorMs = 0 }: ScheduleRow,
  fromMs: number,
  toMs: number,
): number[] {
  const within = (ms: number) => ms >= fromMs && ms < toMs && ms <= untilMs;
  if ("atMs" in when) return within(when.atMs) ? [when.atMs] : [];
  const [everyMs, originMs] = "cron" in when ? [CRON_EVERY_MS, 0] : [when.everyMs, anchorMs];
  const times: number[] = [];
  for (let ms = originMs + Math.ceil((fromMs - originMs) / everyMs) * everyMs; ms < toMs; ms += everyMs)
    if (within(ms)) times.push(ms);
  return times;
}

const hasProcess = (rows: ObservedRows, { scheduleId }: ScheduleRow, atMs: number) =>
  rows.get("processes", `${scheduleId}@${atMs}`) !== undefined;

const isSameSpec = (one: ScheduleRow, other: ScheduleRow) =>
  JSON.stringify([one.spec, one.anchorMs]) === JSON.stringify([other.spec, other.anchorMs]);

/** The rules of schedules. */
export const SCHEDULE_RULES = {
  "an occurrence is one process, in its time and in the write that moves its schedule": ({ changes, rows, was, commit }) =>
    changes<ProcessRow>("processes").map(({ before, after }) => {
      const occurrence = before || !after ? undefined : occurrenceOf(after.processId);
      if (!occurrence) return undefined;
      const { scheduleId, atMs } = occurrence;
      const [stood, stands] = [was<ScheduleRow>("schedules", scheduleId), rows.get<ScheduleRow>("schedules", scheduleId)];
      const schedule = stands ?? stood;
      if (!schedule || timesOf(schedule, atMs, atMs + 1).length === 0)
        return `${after?.processId} is no occurrence of its schedule`;
      if (atMs > commit.untilMs) return `${after?.processId} began at ${commit.untilMs}`;
      // It may have been deleted in the same transaction.
      return !stands || (stands.lastAtMs ?? 0) >= atMs ? undefined : `${after?.processId} began, and its schedule did not move`;
    }),

  "an occurrence says what caused it": ({ changes, rows }) =>
    changes<RegistrationRow>("registrations").map(({ before, after }) => {
      const occurrence = before || !after ? undefined : occurrenceOf(after.processId);
      const cause = after && rows.get<ProcessRow>("processes", after.processId)?.provenance.causedBy;
      if (!occurrence || !cause) return occurrence ? `${after?.processId} has no cause` : undefined;
      const isSo =
        cause.type === "host_event" && cause.scheduleId === occurrence.scheduleId && cause.scheduledAtMs === occurrence.atMs;
      return isSo ? undefined : `${after?.processId} is caused by ${JSON.stringify(cause)}`;
    }),

  "no occurrence is left out": ({ changes, rows }) =>
    changes<ScheduleRow>("schedules").map(({ before, after }) => {
      if (before?.dueAtMs === undefined || !after || !isSameSpec(before, after)) return undefined;
      // A pause lets go what comes in it.
      if (after.paused || before.paused) return undefined;
      const { when, catchUp, overlap, untilMs } = after.spec;
      const endMs = after.dueAtMs ?? ("atMs" in when ? when.atMs : (untilMs ?? before.dueAtMs)) + 1;
      if (endMs < before.dueAtMs) return `${after.scheduleId} went back from ${before.dueAtMs} to ${endMs}`;
      const without = timesOf(after, before.dueAtMs, endMs).filter((atMs) => !hasProcess(rows, after, atMs));
      // One that is caught up was counted when it was missed. It may be let go, too.
      const caughtUp = before.catchUpAtMs !== undefined && catchUp !== "all" && overlap !== "allow" ? 1 : 0;
      const counted = catchUp === "all" && overlap === "allow" ? 0 : after.missed - before.missed;
      if (without.length <= counted + caughtUp) return undefined;
      return `${after.scheduleId} left out ${without.join(", ")}, and counts ${counted}`;
    }),
} satisfies Readonly<Record<string, RowRule>>;
