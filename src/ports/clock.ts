/** Time as a value. `now` is the wall clock in epoch milliseconds. `monotonicMs` never goes back; its origin is arbitrary. */
export interface Clock {
  /** The wall clock, in milliseconds since 1970. It may be set back or forward. */
  now(): number;
  /** Milliseconds since an arbitrary moment. Never goes back. */
  monotonicMs(): number;
  /** Calls `run` once, not before `delayMs` have passed. Returns a function that cancels it. Never keeps a program alive. */
  setTimer(run: () => void, delayMs: number): () => void;
}
