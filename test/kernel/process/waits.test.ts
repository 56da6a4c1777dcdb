import { afterEach, describe, expect, it } from "vitest";
import { manualClock } from "../../../src/adapters/clock-manual.js";
import { HoldfastError } from "../../../src/domain/errors.js";
import type { ProcessContext, ProcessHandler } from "../../../src/kernel/process/context/context.js";
import { memoryStorage } from "../../../src/memory.js";
import type { KernelStorage, Row } from "../../../src/ports/storage.js";
import { SCHEMA } from "../../../src/stores/schema.js";
import { type Probe, probe } from "../../stores/probe-storage.js";
import { bench, closeBenches, ending, task } from "../hosts.js";
import { rounds } from "../rounds.js";

afterEach(closeBenches);

const DAY = 24 * 60 * 60 * 1_000;
/** Short times: a takeover costs few turns of the clock. */
const timings = {
  leaseTtlMs: 3_000,
  leaseRenewMs: 1_000,
  heartbeatMs: 2_000,
  livenessTtlMs: 5_000,
  heartbeatFlushMs: 2_000,
  staleAfterMs: 10_000,
  sweepMs: 1_000,
};

/** The rows of a table of the bench's database; those that are given are written first. */
async function rowsOf(storage: KernelStorage, table: string, puts: readonly Row[] = []): Promise<Row[]> {
  const rows = await storage.open({
    name: "bench",
    schema: SCHEMA,
    durability: "strict",
    newDatabaseId: "no",
    onState: () => {},
  });
  try {
    return await rows.transact([table], "write", async (tx) => {
      tx.write(puts.map((put) => ({ table, put })));
      return await tx.range(table, {});
    });
  } finally {
    await rows.close();
  }
}

describe("a host that dies in the middle of its waits", () => {
  const job: ProcessHandler = async ({ sleep, waitForSignal }) => {
    await sleep("a", 1_500);
    const first = await waitForSignal("go");
    const both = await Promise.all([waitForSignal("go"), waitForSignal("go", { key: "k", timeoutMs: DAY })]);
    const none = await waitForSignal("none", { timeoutMs: 1_500 });
    return [[first, ...both].map((signal) => signal?.payload ?? "timeout"), none === undefined];
  };

  /** Its storage serves it no more once it has made so many writes of events; of the last one it does not hear. */
  function dyingAfter(storage: KernelStorage, writes: number): Probe {
    const dying = probe(storage);
    const gone = () => new HoldfastError("unavailable", "dead");
    let left = writes;
    dying.hooks.open = () => {
      if (left <= 0) throw gone();
    };
    dying.hooks.done = (seen) => {
      if (seen.writes.some(({ table }) => table === "events") && --left <= 0) throw gone();
    };
    return dying;
  }

  /** Runs the job with signals that are each sent twice, as by a sender that did not hear of its success. */
  async function run(diesAfter: number) {
    const storage = memoryStorage();
    const clock = manualClock();
    const options = { handlers: { job }, timings };
    const dying = dyingAfter(storage, diesAfter);
    const first = await bench(options, { probed: dying, clock });
    const { kernel: sender } = await bench({ loop: "off" }, { probed: probe(storage), clock });
    const handle = sender.process("p");
    await first.kernel.start("job", { id: "p" });
    const send = async (n: number) => {
      for (let time = 0; time < 2; time++) await handle.signal("go", n, { signalId: `s${n}` });
    };
    await send(1);
    await clock.advance(1_500);
    const second = await bench(options, { probed: probe(storage), clock });
    await send(2);
    await clock.advance(2_500);
    await send(3);
    await clock.advance(9_000);
    const events = await second.kernel.processes.eventsAfter("p", 0);
    const keys = events.map(({ invocation }) => invocation.replayKey);
    return {
      output: await ending(handle),
      isCut: dying.seen.some(({ committed }) => !committed),
      hasTwice: keys.length !== new Set(keys).size,
      waits: await rowsOf(storage, "waits"),
      untaken: (await rowsOf(storage, "events")).filter((row) => row.pendingSignal !== undefined),
      waiting: (await second.kernel.processes.getProcess("p"))?.waiting,
    };
  }

  it("at any of its writes: no timer ends early or twice, no signal is lost or taken twice (F-11, F-14, F-15, F-17)", async () => {
    let deaths = 0;
    for (let isCut = true; isCut; deaths++) {
      const { output, ...rest } = await run(deaths + 1);
      isCut = rest.isCut;
      const [taken, timedOut] = (output?.type === "success" ? output.value : []) as [number[], boolean];
      expect([deaths, taken?.[0], [...(taken ?? [])].sort(), timedOut]).toEqual([deaths, 1, [1, 2, 3], true]);
      expect(rest).toEqual({ isCut, hasTwice: false, waits: [], untaken: [], waiting: undefined });
    }
    expect(deaths).toBeGreaterThan(5);
  }, 60_000);
});

describe("a clock that is set", () => {
  async function sleeping(durationMs: number) {
    const manual = manualClock();
    const set = { byMs: 0 };
    const clock = { ...manual, now: () => manual.now() + set.byMs };
    const woken: number[] = [];
    const job = async ({ sleep }: ProcessContext) => {
      await sleep("a", durationMs);
      woken.push(clock.now());
    };
    const { kernel } = await bench({ handlers: { job } }, { clock });
    const dueAtMs = clock.now() + durationMs;
    await kernel.start(task("job"));
    await clock.advance(500);
    return { clock, set, woken, dueAtMs };
  }

  it("forward by a day ends the timers that are due then, within a second (F-12)", async () => {
    const { clock, set, woken } = await sleeping(DAY / 2);
    set.byMs = DAY;
    await clock.advance(1_000);
    expect(woken).toHaveLength(1);
  });

  it("back by a day ends no timer before its time (F-12)", async () => {
    const { clock, set, woken, dueAtMs } = await sleeping(5_000);
    set.byMs = -DAY;
    await clock.advance(20_000);
    expect(woken).toEqual([]);
    set.byMs = 0;
    await clock.advance(1_000);
    expect(woken.map((atMs) => atMs >= dueAtMs)).toEqual([true]);
  });
});

describe("a signal", () => {
  it("is found by an index, whatever stands in the log before it (F-16)", async () => {
    const job = async ({ waitForSignal }: ProcessContext) => [
      (await waitForSignal("go")).payload,
      (await waitForSignal("go")).payload,
      (await waitForSignal("none", { timeoutMs: 0 })) === undefined,
    ];
    const { kernel, probed, clock } = await bench({ handlers: { job }, concurrency: 1 });
    const { kernel: sender } = await bench({ loop: "off" }, { probed: probe(probed.storage), clock });
    await sender.processes.registerProcess({ id: "p", input: { type: "task", name: "job" }, eventTypes: [{ name: "note" }] });
    await Promise.all(
      Array.from({ length: 300 }, (_, n) => sender.processes.appendEvent("p", { eventType: "note", payload: n })),
    );
    await Promise.all(Array.from({ length: 300 }, (_, n) => sender.processes.signal("p", "other", n)));
    for (const n of [1, 2]) await sender.processes.signal("p", "go", n);
    const from = probed.seen.length;
    await clock.advance(60_000);
    expect(await ending(kernel.process("p"))).toEqual({ type: "success", value: [1, 2, true] });
    // Scans of indexes that the storage wears out read 32 rows at a time, whatever is there.
    const ranges = probed.seen
      .slice(from)
      .filter(({ ranges }) => ranges.some((range) => range.startsWith("events ") && !range.includes('"limit":32')))
      .map(({ rows }) => rows);
    expect(ranges.length).toBeGreaterThan(3);
    expect(Math.max(...ranges)).toBeLessThan(10);
  });

  it("that a suspended process awaits makes it claimable in its own write, and another one does not (F-13, F-19)", async () => {
    const { kernel, probed, clock } = await bench({ loop: "off" });
    await kernel.processes.registerProcess({ id: "p", ...task("job") });
    const wait = { v: 1, processId: "p", kind: "signal", key: "k", name: "go", sinceMs: 1 };
    const [{ runnable, ...row } = {} as Row] = await rowsOf(probed.storage, "processes");
    const suspended = { ...row, parked: runnable, suspended: 1, mayWait: 1, dueAtMs: clock.now() + DAY } as Row;
    await rowsOf(probed.storage, "processes", [suspended]);
    await rowsOf(probed.storage, "waits", [wait]);
    const found = async () => {
      const [row] = await rowsOf(probed.storage, "processes");
      return [row?.runnable, row?.parked, row?.suspended, row?.dueAtMs !== undefined];
    };
    await kernel.processes.signal("p", "other");
    expect(await found()).toEqual([undefined, "handler:job", 1, true]);
    await kernel.processes.signal("p", "go", 1, { signalId: "one" });
    expect(await found()).toEqual(["handler:job", undefined, undefined, false]);
    expect((await kernel.processes.getProcess("p"))?.suspended).toBeUndefined();
  });

  it("that no one hears of is found by the next poll (F-14)", async () => {
    const job = async ({ waitForSignal }: ProcessContext) => (await waitForSignal("go")).payload;
    const { kernel, probed, clock } = await bench({ handlers: { job } });
    const { kernel: sender } = await bench({ loop: "off" }, { probed: probe(probed.storage), clock });
    const handle = await kernel.start(task("job"));
    await rounds();
    await sender.processes.signal(handle.id, "go", 7);
    await clock.advance(5_000);
    expect(await ending(handle)).toEqual({ type: "success", value: 7 });
  });
});

describe("the slot of a handler that waits", () => {
  it("is free for another handler, and a wait that no handler awaits costs no timer after its end (F-11, F-14)", async () => {
    const manual = manualClock();
    let timers = 0;
    const clock = {
      ...manual,
      setTimer(run: () => void, ms: number) {
        const cancel = manual.setTimer(run, ms);
        if (ms <= 1_000) timers++;
        return cancel;
      },
    };
    const waiting = async ({ waitForSignal, sleep }: ProcessContext) => {
      const winner = await Promise.race([waitForSignal("go"), sleep("long", DAY)]);
      return winner?.payload ?? null;
    };
    const { kernel } = await bench({ handlers: { waiting, quick: () => 1 }, concurrency: 1 }, { clock });
    const handle = await kernel.start("waiting");
    await rounds();
    expect(await ending(await kernel.start("quick"))).toEqual({ type: "success", value: 1 });
    await handle.signal("go", 2);
    expect(await ending(handle)).toEqual({ type: "success", value: 2 });
    await clock.advance(1_000);
    timers = 0;
    await clock.advance(5_000);
    expect(timers).toBe(0);
  });
});
