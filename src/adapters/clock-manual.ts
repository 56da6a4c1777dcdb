import type { Clock } from "../ports/clock.js";

interface Timer {
  atMs: number;
  run: () => void;
}

/**
 * A clock that stands still until `advance` is called. Timers run in the order of their times, and the work that one starts
 * settles before the next one runs.
 */
export function manualClock(startMs = 1_700_000_000_000): Clock & {
  /** Moves the clock by `ms` milliseconds and runs the timers that are due on the way. */
  advance(ms: number): Promise<void>;
} {
  let elapsedMs = 0;
  const timers = new Set<Timer>();
  return {
    now: () => startMs + elapsedMs,
    monotonicMs: () => elapsedMs,
    setTimer(run, delayMs) {
      const timer = { atMs: elapsedMs + Math.max(0, delayMs), run };
      timers.add(timer);
      return () => timers.delete(timer);
    },
    async advance(ms) {
      const end = elapsedMs + ms;
      await drainTasks();
      for (;;) {
        const due = [...timers].filter((timer) => timer.atMs <= end).sort((a, b) => a.atMs - b.atMs)[0];
        if (!due) break;
        timers.delete(due);
        elapsedMs = Math.max(elapsedMs, due.atMs);
        due.run();
        await drainTasks();
      }
      elapsedMs = end;
      await drainTasks();
    },
  };
}

/** Several rounds of the task queue: a storage may answer in a later task. */
async function drainTasks(): Promise<void> {
  for (let round = 0; round < 8; round++) await new Promise((resolve) => setTimeout(resolve, 0));
}
