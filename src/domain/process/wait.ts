/** What a process waits for. Times in epoch milliseconds. */
export interface ProcessWait {
  /** The key of the wait or step; of a pause of the whole process, `"process"`; of a limit, the limit's key. */
  key: string;
  /** `timer`: `sleep` and `sleepUntil`. `signal`: `waitForSignal`. `retry`: the pause before another try. `limit`: a place among the runs of a limit. */
  kind: WaitKind;
  /** The name of the signal. */
  name?: string;
  sinceMs: number;
  /** When a timer or pause ends, and when a wait for a signal times out. */
  dueAtMs?: number;
}

export type WaitKind = "timer" | "signal" | "retry" | "limit";

/** The tries of a process whose handler threw. Times in epoch milliseconds. */
export interface ProcessAttempts {
  /** Runs that threw and were tried again, or will be. */
  failed: number;
  lastError?: { code: string; message: string };
  /** The next run begins no earlier. */
  retryAtMs?: number;
}
