import type { Clock } from "../ports/clock.js";

/** `setTimeout` fires at once when a delay is longer. */
const LONGEST_MS = 2_147_483_647;

/** The machine's own time. In Node its timers do not keep the program alive. */
export function systemClock(): Clock {
  return {
    now: () => Date.now(),
    monotonicMs: () => performance.now(),
    setTimer(run, delayMs) {
      const dueMs = performance.now() + delayMs;
      let timer: unknown;
      const wait = () => {
        timer = setTimeout(onTimer, Math.min(dueMs - performance.now(), LONGEST_MS));
        if (typeof timer === "object" && timer !== null) (timer as { unref?(): void }).unref?.();
      };
      // Platforms round: a timer may fire up to a millisecond too early.
      const onTimer = () => (performance.now() < dueMs ? wait() : run());
      wait();
      return () => clearTimeout(timer as ReturnType<typeof setTimeout>);
    },
  };
}
