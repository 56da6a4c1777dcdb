/** Time as a value. `now` is the wall clock in epoch milliseconds, `monotonicMs` never goes back and has any origin. */
export interface Clock {
  now(): number;
  monotonicMs(): number;
  /** Calls `run` once, not before `delayMs`; returns its cancel. Never keeps a program alive. */
  setTimer(run: () => void, delayMs: number): () => void;
}
