/** How many handlers run at once. A handler that comes back from a wait goes before new work. */
export interface Slots {
  readonly free: number;
  /** Resolves true with a slot, false when the signal aborts first. */
  take(signal: AbortSignal, returning: boolean): Promise<boolean>;
  give(): void;
}

export function createSlots(count: number, onFree: () => void): Slots {
  let taken = 0;
  const returning: (() => void)[] = [];
  const fresh: (() => void)[] = [];
  return {
    get free() {
      return Math.max(0, count - taken - returning.length - fresh.length);
    },
    take(signal, isReturning) {
      if (signal.aborted) return Promise.resolve(false);
      if (taken < count) {
        taken++;
        return Promise.resolve(true);
      }
      const queue = isReturning ? returning : fresh;
      return new Promise((resolve) => {
        const enter = () => {
          signal.removeEventListener("abort", leave);
          resolve(true);
        };
        const leave = () => {
          queue.splice(queue.indexOf(enter), 1);
          resolve(false);
        };
        queue.push(enter);
        signal.addEventListener("abort", leave, { once: true });
      });
    },
    give() {
      const next = returning.shift() ?? fresh.shift();
      if (next) return next();
      taken--;
      onFree();
    },
  };
}
