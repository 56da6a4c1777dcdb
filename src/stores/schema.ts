import { runnableBy } from "../domain/process/process.js";
import type { Key, Query, Reader, Row, StorageSchema } from "../ports/storage.js";
import { agents, farewells, floors, hosts, leases } from "./host/tables.js";
import { schedules } from "./process/schedules/tables.js";
import { events, grants, type ProcessRow, processes, rates, registrations, waits } from "./process/tables.js";
import { blobs, inputKeys, inputs, quarantine } from "./session/inputs/tables.js";
import {
  attachments,
  messages,
  ops,
  type RuntimeRow,
  receipts,
  runtimes,
  sessions,
  snapshots,
  turnKeys,
  turnSteps,
} from "./session/tables.js";
import type { RowOf } from "./table.js";
import { sealed, sealingKeys } from "./vault/tables.js";

/**
 * All tables on disk. docs/storage-port.md explains them for other programs. A row that every append rewrites is small and has
 * few indexes: the parts of a process that never change (its input) have a row of their own. A column that exists only while a
 * condition holds (`pendingWake`, `bootId`) keeps its index as small as the set of rows that it finds.
 */
const DECLARED = [
  processes,
  registrations,
  events,
  waits,
  rates,
  grants,
  schedules,
  leases,
  hosts,
  farewells,
  agents,
  runtimes,
  sessions,
  snapshots,
  messages,
  inputs,
  inputKeys,
  receipts,
  turnSteps,
  turnKeys,
  blobs,
  attachments,
  quarantine,
  ops,
  sealingKeys,
  sealed,
  floors,
] as const;

/** The tables by name. Commands, reads and writes refer to a table by its name. */
export const TABLES = Object.fromEntries(DECLARED.map((table) => [table.name, table])) as unknown as {
  readonly [T in (typeof DECLARED)[number] as T["name"]]: T;
};

export type TableName = keyof typeof TABLES;
export type RowIn<T extends TableName> = RowOf<(typeof TABLES)[T]>;

/** The tables are plain data here: an adapter may send them to a worker of its own. Every row has its shape's version as column `v`. */
export const SCHEMA: StorageSchema = {
  version: 7,
  tables: Object.fromEntries(
    DECLARED.map(({ name, key, indexes, columns }) => [name, { key, indexes, columns: { v: "number", ...columns } }]),
  ),
  lifts: [
    { below: 5, table: "processes", index: "byState", prefix: ["running"], lift: withRunnable },
    { below: 6, table: "runtimes", lift: uncounted },
    { below: 6, table: "processes", index: "byState", prefix: ["running"], lift: withProcessIndexes },
  ],
};

/** Hosts find what they can run by an index of `runnable`. Rows of older schemas lack that column. */
function withRunnable(row: Row): Row {
  const { inputType, handler } = row as ProcessRow;
  const runnable = runnableBy(inputType, handler);
  return runnable === undefined ? row : { ...row, runnable };
}

/** Inputs of older schemas were not counted: a tab looks once whether something waits in the session. */
function uncounted(row: Row): Row {
  const { sessionId, state, run } = row as RuntimeRow;
  const isOver = sessionId === undefined || state === undefined || state === "stopped" || state === "destroyed";
  return isOver ? row : { ...row, due: run ? "running" : "uncounted", dueAtMs: 0 };
}

/** Hosts find by indexes what was asked to cancel, and external processes by their last write. Rows of older schemas lack these columns. */
function withProcessIndexes(row: Row): Row {
  const { inputType, runnable, cancelRequested, updatedAtMs } = row as ProcessRow;
  return {
    ...row,
    ...(runnable !== undefined && cancelRequested !== undefined && { cancelling: runnable }),
    ...(inputType === "external" && { externalAtMs: updatedAtMs }),
  };
}

/** The columns of an index, in order. Empty if the table has no such index. */
export function columnsOf(table: TableName, index: string): readonly string[] {
  const indexes: Readonly<Record<string, readonly string[]>> = TABLES[table].indexes;
  return indexes[index] ?? [];
}

/** A stored row as this code knows it; one of a newer shape is `version`, one that is broken `read-failed`. */
export function readRow<T extends TableName>(table: T, row: Row): RowIn<T> {
  return TABLES[table].read(row) as RowIn<T>;
}

export async function loadRow<T extends TableName>(reader: Reader, table: T, key: Key): Promise<RowIn<T> | undefined> {
  const row = await reader.get(table, key);
  return row === undefined ? undefined : readRow(table, row);
}

export async function loadRows<T extends TableName>(reader: Reader, table: T, query: Query): Promise<RowIn<T>[]> {
  return (await reader.range(table, query)).map((row) => readRow(table, row));
}

/** For commands over the rows of many owners: an unreadable row is left out and harms no other. */
export function readable<T extends TableName>(table: T, rows: readonly Row[]): RowIn<T>[] {
  return rows.flatMap((row) => {
    try {
      return [readRow(table, row)];
    } catch {
      return [];
    }
  });
}

/** For commands that remove rows: an unreadable row stays, and the others are removed all the same. */
export async function findRow<T extends TableName>(
  reader: Reader,
  table: T,
  key: Key,
): Promise<RowIn<T> | "unreadable" | undefined> {
  const row = await reader.get(table, key);
  return row && (readable(table, [row])[0] ?? "unreadable");
}
