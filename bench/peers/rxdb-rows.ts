import { createRxDatabase } from "rxdb/plugins/core";
import { getRxStorageDexie } from "rxdb/plugins/storage-dexie";

const SCHEMA = {
  version: 0,
  type: "object",
  primaryKey: "agentId",
  properties: { agentId: { type: "string", maxLength: 50 }, lastSeenAtMs: { type: "number" }, incarnation: { type: "number" } },
};

export async function rxdbRows(name: string) {
  const database = await createRxDatabase({ name, storage: getRxStorageDexie(), multiInstance: false });
  const { rows } = await database.addCollections({ rows: { schema: SCHEMA } });
  return {
    upsert: async (of: readonly object[]): Promise<void> => void (await rows.bulkUpsert(of)),
    close: (): Promise<void> => database.remove(),
  };
}
