/** What a process waits for. Times in epoch milliseconds. */
export interface ProcessWait {
  /** The key of the wait or step; of a wait for a signal without one, `":<count>:<name>"`; of a pause of the whole process, `"process"`; of a limit, the limit's key. */
  key: string;
  /** `timer`: `sleep` and `sleepUntil`. `signal`: `waitForSignal`. `retry`: the pause before another try. `limit`: a place among the runs of a limit. */
  kind: "timer" | "signal" | "retry" | "limit";
  /** The name of the signal. */
  name?: string;
  sinceMs: number;
  /** When a timer or pause ends, and when a wait for a signal times out. */
  dueAtMs?: number;
}

/** The tries of a process whose handler threw. Times in epoch milliseconds. */
export interface ProcessAttempts {
  /** Runs that threw and were tried again, or will be. */
  failed: number;
  lastError?: { code: string; message: string };
  /** The next run begins no earlier. */
  retryAtMs?: number;
}

/** The stored key of a wait for a signal with a given key. It shares no space with those of waits without one. */
export function givenWaitKey(key: string): string {
  return key.startsWith(":") ? `:${key}` : key;
}

/** The stored key of the wait without a given key that is the `count`-th one for the name in its run. */
export function countedWaitKey(name: string, count: number): string {
  return `:${count}:${name}`;
}

/** The key as it is shown: a given one as it was given. */
export function shownWaitKey(stored: string): string {
  return stored.startsWith("::") ? stored.slice(1) : stored;
}
