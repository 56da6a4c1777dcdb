import { createRxDatabase } from "rxdb/plugins/core";
import { getRxStorageDexie } from "rxdb/plugins/storage-dexie";

const SCHEMA = {
  version: 0,
  type: "object",
  primaryKey: "processId",
  properties: { processId: { type: "string", maxLength: 50 }, state: { type: "string" } },
};

export async function rxdbOpen(name: string) {
  const made = async () => {
    const database = await createRxDatabase({ name, storage: getRxStorageDexie(), multiInstance: false });
    const { processes } = await database.addCollections({ processes: { schema: SCHEMA } });
    return { database, processes };
  };
  const first = await made();
  await first.processes.insert({ processId: "p-0", state: "running" });
  await first.database.close();
  return {
    async open(): Promise<() => unknown> {
      const { database, processes } = await made();
      await processes.findOne("p-0").exec();
      return () => database.close();
    },
    async drop(): Promise<void> {
      await (await made()).database.remove();
    },
  };
}
