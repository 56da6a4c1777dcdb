import type { Key, Query, Reader, Row, TableSchema, Transaction, Write } from "../ports/storage.js";

/** Reads each row once and writes it once per group. A cached range is valid until a write may have changed it. */
export class RowCache implements Reader {
  readonly #tx: Transaction;
  readonly #tables: Readonly<Record<string, TableSchema>>;
  readonly #rows = new Map<string, { readonly table: string; readonly key: Key; readonly row: Promise<Row | undefined> }>();
  /** Cached ranges by table. Any write to the table empties them. */
  readonly #ranges = new Map<string, Map<string, Promise<Row[]>>>();
  /** By table, the rows under one whole key of an index. Only a row that has or had that key can change them. */
  readonly #lookups = new Map<string, Map<string, Promise<Row[]>>>();
  /** By the cache key of a row, the lookups that found it. */
  readonly #foundBy = new Map<string, string[]>();
  readonly #staged = new Map<string, Write>();
  readonly #unwritten = new Set<string>();
  /** Set when the transaction itself failed. No command may swallow that. */
  failure: unknown;

  constructor(tx: Transaction, tables: Readonly<Record<string, TableSchema>>) {
    this.#tx = tx;
    this.#tables = tables;
  }

  get(table: string, key: Key): Promise<Row | undefined> {
    const name = cacheKey(table, key);
    const known = this.#rows.get(name);
    if (known) return known.row;
    const row = this.#watched(this.#tx.get(table, key));
    this.#rows.set(name, { table, key, row });
    return row;
  }

  range(table: string, query: Query): Promise<Row[]> {
    const lookup = this.#lookupOf(table, query);
    const ofTable = within(lookup === undefined ? this.#ranges : this.#lookups, table);
    const name = lookup ?? JSON.stringify(query);
    const known = ofTable.get(name);
    if (known) return known;
    if (this.#unwritten.has(table)) this.flush();
    const rows = this.#watched(this.#tx.range(table, query));
    ofTable.set(name, rows);
    if (lookup !== undefined) void rows.then((found) => this.#noteFound(table, lookup, found), ignored);
    return rows;
  }

  stage(writes: readonly Write[]): void {
    for (const write of writes) {
      this.#ranges.delete(write.table);
      if ("dropPrefix" in write) {
        this.#lookups.delete(write.table);
        this.flush();
        this.#write([write]);
        for (const [name, { table, key }] of this.#rows)
          if (table === write.table && startsWith(key, write.dropPrefix)) this.#rows.delete(name);
        continue;
      }
      const key = "put" in write ? this.#keyOf(write.table, write.put) : write.drop;
      const name = cacheKey(write.table, key);
      this.#forgetLookups(write, name);
      this.#unwritten.add(write.table);
      this.#staged.set(name, write);
      this.#rows.set(name, { table: write.table, key, row: Promise.resolve("put" in write ? write.put : undefined) });
    }
  }

  flush(): void {
    this.#write([...this.#staged.values()]);
    this.#staged.clear();
    this.#unwritten.clear();
  }

  /** The cache key of a query for one whole key of an index; absent for any other query. */
  #lookupOf(table: string, { index, prefix, ...bounds }: Query): string | undefined {
    if (index === undefined || prefix === undefined || Object.keys(bounds).length > 0) return undefined;
    return prefix.length === this.#tables[table]?.indexes?.[index]?.length ? cacheKey(index, prefix) : undefined;
  }

  #noteFound(table: string, lookup: string, found: readonly Row[]): void {
    for (const row of found) {
      const name = cacheKey(table, this.#keyOf(table, row));
      this.#foundBy.set(name, [...(this.#foundBy.get(name) ?? []), lookup]);
    }
  }

  #forgetLookups(write: Write, name: string): void {
    const lookups = this.#lookups.get(write.table);
    if (!lookups) return;
    for (const lookup of this.#foundBy.get(name) ?? []) lookups.delete(lookup);
    if (!("put" in write)) return;
    // A table with lookups has indexes.
    for (const [index, columns] of Object.entries(this.#tables[write.table]?.indexes ?? {}))
      lookups.delete(cacheKey(index, valuesOf(write.put, columns)));
  }

  /** A write that throws may have been taken in part, so the whole transaction must fail. */
  #write(writes: readonly Write[]): void {
    try {
      this.#tx.write(writes);
    } catch (thrown) {
      this.failure ??= thrown;
      throw thrown;
    }
  }

  #keyOf(table: string, row: Row): Key {
    const parts = valuesOf(row, (this.#tables[table] as TableSchema).key);
    return parts.length === 1 ? (parts[0] as string | number) : parts;
  }

  #watched<T>(read: Promise<T>): Promise<T> {
    read.catch((failure: unknown) => {
      this.failure ??= failure;
    });
    return read;
  }
}

function ignored(): void {}

function within<T>(maps: Map<string, Map<string, T>>, name: string): Map<string, T> {
  const known = maps.get(name) ?? new Map<string, T>();
  maps.set(name, known);
  return known;
}

function valuesOf(row: Row, columns: readonly string[]): (string | number)[] {
  return columns.map((column) => row[column] as string | number);
}

function cacheKey(kind: string, key: Key): string {
  return `${kind} ${JSON.stringify(key)}`;
}

function startsWith(key: Key, prefix: readonly (string | number)[]): boolean {
  const parts = typeof key === "object" ? key : [key];
  return prefix.every((part, at) => parts[at] === part);
}
