import { answered, committed, deleteBare, fill, openBare, STRICT } from "../bare.js";
import { decide, eventRow, type Log, type ProcessRow, processRow } from "./log.js";

/** `indexed`: with the indexes of the kernel's table of processes. */
export async function bareLog(name: string, processIds: readonly string[], { indexed = false } = {}): Promise<Log> {
  const indexes = indexed
    ? [
        ["state", "processId"],
        ["runnable", "processId"],
        ["endedAtMs", "processId"],
      ]
    : [];
  const database = await openBare(name, {
    processes: { key: "processId", indexes },
    events: { key: ["processId", "sequence"] },
  });
  const start = (ids: readonly string[], lastSequence: number) =>
    fill(database, "processes", ids.length, (at) => ({ ...processRow(ids[at] as string), lastSequence }));
  await start(processIds, 0);
  return {
    append: (processId) => appendBare(database, processId),
    after(processId, sequence, limit) {
      const range = IDBKeyRange.bound([processId, sequence], [processId, []], true);
      return answered(database.transaction("events").objectStore("events").getAll(range, limit));
    },
    async fill(processId, count) {
      await start([processId], count);
      await fill(database, "events", count, (at) => eventRow(processId, at + 1));
    },
    async close() {
      database.close();
      await deleteBare(name);
    },
  };
}

export function appendBare(database: IDBDatabase, processId: string): Promise<void> {
  const transaction = database.transaction(["processes", "events"], "readwrite", STRICT);
  const processes = transaction.objectStore("processes");
  const read: IDBRequest<ProcessRow | undefined> = processes.get(processId);
  read.onsuccess = () => {
    const { process, event } = decide(read.result);
    processes.put(process);
    transaction.objectStore("events").put(event);
    transaction.commit();
  };
  return committed(transaction);
}
