import { createRxDatabase } from "rxdb/plugins/core";
import { getRxStorageDexie } from "rxdb/plugins/storage-dexie";
import { EVENT_TYPE, PAYLOAD } from "../ways/log.js";

const SCHEMA = {
  version: 0,
  type: "object",
  primaryKey: { key: "id", fields: ["processId", "sequence"], separator: "|" },
  properties: {
    id: { type: "string", maxLength: 100 },
    processId: { type: "string", maxLength: 50 },
    sequence: { type: "integer", minimum: 0, maximum: 9_999_999, multipleOf: 1 },
    eventType: { type: "string" },
    payload: { type: "object" },
    occurredAtMs: { type: "number" },
  },
  required: ["id", "processId", "sequence", "eventType", "payload", "occurredAtMs"],
  indexes: [["processId", "sequence"]],
};

/** RxDB's collections share no transaction, so this log keeps the events alone. */
export async function rxdbLog(name: string, processId: string, count: number) {
  const database = await createRxDatabase({ name, storage: getRxStorageDexie(), multiInstance: false });
  const { events } = await database.addCollections({ events: { schema: SCHEMA } });
  for (let from = 1; from <= count; from += 2_000) {
    await events.bulkInsert(
      Array.from({ length: Math.min(2_000, count - from + 1) }, (_, at) => ({
        processId,
        sequence: from + at,
        eventType: EVENT_TYPE,
        payload: PAYLOAD,
        occurredAtMs: Date.now(),
      })),
    );
  }
  return {
    after: (sequence: number, limit: number): Promise<{ readonly length: number }> =>
      events
        .find({ selector: { processId, sequence: { $gt: sequence } }, sort: [{ processId: "asc" }, { sequence: "asc" }], limit })
        .exec(),
    close: (): Promise<void> => database.remove(),
  };
}
