/**
 * The runtimes that were seen just now, kept in memory. The stored rows stay the authority: a record here says that a runtime was seen, and
 * the absence of a record says nothing. Records may be lost at any time.
 */
export interface LivenessStore {
  /** Whether records can be kept: false without a BroadcastChannel. */
  available(): boolean;
  /**
   * Records "seen just now" for `ttlMs` milliseconds. The last call counts, even if it shortens the time. Other tabs and workers are told;
   * they cap the time at `timings.livenessTtlMs`. Rejects `unavailable` without a channel, then `invalid` for an empty id or a time that is not above zero.
   */
  touch(runtimeId: string, ttlMs: number): Promise<void>;
  /**
   * Maps each id to whether an unexpired record of it is known. A record is dead at its very expiry. `ok: false` if that is unknown: without
   * a channel, or until the other tabs have answered this one. Never rejects, reads no storage.
   */
  isAliveBatch(runtimeIds: readonly string[]): Promise<{ ok: true; alive: Map<string, boolean> } | { ok: false }>;
  /** Drops the record at once, in this tab and in all others. Never rejects. */
  forget(runtimeId: string): Promise<void>;
}

/** For programs that wire the stores themselves. It accepts every touch and keeps nothing, so that every beat writes its row. */
export function noopLivenessStore(): LivenessStore {
  return {
    available: () => false,
    touch: async () => {},
    isAliveBatch: async () => ({ ok: false }),
    forget: async () => {},
  };
}
