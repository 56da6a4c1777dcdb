import { Dexie, type Table } from "dexie";
import { decide, eventRow, type Log, type ProcessRow, processRow } from "./log.js";

export async function dexieLog(name: string, processIds: readonly string[]): Promise<Log> {
  const database = new Dexie(name, { chromeTransactionDurability: "strict" });
  database.version(1).stores({ processes: "processId", events: "[processId+sequence]" });
  const processes: Table<ProcessRow> = database.table("processes");
  const events: Table<ReturnType<typeof eventRow>> = database.table("events");
  await processes.bulkPut(processIds.map(processRow));
  return {
    append: (processId) =>
      database.transaction("rw", processes, events, async () => {
        const { process, event } = decide(await processes.get(processId));
        await Promise.all([processes.put(process), events.put(event)]);
      }),
    after: (processId, sequence, limit) =>
      events
        .where("[processId+sequence]")
        .between([processId, sequence], [processId, Dexie.maxKey], false, true)
        .limit(limit)
        .toArray(),
    async fill(processId, count) {
      await processes.put({ ...processRow(processId), lastSequence: count });
      await events.bulkPut(Array.from({ length: count }, (_, at) => eventRow(processId, at + 1)));
    },
    close: () => database.delete(),
  };
}
