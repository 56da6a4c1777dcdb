import { answered, openBare } from "../bare.js";

export type StoredRows = Record<string, Record<string, unknown>[]>;

/** The rows that a kernel stored of one process, read as any program reads them. */
export async function storedRows(name: string, processId: string, tables: readonly string[]): Promise<StoredRows> {
  const database = await openBare(name);
  const transaction = database.transaction([...tables]);
  const all = await Promise.all(
    tables.map(async (table) => {
      const store = transaction.objectStore(table);
      const isList = Array.isArray(store.keyPath);
      return [table, await answered(store.getAll(isList ? IDBKeyRange.bound([processId], [processId, []]) : processId))] as const;
    }),
  );
  database.close();
  return Object.fromEntries(all);
}
