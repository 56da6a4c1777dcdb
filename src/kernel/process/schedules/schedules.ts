import { checkId, checkWhole, optionsOf } from "../../../domain/check.js";
import { HoldfastError, isHoldfastError } from "../../../domain/errors.js";
import { isEqual } from "../../../domain/kept.js";
import {
  checkScheduleId,
  occurrenceId,
  type ScheduleCause,
  type ScheduleRecord,
  type ScheduleSpec,
} from "../../../domain/process/schedule.js";
import type { Key, Row } from "../../../ports/storage.js";
import type { RegisterProcess } from "../../../stores/process/processes.js";
import { dropSchedule, replaceSchedule, runOccurrence } from "../../../stores/process/schedules/schedules.js";
import {
  everyFrom,
  type Move,
  nextAfter,
  nextMove,
  type Occurrences,
  onceAt,
  positioned,
  putRow,
  scheduleRecordOf,
  upTo,
} from "../../../stores/process/schedules/schedules.rules.js";
import type { ScheduleRow } from "../../../stores/process/schedules/tables.js";
import { loadRow, loadRows, readRow } from "../../../stores/schema.js";
import { ROW_VERSION } from "../../../stores/table.js";
import { faultOf } from "../../host/fault.js";
import type { Fault } from "../../host/loop-contract.js";
import type { ProcessHandle } from "../handle.js";
import { prepareStart, registerStart, type StartParts } from "../start.js";
import { checkSpec } from "./check-spec.js";
import { cron, machineZone } from "./cron.js";
import type { KernelSchedules } from "./kernel-schedules.js";

interface SchedulesParts extends StartParts {
  /** A handle of the process, which was started by that name. */
  handleOf(processId: string, name: string): ProcessHandle;
  newNonce(): string;
  fault(fault: Fault): void;
}

export interface Schedules {
  readonly methods: KernelSchedules;
  /** Runs what is due. `sinceMs`: the loop was there since this time. False if something failed: it is to be tried again later. */
  runDue(sinceMs: number): Promise<boolean>;
}

/** Schedules that one look takes, and moves of one of them in a look: a look never holds the page for long. */
const MOST_DUE = 64;
const MOST_MOVES = 128;
const PAGE = 256;

/** A spec that names a default is the same as one that leaves it out. */
const withDefaults = (spec: ScheduleSpec): ScheduleSpec => ({ catchUp: "last", overlap: "skip", ...spec });

export function createSchedules(parts: SchedulesParts): Schedules {
  const { corridor, limits, handlers } = parts;
  /** What was told of schedules that could not be run, by id. */
  const told = new Map<string, string>();
  let running: Promise<boolean> | undefined;

  const scheduleId = (value: unknown) => checkScheduleId("id", value, limits.idLength);
  const unknown = (id: string) => new HoldfastError("not-found", `unknown schedule "${id}"`, { details: { scheduleId: id } });

  function read(id: string): Promise<{ row: ScheduleRow | undefined; nowMs: number }> {
    return corridor.query(["schedules"], async (reader, now) => {
      const row = await loadRow(reader, "schedules", id);
      return { row, nowMs: now() };
    });
  }

  async function occurrencesOf({ spec: { when, untilMs }, anchorMs, timeZone }: ScheduleRow): Promise<Occurrences> {
    if ("atMs" in when) return upTo(untilMs, onceAt(when.atMs));
    if ("everyMs" in when) return upTo(untilMs, everyFrom(anchorMs ?? 0, when.everyMs));
    return upTo(untilMs, (await cron.load()).occurrences(when.cron, timeZone ?? "UTC"));
  }

  function tellLeftOut(id: string, leftOut: number): void {
    if (leftOut === 0) return;
    const message = `schedule "${id}": ${leftOut} missed occurrences were left out, since at most 100 are caught up`;
    parts.fault({ area: "schedules", code: "failed", message });
  }

  /** The process of an occurrence, or of a trigger, as it is registered. */
  function preparedOf(
    { spec: { start }, eventTypes }: ScheduleRow,
    id: string,
    causedBy: ScheduleCause,
  ): Promise<RegisterProcess> {
    const { name, input, grant, provenance } = start;
    const declared = handlers.get(name)?.events;
    const request = {
      id,
      input: { type: "task", name, ...(input !== undefined && { args: input }) },
      eventTypes: (declared ? Object.keys(declared) : (eventTypes ?? [])).map((eventType) => ({ name: eventType })),
      provenance: { ownerScope: { sessionId: "root" }, hostProfileId: "default", ...provenance, causedBy },
      grant,
    };
    return prepareStart(parts, "spec.start", request, undefined);
  }

  /** Stores what `change` makes of the row, until no other write came between. Undefined changes nothing. */
  async function change(
    id: string,
    make: (row: ScheduleRow | undefined, nowMs: number) => Promise<{ row: ScheduleRow; leftOut?: number } | undefined>,
  ): Promise<ScheduleRecord> {
    for (;;) {
      const { row: stored, nowMs } = await read(id);
      const made = await make(stored, nowMs);
      if (!made && stored) return scheduleRecordOf(stored);
      if (!made) throw unknown(id);
      const size = JSON.stringify(made.row).length;
      if (!(await corridor.run(replaceSchedule, { expected: stored?.revision, row: made.row }, { size }))) continue;
      tellLeftOut(id, made.leftOut ?? 0);
      return scheduleRecordOf(made.row);
    }
  }

  const methods: KernelSchedules = {
    async put(given) {
      const spec = await checkSpec(parts, given);
      const { when, start } = spec;
      const events = handlers.get(start.name)?.events;
      return await change(spec.id, async (former, nowMs) => {
        if (former && isEqual(withDefaults(former.spec), withDefaults(spec))) return undefined;
        const timeZone = "cron" in when ? (when.timeZone ?? machineZone()) : undefined;
        if ("cron" in when && timeZone !== undefined) (await cron.load()).check(when.cron, timeZone, nowMs);
        const row: ScheduleRow = {
          v: ROW_VERSION,
          scheduleId: spec.id,
          spec,
          revision: parts.newNonce(),
          missed: 0,
          ...(timeZone !== undefined && { timeZone }),
          ...("everyMs" in when && { anchorMs: when.anchorMs ?? Math.floor(nowMs) }),
          ...(events && { eventTypes: Object.keys(events) }),
        };
        return putRow(row, former, await occurrencesOf(row), Math.floor(nowMs));
      });
    },
    async get(id) {
      const { row } = await read(scheduleId(id));
      return row && scheduleRecordOf(row);
    },
    async list(options = {}) {
      const m = optionsOf("list", options, ["after", "limit"]);
      let after = m.after === undefined ? undefined : checkId("options.after", m.after, limits.idLength);
      const most = m.limit === undefined ? Number.POSITIVE_INFINITY : checkWhole("options.limit", m.limit, 0);
      const records: ScheduleRecord[] = [];
      while (records.length < most) {
        const limit = Math.min(PAGE, most - records.length);
        const query = { limit, ...(after !== undefined && { after }) };
        const rows = await corridor.query(["schedules"], (reader) => loadRows(reader, "schedules", query));
        records.push(...rows.map(scheduleRecordOf));
        if (rows.length < limit) break;
        after = rows.at(-1)?.scheduleId;
      }
      return records;
    },
    async pause(id) {
      return await change(scheduleId(id), async (row) =>
        !row || row.paused
          ? undefined
          : { row: positioned(row, { nextAtMs: undefined }, { paused: 1, revision: parts.newNonce() }) },
      );
    },
    async resume(id) {
      return await change(scheduleId(id), async (row, nowMs) => {
        if (!row?.paused) return undefined;
        const { paused: _, ...running } = row;
        const resumed = { ...running, revision: parts.newNonce() } as ScheduleRow;
        return { row: positioned(resumed, { nextAtMs: nextAfter(resumed, await occurrencesOf(resumed), nowMs) }) };
      });
    },
    async trigger(id): Promise<ProcessHandle> {
      const known = scheduleId(id);
      const { row } = await read(known);
      if (!row) throw unknown(known);
      // No occurrence has such an id: these end with a number.
      const processId = `${known}@${parts.newProcessId()}`;
      await registerStart(parts, await preparedOf(row, processId, { type: "host_event", scheduleId: known }));
      return parts.handleOf(processId, row.spec.start.name);
    },
    async delete(id) {
      await corridor.run(dropSchedule, { scheduleId: scheduleId(id) });
    },
  };

  /** Makes the next move of a schedule. False if nothing of it is due. */
  async function move(id: string, sinceMs: number): Promise<boolean> {
    const { row, nowMs } = await read(id);
    if (row?.dueAtMs === undefined || row.dueAtMs > nowMs) return false;
    const moment = { nowMs, sinceMs, revision: parts.newNonce(), lastProcessId: (atMs: number) => occurrenceId(id, atMs) };
    const next: Move | undefined = nextMove(row, await occurrencesOf(row), moment);
    if (!next) return false;
    if (next.kind === "miss") {
      const isStored = await corridor.run(replaceSchedule, { expected: row.revision, row: next.row });
      if (isStored) tellLeftOut(id, next.leftOut);
      return true;
    }
    const { atMs } = next;
    const cause = { type: "host_event", scheduleId: id, scheduledAtMs: atMs } as const;
    const register = await preparedOf(row, occurrenceId(id, atMs), cause);
    const { size } = register.registration;
    const input = { ...next, scheduleId: id, expected: row.revision, register };
    if ((await corridor.run(runOccurrence, input, { size: 2 * size })) === "taken") {
      const processId = occurrenceId(id, atMs);
      const message = `schedule "${id}": the id "${processId}" of an occurrence is another process's; the occurrence is skipped`;
      parts.fault({ area: "schedules", code: "conflict", message, processId });
    }
    return true;
  }

  async function runAll(sinceMs: number): Promise<boolean> {
    let after: Key | undefined;
    // Behind a page of which each one failed there may be some that can be run.
    for (;;) {
      const bound = after === undefined ? {} : { after };
      const due = await corridor.query(["schedules"], (reader, now) => {
        return reader.range("schedules", { index: "due", upTo: [Math.floor(now()) + 1], ...bound, limit: MOST_DUE });
      });
      let failed = 0;
      for (const row of due) if (!(await runOne(row, sinceMs))) failed++;
      const last = due.at(-1);
      if (!last || failed < MOST_DUE) return failed === 0 && after === undefined;
      after = [Number(last.dueAtMs), String(last.scheduleId)];
    }
  }

  /** False if it failed: that is told once, and harms no other schedule. */
  async function runOne(row: Row, sinceMs: number): Promise<boolean> {
    const id = String(row.scheduleId);
    try {
      readRow("schedules", row);
      for (let moves = 0; moves < MOST_MOVES && (await move(id, sinceMs)); moves++);
      told.delete(id);
      return true;
    } catch (error) {
      if (isHoldfastError(error) && error.code === "closed") throw error;
      const fault = faultOf("schedules", error, `schedule "${id}" could not be run`);
      if (told.get(id) !== fault.message) parts.fault(fault);
      told.set(id, fault.message);
      return false;
    }
  }

  return {
    methods,
    runDue(sinceMs) {
      running ??= runAll(sinceMs).finally(() => {
        running = undefined;
      });
      return running;
    },
  };
}
