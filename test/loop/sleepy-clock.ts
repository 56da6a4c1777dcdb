import { manualClock } from "../../src/adapters/clock-manual.js";
import type { Clock } from "../../src/ports/clock.js";

export interface SleepyClock extends Clock {
  /** Time passes and every timer comes on time. */
  advance(ms: number): Promise<void>;
  /** The machine sleeps: both clocks go on, and no timer comes before it wakes. `wake` lets the late ones come. */
  sleep(ms: number): void;
  wake(): Promise<void>;
}

/** The manual clock of a machine that may sleep. */
export function sleepyClock(): SleepyClock {
  const inner = manualClock();
  let sleptMs = 0;
  const pending = new Set<{ dueMs: number; restart(): void }>();
  const monotonicMs = () => inner.monotonicMs() + sleptMs;
  return {
    now: () => inner.now() + sleptMs,
    monotonicMs,
    setTimer(run, delayMs) {
      let cancel = () => {};
      const timer = {
        dueMs: monotonicMs() + Math.max(0, delayMs),
        restart() {
          cancel();
          cancel = inner.setTimer(() => {
            pending.delete(timer);
            run();
          }, timer.dueMs - monotonicMs());
        },
      };
      pending.add(timer);
      timer.restart();
      return () => {
        pending.delete(timer);
        cancel();
      };
    },
    advance: inner.advance,
    sleep(ms) {
      sleptMs += ms;
      for (const timer of [...pending].sort((a, b) => a.dueMs - b.dueMs)) timer.restart();
    },
    wake: () => inner.advance(0),
  };
}
