/** Limits how many handlers run at once. A handler that comes back from a wait goes before new work. */
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

/** One handler's slot. It is free while a wait of the handler is under way, and taken again before the last of its waits ends. */
export interface Slot {
  /** A wait is under way, or the handler waits for its slot after one. */
  readonly isWaiting: boolean;
  waiting<T>(wait: () => Promise<T>): Promise<T>;
  leave(): Promise<void>;
}

/** `stopped` ends the wait for a slot. After `ended` the handler's waits take no slot again. */
export async function takeSlot(slots: Slots, stopped: AbortSignal, ended: AbortSignal): Promise<Slot | undefined> {
  let held = await slots.take(stopped, false);
  if (!held) return undefined;
  let waits = 0;
  let taking: Promise<void> | undefined;

  function give(): void {
    if (!held) return;
    held = false;
    slots.give();
  }

  async function take(): Promise<void> {
    held = await slots.take(stopped, true);
    taking = undefined;
    // The handler waits again by now.
    if (waits > 0) give();
  }

  return {
    get isWaiting() {
      return waits > 0 || taking !== undefined;
    },
    async waiting(wait) {
      if (waits++ === 0) give();
      try {
        return await wait();
      } finally {
        if (--waits === 0 && !held && !ended.aborted) {
          taking ??= take();
          await taking;
        }
      }
    },
    async leave() {
      await taking;
      give();
    },
  };
}
