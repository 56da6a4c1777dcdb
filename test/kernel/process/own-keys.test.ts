import { afterEach, describe, expect, it } from "vitest";
import { memoryStorage } from "../../../src/adapters/storage-memory.js";
import type { JsonValue } from "../../../src/domain/json.js";
import { childId, ownKey } from "../../../src/domain/process/own-key.js";
import type { ProcessContext, ProcessHandler } from "../../../src/kernel/process/context/context.js";
import { turnStepKey } from "../../../src/kernel/session/turn.js";
import type { Row } from "../../../src/ports/storage.js";
import { hashOfJson } from "../../../src/stores/process/processes.rules.js";
import { SCHEMA } from "../../../src/stores/schema.js";
import { probe } from "../../stores/probe-storage.js";
import { bench, closeBenches, ending, task } from "../hosts.js";
import { rounds } from "../rounds.js";

afterEach(closeBenches);

interface OldEvent {
  eventType: string;
  payload: JsonValue;
  replayKey: string;
}

/** A kernel that finds a process with these events, as an older version stored them, and goes on with it. */
async function upgraded(id: string, events: OldEvent[], job: ProcessHandler, change: (process: Row) => Row = (row) => row) {
  const storage = memoryStorage();
  const before = await bench({ loop: "off" }, { probed: probe(storage) });
  await before.kernel.start({ ...task("job"), id, eventTypes: [{ name: "note" }] });
  await before.kernel.close();
  const open = await storage.open({ name: "bench", schema: SCHEMA, durability: "strict", newDatabaseId: "n", onState: () => {} });
  await open.transact(["processes", "events"], "write", async (tx) => {
    const process = (await tx.get("processes", id)) as Row;
    const rows = events.map((event, at) => ({ v: 1, processId: id, sequence: at + 1, occurredAtMs: 1, ...event }));
    tx.write([
      ...rows.map((put) => ({ table: "events", put })),
      { table: "processes", put: change({ ...process, lastSequence: events.length }) },
    ]);
  });
  await open.close();
  return await bench({ handlers: { job } }, { probed: probe(storage) });
}

const IDS = ["a", "a:b", "a%3Ab", "a%", "a%25", "a:", ":a", "a:step:1", "a/b", "%"];

describe("a key of holdfast's own", () => {
  it("is one process's, one kind's and one key's alone", () => {
    const parts = IDS.flatMap((id) =>
      (["step", "terminal"] as const).flatMap((kind) =>
        ["x", "1:step:x", "x%", ":x", "b:step:1:step:x"].map((rest) => ({ id, kind, rest })),
      ),
    );
    const keys = parts.map(({ id, kind, rest }) => ownKey(id, kind, rest).replayKey);
    expect(new Set(keys).size).toBe(parts.length);
    // An older key is looked for only among the events of its own process.
    for (const id of IDS) {
      const own = parts.filter((part) => part.id === id).map(({ kind, rest }) => ownKey(id, kind, rest));
      const former = own.map(({ formerKey }) => formerKey);
      const isSame = own[0]?.replayKey === former[0];
      expect(own.filter(({ replayKey }) => former.includes(replayKey))).toEqual(isSame ? own : []);
    }
  });

  it("is as it was where an id has neither a colon nor a percent sign", () => {
    const key = "process:a/b c:step:1:x%";
    expect(ownKey("a/b c", "step", "1:x%")).toEqual({ replayKey: key, formerKey: key });
  });

  it("is another for each step of each turn of each session", () => {
    const turns = IDS.flatMap((session) => ["w", "w:step:1", "b:w"].map((work) => [`rt:session:${session}`, work] as const));
    const keys = turns.flatMap(([runtime, work]) => ["x", "1:step:x"].map((key) => turnStepKey(runtime, work, key)));
    expect(new Set(keys).size).toBe(keys.length);
    expect(turnStepKey("rt:session:s", "w", "x:y")).toBe("rt:session:s:w:step:x:y");
  });

  it("is a child's id, which no other parent or key gives", () => {
    const keys = ["c", "b/c", "c%", "c%25", "c%2F", "/", "%2F", ""];
    const ids = IDS.flatMap((id) => keys.map((key) => childId(id, key).id));
    expect(new Set(ids).size).toBe(ids.length);
    expect(childId("a/b", "part one:1")).toEqual({ id: "a/b/part one:1", formerId: "a/b/part one:1" });
  });
});

describe("steps of two processes whose ids and keys are alike", () => {
  it("are two outside", async () => {
    const seen: string[] = [];
    const pay = async ({ step, record }: ProcessContext) =>
      await step(record.id === "order" ? "1:step:pay" : "pay", ({ idempotencyKey }) => seen.push(idempotencyKey));
    const { kernel } = await bench({ handlers: { pay } });
    for (const id of ["order", "order:step:1"]) expect(await ending(await kernel.start({ ...task("pay"), id }))).toBeDefined();
    expect(seen).toEqual(["process:order:step:1:step:pay", "process:order%3Astep%3A1:step:pay"]);
  });
});

describe("an older database", () => {
  it.each([["a:b"], ["50%"], ["plain"]])("has the steps of process %j, which are not run again", async (id) => {
    const old = { eventType: "process.step", payload: { key: "s", result: "before" }, replayKey: `process:${id}:step:s` };
    let runs = 0;
    const { kernel } = await upgraded(id, [old], async ({ step }) => [
      await step("s", () => ++runs),
      await step("t", () => ++runs),
    ]);
    expect(await ending(kernel.process(id))).toEqual({ type: "success", value: ["before", 1] });
    const keys = (await kernel.processes.eventsAfter(id, 1)).map(({ invocation }) => invocation.replayKey);
    expect(keys).toEqual([ownKey(id, "step", "t").replayKey, ownKey(id, "terminal", "process.completed").replayKey]);
  });

  it("has an end and a cancel request, and the same again stores nothing", async () => {
    const awaitOutput = { type: "success", value: 1 };
    const events: OldEvent[] = [
      { eventType: "process.cancel_requested", payload: {}, replayKey: `process:a:b:cancel_requested:${hashOfJson({})}` },
      { eventType: "process.completed", payload: { awaitOutput }, replayKey: "process:a:b:terminal:process.completed" },
    ];
    const { kernel } = await upgraded(
      "a:b",
      events,
      () => 2,
      (row) => ({ ...row, state: "completed", awaitOutput, endedAtMs: 1 }),
    );
    await kernel.process("a:b").cancel();
    const record = await kernel.processes.completeProcess("a:b", { type: "success", value: 1 });
    expect(record.status).toEqual({ state: "completed", awaitOutput });
    expect(await kernel.processes.eventsAfter("a:b", 2)).toEqual([]);
    await expect(kernel.processes.completeProcess("a:b", { type: "success", value: 2 })).rejects.toMatchObject({
      code: "conflict",
    });
  });

  it.each<[string, OldEvent]>([
    ["an app's event", { eventType: "note", payload: null, replayKey: "process:p:step:s" }],
    [
      "an app's step of another key",
      { eventType: "process.step", payload: { key: "t", result: 7 }, replayKey: "process:p:step:s" },
    ],
    ["an app's step without a key", { eventType: "process.step", payload: null, replayKey: "process:p:step:s" }],
  ])("has %s under a step's key: it answers no step, which is run and stored once", async (_, old) => {
    let runs = 0;
    const job = async ({ step, attempt }: ProcessContext) => {
      const results = [await step("s", () => ++runs), await step("s", () => ++runs)];
      if (attempt === 1) await new Promise(() => {});
      return results;
    };
    const { kernel, probed, clock } = await upgraded("p", [old], job);
    await rounds(20);
    await kernel.close();
    const next = await bench({ handlers: { job } }, { probed, clock });
    await clock.advance(60_000);
    expect(await ending(next.kernel.process("p"))).toEqual({ type: "success", value: [1, 1] });
    const steps = (await next.kernel.processes.eventsAfter("p", 1)).filter(({ eventType }) => eventType === "process.step");
    expect(steps.map(({ payload }) => payload)).toEqual([{ key: "s", result: 1 }]);
  });

  it("has an app's event under the key of an end: the process ends all the same", async () => {
    const old = { eventType: "note", payload: null, replayKey: "process:p:terminal:process.completed" };
    const { kernel } = await upgraded("p", [old], () => 5);
    expect(await ending(kernel.process("p"))).toEqual({ type: "success", value: 5 });
  });

  it.each(["b/c", "x%25"])(
    "has a child under the id that it had for the key %j: it is taken, and not started again",
    async (key) => {
      const storage = memoryStorage();
      const before = await bench({ loop: "off" }, { probed: probe(storage) });
      const provenance = {
        ownerScope: { sessionId: "root" },
        hostProfileId: "default",
        causedBy: { type: "process" as const, processId: "a" },
      };
      await before.kernel.start({ ...task("child"), id: `a/${key}`, provenance });
      await before.kernel.start({ ...task("job"), id: "a" });
      await before.kernel.close();
      const job = async ({ start }: ProcessContext) => (await start(key, task("child"))).id;
      const { kernel } = await bench({ handlers: { job, child: () => 1 } }, { probed: probe(storage) });
      expect(await ending(kernel.process("a"))).toEqual({ type: "success", value: `a/${key}` });
      expect(await kernel.processes.list()).toHaveLength(2);
    },
  );
});

describe("children", () => {
  it("of two processes whose ids and keys are alike are two, and so are those of keys that look encoded", async () => {
    const job = async ({ start, record }: ProcessContext) => {
      const keys = record.id === "a" ? ["b/c", "x%", "x%25", "x/", "x%2F"] : ["c"];
      const ids: string[] = [];
      // The input is the same, so two children with one id would be one child.
      for (const key of keys) ids.push((await start(key, task("child"))).id);
      return ids;
    };
    const { kernel } = await bench({ handlers: { job, child: () => 1 } });
    for (const id of ["a", "a/b"]) await kernel.start({ ...task("job"), id });
    await rounds(80);
    expect(await ending(kernel.process("a"))).toMatchObject({ value: ["a/b%2Fc", "a/x%25", "a/x%2525", "a/x%2F", "a/x%252F"] });
    expect(await ending(kernel.process("a/b"))).toMatchObject({ value: ["a/b/c"] });
    expect(await kernel.processes.list()).toHaveLength(8);
  });

  it("of an older database with an id of their own are found, whatever their key", async () => {
    const storage = memoryStorage();
    const provenance = {
      ownerScope: { sessionId: "root" },
      hostProfileId: "default",
      causedBy: { type: "process" as const, processId: "a" },
    };
    const before = await bench({ loop: "off" }, { probed: probe(storage) });
    await before.kernel.start({ ...task("job"), id: "a" });
    await before.kernel.processes.registerProcess({ ...task("child"), id: "custom", provenance });
    await before.kernel.close();
    const job = async ({ start }: ProcessContext) => (await start("b/c", { ...task("child"), id: "custom" })).id;
    const { kernel } = await bench({ handlers: { job, child: () => 1 } }, { probed: probe(storage) });
    await rounds(80);
    expect(await ending(kernel.process("a"))).toMatchObject({ type: "success", value: "custom" });
  });
});
