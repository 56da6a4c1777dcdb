import type { Clock } from "../ports/clock.js";

/** Turns, one at a time, and the timer between them. */
export interface Scheduler {
  /** At once, or as soon as the turn under way is over. */
  now(): void;
  /** When the next turn is may have changed. */
  reschedule(): void;
  /** The next turn is no later than that. */
  notLater(thanMs: number): void;
  /** No turn begins any more. Resolves when the one under way is over. */
  stop(): Promise<void>;
}

export interface SchedulerParts {
  readonly clock: Clock;
  /** A turn that was due then, in monotonic time; infinity where one followed another at once. Never rejects. */
  turn(dueMs: number): Promise<void>;
  /** When the next turn is. */
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
