import type { OpenStorage, Row, StorageOpening, Write } from "../../ports/storage.js";
import { SCHEMA } from "../../stores/schema.js";
import type { Ground } from "./fixture.js";

/** How cases open a storage themselves, but for its name and schema. */
export const OPENING: Omit<StorageOpening, "name" | "schema"> = {
  durability: "relaxed",
  newDatabaseId: "made by the cases",
  onState: () => undefined,
};

/** The rows as any program finds them, beside the kernel. */
export async function onRows<T>({ storage, name }: Ground, work: (rows: OpenStorage) => Promise<T>): Promise<T> {
  const rows = await storage.open({ ...OPENING, schema: SCHEMA, name });
  try {
    return await work(rows);
  } finally {
    await rows.close();
  }
}

export function writeRows(ground: Ground, ...writes: Write[]): Promise<void> {
  const tables = [...new Set(writes.map(({ table }) => table))];
  return onRows(ground, (rows) => rows.transact(tables, "write", async (tx) => tx.write(writes)));
}

export function readRows(ground: Ground, table: string): Promise<Row[]> {
  return onRows(ground, (rows) => rows.transact([table], "read", (tx) => tx.range(table, {})));
}
