import { copyOf } from "../domain/copy.js";
import { HoldfastError } from "../domain/errors.js";
import type {
  KernelStorage,
  Key,
  OpenStorage,
  Query,
  Row,
  StorageOpening,
  StorageSchema,
  TableSchema,
  Transaction,
  Write,
} from "../ports/storage.js";

/**
 * The reference storage, in memory: a transaction is all or nothing, rows are copied in and out, and one transaction runs at a
 * time. Its data lives as long as this object, one database per name.
 */
export function memoryStorage(): KernelStorage {
  const databases = new Map<string, Database>();
  return {
    kind: "memory",
    async open(opening) {
      const { name, databaseId } = opening;
      const database = databases.get(name) ?? new Database(opening.newDatabaseId);
      if (databaseId !== undefined && (!databases.has(name) || database.id !== databaseId)) {
        throw new HoldfastError("unavailable", `the database ${name} is another one or none`);
      }
      database.upgrade(opening.schema);
      databases.set(name, database);
      opening.onState("ready");
      return openDatabase(database, opening);
    },
    async remove(name) {
      const database = databases.get(name);
      databases.delete(name);
      database?.remove(name);
      return database?.id;
    },
  };
}

function openDatabase(database: Database, opening: StorageOpening): OpenStorage {
  let closed = false;
  const onRemoved = (why: HoldfastError) => opening.onState("lost", why);
  database.connections.add(onRemoved);
  const running = new Set<Promise<unknown>>();
  const current = () => {
    if (database.removed) throw database.removed;
    if (database.version !== opening.schema.version)
      throw new HoldfastError("version", "the database was upgraded by a newer holdfast");
  };
  return {
    databaseId: database.id,
    durability: "none",
    async transact(tables, mode, body) {
      if (closed) throw new HoldfastError("closed", "the storage is closed");
      current();
      const run = database.inTurn(async () => {
        current();
        const transaction = new MemoryTransaction(database, tables, mode);
        try {
          return await body(transaction);
        } catch (refusal) {
          transaction.rollback();
          throw refusal;
        }
      });
      running.add(run);
      try {
        return await run;
      } finally {
        running.delete(run);
      }
    },
    async close() {
      closed = true;
      database.connections.delete(onRemoved);
      await Promise.allSettled(running);
    },
  };
}

class Database {
  readonly tables = new Map<string, MemoryTable>();
  /** How each open connection hears that the database was deleted. */
  readonly connections = new Set<(why: HoldfastError) => void>();
  version = 0;
  /** Set when it was deleted: later transactions reject with it. */
  removed: HoldfastError | undefined;
  #last: Promise<unknown> = Promise.resolve();

  constructor(readonly id: string) {}

  upgrade(schema: StorageSchema): void {
    if (schema.version < this.version) {
      throw new HoldfastError("version", `the database has schema ${this.version}, this holdfast knows ${schema.version}`);
    }
    if (schema.version === this.version) return;
    const lifts = schema.lifts?.filter(({ below }) => this.version < below) ?? [];
    this.version = schema.version;
    for (const name of this.tables.keys()) if (!schema.tables[name]) this.tables.delete(name);
    for (const [name, table] of Object.entries(schema.tables)) {
      const lifted = new MemoryTable(table);
      for (const row of this.tables.get(name)?.range({}) ?? []) lifted.replace(undefined, row);
      this.tables.set(name, lifted);
    }
    for (const { table, index, prefix = [], lift } of lifts) {
      const rows = this.tables.get(table);
      for (const row of rows?.range({ ...(index !== undefined && { index }), prefix }) ?? []) rows?.replace(row, lift(row));
    }
  }

  remove(name: string): void {
    this.removed = new HoldfastError("unavailable", `the database ${name} was deleted`, { details: { reason: "deleted" } });
    for (const tell of [...this.connections]) tell(this.removed);
  }

  inTurn<T>(run: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(run, run);
    this.#last = turn.catch(() => undefined);
    return turn;
  }
}

/** The only transaction while it runs. Writes are made in place; when the body rejects, they are undone, newest first. */
class MemoryTransaction implements Transaction {
  readonly #database: Database;
  readonly #tables: ReadonlySet<string>;
  readonly #mode: "read" | "write";
  readonly #undo: Array<() => void> = [];

  constructor(database: Database, tables: readonly string[], mode: "read" | "write") {
    this.#database = database;
    this.#tables = new Set(tables);
    this.#mode = mode;
  }

  async get(table: string, key: Key): Promise<Row | undefined> {
    return copyOf(this.#table(table).get(key));
  }

  async range(table: string, query: Query): Promise<Row[]> {
    return this.#table(table).range(query).map(copyOf);
  }

  write(writes: readonly Write[]): void {
    if (this.#mode !== "write") throw new HoldfastError("internal", "a read transaction cannot write");
    for (const write of writes) {
      const table = this.#table(write.table);
      if ("put" in write) this.#replace(table, table.keyOf(write.put), copyOf(write.put));
      else if ("drop" in write) this.#replace(table, write.drop, undefined);
      else for (const row of table.range({ prefix: write.dropPrefix })) this.#replace(table, table.keyOf(row), undefined);
    }
  }

  rollback(): void {
    for (const undo of this.#undo.reverse()) undo();
  }

  #replace(table: MemoryTable, key: Key, row: Row | undefined): void {
    const before = table.get(key);
    table.replace(before, row);
    this.#undo.push(() => table.replace(row, before));
  }

  #table(name: string): MemoryTable {
    const table = this.#database.tables.get(name);
    if (!table || !this.#tables.has(name)) throw new HoldfastError("internal", `table ${name} is not part of the transaction`);
    return table;
  }
}

class MemoryTable {
  readonly #primary: OrderedRows;
  readonly #indexes: ReadonlyMap<string, OrderedRows>;

  constructor(readonly schema: TableSchema) {
    this.#primary = new OrderedRows(schema.key, []);
    this.#indexes = new Map(
      Object.entries(schema.indexes ?? {}).map(([name, columns]) => [name, new OrderedRows(columns, schema.key)]),
    );
  }

  keyOf(row: Row): Key {
    return this.schema.key.map((column) => row[column] as string | number);
  }

  get(key: Key): Row | undefined {
    return this.#primary.get(keyTuple(key));
  }

  range(query: Query): Row[] {
    const rows = query.index === undefined ? this.#primary : this.#indexes.get(query.index);
    if (!rows) throw new HoldfastError("internal", `there is no index ${query.index}`);
    return rows.range(query);
  }

  replace(before: Row | undefined, after: Row | undefined): void {
    this.#primary.replace(before, after);
    for (const rows of this.#indexes.values()) rows.replace(before, after);
  }
}

const BLOCK = 256;

/** Rows sorted by some columns, in blocks: an insertion into a million rows moves few of them. */
class OrderedRows {
  readonly #width: number;
  readonly #columns: readonly string[];
  #blocks: Row[][] = [[]];

  /** `tieBreak` orders rows with the same index key. Queries ignore it. */
  constructor(columns: readonly string[], tieBreak: readonly string[]) {
    this.#width = columns.length;
    this.#columns = [...columns, ...tieBreak];
  }

  get(key: readonly (string | number)[]): Row | undefined {
    const { block, index } = this.#find((row) => this.#compare(row, key) < 0);
    const row = this.#blocks[block]?.[index];
    return row && this.#compare(row, key) === 0 ? row : undefined;
  }

  replace(before: Row | undefined, after: Row | undefined): void {
    const old = before && this.#holds(before) ? before : undefined;
    const fresh = after && this.#holds(after) ? after : undefined;
    if (old && fresh && this.#compareRows(old, fresh) === 0) {
      const { block, index } = this.#placeOf(old);
      (this.#blocks[block] as Row[])[index] = fresh;
      return;
    }
    if (old) this.#remove(old);
    if (fresh) this.#insert(fresh);
  }

  #insert(row: Row): void {
    const { block, index } = this.#placeOf(row);
    const rows = this.#blocks[block] as Row[];
    rows.splice(index, 0, row);
    if (rows.length > BLOCK) this.#blocks.splice(block + 1, 0, rows.splice(BLOCK / 2));
  }

  #remove(row: Row): void {
    const { block, index } = this.#placeOf(row);
    const rows = this.#blocks[block] as Row[];
    rows.splice(index, 1);
    if (rows.length === 0 && this.#blocks.length > 1) this.#blocks.splice(block, 1);
  }

  range(query: Query): Row[] {
    const { prefix, limit = Number.POSITIVE_INFINITY } = query;
    const [from, after, upTo] = [query.from, query.after, query.upTo].map((key) =>
      key === undefined ? undefined : keyTuple(key),
    );
    const below = (row: Row) =>
      (prefix !== undefined && this.#compare(row, prefix, prefix.length) < 0) ||
      (from !== undefined && this.#compare(row, from) < 0) ||
      (after !== undefined && this.#compare(row, after) <= 0);
    const notAbove = (row: Row) =>
      (prefix === undefined || this.#compare(row, prefix, prefix.length) <= 0) &&
      (upTo === undefined || this.#compare(row, upTo) <= 0);

    const first = this.#find(below);
    const found: Row[] = [];
    if (!query.reverse) {
      for (
        let block = first.block, index = first.index;
        block < this.#blocks.length && found.length < limit;
        block++, index = 0
      ) {
        for (const rows = this.#blocks[block] as Row[]; index < rows.length && found.length < limit; index++) {
          const row = rows[index] as Row;
          if (!notAbove(row)) return found;
          found.push(row);
        }
      }
      return found;
    }
    const end = this.#find(notAbove);
    for (let block = end.block, index = end.index - 1; block >= 0 && found.length < limit; ) {
      if (index < 0) {
        block--;
        index = (this.#blocks[block]?.length ?? 0) - 1;
        continue;
      }
      const row = this.#blocks[block]?.[index] as Row;
      if (below(row)) return found;
      found.push(row);
      index--;
    }
    return found;
  }

  #placeOf(row: Row): { block: number; index: number } {
    return this.#find((other) => this.#compareRows(other, row) < 0);
  }

  /** The first position whose row is not `before`. `before` must hold for a leading part of the rows only. */
  #find(before: (row: Row) => boolean): { block: number; index: number } {
    const block = Math.min(
      countLeading(this.#blocks.length, (at) => {
        const rows = this.#blocks[at] as Row[];
        return rows.length > 0 && before(rows[rows.length - 1] as Row);
      }),
      this.#blocks.length - 1,
    );
    const rows = this.#blocks[block] as Row[];
    return { block, index: countLeading(rows.length, (at) => before(rows[at] as Row)) };
  }

  #holds(row: Row): boolean {
    return this.#columns.every((column) => typeof row[column] === "string" || typeof row[column] === "number");
  }

  #compareRows(row: Row, other: Row): number {
    for (const column of this.#columns) {
      const order = compareParts(row[column] as string | number, other[column] as string | number);
      if (order !== 0) return order;
    }
    return 0;
  }

  #compare(row: Row, key: readonly (string | number)[], width = this.#width): number {
    for (let at = 0; at < key.length; at++) {
      const order = compareParts(row[this.#columns[at] as string] as string | number, key[at] as string | number);
      if (order !== 0) return order;
    }
    return width - key.length;
  }
}

function countLeading(length: number, holds: (at: number) => boolean): number {
  let low = 0;
  let high = length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (holds(middle)) low = middle + 1;
    else high = middle;
  }
  return low;
}

function keyTuple(key: Key): readonly (string | number)[] {
  return typeof key === "object" ? key : [key];
}

function compareParts(a: string | number, b: string | number): number {
  if (a === b) return 0;
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
  return a < b ? -1 : 1;
}
