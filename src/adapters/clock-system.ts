import type { Clock } from "../ports/clock.js";

/** The machine's own time. In Node its timers do not keep the program alive. */
export function systemClock(): Clock {
  return {
    now: () => Date.now(),
    monotonicMs: () => performance.now(),
    setTimer(run, delayMs) {
      // A longer delay than 2^31 - 1 would fire at once.
      const timer: unknown = setTimeout(run, Math.min(Math.max(0, delayMs), 2_147_483_647));
      if (typeof timer === "object" && timer !== null) (timer as { unref?(): void }).unref?.();
      return () => clearTimeout(timer as ReturnType<typeof setTimeout>);
    },
  };
}
