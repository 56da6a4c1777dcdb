import { expect, it } from "vitest";
import { createKernel, type ProcessContext } from "../../../src/index.js";
import { memoryStorage } from "../../../src/memory.js";
import type { Reader, Row } from "../../../src/ports/storage.js";
import { endChildren, loadChildren } from "../../../src/stores/process/ends/children.js";
import type { ProcessRow } from "../../../src/stores/process/tables.js";
import { probe } from "../probe-storage.js";

const rowOf = (processId: string, endsWith: string, more: Partial<ProcessRow> = {}): ProcessRow => ({
  v: 1,
  processId,
  registrationHash: "hash",
  provenance: { ownerScope: { sessionId: "root" }, hostProfileId: "default" },
  inputType: "external",
  createdAtMs: 0,
  updatedAtMs: 0,
  state: "running",
  lastSequence: 0,
  endsWith,
  endsChildren: 1,
  ...more,
});

const readerOf = (rows: readonly ProcessRow[]): Reader => ({
  get: async () => undefined,
  range: async (_, { prefix = [] }) => rows.filter(({ endsWith }) => endsWith === prefix[0]) as unknown as Row[],
});

const idsOf = async (rows: readonly ProcessRow[]) =>
  (await loadChildren(readerOf(rows), rows[0])).map(({ processId }) => processId);

it("stored rows that make a circle are each read once (A-34)", async () => {
  expect(await idsOf([rowOf("self", "self")])).toEqual([]);
  expect(await idsOf([rowOf("a", "c"), rowOf("b", "a"), rowOf("c", "b")])).toEqual(["b", "c"]);
});

it("a child that has ended, by a broken row, does not keep others from their end (A-34)", () => {
  const { changes } = endChildren([rowOf("ended", "p", { state: "completed" }), rowOf("runs", "p")], 1);
  expect(changes).toEqual([{ about: "event", id: "runs", sequence: 1 }]);
});

it("only an event that ends a process reads what ends with it (A-34)", async () => {
  const probed = probe(memoryStorage());
  const handlers = {
    parent: async ({ start, step, emit, process }: ProcessContext) => {
      for (let child = 0; child < 3; child++)
        await start(`kid ${child}`, { input: { type: "external", metadata: null }, endWith: "parent" });
      await step("one", () => 1);
      await emit("note", 1);
      await process("p").cancel("asked");
      await emit("over", 1, { replayKey: "over" });
    },
  };
  const kernel = await createKernel({
    name: "ends",
    storage: probed.storage,
    handlers,
    loop: "inline",
    locks: false,
    channel: false,
  });
  const eventTypes = [{ name: "note" }, { name: "over", semantics: { terminal: { state: "completed" as const } } }];
  await kernel.start({ id: "p", input: { type: "task", name: "parent" }, eventTypes });
  await kernel.process("p").outcome();
  await kernel.close();
  const reading = probed.seen.filter(({ ranges }) => ranges.some((range) => range.includes("endsWith")));
  const stored = reading.flatMap(({ writes }) =>
    writes.flatMap((write) => ("put" in write && write.table === "events" ? [write.put.eventType] : [])),
  );
  expect(stored).toEqual(["over", "process.cancelled", "process.cancelled", "process.cancelled"]);
});
