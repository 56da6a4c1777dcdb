// A handler that does nothing but wait: the death of its host uses up no attempt.
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { DEFAULT_TIMINGS } from "../../src/domain/time.js";
import type { ProcessContext } from "../../src/index.js";
import { rounds } from "../kernel/rounds.js";
import { buildTown, type Town } from "./town.js";

const { leaseRenewMs } = DEFAULT_TIMINGS;

let town: Town;
beforeEach(() => {
  town = buildTown();
});
afterEach(() => town.close());

const external = { input: { type: "external" as const, metadata: null } };
const leaseOf = async (processId: string) => (await town.rows("leases")).find(({ resource }) => resource === processId);

/** Hosts run "p" one after another; each dies one renewal after it began. The state of "p" after so many deaths. */
async function afterDeaths(deaths: number, job: (context: ProcessContext) => Promise<unknown>): Promise<string | undefined> {
  // It is not suspended: a suspended run has no owner that could die.
  const suspendAfterMs = Number.POSITIVE_INFINITY;
  const handlers = { job: { run: async (context: ProcessContext) => (await job(context)) as null, suspendAfterMs } };
  const off = await town.host("off", { loop: "off" });
  await off.kernel.start({ id: "kid", ...external });
  await off.kernel.start({ id: "p", input: { type: "task", name: "job" } });
  for (let death = 0; death < deaths; death++) {
    const host = await town.host(`host ${death}`, { handlers, attemptBudget: 2 });
    await rounds(20);
    await town.clock.advance(leaseRenewMs);
    await rounds(20);
    host.die();
  }
  await town.host("last", { handlers, attemptBudget: 2 });
  await rounds(30);
  return (await off.kernel.processes.getProcess("p"))?.status.state;
}

describe("a run whose owner dies", () => {
  it("while its handler waits for a process is not counted, however often (A-33)", async () => {
    expect(await afterDeaths(6, ({ process }) => process("kid").result())).toBe("running");
    expect(await leaseOf("p")).toMatchObject({ attempts: 7, fruitless: 0 });
  });

  it("while a step of it pauses between two tries is not counted, and while that is tried it is (A-33, F-5)", async () => {
    const retry = { attempts: 9, backoffMs: 3_600_000, maxBackoffMs: 3_600_000 };
    const fails = () => Promise.reject(new Error("no"));
    expect(await afterDeaths(6, ({ step }) => step("s", fails, { retry }))).toBe("running");
    expect(await leaseOf("p")).toMatchObject({ attempts: 7, fruitless: 0 });
    await town.close();
    town = buildTown();
    expect(await afterDeaths(2, ({ step }) => step("s", () => new Promise<never>(() => {}), { retry }))).toBe("failed");
  });

  it("while its handler waits for a child of its own, or for events, is not counted (A-33)", async () => {
    const waits = async ({ start, process }: ProcessContext) => {
      const child = await start("child", external);
      const events = async () => {
        for await (const _ of process("kid").events()) break;
      };
      await Promise.all([child.result(), events()]);
    };
    expect(await afterDeaths(4, waits)).toBe("running");
  });

  it("while it works is counted (A-33)", async () => {
    expect(await afterDeaths(2, () => new Promise<never>(() => {}))).toBe("failed");
  });

  it("while a step is under way beside the wait is counted (A-33)", async () => {
    const both = ({ process, step }: ProcessContext) =>
      Promise.all([process("kid").result(), step("slow", () => new Promise<never>(() => {}))]);
    expect(await afterDeaths(2, both)).toBe("failed");
  });

  it("while the wait is made in a step is counted: the step is under way (A-33)", async () => {
    const within = ({ process, step }: ProcessContext) => step("slow", async () => (await process("kid").result()) as never);
    expect(await afterDeaths(2, within)).toBe("failed");
  });
});

describe("the end by attemptBudget", () => {
  it("is told with its process (A-22, A-33)", async () => {
    const job = () => new Promise<never>(() => {});
    const off = await town.host("off", { loop: "off" });
    await off.kernel.start({ id: "p", input: { type: "task", name: "job" } });
    const host = await town.host("first", { handlers: { job }, attemptBudget: 1 });
    await rounds(20);
    host.die();
    const last = await town.host("last", { handlers: { job }, attemptBudget: 1 });
    await rounds(30);
    const message = "1 attempts in a row ended without a result";
    expect(last.faults.filter(({ area }) => area === "handler")).toEqual([
      { area: "handler", code: "failed", message, processId: "p" },
    ]);
  });
});

describe("the mark of a wait", () => {
  const waitsThen = (then: (context: ProcessContext) => unknown) => async (context: ProcessContext) => {
    await context.process("kid").result();
    await then(context);
    return await new Promise<never>(() => {});
  };

  async function waiting(then: (context: ProcessContext) => unknown) {
    const a = await town.host("a", { handlers: { job: waitsThen(then) } });
    await a.kernel.start({ id: "kid", ...external });
    await a.kernel.start({ id: "p", input: { type: "task", name: "job" } });
    await rounds(20);
    const before = (await leaseOf("p"))?.waiting;
    await town.clock.advance(leaseRenewMs);
    await rounds(20);
    return { a, before };
  }

  it("is stored with the first renewal that finds it so (A-33)", async () => {
    const { before } = await waiting(() => undefined);
    expect([before, (await leaseOf("p"))?.waiting]).toEqual([undefined, 1]);
  });

  it.each<[string, (context: ProcessContext) => unknown]>([
    ["a step", ({ step }) => step("s", () => 1)],
    ["an event", ({ emit }) => emit("note", 1)],
    ["the start of a child", ({ start }) => start("child", external)],
    ["progress", ({ progress }) => progress(1)],
    ["a cancel of another process", ({ process }) => process("kid").cancel()],
  ])("is gone with the next fenced write: %s (A-33)", async (_, write) => {
    town = await town.close().then(() => buildTown());
    const a = await town.host("a", { handlers: { job: waitsThen(write) } });
    await a.kernel.start({ id: "kid", ...external });
    await a.kernel.start({ id: "p", input: { type: "task", name: "job" }, eventTypes: [{ name: "note" }] });
    await rounds(20);
    await town.clock.advance(leaseRenewMs);
    await rounds(20);
    expect((await leaseOf("p"))?.waiting).toBe(1);
    await a.kernel.processes.completeProcess("kid", { type: "success", value: 1 });
    await rounds(20);
    expect(await leaseOf("p")).toMatchObject({ ownerId: expect.any(String) });
    expect((await leaseOf("p"))?.waiting).toBe(undefined);
  });

  it("is gone with the next renewal where the handler works again and writes nothing (A-33)", async () => {
    const { a } = await waiting(() => undefined);
    await a.kernel.processes.completeProcess("kid", { type: "success", value: 1 });
    await rounds(20);
    expect((await leaseOf("p"))?.waiting).toBe(1);
    await town.clock.advance(leaseRenewMs);
    await rounds(20);
    expect((await leaseOf("p"))?.waiting).toBe(undefined);
  });
});
