import type { Clock } from "../ports/clock.js";

/** Runs turns one at a time, and keeps the timer between them. */
interface Scheduler {
  /** Runs a turn at once, or as soon as the turn under way is over. */
  now(): void;
  /** The time of the next turn may have changed. */
  reschedule(): void;
  /** The next turn comes no later than `thanMs`. */
  notLater(thanMs: number): void;
  /** Begins no further turn. Resolves when the turn under way is over. */
  stop(): Promise<void>;
}

interface SchedulerParts {
  readonly clock: Clock;
  /** Runs a turn that was due at `dueMs`, in monotonic time; infinity if it follows another turn at once. Never rejects. */
  turn(dueMs: number): Promise<void>;
  /** The time of the next turn. */
  nextMs(nowMs: number): number;
}

export function createScheduler({ clock, turn, nextMs }: SchedulerParts): Scheduler {
  let turning: Promise<void> | undefined;
  let again = false;
  let isStopped = false;
  let dueMs = Number.POSITIVE_INFINITY;
  let cancelTimer = () => {};

  function now(): void {
    if (isStopped) return;
    if (turning) {
      again = true;
      return;
    }
    cancelTimer();
    turning = Promise.resolve().then(begin).then(over);
  }

  function begin(): Promise<void> {
    const wasDueMs = dueMs;
    dueMs = Number.POSITIVE_INFINITY;
    return turn(wasDueMs);
  }

  function over(): void {
    turning = undefined;
    if (!again) return schedule();
    again = false;
    now();
  }

  function schedule(): void {
    if (isStopped) return;
    const nowMs = clock.monotonicMs();
    dueMs = nextMs(nowMs);
    cancelTimer = clock.setTimer(now, Math.max(0, dueMs - nowMs));
  }

  function reschedule(): void {
    if (turning) return;
    cancelTimer();
    schedule();
  }

  return {
    now,
    reschedule,
    notLater(thanMs) {
      if (thanMs < dueMs) reschedule();
    },
    async stop() {
      isStopped = true;
      cancelTimer();
      await turning;
    },
  };
}
