import { wrap } from "idb";
import { optionsOf } from "../domain/check.js";
import { asHoldfastError, HoldfastError, invalid } from "../domain/errors.js";
import type { Durability, KernelStorage, Key, OpenStorage, Query, Row, Transaction, Write } from "../ports/storage.js";
import {
  answered,
  type Connection,
  type ConnectOptions,
  connect,
  GUARD_TABLE,
  keyPathOf,
  UnusableDatabase,
} from "./indexeddb-connection.js";

/** Where the databases are, and how long an opening may take. */
export interface IndexedDbOptions {
  /** Default: the platform's own, read at every open. */
  indexedDB?: IDBFactory;
  IDBKeyRange?: typeof IDBKeyRange;
  /**
   * How long an opening or a deletion waits for the browser and for other tabs that block it, in milliseconds. Default 10 000; then
   * it rejects `unavailable`. A running upgrade has no deadline: neither in this tab nor, where there are Web Locks, in another tab.
   */
  openTimeoutMs?: number;
}

/**
 * A storage in IndexedDB: one database per kernel name, with rows that any other program can read. Dexie makes, upgrades and
 * watches the database. Transactions use the browser's API directly: they cost half as much as through Dexie.
 */
export function indexedDbStorage(options: IndexedDbOptions = {}): KernelStorage {
  optionsOf("indexedDbStorage", options, ["indexedDB", "IDBKeyRange", "openTimeoutMs"]);
  return {
    kind: "indexeddb",
    keepsKeys: true,
    elsewhere: options.indexedDB === undefined && options.IDBKeyRange === undefined,
    async open(opening) {
      const storage = new IndexedDbStorage({ ...platformOf(options), opening });
      try {
        await storage.connected();
        return storage;
      } catch (failure) {
        await storage.close();
        throw failure;
      }
    },
    async remove(name) {
      const { factory, openTimeoutMs } = platformOf(options);
      const { removeDatabase } = await import("./indexeddb-removal.js");
      return await removeDatabase(factory, name, openTimeoutMs);
    },
  };
}

function platformOf({ openTimeoutMs = 10_000, ...given }: IndexedDbOptions): Omit<ConnectOptions, "opening"> {
  let cause: unknown;
  try {
    const factory = given.indexedDB ?? globalThis.indexedDB;
    const ranges = given.IDBKeyRange ?? globalThis.IDBKeyRange;
    if (factory && ranges) return { openTimeoutMs, factory, ranges };
  } catch (refused) {
    // Reading the global throws in a sandboxed frame.
    cause = refused;
  }
  throw new HoldfastError("unavailable", "this platform has no IndexedDB", { cause });
}

class IndexedDbStorage implements OpenStorage {
  databaseId: string;
  readonly durability: Durability;
  readonly #options: ConnectOptions;
  readonly #running = new Set<IndexedDbTransaction>();
  #connection: Connection | undefined;
  #connecting: Promise<Connection> | undefined;
  /** Set when the connection ended for good: every later call rejects with it. */
  #ended: HoldfastError | undefined;
  #frozen: { over: Promise<void>; end(): void } | undefined;

  constructor(options: ConnectOptions) {
    this.#options = options;
    this.databaseId = options.opening.databaseId ?? "";
    this.durability = options.opening.durability;
    pageOf()?.addEventListener("freeze", this.#freeze);
    pageOf()?.addEventListener("resume", this.#thaw);
  }

  async transact<T>(
    tables: readonly string[],
    mode: "read" | "write",
    body: (tx: Transaction) => Promise<T>,
    durability = this.durability,
  ): Promise<T> {
    for (let losses = 0; ; ) {
      if (this.#frozen) await this.#frozen.over;
      const connection = this.#connection ?? (await this.connected());
      try {
        const transaction = new IndexedDbTransaction(this.#options, begin(connection.database, tables, mode, durability));
        this.#running.add(transaction);
        void transaction.ended.then(() => this.#running.delete(transaction));
        return await transaction.run(body);
      } catch (failure) {
        if (!(failure instanceof Interruption)) throw failure;
        if (!failure.lost) continue;
        this.#drop(connection);
        if (failure.commitAsked) throw failure.told("the connection was lost during a commit", { outcome: "unknown" });
        if (++losses > 1) throw failure.told("the connection was lost twice", { reason: "interrupted" });
      }
    }
  }

  async close(): Promise<void> {
    this.#ended = new HoldfastError("closed", "the storage is closed");
    this.#connection?.close();
    this.#connection = undefined;
    await Promise.all([...this.#running].map(({ ended }) => ended));
    pageOf()?.removeEventListener("freeze", this.#freeze);
    pageOf()?.removeEventListener("resume", this.#thaw);
    this.#thaw();
  }

  /** Callers that find no connection all wait for the same one. */
  async connected(): Promise<Connection> {
    if (this.#ended) throw this.#ended;
    this.#connecting ??= this.#connect().finally(() => {
      this.#connecting = undefined;
    });
    return await this.#connecting;
  }

  async #connect(): Promise<Connection> {
    try {
      const connection = await connect(this.#options, this.databaseId, {
        lost: (gone) => this.#drop(gone),
        outdated: (why) => this.#end(why),
      });
      if (this.#ended) {
        connection.close();
        throw this.#ended;
      }
      this.databaseId = connection.databaseId;
      this.#connection = connection;
      this.#options.opening.onState("ready");
      return connection;
    } catch (failure) {
      if (failure instanceof UnusableDatabase) this.#end(failure);
      throw this.#ended ?? failure;
    }
  }

  /**
   * The next call connects again. Connecting at once would be wrong: a page that enters the back/forward cache must have no
   * connection.
   */
  #drop(connection: Connection): void {
    if (this.#connection !== connection) return;
    this.#connection = undefined;
    connection.close();
    this.#options.opening.onState("lost");
  }

  #end(why: UnusableDatabase): void {
    if (this.#ended) return;
    this.#ended = why;
    this.#options.opening.onState(why.code === "version" ? "upgrade-required" : "lost", why);
    this.#connection = undefined;
  }

  /** Running transactions are aborted, and new ones wait until the page wakes: a frozen tab must not block the other tabs. */
  readonly #freeze = () => {
    let end = () => {};
    const over = new Promise<void>((resolve) => {
      end = resolve;
    });
    this.#frozen ??= { over, end };
    for (const transaction of this.#running) transaction.freeze();
  };

  readonly #thaw = () => {
    this.#frozen?.end();
    this.#frozen = undefined;
  };
}

/** One run of a body in one transaction of the browser. */
class IndexedDbTransaction implements Transaction {
  /**
   * Resolves with undefined after the commit, else with the reason of the abort. Never rejects, because not every path awaits it.
   */
  readonly ended: Promise<unknown>;
  readonly #options: ConnectOptions;
  readonly #native: IDBTransaction;
  readonly #reads: boolean;
  #requestFailed = false;
  #commitAsked = false;
  #frozen = false;

  constructor(options: ConnectOptions, native: IDBTransaction) {
    this.#options = options;
    this.#native = native;
    this.#reads = native.mode === "readonly";
    this.ended = new Promise((resolve) => {
      native.oncomplete = () => resolve(undefined);
      native.onabort = () => resolve(native.error ?? new DOMException("the transaction was aborted", "AbortError"));
    });
  }

  async run<T>(body: (tx: Transaction) => Promise<T>): Promise<T> {
    let result: T;
    try {
      result = await body(this);
    } catch (thrown) {
      // The browser aborts by itself after a failed request, and keeps the reason. An abort from here would hide that reason.
      if (!this.#requestFailed && succeeds(() => this.#native.abort())) throw thrown;
      await this.#committed();
      if (this.#reads) throw thrown;
      throw new HoldfastError("internal", "a transaction awaited something else and was committed early", { cause: thrown });
    }
    if (this.#reads) return result;
    this.#commitAsked = true;
    succeeds(() => this.#native.commit());
    await this.#committed();
    return result;
  }

  /** A frozen page would block its tables for every other tab for a minute. */
  freeze(): void {
    this.#frozen ||= succeeds(() => this.#native.abort());
  }

  get(table: string, key: Key): Promise<Row | undefined> {
    return this.#ask(table, (store) => promised<Row | undefined>(store.get(key as IDBValidKey)));
  }

  range(table: string, query: Query): Promise<Row[]> {
    const { index, limit, reverse } = query;
    return this.#ask<Row[]>(table, (store) => {
      const columns = this.#columns(table, index);
      const source = index === undefined ? store : store.index(keyPathOf(columns));
      const range = limit === 0 ? "none" : keyRange(this.#options, columns.length, query);
      if (range === "none") return Promise.resolve([]);
      if (!reverse) return promised<Row[]>(source.getAll(range, limit));
      if (limit === undefined) return promised<Row[]>(source.getAll(range)).then((rows) => rows.reverse());
      return lastOf(source.openCursor(range, "prev"), limit);
    });
  }

  write(writes: readonly Write[]): void {
    for (const write of writes) {
      try {
        const store = this.#native.objectStore(write.table);
        if ("put" in write) store.put(write.put);
        else if ("drop" in write) store.delete(write.drop as IDBValidKey);
        else this.#dropPrefix(store, write.dropPrefix);
      } catch (thrown) {
        throw notAsked(write.table, thrown);
      }
    }
  }

  #dropPrefix(store: IDBObjectStore, prefix: readonly (string | number)[]): void {
    const range = keyRange(this.#options, this.#columns(store.name).length, { prefix });
    if (range === undefined) store.clear();
    else if (range !== "none") store.delete(range);
  }

  #columns(table: string, index?: string): readonly string[] {
    const schema = this.#options.opening.schema.tables[table];
    const columns = index === undefined ? schema?.key : schema?.indexes?.[index];
    if (!columns) throw new HoldfastError("internal", `table ${table} has no index ${index}`);
    return columns;
  }

  #ask<T>(table: string, send: (store: IDBObjectStore) => Promise<T>): Promise<T> {
    let answer: Promise<T>;
    try {
      answer = send(this.#native.objectStore(table));
      answer.catch(() => {
        this.#requestFailed = true;
      });
    } catch (thrown) {
      answer = Promise.reject(notAsked(table, thrown));
      // A body that fails leaves its other reads behind, without a listener for their rejections.
      answer.catch(() => undefined);
    }
    return answer;
  }

  async #committed(): Promise<void> {
    const reason = await this.ended;
    if (reason === undefined) return;
    if (this.#frozen && this.#reads) throw new Interruption(reason, { lost: false, commitAsked: false });
    if (this.#frozen) throw new HoldfastError("write-failed", "the page was frozen", { details: { reason: "frozen" } });
    if (errorNameOf(reason) === "QuotaExceededError")
      throw new HoldfastError("quota-exceeded", "no space is left", { cause: reason });
    if (isLoss(reason, this.#native.db)) throw new Interruption(reason, { lost: true, commitAsked: this.#commitAsked });
    throw asHoldfastError(reason, this.#reads ? "read-failed" : "write-failed", "the browser aborted the transaction");
  }
}

function begin(database: IDBDatabase, tables: readonly string[], mode: "read" | "write", durability: Durability): IDBTransaction {
  try {
    return database.transaction([...tables], mode === "read" ? "readonly" : "readwrite", { durability });
  } catch (thrown) {
    if (errorNameOf(thrown) === "InvalidStateError") throw new Interruption(thrown, { lost: true, commitAsked: false });
    throw new HoldfastError("internal", `there is no transaction over: ${tables.join(", ")}`, { cause: thrown });
  }
}

/** The body may run again, unless its commit was asked for. Not thrown out of this file. */
class Interruption extends Error {
  readonly lost: boolean;
  readonly commitAsked: boolean;

  constructor(cause: unknown, how: { lost: boolean; commitAsked: boolean }) {
    super("the transaction was interrupted", { cause });
    this.lost = how.lost;
    this.commitAsked = how.commitAsked;
  }

  told(message: string, details: Record<string, string>): HoldfastError {
    return new HoldfastError("unavailable", message, { details, cause: this.cause });
  }
}

interface Bound {
  readonly key: IDBValidKey;
  readonly open: boolean;
}

/** Undefined for all rows; "none" where the bounds cross, which IDBKeyRange would refuse. */
function keyRange({ factory, ranges }: ConnectOptions, width: number, query: Query): IDBKeyRange | undefined | "none" {
  const { prefix = [], from, after, upTo } = query;
  // An array sorts after every string and number: the upper bound sorts after all keys that begin with the prefix.
  const within = prefix.length === 0 ? [] : width === 1 ? [prefix[0], prefix[0]] : [prefix, [...prefix, []]];
  const narrower = (direction: 1 | -1) => (best: Bound | undefined, next: Bound | undefined) => {
    if (!best || !next) return best ?? next;
    const order = factory.cmp(next.key, best.key) * direction;
    return order > 0 || (order === 0 && next.open) ? next : best;
  };
  const lower = [bound(within[0]), bound(from), bound(after, true)].reduce(narrower(1));
  const upper = [bound(within[1]), bound(upTo)].reduce(narrower(-1));
  if (!lower) return upper && ranges.upperBound(upper.key);
  if (!upper) return ranges.lowerBound(lower.key, lower.open);
  const order = factory.cmp(lower.key, upper.key);
  return order > 0 || (order === 0 && lower.open) ? "none" : ranges.bound(lower.key, upper.key, lower.open);
}

function bound(key: unknown, open = false): Bound | undefined {
  return key === undefined ? undefined : { key: key as IDBValidKey, open };
}

/**
 * idb's promise around a request. idb knows only the platform's own classes; a request of a factory from the options is wrapped
 * here.
 */
function promised<T>(request: IDBRequest<T>): Promise<T> {
  if (typeof IDBRequest === "function" && request instanceof IDBRequest) return wrap(request);
  return new Promise((resolve, reject) => answered(request, resolve, reject));
}

/** The rows of a cursor that goes backwards, the only read that `getAll` cannot do. */
function lastOf(request: IDBRequest<IDBCursorWithValue | null>, limit: number): Promise<Row[]> {
  const rows: Row[] = [];
  return new Promise((resolve, reject) => {
    const next = (cursor: IDBCursorWithValue | null) => {
      if (cursor) rows.push(cursor.value);
      if (cursor && rows.length < limit) cursor.continue();
      else resolve(rows);
    };
    answered(request, next, reject);
  });
}

/** The error of a request that the browser refused at the call. */
function notAsked(table: string, thrown: unknown): HoldfastError {
  const name = errorNameOf(thrown);
  if (name === "DataError") return invalid(`a key of table ${table} holds something that is neither a string nor a number`);
  if (name === "DataCloneError") return invalid(`a row of table ${table} holds something that cannot be stored`);
  if (name === "QuotaExceededError") return new HoldfastError("quota-exceeded", "no space is left", { cause: thrown });
  if (name === "UnknownError")
    return asHoldfastError(thrown, "write-failed", `the browser does not take a row of table ${table}`);
  return asHoldfastError(thrown, "internal", `table ${table} cannot be used in this transaction`);
}

/**
 * A connection that the browser closes by force first aborts its transactions, and reports the close later. A new transaction
 * fails at once.
 */
function isLoss(reason: unknown, database: IDBDatabase): boolean {
  const name = errorNameOf(reason);
  if (name === "UnknownError" || name === "InvalidStateError") return true;
  return name === "AbortError" && !succeeds(() => database.transaction(GUARD_TABLE));
}

function errorNameOf(thrown: unknown): unknown {
  return (thrown as { name?: unknown } | null | undefined)?.name;
}

function succeeds(action: () => unknown): boolean {
  try {
    action();
    return true;
  } catch {
    return false;
  }
}

function pageOf(): Document | undefined {
  return typeof document === "undefined" ? undefined : document;
}
