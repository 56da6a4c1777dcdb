import { afterEach, describe, expect, it } from "vitest";
import type { Row } from "../../../src/ports/storage.js";
import { SCHEMA } from "../../../src/stores/schema.js";
import { bench, closeBenches } from "../../kernel/hosts.js";

afterEach(closeBenches);

const note = (payload: number) => ({ eventType: "note", payload });

async function registered() {
  const { kernel, probed } = await bench({ loop: "off" });
  await kernel.processes.registerProcess({
    id: "p",
    input: { type: "external", metadata: null },
    eventTypes: [{ name: "note" }],
  });
  return { kernel, probed };
}

describe("declared event types", () => {
  it("are read once, however many events of a process are appended", async () => {
    const { kernel, probed } = await registered();
    probed.seen.length = 0;
    for (let n = 0; n < 5; n++) await kernel.processes.appendEvent("p", note(n));
    await Promise.all([5, 6, 7].map((n) => kernel.processes.appendEvent("p", note(n))));
    expect(probed.seen.flatMap(({ gets }) => gets).filter((get) => get.startsWith("registrations"))).toHaveLength(1);
  });

  it("are those of the process that has the id now", async () => {
    const { kernel, probed } = await registered();
    await kernel.processes.appendEvent("p", note(1));
    const open = await probed.storage.open({
      name: kernel.name,
      schema: SCHEMA,
      durability: "strict",
      newDatabaseId: "none",
      onState: () => {},
    });
    await open.transact(["processes", "registrations"], "write", async (tx) => {
      const [process, registration] = (await Promise.all([tx.get("processes", "p"), tx.get("registrations", "p")])) as [Row, Row];
      tx.write([
        { table: "processes", put: { ...process, registrationHash: "another" } },
        { table: "registrations", put: { ...registration, eventTypes: [{ name: "other" }] } },
      ]);
    });
    await expect(kernel.processes.appendEvent("p", note(2))).rejects.toMatchObject({ code: "invalid" });
    expect((await kernel.processes.appendEvent("p", { eventType: "other", payload: 2 })).event.sequence).toBe(2);
  });

  it("stay those of more processes than are remembered", async () => {
    const { kernel } = await registered();
    const ids = Array.from({ length: 1_100 }, (_, n) => `p${n}`);
    const input = { type: "external", metadata: null } as const;
    await Promise.all(ids.map((id) => kernel.processes.registerProcess({ id, input, eventTypes: [{ name: `only ${id}` }] })));
    for (const sequence of [1, 2]) {
      const appended = await Promise.all(
        ids.map((id) => kernel.processes.appendEvent(id, { eventType: `only ${id}`, payload: null })),
      );
      expect(new Set(appended.map(({ event }) => event.sequence))).toEqual(new Set([sequence]));
    }
  });
});
