import type { Key, Row, Write } from "../../ports/storage.js";
import { TABLES, type TableName } from "../../stores/schema.js";

/** A row before and after a commit; absent where there was or is none. */
export interface RowChange {
  readonly table: TableName;
  readonly key: string;
  readonly before: Row | undefined;
  readonly after: Row | undefined;
}

/** All that is stored, as the commits left it: kept beside the storage, from what was written, not from what a kernel says. */
export class ObservedRows {
  readonly #tables = new Map<string, Map<string, Row>>();

  get<R extends Row>(table: TableName, ...key: (string | number)[]): R | undefined {
    return this.#table(table).get(JSON.stringify(key)) as R | undefined;
  }

  all<R extends Row>(table: TableName): R[] {
    return [...this.#table(table).values()] as R[];
  }

  /** Only what differs from before; a row that was written twice counts once. */
  apply(writes: readonly Write[]): RowChange[] {
    const before = new Map<string, { table: TableName; key: string; row: Row | undefined }>();
    const replace = (table: TableName, key: string, row: Row | undefined) => {
      const rows = this.#table(table);
      const name = `${table} ${key}`;
      if (!before.has(name)) before.set(name, { table, key, row: rows.get(key) });
      if (row) rows.set(key, row);
      else rows.delete(key);
    };
    for (const write of writes) {
      const table = write.table as TableName;
      if ("put" in write) replace(table, keyOfRow(table, write.put), structuredClone(write.put));
      else if ("drop" in write) replace(table, JSON.stringify(keyTuple(write.drop)), undefined);
      else {
        for (const key of [...this.#table(table).keys()]) {
          const parts = JSON.parse(key) as (string | number)[];
          if (write.dropPrefix.every((part, at) => parts[at] === part)) replace(table, key, undefined);
        }
      }
    }
    return [...before.values()].flatMap(({ table, key, row }) => {
      const after = this.#table(table).get(key);
      return row === undefined && after === undefined ? [] : [{ table, key, before: row, after }];
    });
  }

  clear(): void {
    this.#tables.clear();
  }

  #table(name: string): Map<string, Row> {
    const known = this.#tables.get(name) ?? new Map<string, Row>();
    this.#tables.set(name, known);
    return known;
  }
}

function keyOfRow(table: TableName, row: Row): string {
  return JSON.stringify(TABLES[table].key.map((column) => row[column]));
}

function keyTuple(key: Key): readonly (string | number)[] {
  return typeof key === "object" ? key : [key];
}
