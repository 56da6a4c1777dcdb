import { deleteDB, openDB } from "idb";
import { STRICT } from "../bare.js";
import { decide, eventRow, type Log, processRow } from "./log.js";

export async function idbLog(name: string, processIds: readonly string[]): Promise<Log> {
  const database = await openDB(name, 1, {
    upgrade(made) {
      made.createObjectStore("processes", { keyPath: "processId" });
      made.createObjectStore("events", { keyPath: ["processId", "sequence"] });
    },
  });
  for (const processId of processIds) await database.put("processes", processRow(processId));
  return {
    async append(processId) {
      const transaction = database.transaction(["processes", "events"], "readwrite", STRICT);
      const processes = transaction.objectStore("processes");
      const { process, event } = decide(await processes.get(processId));
      await Promise.all([processes.put(process), transaction.objectStore("events").put(event), transaction.done]);
    },
    after(processId, sequence, limit) {
      return database.getAll("events", IDBKeyRange.bound([processId, sequence], [processId, []], true), limit);
    },
    async fill(processId, count) {
      const transaction = database.transaction(["processes", "events"], "readwrite");
      const events = transaction.objectStore("events");
      for (let sequence = 1; sequence <= count; sequence++) void events.put(eventRow(processId, sequence));
      await transaction.objectStore("processes").put({ ...processRow(processId), lastSequence: count });
      await transaction.done;
    },
    async close() {
      database.close();
      await deleteDB(name);
    },
  };
}
