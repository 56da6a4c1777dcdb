import { accept, type Command, type StateOf } from "../../../corridor/command.js";
import { loadRow } from "../../schema.js";
import { type RegisterProcess, registerProcess } from "../processes.js";
import type { ProcessRow } from "../tables.js";
import type { Run } from "./schedules.rules.js";
import type { ScheduleRow } from "./tables.js";

/**
 * Stores a row that was made from the row of the `expected` revision. Replies false, and writes nothing, if another one is stored by now.
 * The same command again finds its own row.
 */
export const replaceSchedule: Command<{ expected: string | undefined; row: ScheduleRow }, ScheduleRow | undefined, boolean> = {
  tables: ["schedules"],
  load: (reader, { row }) => loadRow(reader, "schedules", row.scheduleId),
  decide(stored, { expected, row }) {
    if (stored?.revision === row.revision) return accept(true);
    if (stored?.revision !== expected) return accept(false);
    return accept(true, [{ table: "schedules", put: row }], [{ about: "schedule", id: row.scheduleId }]);
  },
  repeatable: () => true,
};

/** Drops a schedule, even one that does not decode. Its processes stay. */
export const dropSchedule: Command<{ scheduleId: string }, void, void> = {
  tables: ["schedules"],
  load: async () => undefined,
  decide: (_, { scheduleId }) =>
    accept(undefined, [{ table: "schedules", drop: scheduleId }], [{ about: "schedule", id: scheduleId }]),
  repeatable: () => true,
};

interface RunOccurrence extends Run {
  readonly scheduleId: string;
  readonly expected: string;
  readonly register: RegisterProcess;
}

/**
 * Registers the process of an occurrence and moves its schedule on, in one write. Any number of tabs may try: the schedule's revision lets
 * one of them. "stale": another write came first, or the clock was set back; nothing is written.
 */
export const runOccurrence: Command<
  RunOccurrence,
  {
    stored: ScheduleRow | undefined;
    last: ProcessRow | undefined;
    registered: StateOf<typeof registerProcess>;
  },
  "ran" | "let-go" | "taken" | "stale"
> = {
  tables: ["schedules", ...registerProcess.tables],
  async load(reader, { scheduleId, register }) {
    const [stored, registered] = await Promise.all([
      loadRow(reader, "schedules", scheduleId),
      registerProcess.load(reader, register),
    ]);
    const lastId = stored?.lastProcessId;
    return { stored, registered, last: lastId === undefined ? undefined : await loadRow(reader, "processes", lastId) };
  },
  decide({ stored, last, registered }, { scheduleId, expected, register, atMs, yields, ran, letGo, taken }, nowMs) {
    if (stored?.revision !== expected || atMs > nowMs) return accept("stale");
    const change = { about: "schedule", id: scheduleId } as const;
    if (yields && last?.state === "running") return accept("let-go", [{ table: "schedules", put: letGo }], [change]);
    const cause = registered.stored?.process.provenance.causedBy;
    const isOwn = cause?.type === "host_event" && cause.scheduleId === scheduleId && cause.scheduledAtMs === atMs;
    // A schedule that was deleted and put again finds the processes of its own occurrences.
    if (registered.stored && !isOwn) return accept("taken", [{ table: "schedules", put: taken }], [change]);
    const moved = { table: "schedules", put: ran } as const;
    if (registered.stored) return accept("ran", [moved], [change]);
    const decided = registerProcess.decide(registered, register, nowMs);
    if (decided.kind !== "accept") return decided;
    return accept("ran", [...decided.writes, moved], [...decided.changes, change]);
  },
  repeatable: () => true,
};
