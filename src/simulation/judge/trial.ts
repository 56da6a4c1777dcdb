import type { Row } from "../../ports/storage.js";
import type { ProcessRow } from "../../stores/process/tables.js";
import type { TableName } from "../../stores/schema.js";
import type { RuntimeRow } from "../../stores/session/tables.js";
import type { Life } from "../machine/machine.js";
import type { ObservedRows } from "../machine/rows.js";
import type { Commit } from "../machine/storage.js";

/** One commit as the rules look at it. */
export interface Trial {
  readonly commit: Commit;
  /** The rows as the commit left them. */
  readonly rows: ObservedRows;
  /** A row as it was before the commit. */
  was<R extends Row>(table: TableName, ...key: (string | number)[]): R | undefined;
  changes<R extends Row>(table: TableName): { before: R | undefined; after: R | undefined }[];
  /** The life of a boot, as far as it is known. */
  lifeOf(bootId: string | undefined): Life | undefined;
  /** The life that writes can tell which Web Locks are held. */
  readonly hasLocks: boolean;
  /** The life is up, holds its lock, and no fault struck it, or all, for `forMs`. */
  isWell(life: Life | undefined, forMs: number): boolean;
  /** The commit ends the process or the session that is leased: its lease goes with it. */
  isOver(resource: string): boolean;
  /** Runs that began sooner in this commit than the rate of their limit lets. */
  readonly tooSoon: readonly string[];
  readonly leaseTtlMs: number;
  readonly staleAfterMs: number;
}

/**
 * A rule that holds at every commit, read from the rows themselves. Returns what is wrong. It knows the shape of the rows and none of the
 * code that writes them.
 */
export type RowRule = (trial: Trial) => (string | undefined)[];

interface TrialParts extends Pick<Trial, "rows" | "lifeOf" | "tooSoon" | "leaseTtlMs" | "staleAfterMs"> {
  hasLocks(life: Life): boolean;
  /** No fault struck the life, or all, for `forMs`. */
  isUntroubled(life: Life, forMs: number): boolean;
}

export function trialOf(commit: Commit, parts: TrialParts): Trial {
  const { rows, lifeOf, tooSoon, hasLocks, isUntroubled, leaseTtlMs, staleAfterMs } = parts;
  const changed = new Map(commit.changes.map((change) => [`${change.table} ${change.key}`, change]));
  return {
    commit,
    rows,
    was<R extends Row>(table: Parameters<Trial["was"]>[0], ...key: (string | number)[]) {
      const change = changed.get(`${table} ${JSON.stringify(key)}`);
      return change ? (change.before as R | undefined) : rows.get<R>(table, ...key);
    },
    changes: <R extends Row>(table: Parameters<Trial["changes"]>[0]) =>
      commit.changes.filter((change) => change.table === table) as unknown as { before: R | undefined; after: R | undefined }[],
    lifeOf,
    hasLocks: hasLocks(commit.life),
    isWell: (life, forMs) => life !== undefined && hasLocks(life) && isUntroubled(life, forMs),
    isOver: (resource) => endsHere(resource, commit, rows),
    tooSoon,
    leaseTtlMs,
    staleAfterMs,
  };
}

function endsHere(resource: string, { changes }: Commit, rows: ObservedRows): boolean {
  const process = rows.get<ProcessRow>("processes", resource);
  const runtime = rows.get<RuntimeRow>("runtimes", resource);
  const isEnded = (process && process.state !== "running") || (runtime && !isRunnable(runtime));
  if (!isEnded) return false;
  return changes.some(
    ({ table, after }) => after !== undefined && (after === process || after === runtime) && table !== "leases",
  );
}

function isRunnable({ state }: RuntimeRow): boolean {
  return state !== undefined && state !== "stopped" && state !== "destroyed";
}
