// Counts what the page really asks of IndexedDB, whoever asks.

export interface SeenTransaction {
  readonly mode: IDBTransactionMode;
  readonly tables: readonly string[];
  /** Rows put, by table. */
  readonly puts: Record<string, number>;
  /** From its opening to its end; known when it has ended. */
  ms?: number;
}

/** From now on; `seen` grows with every transaction, and `stop` ends it. */
export function tally(): { seen: SeenTransaction[]; stop(): void } {
  const seen: SeenTransaction[] = [];
  const known = new WeakMap<IDBTransaction, SeenTransaction>();
  const { transaction } = IDBDatabase.prototype;
  const { put } = IDBObjectStore.prototype;
  IDBDatabase.prototype.transaction = function (this: IDBDatabase, ...args: Parameters<typeof transaction>) {
    const made = transaction.apply(this, args);
    const startedMs = performance.now();
    const one: SeenTransaction = { mode: made.mode, tables: [...made.objectStoreNames], puts: {} };
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
  return {
    seen,
    stop() {
      IDBDatabase.prototype.transaction = transaction;
      IDBObjectStore.prototype.put = put;
    },
  };
}
