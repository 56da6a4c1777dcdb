import { afterEach, describe, expect, it } from "vitest";
import { indexFile } from "../../demo/index-file.js";
import { apply, newModel } from "../../demo/model.js";
import { inOrder } from "../../demo/order.js";
import { createKernel, type Kernel } from "../../src/index.js";
import { memoryStorage } from "../../src/memory.js";

const text = "One.\n\nTwo.\n\nThree.\n\nFour.";
const kernels: Kernel[] = [];

afterEach(async () => {
  await Promise.all(kernels.splice(0).map((kernel) => kernel.close()));
});

/** A tab that reads files, or goes on with those of a closed one. */
async function openTab(name: string, pause: Parameters<typeof indexFile>[1], storage = memoryStorage()) {
  const definition = indexFile(name, pause);
  const kernel = await createKernel({ name: "files", storage, loop: "inline", processes: [definition], log: false });
  kernels.push(kernel);
  const input = (paceMs: number) => ({ fileName: "a.txt", kind: "text", text, paceMs }) as const;
  return { kernel, storage, start: (paceMs: number) => kernel.start(definition, { id: "p", input: input(paceMs) }) };
}

describe("the process of a file", () => {
  it("stores one step per passage, with the tab that read it, and goes on where another tab stopped", async () => {
    let passages = 0;
    let stop = () => {};
    const stuck = new Promise<void>((resolve) => {
      stop = resolve;
    });
    const first = await openTab("Otter", async (_, signal) => {
      if (++passages < 2) return;
      stop();
      await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    });
    await first.start(1);
    await stuck;
    await first.kernel.close();
    // It does not pause for passages that were stored before.
    let pauses = 0;
    const second = await openTab("Heron", async () => void pauses++, first.storage);
    const handle = await second.start(1);
    expect(await handle.result()).toEqual({ passages: 4, words: 4, finishedIn: "Heron" });
    expect(pauses).toBe(2);

    const model = newModel("p");
    for await (const event of handle.events()) apply(model, event);
    expect(model.planned).toBe(4);
    expect(model.attempt).toBe(2);
    const [before, after] = model.stretches.map(({ fence }) => fence);
    expect(model.steps.map(({ n, tab, fence }) => [n, tab, fence])).toEqual([
      [1, "Otter", before],
      [2, "Otter", before],
      [3, "Heron", after],
      [4, "Heron", after],
    ]);
    expect(model.stretches).toEqual([
      { tab: "Otter", fence: before, count: 2 },
      { tab: "Heron", fence: after, count: 2 },
    ]);
    expect(after).toBeGreaterThan(before ?? Number.NaN);
  });

  it("stores everything at full speed too, with one pause", async () => {
    const waits: number[] = [];
    const { start } = await openTab("Otter", async (ms) => void waits.push(ms));
    const handle = await start(0);
    expect(await handle.result()).toMatchObject({ passages: 4 });
    expect(waits).toEqual([0]);
    const model = newModel("p");
    for await (const event of handle.events()) apply(model, event);
    expect(model).toMatchObject({ state: "completed", planned: 4 });
    expect(model.steps).toHaveLength(4);
  });

  it("ends as failed, with the reason, for a file that its kind cannot be", async () => {
    const { kernel } = await openTab("Otter", async () => {});
    const input = { fileName: "a.json", kind: "json", text: "{a:1}", paceMs: 0 };
    const outcome = await (await kernel.start("index-file", { input })).outcome();
    expect(outcome).toMatchObject({ type: "failure", message: expect.stringContaining("JSON") });
  });
});

describe("the order of the cards", () => {
  it("has the newest lot first, and each lot in the order in which it came", () => {
    const file = (id: string, createdAtMs: number) => ({ id, createdAtMs });
    const files = [file("c", 9_000), file("a", 0), file("b", 900), file("d", 9_100)];
    expect(inOrder(files).map(({ id }) => id)).toEqual(["c", "d", "a", "b"]);
  });
});
