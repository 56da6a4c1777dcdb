/**
 * Who was seen just now, from memory. The rows stay the authority: a record here says that somebody was seen, and its absence nothing but
 * that nobody said so. It may be lost at any time.
 */
export interface LivenessStore {
  /** Whether there is anything to keep records in: false without a BroadcastChannel. */
  available(): boolean;
  /**
   * "Seen just now", for `ttlMs` milliseconds; the last call counts, also to shorten it. The other tabs and workers hear of it and believe
   * at most `timings.livenessTtlMs` of it. Rejects `unavailable`, then `invalid` for an empty id or a time that is not above zero.
   */
  touch(runtimeId: string, ttlMs: number): Promise<void>;
  /**
   * Each id with whether an unexpired record of it is known; at its very expiry it is dead. `ok: false`, and no answer at all, where that
   * is not known: without a channel, or as long as this tab has not heard from the others. Never rejects, reads no storage.
   */
  isAliveBatch(runtimeIds: readonly string[]): Promise<{ ok: true; alive: Map<string, boolean> } | { ok: false }>;
  /** Drops the record at once, here and elsewhere. Never rejects. */
  forget(runtimeId: string): Promise<void>;
}

/** For hosts that wire the stores themselves: it takes every touch and knows nothing, so that every beat writes its row. */
export function noopLivenessStore(): LivenessStore {
  return {
    available: () => false,
    touch: async () => {},
    isAliveBatch: async () => ({ ok: false }),
    forget: async () => {},
  };
}
