import type { Corridor } from "../../corridor/command.js";
import type { ClaimLimit } from "../../domain/process/limit.js";
import { runnableBy } from "../../domain/process/process.js";
import type { Pulse } from "../../kernel/host/loop-contract.js";
import type { Clock } from "../../ports/clock.js";
import type { Reader } from "../../ports/storage.js";
import { firstOfEach } from "../../stores/host/first-of-each.js";
import { loadHeldBack, loadPlaces } from "../../stores/process/runs/limits.js";
import { countWithPlace, isOlder } from "../../stores/process/runs/limits.rules.js";
import type { ProcessRow } from "../../stores/process/tables.js";
import { readable } from "../../stores/schema.js";
import { runnableHere } from "../candidates.js";

/**
 * Processes that a limit holds back: finds those of keys that have a place again. It reads the oldest of a key, and no more of them than
 * there are places, however many wait.
 */
export interface HeldBackLooks {
  /** Free places wait for a free slot of this host. */
  readonly hasBacklog: boolean;
  /** A place of the key may be free, or the limit holds one more process back. `last` is the page's last pulse, if there was one. */
  heard(key: string, last: Pulse | undefined): void;
  /** When the processes of a key are to be looked at, in monotonic time. */
  nextMs(): number;
  /** The processes that have a place now, the oldest first, `most` at most: of the keys that are due, or of all. */
  take(pulse: Pulse, most: number, which: "due" | "all"): Promise<string[]>;
}

interface HeldBackParts {
  readonly corridor: Corridor;
  readonly clock: Clock;
  /** How long a place is left to other hosts, which may be less busy. */
  leaveMs(): number;
}

/** Processes of one handler that wait for one key. */
interface HeldBackGroup {
  /** `handler:<name>`, as rows name it. */
  readonly runnable: string;
  readonly key: string;
  /** What this host declares; without a limit it takes any of them. */
  readonly limit: ClaimLimit | undefined;
}

/** How many groups one sweep looks at; the next one goes on behind them. A notice brings a look at its own key at once. */
const MOST_GROUPS = 64;

export function createHeldBackLooks({ corridor, clock, leaveMs }: HeldBackParts): HeldBackLooks {
  /** When to look at keys, in monotonic time. */
  const dueAtMs = new Map<string, number>();
  /** All slots were taken at the last look. */
  let hasBacklog = false;
  /** The last group that a sweep looked at, if there were more. */
  let reached: Pick<HeldBackGroup, "runnable" | "key"> | undefined;

  function dueBy(key: string, atMs: number): void {
    dueAtMs.set(key, Math.min(dueAtMs.get(key) ?? Number.POSITIVE_INFINITY, atMs));
  }

  /** The groups of a key for which this host has a limit. Without one, it claims the processes as it hears of them. */
  function groupsOf(key: string, { handlers, terms }: Pulse): HeldBackGroup[] {
    return handlers.flatMap((name) => {
      const limit = terms.get(name)?.limit;
      const runnable = runnableBy("task", name);
      return limit && runnable !== undefined && (limit.key ?? key) === key ? [{ runnable, key, limit }] : [];
    });
  }

  /** The groups of the names, which are in order, from where the last sweep stopped. */
  async function allGroups(reader: Reader, names: readonly string[], { handlers, terms }: Pulse): Promise<HeldBackGroup[]> {
    const limits = new Map(handlers.map((name) => [runnableBy("task", name), terms.get(name)?.limit]));
    const from = reached;
    reached = undefined;
    const groups: HeldBackGroup[] = [];
    for (const runnable of names) {
      if (from && runnable < from.runnable) continue;
      const within = { prefix: [runnable], behind: from?.runnable === runnable ? from.key : undefined };
      const firsts = await firstOfEach(reader, "processes", "limited", MOST_GROUPS - groups.length, within);
      const limit = limits.get(runnable);
      groups.push(...firsts.map(({ limitKey }) => ({ runnable, key: String(limitKey), limit })));
      if (groups.length < MOST_GROUPS) continue;
      reached = groups.at(-1);
      break;
    }
    return groups;
  }

  async function read(
    reader: Reader,
    { runnable, key, limit }: HeldBackGroup,
    most: number,
    nowMs: number,
  ): Promise<ProcessRow[]> {
    const found = await loadHeldBack(reader, runnable, key, Math.min(most, limit?.concurrency ?? most));
    if (!limit || found.length === 0) return found;
    // A claim is judged by the key of this host, which may be another one than that of the host that held the processes back.
    const places = await loadPlaces(reader, limit.key ?? key, limit);
    const { count, nextAtMs } = countWithPlace(places, limit, found, nowMs);
    if (nextAtMs !== undefined) dueBy(key, clock.monotonicMs() + nextAtMs - nowMs + leaveMs());
    return found.slice(0, count);
  }

  return {
    get hasBacklog() {
      return hasBacklog;
    },
    heard(key, last) {
      if (!last || groupsOf(key, last).length > 0) dueBy(key, clock.monotonicMs() + leaveMs());
    },
    nextMs() {
      // A slot that falls free brings a turn.
      if (hasBacklog) return Number.POSITIVE_INFINITY;
      return Math.min(...dueAtMs.values());
    },
    async take(pulse, most, which) {
      const keys = [...dueAtMs].filter(([, atMs]) => atMs <= clock.monotonicMs()).map(([key]) => key);
      const due = keys.flatMap((key) => groupsOf(key, pulse));
      hasBacklog = most === 0 && due.length > 0;
      if (most === 0) return [];
      for (const key of keys) dueAtMs.delete(key);
      if (which === "due" && due.length === 0) return [];
      const found = await corridor.query(["processes", "leases", "rates"], async (reader, now) => {
        const names = which === "due" ? [] : await namesHeldBack(reader, pulse);
        const groups = which === "due" ? due : await allGroups(reader, names, pulse);
        const late = await pastDeadline(reader, names, most, now());
        return [...late, ...(await Promise.all(groups.map((group) => read(reader, group, most, now())))).flat()];
      });
      const oldest = [...new Map(found.map((process) => [process.processId, process])).values()].sort((one, other) =>
        isOlder(one, other) ? -1 : 1,
      );
      const rest = oldest.slice(most);
      hasBacklog = rest.length > 0;
      for (const { limitKey = "" } of rest) dueBy(limitKey, clock.monotonicMs());
      return oldest.slice(0, most).map(({ processId }) => processId);
    },
  };
}

/** What this host can run and a limit holds processes of back. */
async function namesHeldBack(reader: Reader, pulse: Pulse): Promise<string[]> {
  const own = runnableHere(pulse);
  const firsts = await firstOfEach(reader, "processes", "limited");
  return firsts.map(({ limited }) => String(limited)).filter((name) => own.has(name));
}

/** Processes whose time is up: a claim ends them, and needs no place for that. */
async function pastDeadline(reader: Reader, names: readonly string[], most: number, nowMs: number): Promise<ProcessRow[]> {
  const found = names.map(async (name) => {
    const upTo = [name, nowMs + 1, ""];
    return readable("processes", await reader.range("processes", { index: "overdue", prefix: [name], upTo, limit: most }));
  });
  return (await Promise.all(found)).flat();
}
