import type { HoldfastError } from "../domain/errors.js";

/** The storage port. docs/storage-port.md explains it to authors of adapters; `holdfast/conformance` checks an adapter. */

/**
 * Sorts in IndexedDB's order: numbers before strings, strings by UTF-16 code unit, tuples member by member, a shorter tuple
 * first.
 */
export type Key = string | number | readonly (string | number)[];

/** Plain data of any kind that structured clone carries. `v` is the version of the row's shape. */
export interface Row {
  readonly v: number;
  readonly [column: string]: unknown;
}

/** The content of a column. "opaque": any value that structured clone carries. */
export type ColumnType = "text" | "number" | "json" | "bytes" | "opaque";

/**
 * Columns of a table's key and of its indexes. A key of one column is that column's value, a key of more columns their tuple. A
 * row that lacks a column of an index is not in that index.
 */
export interface TableSchema {
  readonly key: readonly string[];
  readonly indexes?: Readonly<Record<string, readonly string[]>>;
  /**
   * The columns that rows may have. holdfast's own tables name all of theirs, and a column of a key or an index is "text" or
   * "number". Such a column may hold both where this is absent.
   */
  readonly columns?: Readonly<Record<string, ColumnType>>;
}

/** The tables of a database. */
export interface StorageSchema {
  /** Every change of a table, an index or a row's shape raises it by one. */
  readonly version: number;
  readonly tables: Readonly<Record<string, TableSchema>>;
  /** Changes of stored rows. An upgrade makes them in the transaction that makes its tables and indexes. */
  readonly lifts?: readonly Lift[];
}

/**
 * For databases of a version below `below`: `lift` replaces each row under `prefix` in `index`, under the same key. The index has
 * more columns than the prefix. Without an index, each row of the table.
 */
export interface Lift {
  readonly below: number;
  readonly table: string;
  readonly index?: string;
  readonly prefix?: readonly (string | number)[];
  /** The row as it is stored from now on. Synchronous and without effects. */
  lift(row: Row): Row;
}

/**
 * Asks for rows in key order, or in the order of `index`. `prefix` names the leading columns. The bounds are whole keys and
 * narrow it further.
 */
export interface Query {
  index?: string;
  prefix?: readonly (string | number)[];
  from?: Key;
  after?: Key;
  upTo?: Key;
  limit?: number;
  reverse?: boolean;
}

/** One change of a row. `dropPrefix` drops all rows whose keys begin with these columns; an empty list drops every row. */
export type Write =
  | { readonly table: string; readonly put: Row }
  | { readonly table: string; readonly drop: Key }
  | { readonly table: string; readonly dropPrefix: readonly (string | number)[] };

/** Reads of a transaction. They see its own earlier writes. */
export interface Reader {
  /** The row under the key, or `undefined`. */
  get(table: string, key: Key): Promise<Row | undefined>;
  /** The rows that the query asks for, in order. */
  range(table: string, query: Query): Promise<Row[]>;
}

/** One transaction over the tables that it was opened with. */
export interface Transaction extends Reader {
  /** Every later read of this transaction sees these writes. */
  write(writes: readonly Write[]): void;
}

/** A "strict" commit resolves once its data is on the disk, a "relaxed" one as soon as the operating system has it. */
export type Durability = "strict" | "relaxed";

/** One connection to a database. */
export interface OpenStorage {
  /** Made once with the database. Another id means other data. */
  readonly databaseId: string;
  /** What a commit survives: "none" where the data lives in memory. */
  readonly durability: Durability | "none";
  /**
   * Runs `body` over the named tables, all or nothing: when it resolves, its writes are committed; when it rejects, nothing was
   * written. `body` may run twice (a lost connection is opened again once): it keeps no state from an earlier run, and it awaits
   * nothing but `tx`. Other transactions never see a part of a write transaction. Write transactions that share a table run one
   * after another. Rejects with the body's own error, or with a HoldfastError: quota-exceeded, write-failed, unavailable
   * (`details: { outcome: "unknown" }` when the commit was asked for and its outcome is not known), version, closed.
   */
  transact<T>(
    tables: readonly string[],
    mode: "read" | "write",
    body: (tx: Transaction) => Promise<T>,
    durability?: Durability,
  ): Promise<T>;
  /** Ends this connection only, after the running transactions. Later calls reject `closed`. */
  close(): Promise<void>;
}

/**
 * The state of a connection. "blocked": the opening waits until another tab closes its connection. "upgrading": an older database
 * gets this schema, in this tab or another; this may take long.
 */
export type StorageState = "ready" | "blocked" | "upgrading" | "lost" | "upgrade-required";

/** The arguments of an opening. `name` is the database's. */
export interface StorageOpening {
  readonly name: string;
  readonly schema: StorageSchema;
  readonly durability: Durability;
  /** The id of the database if this opening makes it. */
  readonly newDatabaseId: string;
  /** Opens the database of this id only. Where it is gone, the opening rejects `unavailable` and makes none. */
  readonly databaseId?: string;
  /** Called at every change of the state. `ended` is set when the connection ended for good: every later call rejects with it. */
  readonly onState: (state: StorageState, ended?: HoldfastError) => void;
}

/** A storage that can be opened many times, under many names. Names never see each other's rows. */
export interface KernelStorage {
  /** Names the kind of storage, as `kernel.status().storage` shows it. */
  readonly kind: string;
  /** True where a worker can open the same database by its name alone. */
  readonly elsewhere?: boolean;
  /** True where a row may hold a `CryptoKey` that cannot be exported, and it is on the disk no more readable than in memory. */
  readonly keepsKeys?: boolean;
  /**
   * Rejects `version` where a newer schema wrote the database, which stays untouched. Rejects `unavailable` where it cannot be
   * opened.
   */
  open(opening: StorageOpening): Promise<OpenStorage>;
  /**
   * Deletes the database of that name with all that is in it, whatever its version. Resolves when it is gone, or was never there;
   * with its id, where that is known, so that what lies beside it can be deleted too. Open connections to it are told `lost` with an
   * error, and end. Rejects `unavailable` where it cannot be deleted; `details: { outcome: "unknown" }` after a time that the
   * storage sets, when it may still be deleted later.
   */
  remove?(name: string): Promise<unknown>;
}
