import type { Row } from "../../ports/storage.js";
import type { ProcessRow } from "../../stores/process/tables.js";
import type { RuntimeRow } from "../../stores/session/tables.js";
import type { Life } from "../machine/machine.js";
import type { ObservedRows } from "../machine/rows.js";
import type { Commit } from "../machine/storage.js";
import type { Trial } from "./judge.js";

interface TrialParts extends Pick<Trial, "rows" | "lifeOf" | "leaseTtlMs" | "staleAfterMs"> {
  hasLocks(life: Life): boolean;
  /** No fault struck the life, or all, for `forMs`. */
  isUntroubled(life: Life, forMs: number): boolean;
}

export function trialOf(commit: Commit, parts: TrialParts): Trial {
  const { rows, lifeOf, hasLocks, isUntroubled, leaseTtlMs, staleAfterMs } = parts;
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
