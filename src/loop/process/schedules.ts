import type { Corridor } from "../../corridor/command.js";
import { faultOf } from "../../kernel/host/fault.js";
import type { Fault, LoopPage } from "../../kernel/host/loop-contract.js";
import type { Clock } from "../../ports/clock.js";

/** Waits for the next due schedule, beside the turns, and has the page run it. Reads one row in a sweep, and when a schedule changed. */
export interface DueSchedules {
  /** A schedule may have changed. */
  look(): void;
  close(): void;
}

interface DueSchedulesParts {
  readonly corridor: Corridor;
  readonly clock: Clock;
  readonly page: Pick<LoopPage, "schedulesDue">;
  tell(fault: Fault): void;
}

/** A wall clock that is set forward makes a schedule due, and no timer tells of that: so it is asked this often, without a read. */
const TICK_MS = 10_000;
/** The least time between two calls of the page: a schedule may be due every millisecond. */
const PACE_MS = 250;
/** What failed is tried again after this time. */
const RETRY_MS = 5_000;
/** A browser may hold the timers of a hidden page back for a minute. After a longer gap this loop was not there. */
const GAP_MS = 90_000;

export function createDueSchedules({ corridor, clock, page, tell }: DueSchedulesParts): DueSchedules {
  /** When the first schedule is due, in wall time. */
  let dueAtMs: number | undefined;
  /** Since when this loop has waited without a gap, and when it last was awake; both in wall time, undefined while it does not wait. */
  let waiting: { sinceMs: number; awakeMs: number } | undefined;
  let notBeforeMs = clock.monotonicMs();
  let isBusy = false;
  let again = false;
  let hasFailed = false;
  let isClosed = false;
  let cancelTimer = () => {};

  async function work(doing: () => Promise<void>): Promise<void> {
    isBusy = true;
    cancelTimer();
    try {
      again = false;
      await doing();
      do {
        again = false;
        await read();
      } while (again && !isClosed);
      hasFailed = false;
    } catch (error) {
      again = true;
      notBeforeMs = clock.monotonicMs() + RETRY_MS;
      // A page that does not answer is told once, however long that takes.
      if (!isClosed && !hasFailed) tell(faultOf("schedules", error, "schedules could not be looked at"));
      hasFailed = true;
    }
    isBusy = false;
    wait();
  }

  async function read(): Promise<void> {
    const [first] = await corridor.query(["schedules"], (reader) => reader.range("schedules", { index: "due", limit: 1 }));
    dueAtMs = typeof first?.dueAtMs === "number" ? first.dueAtMs : undefined;
  }

  function wait(): void {
    cancelTimer();
    if (isClosed) return;
    if (dueAtMs === undefined && !again) {
      waiting = undefined;
      return;
    }
    noteAwake();
    const untilMs = again || dueAtMs === undefined ? 0 : Math.min(dueAtMs - clock.now(), TICK_MS);
    const pauseMs = Math.max(untilMs, notBeforeMs - clock.monotonicMs());
    if (pauseMs > 0) cancelTimer = clock.setTimer(tick, pauseMs);
    else tick();
  }

  function noteAwake(): number {
    const nowMs = clock.now();
    const isUnbroken = waiting && nowMs >= waiting.awakeMs && nowMs - waiting.awakeMs < GAP_MS;
    const sinceMs = waiting && isUnbroken ? waiting.sinceMs : nowMs;
    waiting = { sinceMs, awakeMs: nowMs };
    return sinceMs;
  }

  function tick(): void {
    const sinceMs = noteAwake();
    if (again) void work(async () => {});
    else if (dueAtMs === undefined || dueAtMs > clock.now()) wait();
    else void work(() => run(sinceMs));
  }

  async function run(sinceMs: number): Promise<void> {
    notBeforeMs = clock.monotonicMs() + PACE_MS;
    if (!(await page.schedulesDue(sinceMs))) notBeforeMs = clock.monotonicMs() + RETRY_MS;
  }

  return {
    look() {
      if (isClosed) return;
      if (isBusy) again = true;
      else void work(async () => {});
    },
    close() {
      isClosed = true;
      cancelTimer();
    },
  };
}
