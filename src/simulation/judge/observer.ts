import type { Timings } from "../../domain/time.js";
import type { LeaseRow } from "../../stores/host/tables.js";
import type { Life, Machine } from "../machine/machine.js";
import { LONGEST_DELAY_MS } from "../machine/network.js";
import type { ObservedRows } from "../machine/rows.js";
import type { Commit } from "../machine/storage.js";
import { ROW_RULES } from "./judge.js";
import { Notes, type Observations } from "./ledger.js";
import { Starts } from "./starts.js";
import { Transcripts } from "./transcripts.js";
import { trialOf } from "./trial.js";

/** Sees every commit and knows its life; looks at it by all rules, and keeps what the ledger asks for. */
export interface Observer {
  /** What hosts were told. */
  readonly notes: Notes;
  committed(commit: Commit): void;
  /** That life has no Web Locks. */
  lockless(life: Life): void;
  leasesOf(life: Life): LeaseRow[];
  /** A kernel closed that was asked to at `askedMs`: it must hold nothing, unless a fault struck it, or all, meanwhile. */
  closed(life: Life, askedMs: number, held: () => readonly string[]): void;
  /** Messages may be lost or late until `untilMs`. */
  networkTrouble(untilMs: number): void;
  /** The database was deleted. */
  wiped(): void;
}

interface ObserverParts {
  readonly machine: Machine;
  readonly rows: ObservedRows;
  readonly timings: Timings;
  log(who: string, what: string): void;
  complain(rule: string, what: string): void;
}

export function createObserver(parts: ObserverParts): Observer {
  const { machine, rows, timings, complain } = parts;
  const { timeline } = machine;
  const livesOf = new Map<string, Life>();
  const lockless = new Set<Life>();
  /** When each process ended, and the life that ended it. */
  const ends = new Map<string, { atMs: number; by: Life }>();
  /** The life of each grant, by process and fence. */
  const grantees = new Map<string, Life>();
  const transcripts = new Transcripts(rows);
  const starts = new Starts(rows);
  let networkTroubleUntilMs = 0;
  let wipedMs = -1;

  const lifeOf = (bootId: string | undefined) => (bootId === undefined ? undefined : livesOf.get(bootId));
  const hasLocks = (life: Life) => !lockless.has(life);
  const isUntroubled = ({ state, isLeaving, wellSinceMs }: Life, forMs: number) =>
    state === "up" && !isLeaving && timeline.nowMs - Math.max(wellSinceMs, machine.troubledUntilMs) >= forMs;

  function waitedMs(life: Life, processId: string, sinceMs: number): number | undefined {
    const end = ends.get(processId);
    if (!end || end.atMs < sinceMs) return undefined;
    const isFine = timeline.nowMs >= networkTroubleUntilMs + timings.pollMs + LONGEST_DELAY_MS;
    const forMs = timeline.nowMs - end.atMs + timings.pollMs;
    return isFine && isUntroubled(life, forMs) && isUntroubled(end.by, forMs) ? timeline.nowMs - end.atMs : undefined;
  }

  function overMs(life: Life, processId: string): number {
    const end = ends.get(processId);
    if (!end || life.state !== "up" || life.isLeaving) return 0;
    return timeline.nowMs - Math.max(end.atMs, life.wellSinceMs, machine.troubledUntilMs);
  }

  const observations: Observations = {
    get nowMs() {
      return timeline.nowMs;
    },
    pollMs: timings.pollMs,
    lifeOf,
    hasLocks,
    waitedMs,
    granteeOf: (processId, fencingToken) => grantees.get(`${processId} ${fencingToken}`),
    transcripts,
    overMs,
  };

  function note({ life, changes }: Commit): void {
    for (const { table, before, after } of changes) {
      // The life that first writes of a boot is that boot.
      if (typeof after?.bootId === "string" && !livesOf.has(after.bootId)) livesOf.set(after.bootId, life);
      if (after && before && "awaitOutput" in after && !("awaitOutput" in before))
        ends.set(String(after.processId), { atMs: timeline.nowMs, by: life });
      // It was restarted.
      if (after && before && "awaitOutput" in before && !("awaitOutput" in after)) ends.delete(String(after.processId));
      if (table === "leases" && after?.leaseToken) grantees.set(`${after.resource} ${after.fencingToken}`, life);
    }
  }

  function leasesOf(life: Life): LeaseRow[] {
    return rows.all<LeaseRow>("leases").filter(({ bootId, leaseToken }) => leaseToken && lifeOf(bootId) === life);
  }

  const notes = new Notes(rows, observations, complain);
  return {
    notes,
    committed(commit) {
      const { life, changes } = commit;
      note(commit);
      parts.log(life.name, `stores ${changes.map(({ table, key, after }) => `${after ? "" : "no "}${table}${key}`).join(" ")}`);
      transcripts.note(commit);
      const trial = trialOf(commit, { ...timings, rows, lifeOf, tooSoon: starts.note(commit), hasLocks, isUntroubled });
      for (const [name, rule] of Object.entries(ROW_RULES))
        for (const what of rule(trial)) if (what !== undefined) complain(name, what);
    },
    lockless: (life) => void lockless.add(life),
    leasesOf,
    closed(life, askedMs, held) {
      const isTroubled = life.isFull || Math.max(life.wellSinceMs, machine.troubledUntilMs) > askedMs || wipedMs >= askedMs;
      if (isTroubled || life.state !== "up") return;
      const all = held();
      if (all.length > 0) complain("a kernel that closed holds nothing", `${life.name} holds ${all.join(", ")}`);
    },
    networkTrouble(untilMs) {
      networkTroubleUntilMs = Math.max(networkTroubleUntilMs, untilMs);
    },
    wiped() {
      wipedMs = timeline.nowMs;
      ends.clear();
      grantees.clear();
      transcripts.clear();
      starts.clear();
      notes.clear();
    },
  };
}
