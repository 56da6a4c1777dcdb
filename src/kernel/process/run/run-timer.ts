import type { Clock } from "../../../ports/clock.js";
import { nextLookMs, overdue, type RunTime } from "./run-end.rules.js";

/** Ends a run whose handler goes on too long. */
export interface RunTimer {
  /** The handler was asked to cancel: its time begins, once. */
  cancelling(): void;
  /** The handler stored a step or an event: its time after a cancel request begins anew. */
  stored(): void;
  end(): void;
}

interface RunTimerParts {
  readonly clock: Clock;
  readonly deadlineAtMs: number | undefined;
  /** The handler's time after a cancel request, in milliseconds. */
  readonly cancelMs: number;
  onOver(why: "timeout" | "cancelled"): void;
}

export function createRunTimer({ clock, deadlineAtMs, cancelMs, onOver }: RunTimerParts): RunTimer {
  let time: RunTime = { deadlineAtMs };
  let isOver = false;
  let cancelTimer = () => {};
  const now = () => ({ wallMs: clock.now(), monotonicMs: clock.monotonicMs() });

  function setTimer(): void {
    cancelTimer();
    const ms = isOver ? undefined : nextLookMs(time, now());
    if (ms !== undefined) cancelTimer = clock.setTimer(look, ms);
  }

  function look(): void {
    const why = overdue(time, now());
    if (!why) return setTimer();
    end();
    onOver(why);
  }

  function beginCancelTime(): void {
    time = { deadlineAtMs, cancelUntilMs: clock.monotonicMs() + cancelMs };
    setTimer();
  }

  function end(): void {
    isOver = true;
    cancelTimer();
  }

  setTimer();
  return {
    cancelling() {
      if (time.cancelUntilMs === undefined) beginCancelTime();
    },
    stored() {
      if (time.cancelUntilMs !== undefined) beginCancelTime();
    },
    end,
  };
}
