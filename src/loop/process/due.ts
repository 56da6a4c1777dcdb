import type { Corridor } from "../../corridor/command.js";
import { LONGEST_LOOK_MS, lookInMs } from "../../domain/time.js";
import type { Clock } from "../../ports/clock.js";
import type { Reader } from "../../ports/storage.js";
import { makeClaimable } from "../../stores/process/runs/make-claimable.js";

/**
 * The parked processes that this host could run: it makes them claimable when they are due. It remembers the next due time of each handler
 * and session alone, and reads nothing before that.
 */
export interface DueProcesses {
  /** A process that needs `name` was parked until then. */
  heard(name: string, dueAtMs: number): void;
  /**
   * Makes claimable what is due and needs one of the names, and resolves with the ids. `isSweep`: also looks for what no notice told of.
   * Otherwise it reads nothing before something is due.
   */
  take(names: ReadonlySet<string>, isSweep: boolean): Promise<string[]>;
  close(): void;
}

interface DueProcessesParts {
  readonly corridor: Corridor;
  readonly clock: Clock;
  /** Something is due: `take` must be called. */
  onDue(): void;
}

/** The most processes of one name that are made claimable at once. */
const PAGE = 256;
const NO_TIME = Number.POSITIVE_INFINITY;

export function createDueProcesses({ corridor, clock, onDue }: DueProcessesParts): DueProcesses {
  /** The next due time of each name, by the clock of the storage. */
  const nextAtMs = new Map<string, number>();
  /** What was heard of while rows are read, which may not show it yet. */
  let news: [name: string, dueAtMs: number][] | undefined;
  let cancelTimer = () => {};
  let isClosed = false;

  function setTimer(): void {
    cancelTimer();
    const least = Math.min(...nextAtMs.values());
    if (least === NO_TIME || isClosed) return;
    cancelTimer = clock.setTimer(onTimer, lookInMs(least, clock.now()));
  }

  function onTimer(): void {
    const nowMs = clock.now();
    const isDue = [...nextAtMs.values()].some((atMs) => atMs <= nowMs);
    if (!isDue) return setTimer();
    onDue();
    // A page that does not answer keeps the turn from taking them.
    cancelTimer = clock.setTimer(onTimer, LONGEST_LOOK_MS);
  }

  /** The first due processes of the name; sets when the next one is due. */
  async function look(reader: Reader, name: string, nowMs: number): Promise<string[]> {
    const index = { index: "due", prefix: [name] };
    const known = nextAtMs.get(name) ?? NO_TIME;
    if (known > nowMs) {
      // What is known to come is not read again: only a row that is due before it.
      const before = known === NO_TIME ? {} : { upTo: [name, known, ""] };
      const [first] = await reader.range("processes", { ...index, ...before, limit: 1 });
      const atMs = first === undefined ? known : Number(first.dueAtMs);
      nextAtMs.set(name, atMs);
      if (atMs > nowMs) return [];
    }
    const dueNow = [name, nowMs + 1, ""];
    const [rows, later] = await Promise.all([
      reader.range("processes", { ...index, upTo: dueNow, limit: PAGE }),
      reader.range("processes", { ...index, after: dueNow, limit: 1 }),
    ]);
    nextAtMs.set(name, rows.length === PAGE ? nowMs : Number(later[0]?.dueAtMs ?? NO_TIME));
    return rows.map(({ processId }) => String(processId));
  }

  function learn(name: string, dueAtMs: number): void {
    nextAtMs.set(name, Math.min(dueAtMs, nextAtMs.get(name) ?? NO_TIME));
  }

  async function take(names: ReadonlySet<string>, isSweep: boolean): Promise<string[]> {
    // Notices tell of what other hosts run, too.
    for (const name of nextAtMs.keys()) if (!names.has(name)) nextAtMs.delete(name);
    const nowMs = clock.now();
    const asked = [...names].filter((name) => isSweep || (nextAtMs.get(name) ?? NO_TIME) <= nowMs);
    if (asked.length === 0) return [];
    news = [];
    const processIds = await corridor.query(["processes"], async (reader) =>
      (await Promise.all(asked.map((name) => look(reader, name, nowMs)))).flat(),
    );
    for (const [name, dueAtMs] of news) learn(name, dueAtMs);
    const taken = processIds.length === 0 ? [] : await corridor.run(makeClaimable, { processIds });
    // Another host was quicker, or the rows cannot be read: the next sweep looks again.
    if (taken.length === 0) for (const [name, atMs] of nextAtMs) if (atMs <= nowMs) nextAtMs.set(name, NO_TIME);
    return taken;
  }

  return {
    heard(name, dueAtMs) {
      news?.push([name, dueAtMs]);
      learn(name, dueAtMs);
      setTimer();
    },
    async take(names, isSweep) {
      try {
        return await take(names, isSweep);
      } finally {
        news = undefined;
        setTimer();
      }
    },
    close() {
      isClosed = true;
      cancelTimer();
    },
  };
}
