import type { HoldfastError } from "../domain/errors.js";

/**
 * What holdfast asks of a place that keeps rows. docs/storage-port.md explains it for people who write an adapter;
 * `holdfast/conformance` checks one.
 */

/** In IndexedDB's order: numbers before strings, strings by UTF-16 code unit, tuples member by member, a shorter tuple first. */
export type Key = string | number | readonly (string | number)[];

/** Plain data: whatever structured clone carries. `v` is the version of the row's shape. */
export interface Row {
  readonly v: number;
  readonly [column: string]: unknown;
}

/** What a column holds. "opaque": whatever structured clone carries. */
export type ColumnType = "text" | "number" | "json" | "bytes" | "opaque";

/** A key of one column is that column's value, of more columns the tuple of them. A row that lacks a column of an index is not in that index. */
export interface TableSchema {
  readonly key: readonly string[];
  readonly indexes?: Readonly<Record<string, readonly string[]>>;
  /**
   * The columns that rows may have. Of holdfast's own tables it names all, and a column of a key or an index is "text" or "number".
   * Where it is absent, such a column may hold both.
   */
  readonly columns?: Readonly<Record<string, ColumnType>>;
}

export interface StorageSchema {
  /** Raised by one with every change of a table, an index or a row's shape. */
  readonly version: number;
  readonly tables: Readonly<Record<string, TableSchema>>;
  /** What an upgrade makes of rows that are there, in the transaction that makes its tables and indexes. */
  readonly lifts?: readonly Lift[];
}

/** For databases of a version below `below`: each row under `prefix` in `index`, which has more columns than that, is replaced by what `lift` makes of it under the same key. */
export interface Lift {
  readonly below: number;
  readonly table: string;
  readonly index: string;
  readonly prefix: readonly (string | number)[];
  lift(row: Row): Row;
}

/** Rows in key order (of `index` where given). `prefix` are the leading columns; bounds are whole keys and narrow it further. */
export interface Query {
  index?: string;
  prefix?: readonly (string | number)[];
  from?: Key;
  after?: Key;
  upTo?: Key;
  limit?: number;
  reverse?: boolean;
}

export type Write =
  | { readonly table: string; readonly put: Row }
  | { readonly table: string; readonly drop: Key }
  | { readonly table: string; readonly dropPrefix: readonly (string | number)[] };

export interface Reader {
  get(table: string, key: Key): Promise<Row | undefined>;
  range(table: string, query: Query): Promise<Row[]>;
}

export interface Transaction extends Reader {
  /** Seen by every later read of this transaction. */
  write(writes: readonly Write[]): void;
}

export type Durability = "strict" | "relaxed";

export interface OpenStorage {
  /** Made once with the database; another one means that the data is another. */
  readonly databaseId: string;
  /** What a commit survives: "none" where the data lives in memory. */
  readonly durability: Durability | "none";
  /**
   * Runs `body` over the named tables, all or nothing: when it resolves, its writes are committed; when it rejects, nothing was written.
   * `body` may run twice (a lost connection is opened again once), so it keeps no state from an earlier run, and it awaits nothing but `tx`.
   * A write transaction sees no other's half; write transactions that share a table run one after another.
   * Rejects with the body's own error, or a HoldfastError: quota-exceeded, write-failed, unavailable
   * (`details: { outcome: "unknown" }` when the commit was asked for and its fate is not known), version, closed.
   */
  transact<T>(
    tables: readonly string[],
    mode: "read" | "write",
    body: (tx: Transaction) => Promise<T>,
    durability?: Durability,
  ): Promise<T>;
  /** Ends this connection only, after the transactions that run. Later calls reject `closed`. */
  close(): Promise<void>;
}

/** "blocked": an opening waits for another tab to let go. "upgrading": an older database gets this schema, here or in another tab; it may take long. */
export type StorageState = "ready" | "blocked" | "upgrading" | "lost" | "upgrade-required";

export interface StorageOpening {
  readonly name: string;
  readonly schema: StorageSchema;
  readonly durability: Durability;
  /** Becomes the id of the database if this opening makes it. */
  readonly newDatabaseId: string;
  /** Open this database and no other: where it is gone, `unavailable`, and none is made. */
  readonly databaseId?: string;
  /** With the error that every later call rejects with, when the connection ended for good. */
  readonly onState: (state: StorageState, ended?: HoldfastError) => void;
}

/** A place, not a connection: it may be opened many times, under many names; names never see each other's rows. */
export interface KernelStorage {
  readonly kind: string;
  /** A worker can open the same place by its name alone. */
  readonly elsewhere?: boolean;
  /** Rejects `version` where a newer schema wrote the database (which stays untouched), `unavailable` where it cannot be opened. */
  open(opening: StorageOpening): Promise<OpenStorage>;
}
