import type { Corridor } from "../corridor/command.js";
import type { Timings } from "../domain/time.js";
import type { Presence } from "../kernel/host/presence.js";
import { holdIfFree } from "../kernel/host/web-lock.js";
import type { Clock } from "../ports/clock.js";
import type { Locks } from "../ports/locks.js";
import type { Key } from "../ports/storage.js";
import { dropHosts, expireAgents, expireHost, readDoubtfulAgents } from "../stores/host/beats.js";
import { isAhead, isSilent, type Silence } from "../stores/host/hosts.rules.js";
import { pagesOf, type RemovePage, type Retention } from "../stores/host/retention.js";
import { SCANS } from "../stores/host/worn.js";
import { readable } from "../stores/schema.js";

/**
 * Tells which hosts and agents have been silent for too long, once each, removes what retention lets go, and mends the index ranges that
 * removed rows leave behind. Any number of loops may sweep one database: every write repeats the check that led to it. A lock keeps them
 * from sweeping at the same time.
 *
 * Late is not dead: a sweeper judges only after it has been awake, without a gap, for long enough to hear every host that woke up with it.
 * It judges as of the moment at which that was known.
 */
export interface Sweeper {
  /** A turn of the loop begins that was due at `dueMs`, in monotonic time. */
  begin(dueMs: number): void;
  /** The turn is over; the machine may have slept in the middle of a long one. */
  end(): void;
  /** Sweeps beside the turns, which must not wait for it; never twice at once. */
  sweep(): void;
  /** Begins no further stage, and lets its lock go: a frozen page would keep it. */
  kill(): void;
}

interface SweeperParts {
  readonly corridor: Corridor;
  readonly presence: Presence;
  readonly clock: Clock;
  readonly locks: Locks | undefined;
  readonly timings: Timings;
  readonly retention: Retention;
  readonly databaseId: string;
  onOffline(agentIds: string[]): void;
  /** A stage failed; the others go on. */
  onFault(error: unknown): void;
}

const AGENTS_AT_ONCE = 256;
/** A stopped process keeps its lock: after this many refusals in a row a sweep goes on without it. */
const MOST_REFUSALS = 3;
/** The pause after each page that is removed lets other work run. The sweep ends after this many pages, and removal resumes later. */
const PAUSE_MS = 25;
const MOST_PAGES = 40;
const RESUME_MS = 500;

export function sweeperLockName(databaseId: string): string {
  return `holdfast:${databaseId}:sweep`;
}

export function createSweeper(parts: SweeperParts): Sweeper {
  const { corridor, presence, clock, timings } = parts;
  const { heartbeatMs, staleAfterMs, livenessTtlMs } = timings;
  const removals = pagesOf(corridor, parts.retention);
  /** A shorter delay cannot make a beating host look silent: its row was younger by as much. */
  const slackMs = staleAfterMs - timings.heartbeatFlushMs - heartbeatMs;
  let trustedAtMs = clock.monotonicMs() + 2 * heartbeatMs;
  let last = { wallMs: clock.now(), monotonicMs: clock.monotonicMs() };
  let isSweeping = false;
  let release: (() => void) | undefined;
  let refusals = 0;
  let killed = false;
  /** How far each worn range was scanned, and when scanning goes on: not while a page opens, nor at each death of a host. */
  const scanned: (Key | undefined)[] = [];
  let scanAtMs = clock.monotonicMs() + timings.sweepMs;
  let wake = () => {};
  let cancelResume = () => {};

  function begin(dueMs: number): void {
    const now = { wallMs: clock.now(), monotonicMs: clock.monotonicMs() };
    const jumpedMs = Math.max(0, now.wallMs - last.wallMs - (now.monotonicMs - last.monotonicMs));
    missed(Math.max(0, now.monotonicMs - dueMs) + jumpedMs);
    last = now;
  }

  function missed(ms: number): void {
    if (ms >= slackMs) trustedAtMs = clock.monotonicMs() + livenessTtlMs;
  }

  async function sweep(): Promise<void> {
    // Rows that are read later are judged as of now: the machine may sleep in between.
    const { wallMs: asOfMs, monotonicMs } = last;
    release = await holdIfFree(parts.locks, sweeperLockName(parts.databaseId));
    if (!release && ++refusals < MOST_REFUSALS) return;
    refusals = 0;
    const offline: string[] = [];
    try {
      if (monotonicMs >= trustedAtMs) {
        const silence = { asOfMs, staleAfterMs, aheadMs: heartbeatMs };
        await stage(() => expireHosts(parts, silence, offline));
        await stage(() => expireAllAgents(parts, silence, offline, () => killed));
        // Forgotten only after the write: a beat in between would have kept them.
        if (offline.length > 0) presence.forget(offline);
      }
      await remove(asOfMs);
      // Scanned last: rows that were just removed left entries behind, too.
      if (monotonicMs >= scanAtMs) await scanWorn(monotonicMs);
    } finally {
      release?.();
      if (offline.length > 0) parts.onOffline(offline);
    }
  }

  async function scanWorn(nowMs: number): Promise<void> {
    scanAtMs = nowMs + timings.sweepMs;
    // The scans run one by one, so that no table is kept from other work for long.
    for (const [at, scan] of SCANS.entries())
      await stage(async () => {
        scanned[at] = await corridor.run(scan, { after: scanned[at] });
      });
  }

  /** Removes page after page. The rest after many pages is resumed soon, not at the next sweep. */
  async function remove(asOfMs: number): Promise<void> {
    let waiting = removals;
    for (let pages = 0; ; pages++) {
      const more: RemovePage[] = [];
      for (const removePage of waiting)
        await stage(async () => {
          if (await removePage(asOfMs)) more.push(removePage);
        });
      if (more.length === 0 || killed) return;
      if (pages === MOST_PAGES) {
        cancelResume();
        cancelResume = clock.setTimer(start, RESUME_MS);
        return;
      }
      waiting = more;
      await new Promise<void>((resolve) => {
        const cancel = clock.setTimer(resolve, PAUSE_MS);
        wake = () => {
          cancel();
          resolve();
        };
      });
    }
  }

  async function stage(work: () => Promise<void>): Promise<void> {
    if (killed) return;
    try {
      await work();
    } catch (error) {
      if (!killed) parts.onFault(error);
    }
  }

  function start(): void {
    if (killed || isSweeping) return;
    isSweeping = true;
    void sweep().finally(() => {
      isSweeping = false;
    });
  }

  return {
    begin,
    end: () => missed(clock.monotonicMs() - last.monotonicMs),
    sweep: start,
    kill() {
      killed = true;
      cancelResume();
      wake();
      release?.();
    },
  };
}

/** What other tabs have in memory keeps a host or an agent alive, but not for ever: any page of the origin may speak there. */
function isVouched(lastSeenAtMs: number, { asOfMs, staleAfterMs }: Silence, { livenessTtlMs }: Timings): boolean {
  return asOfMs - lastSeenAtMs < staleAfterMs + livenessTtlMs;
}

/** Ends silent hosts, and drops the rows of ended hosts that no agent needs. Adds the agents that go offline with them. */
async function expireHosts({ corridor, presence, timings }: SweeperParts, silence: Silence, offline: string[]): Promise<void> {
  const rows = readable("hosts", await corridor.query(["hosts"], (reader) => reader.range("hosts", {})));
  const bootIds = rows.flatMap(({ bootId, end, lastSeenAtMs }) => {
    if (end !== undefined || !(isSilent(lastSeenAtMs, silence) || isAhead(lastSeenAtMs, silence))) return [];
    return presence.lastBeat(bootId) !== undefined && isVouched(lastSeenAtMs, silence, timings) ? [] : [bootId];
  });
  // Hosts expire one by one: each may have thousands of agents.
  for (const bootId of bootIds) offline.push(...(await corridor.run(expireHost, { bootId, silence })));
  // The row of a silent host that holds a lock goes when that lock falls free.
  const ended = rows.filter(({ end, locked }) => end !== undefined && !(end === "silent" && locked === 1));
  if (ended.length === 0) return;
  const needed = await corridor.query(["agents"], (reader) =>
    Promise.all(ended.map(({ bootId }) => reader.range("agents", { index: "byBoot", prefix: [bootId], limit: 1 }))),
  );
  const unneeded = ended.filter((_, at) => needed[at]?.length === 0).map(({ bootId }) => bootId);
  if (unneeded.length > 0) await corridor.run(dropHosts, { bootIds: unneeded });
}

/** Ends silent agents that beat for themselves, page by page. Adds those that go offline. */
async function expireAllAgents(
  { corridor, presence, timings }: SweeperParts,
  silence: Silence,
  offline: string[],
  isKilled: () => boolean,
): Promise<void> {
  let after: Key | undefined;
  do {
    const page = { limit: AGENTS_AT_ONCE, ...(after !== undefined && { after }) };
    const { rows, last: reached } = await corridor.query(["agents"], (reader) => readDoubtfulAgents(reader, silence, page));
    const heard = presence.aliveOf(rows.map(({ agentId }) => agentId));
    const agentIds = rows.flatMap(({ agentId, lastSeenAtMs }) =>
      heard?.has(agentId) && isVouched(lastSeenAtMs, silence, timings) ? [] : [agentId],
    );
    if (agentIds.length > 0) offline.push(...(await corridor.run(expireAgents, { agentIds, silence })));
    after = reached;
  } while (after !== undefined && !isKilled());
}
