import type { JsonValue, ProcessContext, ProcessEvent } from "holdfast";
import { describe, expect, it } from "vitest";
import { indexFile } from "../../demo/index-file.js";
import { apply, newModel } from "../../demo/model.js";
import { inOrder } from "../../demo/order.js";

const text = "One.\n\nTwo.\n\nThree.\n\nFour.";

/** A minimal process that runs the handler under one owner after another: stored steps and replay keys outlive the owners. */
function process(paceMs: number) {
  const events: ProcessEvent[] = [];
  const keys = new Set<string>();
  const steps = new Map<string, JsonValue>();
  const store = (eventType: string, payload: JsonValue, key: string) => {
    if (keys.has(key)) return;
    keys.add(key);
    events.push({ sequence: events.length + 1, eventType, payload, occurredAtMs: 1, semantics: {} } as unknown as ProcessEvent);
  };
  const context = (attempt: number, signal: AbortSignal) =>
    ({
      attempt,
      signal,
      input: { type: "task", name: "index-file", args: { fileName: "a.txt", kind: "text", text, paceMs } },
      progress: () => {},
      emit: async (type: string, payload: JsonValue, options: { replayKey: string }) => store(type, payload, options.replayKey),
      step: async (key: string, run: (step: { fencingToken: number }) => JsonValue) => {
        const known = steps.get(key);
        if (known !== undefined) return known;
        const result = run({ fencingToken: attempt });
        steps.set(key, result);
        store("process.step", { key, result }, key);
        return result;
      },
    }) as unknown as ProcessContext;
  return { events, context };
}

describe("the handler", () => {
  it("stores one step per passage, with the tab that read it, and goes on where another tab stopped", async () => {
    const { events, context } = process(1);
    let passages = 0;
    const stopping = indexFile("Otter", async () => {
      if (++passages === 2) throw new Error("gone");
    });
    const live = new AbortController().signal;
    await expect(stopping(context(1, live))).rejects.toThrow("gone");
    const result = await indexFile("Heron", async () => {})(context(2, live));
    expect(result).toMatchObject({ passages: 4, finishedIn: "Heron" });

    const model = newModel("p");
    for (const event of events) apply(model, event);
    expect(model.planned).toBe(4);
    expect(model.attempt).toBe(2);
    expect(model.steps.map(({ n, tab, fence }) => [n, tab, fence])).toEqual([
      [1, "Otter", 1],
      [2, "Otter", 1],
      [3, "Heron", 2],
      [4, "Heron", 2],
    ]);
    expect(model.stretches).toEqual([
      { tab: "Otter", fence: 1, count: 2 },
      { tab: "Heron", fence: 2, count: 2 },
    ]);
  });

  it("does not pause for passages that were stored before", async () => {
    const { context } = process(1);
    const live = new AbortController().signal;
    await indexFile("Otter", async () => {})(context(1, live));
    let pauses = 0;
    await indexFile("Heron", async () => void pauses++)(context(2, live));
    expect(pauses).toBe(0);
  });

  it("stores everything at full speed too", async () => {
    const { events, context } = process(0);
    const waits: number[] = [];
    await indexFile("Otter", async (ms) => void waits.push(ms))(context(1, new AbortController().signal));
    expect(waits).toEqual([0]);
    expect(events.filter(({ eventType }) => eventType === "process.step")).toHaveLength(4);
  });
});

describe("the order of the cards", () => {
  it("has the newest lot first, and each lot in the order in which it came", () => {
    const file = (id: string, createdAtMs: number) => ({ id, createdAtMs });
    const files = [file("c", 9_000), file("a", 0), file("b", 900), file("d", 9_100)];
    expect(inOrder(files).map(({ id }) => id)).toEqual(["c", "d", "a", "b"]);
  });
});
