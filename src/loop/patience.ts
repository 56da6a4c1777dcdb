import type { Clock } from "../ports/clock.js";

/**
 * How long an expired lease of a live host has been seen with the same token, in unbroken monotonic time. A machine that just
 * woke up shows expired leases whose holders wake too: they get the time of one renewal before another host claims.
 */
interface Patience {
  /** A turn begins. A turn that is late by more than a renewal's time, or takes longer than that, starts every count again. */
  begin(dueMs: number): void;
  end(): void;
  /** True once this token has been seen expired for long enough. */
  isOver(processId: string, token: string): boolean;
  forget(processId: string): void;
  /** The processes whose leases are watched. */
  watched(): Iterable<string>;
  /** When the first of the counts is over, in monotonic time. */
  nextMs(): number;
}

export function createPatience(clock: Clock, renewMs: number): Patience {
  const sightings = new Map<string, { token: string; sinceMs: number }>();
  let begunMs = clock.monotonicMs();
  const isLongTurn = () => clock.monotonicMs() - begunMs > renewMs;
  return {
    begin(dueMs) {
      begunMs = clock.monotonicMs();
      if (begunMs - dueMs > renewMs) sightings.clear();
    },
    end() {
      if (isLongTurn()) sightings.clear();
    },
    isOver(processId, token) {
      const sighting = sightings.get(processId);
      if (sighting?.token !== token || isLongTurn()) {
        sightings.set(processId, { token, sinceMs: clock.monotonicMs() });
        return false;
      }
      // Counted to the turn's begin: the machine may have slept since then.
      if (begunMs - sighting.sinceMs < renewMs) return false;
      sightings.delete(processId);
      return true;
    },
    forget: (processId) => sightings.delete(processId),
    watched: () => sightings.keys(),
    nextMs() {
      let soonest = Number.POSITIVE_INFINITY;
      for (const { sinceMs } of sightings.values()) soonest = Math.min(soonest, sinceMs + renewMs);
      return soonest;
    },
  };
}
