import { afterEach, describe, expect, it } from "vitest";
import { manualClock } from "../../src/adapters/clock-manual.js";
import { memoryStorage } from "../../src/adapters/storage-memory.js";
import { createKernel } from "../../src/platform.js";
import type { KernelStorage } from "../../src/ports/storage.js";
import { bench, closeBenches, task } from "./hosts.js";
import { rounds } from "./rounds.js";

afterEach(closeBenches);

/** A place that counts its connections. */
function counted(): { storage: KernelStorage; open: () => number } {
  const inner = memoryStorage();
  let connections = 0;
  return {
    open: () => connections,
    storage: {
      kind: "memory",
      async open(opening) {
        const made = await inner.open(opening);
        connections++;
        return {
          databaseId: made.databaseId,
          durability: made.durability,
          transact: (...given) => made.transact(...given),
          async close() {
            connections--;
            await made.close();
          },
        };
      },
    },
  };
}

describe("a kernel", () => {
  it("leaves no connection behind when it closes, however often it is asked to", async () => {
    const { storage, open } = counted();
    const { kernel } = await bench({ storage });
    expect(open()).toBe(1);
    await Promise.all([kernel.close(), kernel.close(), kernel[Symbol.asyncDispose]()]);
    expect(open()).toBe(0);
  });

  it("that cannot be opened leaves no connection behind", async () => {
    const { storage, open } = counted();
    const channel = () => {
      throw new Error("no channel here");
    };
    await createKernel({ name: "broken", storage, channel, locks: false, loop: "off" }).catch(() => undefined);
    expect(open()).toBe(0);
  });

  it("is closed by its signal", async () => {
    const { storage, open } = counted();
    const abort = new AbortController();
    const { kernel } = await bench({ storage, signal: abort.signal });
    const wait = kernel.processes.awaitProcess((await kernel.start(task("job"))).id);
    abort.abort();
    await expect(wait).rejects.toMatchObject({ code: "closed" });
    await kernel.close();
    expect(open()).toBe(0);
  });

  it("closes while its turn is under way, and its handlers are not waited for", async () => {
    const { kernel } = await bench({ handlers: { job: () => new Promise<never>(() => {}) } });
    await kernel.start(task("job"));
    await kernel.close();
    await expect(kernel.start(task("job"))).rejects.toMatchObject({ code: "closed" });
  });

  it("asks an injected clock as the object that it is", async () => {
    const inner = manualClock();
    class Watch {
      readonly #clock = inner;
      now() {
        return this.#clock.now();
      }
      monotonicMs() {
        return this.#clock.monotonicMs();
      }
      setTimer(run: () => void, delayMs: number) {
        return this.#clock.setTimer(run, delayMs);
      }
    }
    const { kernel, faults } = await bench({ clock: new Watch(), handlers: { job: () => 1 } });
    const handle = await kernel.start(task("job"));
    expect(await handle.result()).toEqual({ type: "success", value: 1 });
    expect(await kernel.processes.getLease(handle.id)).toBeUndefined();
    await inner.advance(60_000);
    expect(faults).toEqual([]);
  });

  it("tells its listeners of what happens, and a listener that left hears no more", async () => {
    const { kernel } = await bench({ handlers: { job: () => 1 } });
    const heard: string[] = [];
    const stop = kernel.on("leaseClaimed", ({ processId, fencingToken }) => heard.push(`claimed ${processId} ${fencingToken}`));
    kernel.on("processChanged", ({ processId, sequence }) => heard.push(`changed ${processId} ${sequence ?? ""}`));
    await (await kernel.start({ id: "p", ...task("job") })).result();
    expect(heard).toContain("claimed p 1");
    expect(heard).toContain("changed p 1");
    stop();
    await (await kernel.start({ id: "q", ...task("job") })).result();
    await rounds();
    expect(heard).not.toContain("claimed q 1");
    expect(() => kernel.on("nothing" as never, () => {})).toThrow(expect.objectContaining({ code: "invalid" }));
  });
});
