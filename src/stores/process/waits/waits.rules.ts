import { type ProcessWait, shownWaitKey } from "../../../domain/process/wait.js";
import type { Write } from "../../../ports/storage.js";
import type { ProcessRow, WaitRow } from "../tables.js";

/** The rows as a record lists them, by key. A pause between tries counts only before its end: then the step runs again. */
export function waitsOf(rows: readonly WaitRow[], nowMs: number): ProcessWait[] {
  const waiting = rows.filter(({ kind, dueAtMs = 0 }) => kind !== "step" || dueAtMs > nowMs);
  return waiting
    .map(({ key, kind, name, sinceMs, dueAtMs }) => ({
      key: kind === "signal" ? shownWaitKey(key) : key,
      kind: kind === "step" ? ("retry" as const) : kind,
      ...(name !== undefined && { name }),
      sinceMs,
      ...(dueAtMs !== undefined && { dueAtMs }),
    }))
    .sort(byKey);
}

/** When the first of the waits is due; infinite where none is by itself. There may be more of them than a call takes arguments. */
export function leastDueMs(waits: readonly { readonly dueAtMs?: number }[]): number {
  return waits.reduce((least, { dueAtMs = least }) => Math.min(least, dueAtMs), Number.POSITIVE_INFINITY);
}

export function byKey(a: ProcessWait, b: ProcessWait): number {
  return a.key < b.key ? -1 : a.key > b.key ? 1 : 0;
}

/** The wait of a process that a limit holds back, as its record lists it. */
export function limitWaits({ limitKey, limitedAtMs }: ProcessRow): ProcessWait[] {
  return limitKey === undefined || limitedAtMs === undefined ? [] : [{ key: limitKey, kind: "limit", sinceMs: limitedAtMs }];
}

/** Writes the row. The process's row, which the same command writes, must say that there may be one. */
export function putWait(row: WaitRow): Write {
  return { table: "waits", put: row };
}

export function dropWait({ processId, kind, key }: Pick<WaitRow, "processId" | "kind" | "key">): Write {
  return { table: "waits", drop: [processId, kind, key] };
}

/** All rows of a process that ends. */
export function dropWaits({ processId, mayWait }: ProcessRow): Write[] {
  return mayWait ? [{ table: "waits", dropPrefix: [processId] }] : [];
}
