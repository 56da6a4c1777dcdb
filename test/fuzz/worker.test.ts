import { transferHandlers, wrap } from "comlink";
import fc from "fast-check";
import { afterEach, describe, expect, it, vi } from "vitest";
import { manualClock } from "../../src/adapters/clock-manual.js";
import { ERROR_CODES } from "../../src/domain/error-codes.js";
import { HoldfastError } from "../../src/domain/errors.js";
import { createKernel } from "../../src/index.js";
import type { KernelEvents } from "../../src/kernel/emitter.js";
import type { LoopPage } from "../../src/kernel/host/loop-contract.js";
import { loaded } from "../../src/kernel/lazy.js";
import { bounded, carryErrors } from "../../src/loop/wire.js";
import { startWorkerLoop } from "../../src/loop/worker-remote.js";
import { memoryStorage } from "../../src/memory.js";
import { canonical } from "../differential/canonical.js";
import { hostile, type Make } from "./hostile-values.js";
import { NOTES, readTables, settled } from "./world.js";

const SEED = 20_260_731;

/** A request to the worker, in Comlink's own format. */
interface Asked {
  id: string;
  path: string[];
  argumentList: { value: unknown }[];
}

/** A worker whose other end the test plays. */
class Puppet {
  static readonly made: Puppet[] = [];
  readonly asked: Asked[] = [];
  readonly #channel = new MessageChannel();
  readonly #listeners = new Map<string, Set<(event: unknown) => void>>();

  constructor() {
    Puppet.made.push(this);
    this.#channel.port2.onmessage = ({ data }) => void this.asked.push(data as Asked);
    this.#channel.port1.onmessage = ({ data }) => this.#tell("message", { data });
  }

  postMessage(message: unknown, transfer: Transferable[] = []): void {
    this.#channel.port1.postMessage(message, transfer as never);
  }

  addEventListener(type: string, listener: (event: unknown) => void): void {
    const known = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, known.add(listener));
  }

  removeEventListener(type: string, listener: (event: unknown) => void): void {
    this.#listeners.get(type)?.delete(listener);
  }

  terminate(): void {
    this.#channel.port1.close();
  }

  /** Sends a message as the worker, to the page that made it. */
  say(message: unknown): void {
    this.#channel.port2.postMessage(message);
  }

  /** Fires an event as the browser. */
  fail(type: "error" | "messageerror", event: unknown): void {
    this.#tell(type, event);
  }

  async started(): Promise<Asked> {
    await vi.waitFor(() => expect(this.asked.some(({ path }) => path?.[0] === "start")).toBe(true));
    return this.asked.find(({ path }) => path?.[0] === "start") as Asked;
  }

  #tell(type: string, event: unknown): void {
    for (const listener of [...(this.#listeners.get(type) ?? [])]) listener(event);
  }
}

/** A kernel waits for its worker before it is closed, and a puppet keeps it waiting. */
const closing: Promise<void>[] = [];

afterEach(async () => {
  await Promise.all(closing.splice(0));
  vi.unstubAllGlobals();
});

/** A kernel whose loop runs in a puppet. */
async function staged() {
  vi.stubGlobal("Worker", Puppet);
  Puppet.made.length = 0;
  const storage = { ...memoryStorage(), elsewhere: true };
  let runs = 0;
  const kernel = await createKernel({
    name: "fuzz",
    storage,
    worker: () => new Puppet() as unknown as Worker,
    handlers: {
      job: async ({ step, emit }) => {
        runs++;
        await step("one", () => 1);
        await emit("note", 1);
        return 1;
      },
    },
  });
  const faults: KernelEvents["fault"][] = [];
  kernel.on("fault", (fault) => faults.push(fault));
  // Start would run the process here at once: it is registered, so that the worker claims it.
  await kernel.processes.registerProcess({ id: "p", input: { type: "task", name: "job" }, eventTypes: NOTES });
  const puppet = await vi.waitFor(() => {
    expect(Puppet.made.length).toBe(1);
    return Puppet.made[0] as Puppet;
  });
  const { id, argumentList } = await puppet.started();
  return { kernel, storage, puppet, faults, startId: id, port: argumentList[1]?.value as MessagePort, runs: () => runs };
}

function isTyped({ code, message }: { code: unknown; message: unknown }): boolean {
  return typeof code === "string" && Object.hasOwn(ERROR_CODES, code) && typeof message === "string";
}

/** A copy as the channel makes it; undefined if the value cannot be cloned. */
function sent(make: Make): { data: unknown } | undefined {
  try {
    return { data: structuredClone(make()) };
  } catch {
    return undefined;
  }
}

describe("an error that a worker sends", () => {
  const registry = new Map(transferHandlers);
  carryErrors(registry);
  const handler = registry.get("throw");
  const wire = fc.oneof(
    hostile.map((make) => () => ({ holdfast: make() })),
    fc
      .tuple(
        fc.oneof(
          hostile,
          fc.constantFrom("invalid", "closed").map((code) => () => code),
        ),
        hostile,
        hostile,
      )
      .map(([code, message, details]) => () => ({ holdfast: { code: code(), message: message(), details: details() } })),
  );

  it("is one of the table when it arrives, whatever it was", () => {
    const property = fc.property(wire, (make) => {
      const message = sent(make);
      if (!message || (message.data as { holdfast: unknown }).holdfast === undefined) return;
      let thrown: unknown;
      try {
        handler?.deserialize(message.data);
      } catch (error) {
        thrown = error;
      }
      expect(thrown).toBeInstanceOf(HoldfastError);
      expect(isTyped(thrown as HoldfastError)).toBe(true);
    });
    fc.assert(property, { seed: SEED, numRuns: 2_000 });
  });

  it("keeps code, message and details where it is one", () => {
    const error = new HoldfastError("conflict", "why", { details: { a: [1] } });
    const [sentAs] = handler?.serialize({ value: error }) ?? [];
    expect(() => handler?.deserialize(structuredClone(sentAs))).toThrow(
      expect.objectContaining({ code: "conflict", message: "why", details: { a: [1] } }),
    );
  });
});

describe("a worker that says what it should not", () => {
  it("to the page: is not heard, nothing is stored, and the kernel goes on", async () => {
    const property = fc.asyncProperty(fc.array(hostile, { minLength: 20, maxLength: 20 }), async (list) => {
      const { kernel, storage, puppet, faults, startId } = await staged();
      const rows = canonical(await readTables(storage));
      for (const make of list) {
        const message = sent(make);
        if (!message) continue;
        puppet.say(message.data);
        puppet.say({ id: "unknown", type: "RAW", value: message.data });
        puppet.say({ id: startId, type: message.data, name: message.data, value: message.data });
      }
      await settled(8);
      expect(canonical(await readTables(storage))).toBe(rows);
      expect(faults.filter((fault) => !isTyped(fault))).toEqual([]);
      expect((await kernel.processes.getProcess("p"))?.id).toBe("p");
      closing.push(kernel.close());
    });
    await fc.assert(property, { seed: SEED, numRuns: 15 });
  });

  it("to what asks how it does: is given up with an error of the table", async () => {
    const property = fc.asyncProperty(hostile, async (make) => {
      const clock = manualClock();
      const message = sent(make);
      if (!message) return;
      const puppet = new Puppet() as unknown as Puppet & Worker;
      const faults: KernelEvents["fault"][] = [];
      const inline = { kind: "inline" as const, poke() {}, async stop() {}, kill() {} };
      const loop = startWorkerLoop({
        config: { timings: { leaseRenewMs: 1_000 } } as never,
        clock,
        page: { fault: async (fault: KernelEvents["fault"]) => void faults.push(fault) } as never,
        createWorker: () => puppet,
        inline: loaded(() => inline),
      });
      const { id } = await puppet.started();
      puppet.say({ id, type: "RAW", value: undefined });
      await settled(4);
      await clock.advance(600);
      const ping = puppet.asked.find(({ path }) => path?.[0] === "ping");
      puppet.say({ id: ping?.id, type: "RAW", value: message.data });
      await settled(4);
      await clock.advance(0);
      expect(faults.filter((fault) => !isTyped(fault))).toEqual([]);
      loop.kill();
    });
    await fc.assert(property, { seed: SEED, numRuns: 60 });
  });

  it("to the page's own methods: is refused, nothing is stored, and the kernel goes on", async () => {
    const method = fc.constantFrom("run", "renewed", "moved", "swept", "fault") as fc.Arbitrary<keyof LoopPage>;
    const claim = hostile.map((make) => () => [
      { lease: { processId: "p", leaseToken: "t" }, process: make(), fruitless: make() },
    ]);
    const value = fc.oneof(
      hostile,
      claim,
      hostile.map((make) => () => [{ lease: make(), process: make() }]),
    );
    const property = fc.asyncProperty(
      fc.array(fc.tuple(method, value, value), { minLength: 15, maxLength: 15 }),
      async (calls) => {
        const { kernel, storage, port } = await staged();
        const page = wrap<Record<string, (...args: unknown[]) => unknown>>(port as never);
        const rows = canonical(await readTables(storage));
        for (const [name, one, other] of calls) {
          const args = [sent(one), sent(other)].map((message) => message?.data);
          Promise.resolve(page[name]?.(...args)).catch(() => undefined);
        }
        await settled(30);
        expect(canonical(await readTables(storage))).toBe(rows);
        expect((await kernel.processes.getProcess("p"))?.status).toEqual({ state: "running" });
        port.close();
        closing.push(kernel.close());
      },
    );
    await fc.assert(property, { seed: SEED, numRuns: 20 });
  });

  it("with a claim that was never made: its handler runs, and stores nothing", async () => {
    const { kernel, storage, port, runs } = await staged();
    const tables = await readTables(storage);
    const page = wrap<{ run(claims: unknown, asOfMs: number): Promise<string[]> }>(port as never);
    const lease = {
      schemaVersion: 1,
      processId: "p",
      ownerId: "forged",
      leaseToken: "forged",
      fencingToken: 7,
      claimedAtMs: 0,
      expiresAtMs: Number.MAX_SAFE_INTEGER,
    };
    await page.run([{ lease, process: tables.processes[0], fruitless: 0 }], performance.now());
    await vi.waitFor(() => expect(runs()).toBe(1));
    await settled(20);
    expect(canonical(await readTables(storage))).toBe(canonical(tables));
    port.close();
    closing.push(kernel.close());
  });

  it("or fails, however the browser tells it: is told with an error of the table", async () => {
    for (const type of ["error", "messageerror"] as const) {
      const { kernel, puppet, faults } = await staged();
      puppet.fail(type, {});
      await vi.waitFor(() => expect(faults.length).toBeGreaterThan(0));
      expect(faults.filter((fault) => !isTyped(fault))).toEqual([]);
      closing.push(kernel.close());
    }
  });
});

describe("a call across", () => {
  it("that is never answered ends with an error of the table", async () => {
    const clock = manualClock();
    const call = bounded(clock, new Promise(() => {}), 100, "the worker");
    const ended = call.catch((error: unknown) => error);
    await clock.advance(1_000);
    expect(await ended).toMatchObject({ name: "HoldfastError", code: "unavailable" });
  });
});
