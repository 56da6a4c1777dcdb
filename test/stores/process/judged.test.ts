import { describe, expect, it } from "vitest";
import { manualClock } from "../../../src/adapters/clock-manual.js";
import { memoryStorage } from "../../../src/adapters/storage-memory.js";
import { broadcastNotices } from "../../../src/corridor/notices.js";
import { createCorridor } from "../../../src/corridor/run.js";
import type { JsonSchema } from "../../../src/domain/process/event-type.js";
import { DEFAULT_LIMITS } from "../../../src/domain/time.js";
import type { Row } from "../../../src/ports/storage.js";
import { eventAppender, eventMethods } from "../../../src/stores/process/events.js";
import type { SchemaEngine } from "../../../src/stores/process/json-schema.js";
import { type PayloadSchemas, payloadSchemas } from "../../../src/stores/process/payload-schema.js";
import { processMethods } from "../../../src/stores/process/processes.js";
import { SCHEMA, TABLES } from "../../../src/stores/schema.js";
import { probe } from "../probe-storage.js";

/** The stores, and the transactions that were open each time a payload was judged. */
async function setUp() {
  const probed = probe(memoryStorage());
  const storage = await probed.storage.open({
    name: "judged",
    schema: SCHEMA,
    durability: "strict",
    newDatabaseId: "db",
    onState: () => {},
  });
  const corridor = createCorridor({
    storage,
    tables: TABLES,
    notices: broadcastNotices("judged", undefined),
    clock: manualClock(),
  });
  const judgings: { underWay: number; begun: number }[] = [];
  const loaded = payloadSchemas();
  const watched = (engine: SchemaEngine): SchemaEngine => ({
    ...engine,
    judge(...given) {
      const { seen } = probed;
      judgings.push({ underWay: seen.filter(({ committed }) => !committed).length, begun: seen.length });
      return engine.judge(...given);
    },
  });
  const schemas: PayloadSchemas = {
    get engine() {
      return loaded.engine && watched(loaded.engine);
    },
    load: async () => watched(await loaded.load()),
  };
  const processes = processMethods(corridor, DEFAULT_LIMITS, schemas);
  const events = eventMethods(corridor, DEFAULT_LIMITS, eventAppender(corridor, DEFAULT_LIMITS, schemas));
  const register = (payloadSchema: JsonSchema) =>
    processes.registerProcess({
      id: "p",
      input: { type: "external", metadata: null },
      eventTypes: [{ name: "typed", payloadSchema }, { name: "free" }],
    });
  const again = async (payloadSchema: JsonSchema) => {
    const open = await probed.storage.open({
      name: "judged",
      schema: SCHEMA,
      durability: "strict",
      newDatabaseId: "db",
      onState: () => {},
    });
    await open.transact(["processes", "registrations"], "write", async (tx) => {
      const [process, registration] = (await Promise.all([tx.get("processes", "p"), tx.get("registrations", "p")])) as [Row, Row];
      tx.write([
        { table: "processes", put: { ...process, registrationHash: JSON.stringify(payloadSchema) } },
        { table: "registrations", put: { ...registration, eventTypes: [{ name: "typed", payloadSchema }] } },
      ]);
    });
  };
  const append = async (payload: number | string, replayKey?: string) =>
    (await events.appendEvent("p", { eventType: "typed", payload, ...(replayKey !== undefined && { replayKey }) })).event
      .sequence;
  return { probed, judgings, register, again, append, processes, events };
}

describe("a payload's schema", () => {
  it("is applied while no transaction is open, and from the second time on before the only one", async () => {
    const { probed, judgings, register, append } = await setUp();
    await register({ type: "number" });
    expect(await append(1)).toBe(1);
    const begun = probed.seen.length;
    expect(await append(2)).toBe(2);
    await expect(append("x")).rejects.toMatchObject({
      code: "invalid",
      message: expect.stringContaining('for event type "typed"'),
    });
    expect(judgings).toEqual([
      { underWay: 0, begun: begun - 1 },
      { underWay: 0, begun },
      { underWay: 0, begun: begun + 1 },
    ]);
    expect(probed.seen).toHaveLength(begun + 2);
  });

  it("is not asked of an event that is stored already, nor of a process that is not known", async () => {
    const { register, append, events, again } = await setUp();
    await register({ type: "number" });
    expect(await append(1, "k")).toBe(1);
    await again(false);
    expect(await append(1, "k")).toBe(1);
    await expect(append(2, "k")).rejects.toMatchObject({ code: "conflict" });
    await expect(append(2)).rejects.toMatchObject({ code: "invalid" });
    await expect(events.appendEvent("q", { eventType: "typed", payload: 1 })).rejects.toMatchObject({ code: "not-found" });
  });

  it.each<[string, JsonSchema, "stored" | "invalid"]>([
    ["a stricter one", { type: "string" }, "invalid"],
    ["a looser one", true, "stored"],
  ])("is that of the process which has the id at the write: %s was registered in between", async (_, schema, expected) => {
    const { probed, register, append, again } = await setUp();
    await register({ type: "number", maximum: expected === "stored" ? 1 : 10 });
    expect(await append(1)).toBe(1);
    let between = false;
    probed.hooks.open = async ({ mode }) => {
      if (between || mode !== "write") return;
      between = true;
      await again(schema);
    };
    const appended = append(5).then(
      () => "stored",
      ({ code }: { code: string }) => code,
    );
    expect(await appended).toBe(expected);
    expect(between).toBe(true);
  });
});
