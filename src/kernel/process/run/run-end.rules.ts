import { lookInMs } from "../../../domain/time.js";

/** What ends a run although its handler goes on. */
export interface RunTime {
  /** When the process ends as failed: by the clock of the storage, in epoch milliseconds. */
  readonly deadlineAtMs?: number | undefined;
  /** Until when a handler that was asked to cancel may go on: in monotonic milliseconds. */
  readonly cancelUntilMs?: number | undefined;
}

export interface Moment {
  readonly wallMs: number;
  readonly monotonicMs: number;
}

/** Why the run is over at this moment, if it is: the time of its process is up, or the handler did not end after a cancel request. */
export function overdue({ deadlineAtMs, cancelUntilMs }: RunTime, now: Moment): "timeout" | "cancelled" | undefined {
  if (deadlineAtMs !== undefined && deadlineAtMs <= now.wallMs) return "timeout";
  return cancelUntilMs !== undefined && cancelUntilMs <= now.monotonicMs ? "cancelled" : undefined;
}

/** In how many milliseconds to look again; `undefined` where nothing ends the run. */
export function nextLookMs({ deadlineAtMs, cancelUntilMs }: RunTime, now: Moment): number | undefined {
  const left = [
    ...(deadlineAtMs === undefined ? [] : [lookInMs(deadlineAtMs, now.wallMs)]),
    ...(cancelUntilMs === undefined ? [] : [cancelUntilMs - now.monotonicMs]),
  ];
  return left.length === 0 ? undefined : Math.max(0, Math.min(...left));
}
