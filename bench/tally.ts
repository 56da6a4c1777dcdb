// Counts the requests of this page to IndexedDB, of any code.

export interface SeenTransaction {
  readonly mode: IDBTransactionMode;
  readonly tables: readonly string[];
  /** Count of rows put, by table. */
  readonly puts: Record<string, number>;
  /** Count of rows read, of all tables. */
  reads: number;
  /** Time from the opening to the end, in milliseconds; absent until the end. */
  ms?: number;
}

/** Counts from this call on. `seen` grows with every transaction; `stop` ends it. */
export function tally(): { seen: SeenTransaction[]; stop(): void } {
  const seen: SeenTransaction[] = [];
  const known = new WeakMap<IDBTransaction, SeenTransaction>();
  const { transaction } = IDBDatabase.prototype;
  const { put } = IDBObjectStore.prototype;
  const undo = [IDBObjectStore.prototype, IDBIndex.prototype].flatMap((source) => READS.map((read) => counted(source, read)));
  IDBDatabase.prototype.transaction = function (this: IDBDatabase, ...args: Parameters<typeof transaction>) {
    const made = transaction.apply(this, args);
    const startedMs = performance.now();
    const one: SeenTransaction = { mode: made.mode, tables: [...made.objectStoreNames], puts: {}, reads: 0 };
    made.addEventListener("complete", () => {
      one.ms = performance.now() - startedMs;
    });
    known.set(made, one);
    seen.push(one);
    return made;
  };
  IDBObjectStore.prototype.put = function (this: IDBObjectStore, ...args: Parameters<typeof put>) {
    const of = known.get(this.transaction);
    if (of) of.puts[this.name] = (of.puts[this.name] ?? 0) + 1;
    return put.apply(this, args);
  };

  function counted(source: IDBObjectStore | IDBIndex, name: (typeof READS)[number]): () => void {
    const read = source[name] as (...args: unknown[]) => IDBRequest;
    const counting = function (this: IDBObjectStore | IDBIndex, ...args: unknown[]) {
      const request = read.apply(this, args);
      const of = known.get(("objectStore" in this ? this.objectStore : this).transaction);
      request.addEventListener("success", () => {
        if (of) of.reads += Array.isArray(request.result) ? request.result.length : Number(request.result != null);
      });
      return request;
    };
    Object.assign(source, { [name]: counting });
    return () => Object.assign(source, { [name]: read });
  }

  return {
    seen,
    stop() {
      IDBDatabase.prototype.transaction = transaction;
      IDBObjectStore.prototype.put = put;
      for (const restore of undo) restore();
    },
  };
}

/** A cursor's request succeeds once for each row. */
const READS = ["get", "getKey", "getAll", "getAllKeys", "openCursor", "openKeyCursor"] as const;
