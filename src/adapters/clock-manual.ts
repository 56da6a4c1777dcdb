import type { Clock } from "../ports/clock.js";

interface Timer {
  atMs: number;
  run: () => void;
}

/** A clock that stands still until it is told: what waits runs in order of its time, and work it starts is let settle in between. */
export function manualClock(startMs = 1_700_000_000_000): Clock & { advance(ms: number): Promise<void> } {
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
      await settle();
      for (;;) {
        const due = [...timers].filter((timer) => timer.atMs <= end).sort((a, b) => a.atMs - b.atMs)[0];
        if (!due) break;
        timers.delete(due);
        elapsedMs = Math.max(elapsedMs, due.atMs);
        due.run();
        await settle();
      }
      elapsedMs = end;
      await settle();
    },
  };
}

/** Rounds of the task queue, so that storages that answer in a later task are waited for too. */
async function settle(): Promise<void> {
  for (let round = 0; round < 8; round++) await new Promise((resolve) => setTimeout(resolve, 0));
}
