// Follows what is done later: the schedule, and the processes that wait for something.
import type { Kernel, ProcessRecord, ProcessWait, ScheduleRecord } from "holdfast";
import type { LaterJobs } from "./later-jobs.js";
import { whileMoving } from "./stillness.js";

export interface Later {
  readonly schedule: ScheduleRecord | undefined;
  /** The counts that the schedule started, the newest first. */
  readonly counts: readonly Count[];
  /** The newest first. */
  readonly catalogues: readonly ProcessRecord[];
  /** Counts the shelf every so many milliseconds; 0 is never. */
  repeat(everyMs: number): Promise<void>;
  makeCatalogue(): Promise<void>;
  decide(id: string, isApproved: boolean): Promise<void>;
  cancel(id: string): Promise<void>;
}

/** A count that the schedule started. */
export interface Count {
  readonly record: ProcessRecord;
  readonly dueAtMs: number;
  /** It was due while no tab was open, and made up for. */
  readonly isLate: boolean;
}

export interface LaterParts {
  readonly kernel: Kernel;
  readonly jobs: LaterJobs;
  readonly tab: string;
  changed(): void;
  failed(error: unknown): void;
  readonly signal: AbortSignal;
}

const scheduleId = "shelf";
/** Another tab may have changed the schedule. */
const scheduleEveryMs = 1_000;

export function followLater({ kernel, jobs, tab, changed, failed, signal }: LaterParts): Later {
  const records = kernel.views.processes();
  let schedule: ScheduleRecord | undefined;

  const read = async () => {
    schedule = await kernel.schedules.get(scheduleId);
    changed();
  };
  const look = () => void read().catch((error) => signal.aborted || failed(error));
  whileMoving(() => {
    look();
    const timer = setInterval(look, scheduleEveryMs);
    const off = records.subscribe(changed);
    return () => {
      clearInterval(timer);
      off();
    };
  }, signal);

  return {
    get schedule() {
      return schedule;
    },
    get counts() {
      return countsIn(records.get());
    },
    get catalogues() {
      return records
        .get()
        .filter(({ input }) => input.type === "task" && input.name === jobs.catalogue.name)
        .sort((a, b) => b.createdAtMs - a.createdAtMs);
    },
    async repeat(everyMs) {
      if (everyMs === 0) await kernel.schedules.delete(scheduleId);
      else await kernel.schedules.put({ id: scheduleId, when: { everyMs }, start: { name: jobs.stock.name } });
      await read();
    },
    async makeCatalogue() {
      await kernel.start(jobs.catalogue);
    },
    // A second click is the same signal. Of two tabs the first one decides.
    decide: (id, isApproved) =>
      kernel.processes.signal(id, "decided", { isApproved, by: tab }, { signalId: `${tab}:${isApproved}` }),
    cancel: (id) => kernel.process(id).cancel(`cancelled in ${tab}`),
  };
}

/** An occurrence that begins so much later than its time was made up for. */
const lateMs = 2_000;

export function countsIn(records: readonly ProcessRecord[]): Count[] {
  return records
    .flatMap((record): Count[] => {
      const { causedBy } = record.provenance;
      const dueAtMs = causedBy?.scheduledAtMs;
      if (causedBy?.scheduleId !== scheduleId || typeof dueAtMs !== "number") return [];
      return [{ record, dueAtMs, isLate: record.createdAtMs - dueAtMs > lateMs }];
    })
    .sort((a, b) => b.dueAtMs - a.dueAtMs);
}

/** What the process does now, in words. */
export function doing({ status, waiting = [], suspended }: ProcessRecord, now: number): string {
  if (status.state !== "running") {
    const { awaitOutput: end } = status;
    return end.type === "success" ? String(end.value) : end.message;
  }
  const [wait] = waiting;
  if (!wait) return "at work, or waiting for a tab that is free";
  const where = suspended ? "no tab keeps it in memory" : "kept in the memory of a tab";
  return `${waitInWords(wait, now)}; ${where}`;
}

function waitInWords({ kind, dueAtMs }: ProcessWait, now: number): string {
  const left = dueAtMs === undefined ? undefined : leftInWords(dueAtMs - now);
  switch (kind) {
    case "signal":
      return left ? `waits for your decision, ${left} left` : "waits for your decision";
    case "timer":
      return `goes on in ${left}`;
    case "retry":
      return `tried again in ${left}`;
    case "limit":
      return "waits for a place";
  }
}

/** A time that is left, by its two greatest units. */
export function leftInWords(ms: number): string {
  const seconds = Math.max(0, Math.ceil(ms / 1_000));
  const units = [
    [86_400, "d"],
    [3_600, "h"],
    [60, "min"],
    [1, "s"],
  ] as const;
  const at = units.findIndex(([size]) => seconds >= size);
  if (at < 0) return "0 s";
  return units
    .slice(at, at + 2)
    .map(([size, name], place) => `${Math.floor((place === 0 ? seconds : seconds % (units[at]?.[0] ?? 1)) / size)} ${name}`)
    .join(" ");
}
