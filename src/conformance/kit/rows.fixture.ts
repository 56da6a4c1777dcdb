import type { OpenStorage, Row, StorageOpening, Write } from "../../ports/storage.js";
import { SCHEMA } from "../../stores/schema.js";
import type { Setup } from "./fixture.js";

/** Options of a storage that a case opens itself, without name and schema. */
export const OPENING: Omit<StorageOpening, "name" | "schema"> = {
  durability: "relaxed",
  newDatabaseId: "made by the cases",
  onState: () => undefined,
};

/** Runs `work` on the kernel's rows, over a connection of its own, as another program would read them. */
export async function onRows<T>({ storage, name }: Setup, work: (rows: OpenStorage) => Promise<T>): Promise<T> {
  const rows = await storage.open({ ...OPENING, schema: SCHEMA, name });
  try {
    return await work(rows);
  } finally {
    await rows.close();
  }
}

export function writeRows(setup: Setup, ...writes: Write[]): Promise<void> {
  const tables = [...new Set(writes.map(({ table }) => table))];
  return onRows(setup, (rows) => rows.transact(tables, "write", async (tx) => tx.write(writes)));
}

export function readRows(setup: Setup, table: string): Promise<Row[]> {
  return onRows(setup, (rows) => rows.transact([table], "read", (tx) => tx.range(table, {})));
}
