import { guarded } from "../domain/admit.js";
import { HoldfastError } from "../domain/errors.js";
import type { Clock } from "../ports/clock.js";
import type { Change, Notices } from "../ports/notices.js";

/**
 * Waits: a notice, or a slow poll where one was lost, turned into reading again. It listens first and reads second, so
 * nothing that is stored in between is missed; what ends a wait is always what was read, never the notice.
 */
export interface Watch {
  /**
   * Reads until `read` finds something. Rejects `aborted` with the signal's reason as cause, `closed` when the kernel closes,
   * or with what `read` throws.
   */
  until<T>(concerns: (change: Change) => boolean, read: () => Promise<T | undefined>, signal?: AbortSignal): Promise<T>;
  /** Ends every wait with `closed`. */
  close(): void;
}

/** In Node a Proxy passes for a signal: what it throws is the caller's own mistake. */
const ofSignal = <T>(look: () => T): T => guarded("options.signal", look);

export function createWatch(notices: Notices, clock: Clock, pollMs: number): Watch {
  /** Wakes every wait; a set of its own, because platforms warn of many listeners on one signal. */
  const waits = new Set<() => void>();
  let closed = false;
  /** One listener per signal, however many waits it ends. */
  const hearersOf = new WeakMap<AbortSignal, Set<() => void>>();

  function hearAbort(signal: AbortSignal, hear: () => void): () => void {
    const hearers = hearersOf.get(signal) ?? new Set();
    hearersOf.set(signal, hearers);
    if (hearers.size === 0) signal.addEventListener("abort", tellHearers);
    hearers.add(hear);
    return () => {
      hearers.delete(hear);
      if (hearers.size === 0) ofSignal(() => signal.removeEventListener("abort", tellHearers));
    };
  }

  function tellHearers({ target }: Event): void {
    for (const hear of hearersOf.get(target as AbortSignal) ?? []) hear();
  }

  async function until<T>(
    concerns: (change: Change) => boolean,
    read: () => Promise<T | undefined>,
    signal?: AbortSignal,
  ): Promise<T> {
    let heard = false;
    let wake: (() => void) | undefined;
    const hear = () => {
      heard = true;
      wake?.();
    };
    const ended = () => closed || (signal !== undefined && ofSignal(() => signal.aborted));
    const unsubscribe = notices.subscribe((changes) => {
      if (changes.some(concerns)) hear();
    });
    let unhear: (() => void) | undefined;
    waits.add(hear);
    try {
      unhear = signal && ofSignal(() => hearAbort(signal, hear));
      for (;;) {
        if (ended()) throw endOf(signal);
        heard = false;
        const found = await read();
        if (found !== undefined) return found;
        if (heard || ended()) continue;
        await new Promise<void>((resolve) => {
          const cancelPoll = clock.setTimer(resolve, pollMs);
          wake = () => {
            cancelPoll();
            resolve();
          };
        });
        wake = undefined;
      }
    } finally {
      unsubscribe();
      unhear?.();
      waits.delete(hear);
    }
  }

  function endOf(signal: AbortSignal | undefined): HoldfastError {
    if (signal && ofSignal(() => signal.aborted)) {
      const cause: unknown = ofSignal(() => signal.reason);
      return new HoldfastError("aborted", "the wait was aborted by its signal", { cause });
    }
    return new HoldfastError("closed", "the kernel is closed");
  }

  return {
    until,
    close() {
      closed = true;
      for (const wake of waits) wake();
    },
  };
}
