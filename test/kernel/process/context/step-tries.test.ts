// Tries of steps where the storage, the lease or the host fails, and what tries cost.
import { afterEach, describe, expect, it } from "vitest";
import { memoryStorage } from "../../../../src/adapters/storage-memory.js";
import { HoldfastError } from "../../../../src/domain/errors.js";
import type { ProcessContext, ProcessHandler } from "../../../../src/kernel/process/context/context.js";
import { SCHEMA } from "../../../../src/stores/schema.js";
import { buildTown } from "../../../loop/town.js";
import { type Probe, probe, type Seen } from "../../../stores/probe-storage.js";
import { type Bench, bench, closeBenches, ending, failAppends, isAppend, task } from "../../hosts.js";
import { gate, rounds, until } from "../../rounds.js";

afterEach(closeBenches);

const RETRY = { attempts: 4, backoffMs: 1_000, factor: 1, jitter: 0 };

const stepEvents = async ({ kernel }: Pick<Bench, "kernel">, id: string) =>
  (await kernel.processes.eventsAfter(id, 0)).flatMap(({ eventType, payload }) => {
    const { key, attempt, message, result } = payload as Record<string, unknown>;
    if (eventType === "process.step") return [`${key} = ${result}`];
    return eventType === "process.step_failed" ? [`${key} ${attempt}: ${message}`] : [];
  });

/** A function that throws `no <call>` in its first `failing` calls, and then gives the number of the call. */
function flaky(failing: number) {
  const made = {
    calls: 0,
    run: () => {
      made.calls++;
      if (made.calls <= failing) throw new Error(`no ${made.calls}`);
      return made.calls;
    },
  };
  return made;
}

/** The rows of the waits table, past every kernel. */
async function waitRows({ storage }: Probe) {
  const opening = { name: "bench", schema: SCHEMA, durability: "strict", newDatabaseId: "bench", onState: () => {} } as const;
  const rows = await storage.open(opening);
  return await rows.transact(["waits"], "read", (tx) => tx.range("waits", {}));
}

const storesTry = ({ writes }: Seen) => writes.some(({ table }) => table === "waits");

describe("trouble with the storage", () => {
  it("while a failed try is stored is no try: the process stays claimable, and the next owner counts from what is stored (F-3)", async () => {
    let failing = true;
    const { run } = flaky(2);
    const host = await bench({ handlers: { job: ({ step }) => step("a", run, { retry: RETRY }) } });
    failAppends(host.probed, () => failing);
    const handle = await host.kernel.start(task("job"));
    expect(await ending(handle)).toBeUndefined();
    expect(host.faults).toMatchObject([{ area: "runner", code: "unavailable" }]);
    failing = false;
    await host.clock.advance(30_000);
    await host.clock.advance(1_000);
    expect(await ending(handle)).toEqual({ type: "success", value: 3 });
    expect(await stepEvents(host, handle.id)).toEqual(["a 1: no 2", "a = 3"]);
  });

  it("that the context's own calls raise within a step is no try of it (F-3)", async () => {
    let failing = true;
    const job: ProcessHandler = (context) =>
      context.step("a", async () => (await context.emit("note", 1)).sequence, { retry: { ...RETRY, backoffMs: 0 } });
    const host = await bench({ handlers: { job } });
    failAppends(host.probed, () => failing);
    const handle = await host.kernel.start({ ...task("job"), eventTypes: [{ name: "note" }] });
    expect(await ending(handle)).toBeUndefined();
    failing = false;
    await host.clock.advance(30_000);
    expect(await ending(handle)).toEqual({ type: "success", value: 1 });
    expect(await stepEvents(host, handle.id)).toEqual(["a = 1"]);
  });

  it("that the app's own code has is a failed try (F-1)", async () => {
    const own = flaky(1);
    const run = () => {
      own.calls++;
      if (own.calls === 1) throw new HoldfastError("unavailable", "my own storage");
      return 1;
    };
    const host = await bench({ handlers: { job: ({ step }) => step("a", run, { retry: { ...RETRY, backoffMs: 0 } }) } });
    const handle = await host.kernel.start(task("job"));
    expect(await ending(handle)).toEqual({ type: "success", value: 1 });
    expect(await stepEvents(host, handle.id)).toEqual(["a 1: my own storage", "a = 1"]);
  });

  it.each([
    ["a failed try", storesTry, 1],
    ["the result of a step that was tried", (seen: Seen) => seen.writes.some((write) => "drop" in write), 2],
  ])("that hides whether %s was stored: it is stored once, with its time (F-1)", async (_, isIt) => {
    let hidden = 0;
    const { run } = flaky(1);
    const host = await bench({ handlers: { job: ({ step }) => step("a", run, { retry: RETRY }) } });
    host.probed.hooks.done = (seen) => {
      if (hidden > 0 || !isAppend(seen) || !isIt(seen)) return;
      hidden++;
      throw new HoldfastError("unavailable", "the connection was lost", { details: { outcome: "unknown" } });
    };
    const begunAt = host.clock.now();
    const handle = await host.kernel.start(task("job"));
    await rounds();
    await host.clock.advance(1_000);
    expect(await ending(handle)).toEqual({ type: "success", value: 2 });
    expect(hidden).toBe(1);
    expect(await stepEvents(host, handle.id)).toEqual(["a 1: no 1", "a = 2"]);
    const [failed] = await host.kernel.processes.eventsAfter(handle.id, 0);
    expect(failed?.payload).toMatchObject({ retryAtMs: begunAt + 1_000 });
    expect(await waitRows(host.probed)).toEqual([]);
  });
});

describe("a host that dies", () => {
  /** Host "a" dies when `calls` tries have begun and `afterMs` have passed; host "b" takes its process over. */
  async function takeover(tries: (host: string) => unknown, afterMs: number) {
    const town = buildTown();
    const begunAt = town.clock.now();
    const at: string[] = [];
    const host = (name: string) =>
      town.host(name, {
        handlers: {
          job: ({ step }) =>
            step(
              "s",
              () => {
                at.push(`${name} ${town.clock.now() - begunAt}`);
                return tries(name) as string;
              },
              { retry: RETRY },
            ),
        },
      });
    const a = await host("a");
    await a.kernel.start({ id: "p", ...task("job") });
    await until(() => at.length > 0, "the first try");
    await rounds();
    await town.clock.advance(afterMs);
    a.die();
    const b = await host("b");
    await rounds(30);
    return { town, b, at };
  }

  it("in the middle of a pause leaves the rest of it to the next owner, which goes on counting (F-1)", async () => {
    const { town, b, at } = await takeover((name) => {
      if (name === "a") throw new Error("no a");
      return "b";
    }, 600);
    await town.clock.advance(399);
    expect(at).toEqual(["a 0"]);
    await town.clock.advance(1);
    await rounds(20);
    expect(at.filter((line) => line.startsWith("b"))).toEqual(["b 1000"]);
    expect(await stepEvents(b, "p")).toEqual(["s 1: no a", "s = b"]);
    await town.close();
  });

  it("in the middle of a try has used up none: the next owner makes it again (F-1, F-3)", async () => {
    const calls = { a: 0, b: 0 };
    const { town, b, at } = await takeover((name) => {
      const call = ++calls[name as "a" | "b"];
      if (call === 1) throw new Error(`no ${name}`);
      return name === "a" ? new Promise<never>(() => {}) : "b";
    }, 1_000);
    expect(at).toEqual(["a 0", "a 1000", "b 1000"]);
    await town.clock.advance(1_000);
    await rounds(20);
    expect(at.at(-1)).toBe("b 2000");
    expect(await stepEvents(b, "p")).toEqual(["s 1: no a", "s 2: no b", "s = b"]);
    await town.close();
  });

  it("and lives on without its lease stores no failed try (F-3)", async () => {
    const dies = gate<never>();
    const { town, b } = await takeover((name) => (name === "a" ? dies.promise : "b"), 0);
    dies.fail(new Error("late"));
    await rounds(20);
    expect(await stepEvents(b, "p")).toEqual(["s = b"]);
    await town.close();
  });
});

describe("what tries cost", () => {
  /** The transactions of a run whose handler takes `steps`, by what each reads and writes. */
  async function costOf(job: ProcessHandler, takenOver: boolean) {
    const probed = probe(memoryStorage());
    const before: ProcessHandler = async ({ step }) => {
      await step("before", () => 1);
      await new Promise(() => {});
    };
    const first = await bench({ handlers: { job: before } }, { probed });
    if (takenOver) {
      await first.kernel.start({ id: "p", ...task("job") });
      await rounds();
    }
    await first.kernel.close();
    const second = await bench({ handlers: { job } }, { probed, clock: first.clock });
    const from = probed.seen.length;
    const handle = takenOver ? second.kernel.process("p") : await second.kernel.start({ id: "p", ...task("job") });
    await rounds(20);
    expect(await ending(handle)).toMatchObject({ type: "success" });
    const cost = probed.seen.slice(from).map(({ mode, gets, ranges, writes }) => ({
      mode,
      gets: gets.map((get) => get.split(" ")[0]),
      ranges: ranges.length,
      writes: writes.map(({ table }) => table),
    }));
    return { cost, seen: probed.seen.slice(from) };
  }
  const steps = (options: object) => async (context: ProcessContext) => {
    for (const key of ["a", "b", "c"]) await context.step(key, () => key, options);
  };

  it.each([
    ["of the first owner", false],
    ["of a later owner", true],
  ])("a step with `retry` and a time limit that does not fail costs what one without costs, in a run %s", async (_, later) => {
    const plain = await costOf(steps({}), later);
    const tried = await costOf(steps({ retry: RETRY, timeoutMs: 1_000 }), later);
    expect(tried.cost).toEqual(plain.cost);
    expect(plain.cost.length).toBeGreaterThan(3);
  });

  it("a step of a process whose steps never failed costs no read of tries, also with a later owner", async () => {
    const { seen } = await costOf(steps({ retry: RETRY }), true);
    const reads = seen.flatMap(({ gets, ranges }) => [...gets, ...ranges]);
    expect(reads.some((read) => read.startsWith("events"))).toBe(true);
    expect(reads.filter((read) => read.startsWith("waits"))).toEqual([]);
  });

  it("a failed try is one write, with its pause", async () => {
    const host = await bench({ handlers: { job: ({ step }) => step("a", flaky(9).run, { retry: RETRY }) } });
    await host.kernel.start(task("job"));
    await rounds();
    const stores = host.probed.seen.filter(
      ({ mode, writes }) => mode === "write" && writes.some(({ table }) => table === "events"),
    );
    expect(stores.map(({ writes }) => writes.map(({ table }) => table).sort())).toEqual([["events", "processes", "waits"]]);
  });
});

describe("what is stored of a failed try", () => {
  const bomb = new Proxy(
    {},
    {
      get: () => {
        throw new Error("boom");
      },
    },
  );
  it.each<[string, unknown, object]>([
    ["a very long message: its head", new Error("x".repeat(100_000)), { message: "x".repeat(8_192) }],
    [
      "a message and a code with lone surrogates: mended",
      Object.assign(new Error("a\ud800b"), { code: "E\udc00" }),
      { message: "a\ufffdb", code: "E\ufffd" },
    ],
    ["a string", "just text", { message: "just text" }],
    ["undefined", undefined, { message: "the step threw a value without a message" }],
    ["a Proxy whose traps throw", bomb, { message: "the step threw a value without a message" }],
  ])("%s", async (_, thrown, expected) => {
    const job: ProcessHandler = ({ step }) =>
      step(
        "a",
        () => {
          throw thrown;
        },
        { retry: { attempts: 1 } },
      ).catch((error) => error === thrown);
    const { kernel } = await bench({ handlers: { job } });
    const handle = await kernel.start(task("job"));
    expect(await ending(handle)).toEqual({ type: "success", value: true });
    expect((await kernel.processes.eventsAfter(handle.id, 0))[0]?.payload).toEqual({ key: "a", attempt: 1, ...expected });
  });

  it("pauses by the kernel's own chance: the same bytes give the same pause", async () => {
    const pauseWith = async (byte: number) => {
      const retry = { attempts: 2, backoffMs: 1_000, jitter: 1 };
      const job: ProcessHandler = ({ step }) => step("a", flaky(1).run, { retry });
      let made = 0;
      // The first four bytes of a nonce decide; the rest keeps ids apart.
      const random = (count: number) => new Uint8Array(count).map((_, at) => (at < 4 ? byte : ++made % 251));
      const { kernel, clock } = await bench({ random, handlers: { job } });
      const handle = await kernel.start(task("job"));
      await rounds();
      const [failed] = await kernel.processes.eventsAfter(handle.id, 0);
      const { retryAtMs = 0 } = (failed?.payload ?? {}) as { retryAtMs?: number };
      return retryAtMs - clock.now();
    };
    expect(await Promise.all([0, 0x80, 0x80].map(pauseWith))).toEqual([0, 1_004, 1_004]);
  });

  it("nothing, where the process was ended from outside meanwhile (F-2)", async () => {
    const fails = gate<never>();
    const host = await bench({ handlers: { job: ({ step }) => step("a", () => fails.promise, { retry: RETRY }) } });
    const other = await bench({}, { probed: host.probed, clock: host.clock });
    await host.kernel.start({ id: "p", ...task("job") });
    await rounds();
    await other.kernel.processes.completeProcess("p", { type: "success", value: "from outside" });
    fails.fail(new Error("no"));
    await rounds();
    expect(await stepEvents(host, "p")).toEqual([]);
    expect(await waitRows(host.probed)).toEqual([]);
  });
});

describe("a step that is not awaited", () => {
  it("is not tried again once its handler has ended (F-1)", async () => {
    const made = flaky(9);
    const job = async ({ step }: ProcessContext) => {
      void step("a", made.run, { retry: RETRY });
      await rounds(6);
    };
    const host = await bench({ handlers: { job } });
    const handle = await host.kernel.start(task("job"));
    await rounds(20);
    expect(await ending(handle)).toEqual({ type: "success", value: null });
    await host.clock.advance(10_000);
    expect(made.calls).toBe(1);
    expect(await stepEvents(host, handle.id)).toEqual(["a 1: no 1"]);
    expect(host.faults).toMatchObject([{ area: "steps", message: 'step "a" was not awaited: its handler ended first' }]);
  });
});
