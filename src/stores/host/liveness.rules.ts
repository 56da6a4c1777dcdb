/**
 * The table of sightings that every tab and worker keeps in memory. An id is alive while its own record is unexpired, or while the host
 * that it belongs to beats: one beat covers ten thousand agents of a tab.
 */

/** A moment by both clocks. The wall clock goes on during a sleep, the monotonic clock is never set back. */
export interface Instant {
  readonly wallMs: number;
  readonly monotonicMs: number;
}

export interface Sightings {
  /** False if the table is full: then records of other hosts are refused. This host's own records are always taken. */
  touch(id: string, until: Instant, isOwn: boolean): boolean;
  beat(bootId: string, seenAtMs: number, until: Instant, isOwn: boolean): boolean;
  join(bootId: string, id: string, isOwn: boolean): boolean;
  leave(bootId: string, id: string): void;
  forget(id: string): void;
  isAlive(id: string, now: Instant): boolean;
  /** The wall time of the host's last beat, while that is unexpired. */
  lastBeat(bootId: string, now: Instant): number | undefined;
  /** The ids that were touched, and how long each touch still counts. */
  touched(now: Instant): [id: string, ttlMs: number][];
  /** Whether the id belongs to that host. */
  isMember(bootId: string, id: string): boolean;
  /** Drops what has expired, and the members of hosts that no longer beat, except those of `own`. */
  purge(now: Instant, own: string | undefined): void;
  readonly size: number;
}

export function createSightings(most: number): Sightings {
  const touched = new Map<string, Instant>();
  const beats = new Map<string, { readonly seenAtMs: number; readonly until: Instant }>();
  const hostOf = new Map<string, string>();

  const size = () => touched.size + beats.size + hostOf.size;
  const hasRoom = (map: ReadonlyMap<string, unknown>, id: string, isOwn: boolean) => isOwn || map.has(id) || size() < most;

  function lastBeat(bootId: string, now: Instant): number | undefined {
    const beat = beats.get(bootId);
    return beat && isUnexpired(now, beat.until) ? beat.seenAtMs : undefined;
  }

  return {
    touch(id, until, isOwn) {
      if (!hasRoom(touched, id, isOwn)) return false;
      touched.set(id, until);
      return true;
    },
    beat(bootId, seenAtMs, until, isOwn) {
      if (!hasRoom(beats, bootId, isOwn)) return false;
      beats.set(bootId, { seenAtMs, until });
      return true;
    },
    join(bootId, id, isOwn) {
      if (!hasRoom(hostOf, id, isOwn)) return false;
      hostOf.set(id, bootId);
      return true;
    },
    leave(bootId, id) {
      if (hostOf.get(id) === bootId) hostOf.delete(id);
    },
    forget(id) {
      touched.delete(id);
      hostOf.delete(id);
    },
    isAlive(id, now) {
      const bootId = hostOf.get(id);
      return isUnexpired(now, touched.get(id)) || (bootId !== undefined && lastBeat(bootId, now) !== undefined);
    },
    lastBeat,
    touched: (now) => [...touched].filter(([, until]) => isUnexpired(now, until)).map(([id, until]) => [id, left(now, until)]),
    isMember: (bootId, id) => hostOf.get(id) === bootId,
    purge(now, own) {
      for (const [id, until] of touched) if (!isUnexpired(now, until)) touched.delete(id);
      for (const [bootId, { until }] of beats) if (!isUnexpired(now, until)) beats.delete(bootId);
      for (const [id, bootId] of hostOf) if (bootId !== own && !beats.has(bootId)) hostOf.delete(id);
    },
    get size() {
      return size();
    },
  };
}

/** Expired by one clock is expired. At the very moment of `until`, too. */
function isUnexpired(now: Instant, until: Instant | undefined): boolean {
  return until !== undefined && now.wallMs < until.wallMs && now.monotonicMs < until.monotonicMs;
}

function left(now: Instant, until: Instant): number {
  return Math.min(until.wallMs - now.wallMs, until.monotonicMs - now.monotonicMs);
}

export function later(now: Instant, ms: number): Instant {
  return { wallMs: now.wallMs + ms, monotonicMs: now.monotonicMs + ms };
}
