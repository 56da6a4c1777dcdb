// Suspended processes: when a run gives its handler up, what brings the process back, and what the handler still does meanwhile.
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { HoldfastError } from "../../../../src/domain/errors.js";
import type { KernelOptions } from "../../../../src/kernel/options.js";
import type { ProcessContext, ProcessHandler } from "../../../../src/kernel/process/context/context.js";
import { buildTown, type Town, type TownHost } from "../../../loop/town.js";
import { gate, rounds } from "../../rounds.js";

const DAY = 24 * 3_600_000;

let town: Town;
beforeEach(() => {
  town = buildTown();
});
afterEach(() => town.close());

const host = (name: string, job: ProcessHandler, options: Partial<KernelOptions> = {}) =>
  town.host(name, { handlers: { job }, ...options });
const recordOf = async ({ kernel }: TownHost) => await kernel.processes.getProcess("p");
const isSuspended = async (of: TownHost) => (await recordOf(of))?.suspended === true;
const leaseOf = async () => (await town.rows("leases")).find(({ resource }) => resource === "p");
const rowOf = async () => (await town.rows("processes")).find(({ processId }) => processId === "p");
const advance = async (ms: number) => {
  await town.clock.advance(ms);
  await rounds();
};

describe("a run is suspended", () => {
  it("after a second where its wait is far away: lease and slot are free, and its wait never settles (F-18)", async () => {
    const log: string[] = [];
    const a = await host("a", async ({ sleep, signal }) => {
      signal.addEventListener("abort", () => log.push(`aborted ${signal.reason.code}`));
      try {
        await sleep("s", DAY);
        log.push("slept");
      } catch {
        log.push("threw");
      } finally {
        log.push("finally");
      }
    });
    const dueAtMs = town.clock.now() + DAY;
    await a.kernel.start("job", { id: "p" });
    await advance(999);
    expect(await isSuspended(a)).toBe(false);
    await advance(1);
    expect(await isSuspended(a)).toBe(true);
    expect(log).toEqual(["aborted suspended"]);
    expect(await rowOf()).toMatchObject({ parked: "handler:job", dueAtMs });
    expect((await leaseOf())?.leaseToken).toBe(undefined);
    expect((await recordOf(a))?.waiting).toEqual([expect.objectContaining({ key: "s", kind: "timer", dueAtMs })]);
    expect([a.faults, a.lost]).toEqual([[], []]);
  });

  it("after suspendAfterMs where its wait may end before (F-18)", async () => {
    const a = await host("a", async ({ sleep, waitForSignal }) => {
      await Promise.all([sleep("s", 59_000), waitForSignal("go")]);
    });
    await a.kernel.start("job", { id: "p" });
    // Its look at the process every `pollMs` is nothing that it does.
    await advance(58_000);
    expect(await isSuspended(a)).toBe(false);
    // The sleep ends, and the signal alone is waited for.
    await advance(1_999);
    expect(await isSuspended(a)).toBe(false);
    await advance(1);
    expect(await isSuspended(a)).toBe(true);
  });

  it("is not held off by its looks at what is stored (F-18)", async () => {
    const a = await host("a", async ({ sleep, waitForSignal }) => {
      await Promise.all([waitForSignal("go"), waitForSignal("on", { timeoutMs: 100_000 }), sleep("s", 95_000)]);
    });
    await a.kernel.start("job", { id: "p" });
    const b = await town.host("b", { timings: { suspendAfterMs: 60_000 } });
    for (let n = 0; n < 8; n++) {
      await advance(100);
      await b.kernel.processes.signal("p", `else ${n}`);
    }
    await advance(200);
    expect(await isSuspended(a)).toBe(true);
  });

  it("with suspendAfterMs 0 at once, but not in the task in which the wait began; with Infinity never (F-18)", async () => {
    const log: string[] = [];
    const job: ProcessHandler = async ({ sleep, signal }) => {
      signal.addEventListener("abort", () => log.push("aborted"));
      const slept = sleep("s", DAY);
      await Promise.resolve();
      log.push("went on");
      await slept;
    };
    const a = await host("a", job, { timings: { suspendAfterMs: 0 } });
    await a.kernel.start("job", { id: "p" });
    await advance(0);
    expect(log).toEqual(["went on", "aborted"]);
    const b = await town.host("b", { handlers: { b: job }, timings: { suspendAfterMs: Number.POSITIVE_INFINITY } });
    await b.kernel.start("b", { id: "q" });
    await advance(300_000);
    expect((await b.kernel.processes.getProcess("q"))?.suspended).toBe(undefined);
    expect(log).toEqual(["went on", "aborted", "went on"]);
  });

  it("by what its definition says, before the kernel's timing (F-18)", async () => {
    const a = await town.host("a", {
      handlers: {
        job: { run: ({ sleep }: ProcessContext) => sleep("s", DAY), suspendAfterMs: Number.POSITIVE_INFINITY },
        quick: { run: ({ sleep }: ProcessContext) => sleep("s", DAY), suspendAfterMs: 10 },
      },
    });
    await a.kernel.start("job", { id: "p" });
    await a.kernel.start("quick", { id: "q" });
    await advance(10);
    expect((await a.kernel.processes.getProcess("q"))?.suspended).toBe(true);
    await advance(100_000);
    expect(await isSuspended(a)).toBe(false);
  });

  it("in the pause of a step, and counts its tries on (F-18, F-5)", async () => {
    let tries = 0;
    const a = await host("a", ({ step }) =>
      step(
        "s",
        () => {
          if (++tries < 2) throw new Error("no");
          return tries;
        },
        { retry: { attempts: 3, backoffMs: 600_000, maxBackoffMs: 600_000, jitter: 0 } },
      ),
    );
    const handle = await a.kernel.start("job", { id: "p" });
    await rounds(40);
    await advance(1_000);
    expect(await isSuspended(a)).toBe(true);
    await advance(600_000);
    expect(await handle.outcome()).toEqual({ type: "success", value: 2 });
  });

  it("not while it waits for a child, follows events or has a step running (F-21)", async () => {
    const step = gate();
    const jobs: Record<string, ProcessHandler> = {
      parent: async ({ start, sleep }) => {
        const child = await start("c", { id: "child", input: { type: "external", metadata: null } });
        await Promise.all([child.outcome(), sleep("s", DAY)]);
      },
      events: async ({ process, sleep }) => {
        const follow = async () => {
          for await (const _ of process("child").events());
        };
        await Promise.all([follow(), sleep("s", DAY)]);
      },
      step: async (context) => {
        await Promise.all([context.step("s", () => step.promise), context.sleep("s", DAY)]);
      },
    };
    const a = await town.host("a", { handlers: jobs, timings: { suspendAfterMs: 100 } });
    for (const name of Object.keys(jobs)) {
      await a.kernel.start(name, { id: name });
      await rounds(30);
    }
    const suspended = async () => (await a.kernel.processes.list()).filter((one) => one.suspended).map(({ id }) => id);
    await advance(60_000);
    expect(await suspended()).toEqual([]);
    expect(a.faults).toEqual([]);
    step.open();
    await a.kernel.processes.completeProcess("child", { type: "success", value: null });
    await rounds();
    expect(await suspended()).toEqual([]);
    await advance(100);
    expect(await suspended()).toEqual(["events", "parent", "step"]);
  });
});

describe("a suspended process", () => {
  const twoHosts = async (job: (log: string[], name: string) => ProcessHandler) => {
    const log: string[] = [];
    const a = await host("a", job(log, "a"));
    await a.kernel.start("job", { id: "p" });
    await advance(1_100);
    expect(await isSuspended(a)).toBe(true);
    return { a, b: await host("b", job(log, "b")), log };
  };

  it("is claimed when its wait is due, and not before, by a host that was not there: attempt grows, the budget does not (F-19)", async () => {
    const { a, b, log } = await twoHosts((log, name) => async ({ sleep, attempt, step }) => {
      log.push(`${name} ${attempt}`);
      await step("before", () => void log.push("step"));
      await sleep("s", DAY);
      return attempt;
    });
    await a.kernel.close();
    expect(log).toEqual(["a 1", "step"]);
    // The machine sleeps, and wakes just before the time.
    town.clock.sleep(DAY - 5_000);
    await advance(3_800);
    expect(log).toEqual(["a 1", "step"]);
    await advance(200);
    expect(log).toEqual(["a 1", "step", "b 2"]);
    expect(await b.kernel.process("p").outcome()).toEqual({ type: "success", value: 2 });
    expect(await leaseOf()).toMatchObject({ fruitless: 0, attempts: 2 });
    expect((await recordOf(b))?.suspended).toBe(undefined);
  });

  it("whose kernels are all closed goes on in the next one that opens after it was due (F-19, F-22)", async () => {
    const job: ProcessHandler = async ({ sleep, attempt }) => {
      await sleep("s", DAY);
      return attempt;
    };
    const a = await host("a", job);
    await a.kernel.start("job", { id: "p" });
    await advance(1_100);
    await a.kernel.close();
    town.clock.sleep(3 * DAY);
    const b = await host("b", job);
    await rounds(30);
    expect(await b.kernel.process("p").outcome()).toEqual({ type: "success", value: 2 });
  });

  it("is brought back by a signal that it waits for, in the write of the signal, and by no other (F-19)", async () => {
    const { a, b, log } = await twoHosts((log, name) => async ({ waitForSignal, attempt }) => {
      log.push(`${name} ${attempt}`);
      return (await waitForSignal("go")).payload;
    });
    await rounds(30);
    const before = b.probed.seen.length;
    await a.kernel.processes.signal("p", "other", 1);
    await rounds();
    expect(await isSuspended(a)).toBe(true);
    expect(b.probed.seen.length).toBe(before);
    await a.kernel.processes.signal("p", "go", 2);
    expect((await rowOf())?.runnable).toBe("handler:job");
    await rounds(30);
    expect(await a.kernel.process("p").outcome()).toEqual({ type: "success", value: 2 });
    expect(log).toHaveLength(2);
  });

  it("is brought back by a cancel request, and its handler ends it (F-19)", async () => {
    const { b } = await twoHosts(() => async ({ sleep, signal }) => {
      await Promise.race([
        sleep("s", DAY),
        new Promise((_, reject) => {
          if (signal.aborted) reject(signal.reason);
          signal.addEventListener("abort", () => reject(signal.reason));
        }),
      ]);
    });
    await b.kernel.process("p").cancel("enough");
    expect((await rowOf())?.runnable).toBe("handler:job");
    await rounds(40);
    expect(await b.kernel.process("p").outcome()).toEqual({ type: "cancelled", message: "enough" });
  });

  it("that no host has a handler for is cancelled by request all the same (F-19, A-26)", async () => {
    const a = await host("a", ({ sleep }) => sleep("s", DAY));
    await a.kernel.start("job", { id: "p" });
    await advance(1_100);
    await a.kernel.close();
    const b = await town.host("b");
    await b.kernel.process("p").cancel("enough");
    await advance(60_000);
    expect(await b.kernel.process("p").outcome()).toEqual({ type: "cancelled", message: "enough" });
  });

  it("ends with an end from outside, and with the process that it ends with (F-19)", async () => {
    const a = await town.host("a", {
      handlers: {
        parent: async ({ start, sleep, step, waitForSignal }) => {
          await start("c", "job", { id: "p", endWith: "parent" });
          await waitForSignal("on");
          await step("s", () => sleep("inner", 1).catch(() => undefined));
        },
        job: ({ sleep }) => sleep("s", DAY),
      },
    });
    const parent = await a.kernel.start("parent", { id: "parent" });
    await rounds(30);
    await advance(1_100);
    expect(await isSuspended(a)).toBe(true);
    await a.kernel.processes.completeProcess("parent", { type: "success", value: null });
    expect((await recordOf(a))?.status.state).toBe("cancelled");
    expect((await parent.record())?.suspended).toBe(undefined);
    for (const row of await town.rows("processes")) expect(row).not.toMatchObject({ parked: expect.anything() });
    expect(await town.rows("waits")).toEqual([]);
  });

  it("costs no renewal and no read, and a sweep reads no more beside 200 of them (F-20)", async () => {
    const a = await town.host("a", {
      handlers: { job: ({ waitForSignal }) => waitForSignal("go"), far: ({ sleep }) => sleep("s", DAY) },
    });
    const sweepOf = async () => {
      await advance(60_000);
      const before = a.probed.seen.length;
      await advance(60_000);
      // The sweeper's scans read in write transactions.
      const seen = a.probed.seen.slice(before).filter(({ mode, writes }) => mode === "read" || writes.length > 0);
      return {
        count: seen.length,
        rows: seen.reduce((sum, { rows }) => sum + rows, 0),
        ranges: seen.flatMap(({ ranges }) => ranges).length,
      };
    };
    const none = await sweepOf();
    for (let n = 0; n < 100; n++) for (const name of ["job", "far"]) await a.kernel.start(name, { id: `${name} ${n}` });
    await advance(30_000);
    expect((await a.kernel.processes.list()).filter(({ suspended }) => suspended)).toHaveLength(200);
    expect(await sweepOf()).toEqual(none);
  });
});

describe("what a handler still does after its run was suspended", () => {
  it("is refused with suspended and changes nothing, and no fault is told (F-18)", async () => {
    const refused: unknown[] = [];
    const went = gate();
    const code = (work: Promise<unknown> | (() => unknown)) =>
      (async () => (typeof work === "function" ? work() : work))().catch((error) => refused.push(error.code));
    let calls = 0;
    const a = await host("a", async (context) => {
      if (++calls > 1) return;
      const { signal, step, emit, start, sleep, waitForSignal, progress } = context;
      void sleep("s", DAY);
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      await code(step("x", () => refused.push("ran")));
      await code(emit("e", 1));
      await code(start("c", "job"));
      await code(sleep("s2", 5));
      await code(waitForSignal("go"));
      await code(() => progress(1));
      await code(context.process("p").outcome());
      await code(context.process("p").cancel());
      went.open();
      throw new Error("a last word");
    });
    await a.kernel.start({ id: "p", input: { type: "task", name: "job" }, eventTypes: [{ name: "e" }] });
    await rounds(20);
    await advance(1_000);
    const row = await rowOf();
    await went.promise;
    await rounds(20);
    expect(refused).toEqual(Array.from({ length: 8 }, () => "suspended"));
    expect(await rowOf()).toEqual(row);
    expect((await a.kernel.processes.eventsAfter("p", 0)).map(({ eventType }) => eventType)).toEqual(["process.waiting"]);
    expect([a.faults, a.lost]).toEqual([[], []]);
  });

  it("has its progress stored before (F-18)", async () => {
    const a = await host(
      "a",
      async ({ progress, sleep }) => {
        progress(1, 3);
        progress(2, 3);
        await sleep("s", DAY);
      },
      { timings: { suspendAfterMs: 10 } },
    );
    await a.kernel.start("job", { id: "p" });
    await rounds(20);
    await advance(20);
    expect(await recordOf(a)).toMatchObject({ suspended: true, progress: { done: 2, total: 3 } });
  });
});

describe("a suspension", () => {
  /** Holds the suspending write until the gate opens. */
  const holding = (of: TownHost, until: Promise<void>) => {
    const begun = gate();
    of.probed.hooks.begin = async ({ mode, tables }) => {
      if (mode !== "write" || !tables.includes("leases") || tables.includes("waits") || tables.includes("farewells")) return;
      begun.open();
      await until;
    };
    return begun.promise;
  };

  it("is refused where a signal that it waits for is stored, of which no notice came: the run goes on (F-18)", async () => {
    const log: number[] = [];
    const a = await host(
      "a",
      async ({ waitForSignal, attempt }) => {
        log.push(attempt);
        return (await waitForSignal("go")).payload;
      },
      { channel: false },
    );
    const b = await town.host("b", { loop: "off", channel: false });
    const handle = await a.kernel.start("job", { id: "p" });
    await rounds(20);
    await b.kernel.processes.signal("p", "go", "here");
    await advance(1_000);
    expect(await handle.outcome()).toEqual({ type: "success", value: "here" });
    expect(log).toEqual([1]);
  });

  it("that is under way holds new steps back, and lets none begin if it succeeds (F-18, F-21)", async () => {
    let ran = 0;
    const wake = gate();
    const a = await host("a", async ({ sleep, step, attempt }) => {
      if (attempt > 1) return;
      void sleep("s", DAY);
      await wake.promise;
      await step("x", () => ++ran);
    });
    await a.kernel.start("job", { id: "p" });
    await rounds(20);
    const written = gate();
    const begun = holding(a, written.promise);
    const passing = town.clock.advance(1_000);
    await begun;
    wake.open();
    await rounds(5);
    written.open();
    await passing;
    await rounds(20);
    expect([ran, await isSuspended(a)]).toEqual([0, true]);
    expect([a.faults, a.lost]).toEqual([[], []]);
  });

  it("that the storage fails is tried again, and the run goes on until then (F-18)", async () => {
    const a = await host("a", ({ sleep }) => sleep("s", DAY));
    await a.kernel.start("job", { id: "p" });
    await rounds(20);
    a.cutOff();
    await advance(1_500);
    a.mend();
    await advance(10);
    expect(await isSuspended(a)).toBe(false);
    await advance(1_000);
    expect(await isSuspended(a)).toBe(true);
    expect(a.lost).toEqual([]);
  });

  it("whose reply was lost counts as done (F-18)", async () => {
    const log: string[] = [];
    const a = await host("a", async ({ sleep, signal, attempt }) => {
      if (attempt > 1) log.push("again");
      signal.addEventListener("abort", () => log.push(signal.reason.code));
      await sleep("s", DAY);
    });
    await a.kernel.start("job", { id: "p" });
    await rounds(20);
    let lost = 0;
    a.probed.hooks.done = ({ writes }) => {
      if (lost === 0 && writes.some((write) => "put" in write && write.put.suspended === 1)) {
        lost++;
        throw new HoldfastError("unavailable", "the connection was lost", { details: { outcome: "unknown" } });
      }
    };
    await advance(3_000);
    expect([lost, await isSuspended(a), log]).toEqual([1, true, ["suspended"]]);
  });
});
