import { afterEach, describe, expect, it } from "vitest";
import { manualClock } from "../../src/adapters/clock-manual.js";
import { memoryStorage } from "../../src/adapters/storage-memory.js";
import { channelHub } from "../../src/conformance/kit/channel.fixture.js";
import { broadcastNotices } from "../../src/corridor/notices.js";
import type { ProcessContext } from "../../src/kernel/process/context/context.js";
import { createKernel } from "../../src/platform.js";
import type { ChannelFactory } from "../../src/ports/notices.js";
import type { KernelStorage } from "../../src/ports/storage.js";
import { lockService } from "../loop/locks-double.js";
import { bench, closeBenches, ending, task } from "./hosts.js";
import { gate, rounds, until } from "./rounds.js";

afterEach(closeBenches);

/** A storage that counts its connections. */
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

/** A manual clock that knows how many of its timers wait. */
function countingClock() {
  const inner = manualClock();
  const waiting = new Set<object>();
  const clock: typeof inner = {
    ...inner,
    setTimer(run, delayMs) {
      const timer = {};
      waiting.add(timer);
      const cancel = inner.setTimer(() => {
        waiting.delete(timer);
        run();
      }, delayMs);
      return () => {
        waiting.delete(timer);
        cancel();
      };
    },
  };
  return { clock, pending: () => waiting.size };
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

  it("whose platform throws at the look for a database rejects unavailable", async () => {
    const before = Object.getOwnPropertyDescriptor(globalThis, "indexedDB");
    Object.defineProperty(globalThis, "indexedDB", {
      configurable: true,
      get() {
        throw new DOMException("not in a sandboxed frame", "SecurityError");
      },
    });
    try {
      const opening = createKernel({ name: "sandboxed", loop: "off", channel: false, locks: false });
      await expect(opening).rejects.toMatchObject({ name: "HoldfastError", code: "unavailable" });
    } finally {
      if (before) Object.defineProperty(globalThis, "indexedDB", before);
      else Reflect.deleteProperty(globalThis, "indexedDB");
    }
  });

  it("leaves no timer behind when it closes", async () => {
    const { clock, pending } = countingClock();
    const { kernel } = await bench({ clock, locks: lockService().client("a"), handlers: { job: () => new Promise(() => {}) } });
    const handle = await kernel.start(task("job"));
    const wait = handle.outcome().catch(() => undefined);
    await until(() => pending() > 0, "a timer");
    await rounds();
    await kernel.close();
    await wait;
    expect(pending()).toBe(0);
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
    expect(await handle.outcome()).toEqual({ type: "success", value: 1 });
    expect(await kernel.processes.getLease(handle.id)).toBeUndefined();
    await inner.advance(60_000);
    expect(faults).toEqual([]);
  });

  it("tells its listeners of what happens, and a listener that left hears no more", async () => {
    const { kernel } = await bench({ handlers: { job: () => 1 } });
    const heard: string[] = [];
    const stop = kernel.on("leaseClaimed", ({ processId, fencingToken }) => heard.push(`claimed ${processId} ${fencingToken}`));
    kernel.on("processChanged", ({ processId, sequence }) => heard.push(`changed ${processId} ${sequence ?? ""}`));
    await (await kernel.start({ id: "p", ...task("job") })).outcome();
    expect(heard).toContain("claimed p 1");
    expect(heard).toContain("changed p 1");
    stop();
    await (await kernel.start({ id: "q", ...task("job") })).outcome();
    await rounds();
    expect(heard).not.toContain("claimed q 1");
    expect(() => kernel.on("nothing" as never, () => {})).toThrow(expect.objectContaining({ code: "invalid" }));
  });
});

describe("ids that are made here", () => {
  const wait = ({ signal }: ProcessContext) =>
    new Promise<never>((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  const jobOf = (idLength: number) => ({
    job: async ({ step, start }: ProcessContext) => {
      await step("a".repeat(idLength), () => 1);
      await start("kid", { id: "kid", input: { type: "external", metadata: null } });
      return await step("b", () => 2);
    },
  });

  it.each([32, 40, 64, 512])("fit whatever limit is set for an app's own: %i", async (idLength) => {
    const hostId = "h".repeat(Math.max(idLength, 64) - 16);
    const { kernel, clock, faults } = await bench({ limits: { idLength }, hostId, handlers: { ...jobOf(idLength), wait } });
    const done = await kernel.start({ id: "p", ...task("job") });
    expect(await ending(done)).toEqual({ type: "success", value: 2 });
    expect(await kernel.processes.getProcess(done.id)).toMatchObject({ id: done.id, status: { state: "completed" } });

    const waiting = await kernel.start({ id: "waits", ...task("wait"), eventTypes: [{ name: "note" }] });
    await clock.advance(120_000);
    expect(await kernel.processes.getLease("waits")).toMatchObject({ fencingToken: 1 });
    await kernel.processes.appendEvent("waits", { eventType: "note", payload: 1, replayKey: "k".repeat(idLength) });
    await waiting.cancel("r".repeat(idLength));
    expect(await ending(waiting)).toEqual({ type: "cancelled", message: "r".repeat(idLength) });
    expect(faults).toEqual([]);
  });

  it("are refused by name where a made process id is longer than an id may be", async () => {
    const { kernel } = await bench({ limits: { idLength: 32 } });
    await expect(kernel.start(task("job"))).rejects.toMatchObject({
      code: "invalid",
      message: expect.stringContaining("request.id"),
    });
  });

  it.each([32, 40, 64, 512])("may be presented under any limit: %i", async (idLength) => {
    const { kernel } = await bench({ limits: { idLength }, loop: "off" });
    const { processes } = kernel;
    await kernel.start({ id: "p", ...task("job"), eventTypes: [{ name: "note" }] });
    const owner = "o".repeat(idLength);
    await processes.completeProcessLease(await processes.claimProcessLease("p", owner, 1_000));
    expect(await processes.getLease("p")).toBeUndefined();
    const lease = await processes.renewProcessLease(await processes.claimProcessLease("p", owner, 1_000), 2_000);
    await processes.appendEvent("p", { eventType: "note", payload: 1, lease });
    const record = await processes.completeProcess("p", { type: "success", value: 1 }, { lease });
    expect(record.status).toMatchObject({ state: "completed" });
  });

  it.each([
    [32, 48],
    [64, 48],
    [512, 496],
  ])("refuse a host id that leaves no room for them: under %i more than %i", async (idLength, most) => {
    const open = (length: number) =>
      createKernel({
        name: "long",
        storage: memoryStorage(),
        channel: false,
        locks: false,
        loop: "off",
        limits: { idLength },
        hostId: "h".repeat(length),
      });
    await (await open(most)).close();
    await expect(open(most + 1)).rejects.toMatchObject({ code: "invalid", message: expect.stringContaining("hostId") });
  });
});

describe("the status", () => {
  const locksOf = async (options: Parameters<typeof bench>[0]) => (await (await bench(options)).kernel.status()).locks;

  it("says locks only where this host holds its own", async () => {
    const refusing = { request: () => Promise.reject(new DOMException("no", "SecurityError")), query: async () => ({}) };
    expect(await locksOf({ locks: lockService().client("a") })).toBe(true);
    expect(await locksOf({ locks: refusing as never })).toBe(false);
    expect(await locksOf({ locks: lockService().client("a"), loop: "off" })).toBe(false);
    expect(await locksOf({ locks: false })).toBe(false);
  });

  it("waits for the answer of a lock service that takes its time", async () => {
    const answer = gate();
    const slow = { request: (_: string, __: LockOptions, granted: () => unknown) => answer.promise.then(granted) };
    const asked = locksOf({ locks: { ...slow, query: async () => ({}) } as never });
    await rounds();
    answer.open();
    expect(await asked).toBe(true);
  });
});

describe("a list with two filters", () => {
  it("reads far past what does not fit, in few transactions, also where one record is asked for", async () => {
    const { kernel, probed } = await bench({ loop: "off" });
    const provenance = { ownerScope: { sessionId: "s" }, hostProfileId: "d" };
    const input = { type: "external" as const, metadata: null };
    await Promise.all(Array.from({ length: 300 }, (_, n) => kernel.start({ id: `p${1_000 + n}`, input, provenance })));
    await kernel.start({ id: "z", input, provenance });
    await kernel.processes.completeProcess("z", { type: "failure", class: "execution", code: "x", message: "x" });
    probed.seen.length = 0;
    const found = await kernel.processes.list({ sessionId: "s", state: "failed", limit: 1 });
    expect(found.map(({ id }) => id)).toEqual(["z"]);
    expect(probed.seen.length).toBeLessThanOrEqual(3);
  });
});

describe("a notice", () => {
  it("of ten thousand changes reaches another kernel whole", async () => {
    const hub = channelHub();
    let name = "";
    const channel: ChannelFactory = (given) => {
      if (!given.endsWith(":seen")) name = given;
      return hub(given);
    };
    const { kernel } = await bench({ loop: "off", channel });
    const heard = new Set<string>();
    kernel.on("processChanged", ({ processId }) => heard.add(processId));
    const other = broadcastNotices(name, hub);
    other.publish(Array.from({ length: 10_000 }, (_, n) => ({ about: "record" as const, id: `p${n}` })));
    await rounds();
    other.close();
    expect(heard.size).toBe(10_000);
  });
});
