/**
 * The table of sightings that every tab and worker keeps. An id is alive while a record of its own lives, or while the host that it
 * belongs to beats: ten thousand agents of a tab are one beat.
 */

/** A moment by both clocks: the wall clock survives a sleep, the monotonic one is not set back. */
export interface Instant {
  readonly wallMs: number;
  readonly monotonicMs: number;
}

export interface Sightings {
  /** What others say is not taken where the table is full: false. One's own always is. */
  touch(id: string, until: Instant, isOwn: boolean): boolean;
  beat(bootId: string, seenAtMs: number, until: Instant, isOwn: boolean): boolean;
  join(bootId: string, id: string, isOwn: boolean): boolean;
  leave(bootId: string, id: string): void;
  forget(id: string): void;
  isAlive(id: string, now: Instant): boolean;
  /** When a host beat last, in wall time, while that counts. */
  lastBeat(bootId: string, now: Instant): number | undefined;
  /** What was touched and how long that counts from now on. */
  touched(now: Instant): [id: string, ttlMs: number][];
  /** Whether it belongs to that host. */
  isMember(bootId: string, id: string): boolean;
  /** Drops what is over, and the members of hosts that are, but for one's own. */
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
    return beat && isBefore(now, beat.until) ? beat.seenAtMs : undefined;
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
      return isBefore(now, touched.get(id)) || (bootId !== undefined && lastBeat(bootId, now) !== undefined);
    },
    lastBeat,
    touched: (now) => [...touched].filter(([, until]) => isBefore(now, until)).map(([id, until]) => [id, left(now, until)]),
    isMember: (bootId, id) => hostOf.get(id) === bootId,
    purge(now, own) {
      for (const [id, until] of touched) if (!isBefore(now, until)) touched.delete(id);
      for (const [bootId, { until }] of beats) if (!isBefore(now, until)) beats.delete(bootId);
      for (const [id, bootId] of hostOf) if (bootId !== own && !beats.has(bootId)) hostOf.delete(id);
    },
    get size() {
      return size();
    },
  };
}

/** Over by one clock is over: at the very moment, too. */
function isBefore(now: Instant, until: Instant | undefined): boolean {
  return until !== undefined && now.wallMs < until.wallMs && now.monotonicMs < until.monotonicMs;
}

function left(now: Instant, until: Instant): number {
  return Math.min(until.wallMs - now.wallMs, until.monotonicMs - now.monotonicMs);
}

export function later(now: Instant, ms: number): Instant {
  return { wallMs: now.wallMs + ms, monotonicMs: now.monotonicMs + ms };
}
