// IndexedDB used directly, as fast as it can be: the floor of the comparisons.

export const STRICT: IDBTransactionOptions = { durability: "strict" };

export function answered<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

export function committed(transaction: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error ?? new Error("the transaction was aborted"));
  });
}

/** The database is opened as it is where `tables` is missing. */
export function openBare(
  name: string,
  tables?: Record<string, { key: string | string[]; indexes?: string[][] }>,
): Promise<IDBDatabase> {
  const request = indexedDB.open(name, tables && 1);
  request.onupgradeneeded = () => {
    for (const [table, { key, indexes = [] }] of Object.entries(tables ?? {})) {
      const store = request.result.createObjectStore(table, { keyPath: key });
      for (const columns of indexes) store.createIndex(columns.join(), columns);
    }
  };
  return answered(request);
}

export async function deleteBare(name: string): Promise<void> {
  await answered(indexedDB.deleteDatabase(name));
}

/** Puts `count` rows, in transactions large enough that their number costs nothing. The next one is made while one is stored. */
export async function fill(database: IDBDatabase, table: string, count: number, rowAt: (at: number) => unknown): Promise<void> {
  const AT_ONCE = 10_000;
  let before: Promise<void> | undefined;
  for (let from = 0; from < count; from += AT_ONCE) {
    const transaction = database.transaction(table, "readwrite", { durability: "relaxed" });
    const store = transaction.objectStore(table);
    for (let at = from; at < Math.min(count, from + AT_ONCE); at++) store.put(rowAt(at));
    const done = committed(transaction);
    transaction.commit();
    await before;
    before = done;
  }
  await before;
}
