import type { KernelStorage, Key, OpenStorage, Query, Row, StorageOpening, StorageSchema, Write } from "../../ports/storage.js";
import { type OpenFixture, type Runner, uniqueName } from "../kit/fixture.js";
import { OPENING } from "../kit/rows.fixture.js";

export const FIRST: StorageSchema = {
  version: 1,
  tables: {
    notes: { key: ["id"], indexes: { byColour: ["colour"] } },
    events: { key: ["stream", "at"], indexes: { byMark: ["mark", "stream", "at"], byMood: ["stream", "mood"] } },
  },
};

export const SECOND: StorageSchema = {
  version: 2,
  tables: {
    notes: { key: ["id"], indexes: { byColour: ["colour"], bySize: ["size", "id"] } },
    events: FIRST.tables.events ?? { key: [] },
    extras: { key: ["id"] },
  },
};

export const ALL = ["notes", "events"];

export interface Place {
  readonly name: string;
  connect(more?: Partial<StorageOpening>, storage?: KernelStorage): Promise<OpenStorage>;
  reopen(): Promise<KernelStorage>;
}

export function put(table: string, row: Row): Write {
  return { table, put: row };
}

export function write(storage: OpenStorage, writes: readonly Write[]): Promise<void> {
  const tables = [...new Set(writes.map(({ table }) => table))];
  return storage.transact(tables, "write", async (tx) => tx.write(writes));
}

export function get(storage: OpenStorage, table: string, key: Key): Promise<Row | undefined> {
  return storage.transact([table], "read", (tx) => tx.get(table, key));
}

export function range(storage: OpenStorage, table: string, query: Query = {}): Promise<Row[]> {
  return storage.transact([table], "read", (tx) => tx.range(table, query));
}

/** Cases over one empty storage each. Open connections are closed afterwards, and the storage is disposed of. */
export function casesOver(open: OpenFixture, it: Runner["it"]): (name: string, body: (place: Place) => Promise<void>) => void {
  return (name, body) => {
    it(name, async () => {
      const fixture = await open();
      const name = uniqueName();
      const opened: OpenStorage[] = [];
      const connect = async (more: Partial<StorageOpening> = {}, storage = fixture.storage) => {
        const connection = await storage.open({ ...OPENING, schema: FIRST, name, ...more });
        opened.push(connection);
        return connection;
      };
      try {
        await body({ name, connect, reopen: fixture.reopen });
      } finally {
        await Promise.allSettled(opened.map((connection) => connection.close()));
        await fixture.dispose();
      }
    });
  };
}
