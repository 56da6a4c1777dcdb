// What a sweep reads, and which host claims what is started.
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { DEFAULT_TIMINGS } from "../../src/domain/time.js";
import type { ProcessContext } from "../../src/kernel/process/context/context.js";
import type { Row } from "../../src/ports/storage.js";
import { gate, rounds, until } from "../kernel/rounds.js";
import { buildTown, type Town, type TownHost } from "./town.js";

const { sweepMs } = DEFAULT_TIMINGS;

let town: Town;
beforeEach(() => {
  town = buildTown();
});
afterEach(() => town.close());

const task = (name: string) => ({ input: { type: "task" as const, name } });
const claimsOf = ({ probed }: TownHost) => probed.puts("leases").filter(({ leaseToken }) => leaseToken !== undefined);
const leaseOf = async (processId: string) => (await town.rows("leases")).find(({ resource }) => resource === processId);

/** Processes that another host runs, each under a lease of it, and one more row of that host. */
async function others(count: number): Promise<void> {
  const off = await town.host("off", { loop: "off" });
  await off.kernel.start({ id: "other", ...task("other") });
  await off.kernel.processes.claimProcessLease("other", "elsewhere", 3_600_000);
  const [process] = await town.rows("processes");
  const [lease] = await town.rows("leases");
  for (let n = 0; n < count; n++) {
    await town.put("processes", { ...(process as Row), processId: `other ${n}` });
    await town.put("leases", { ...(lease as Row), resource: `other ${n}`, hostId: "elsewhere", bootId: "elsewhere", locked: 1 });
  }
}

/** The rows that the loop of a host reads in one sweep, without those of the sweeper. */
async function rowsOfSweep(count: number): Promise<number> {
  await others(count);
  const a = await town.host("a", { handlers: { job: () => null } });
  await town.clock.advance(sweepMs);
  const before = { seen: a.probed.seen.length, sweeps: a.sweeps.length };
  await town.clock.advance(sweepMs);
  expect(a.sweeps.length).toBe(before.sweeps + 1);
  expect(a.sweeps.at(-1)?.skipped).toEqual(["other"]);
  const reads = a.probed.seen.slice(before.seen).filter(({ mode }) => mode === "read");
  return reads.reduce((sum, { rows }) => sum + rows, 0);
}

describe("a sweep", () => {
  it("reads no more beside 2,000 processes that others run than beside one", async () => {
    const alone = await rowsOfSweep(1);
    await town.close();
    town = buildTown();
    expect(await rowsOfSweep(2_000)).toBe(alone);
    expect(alone).toBeLessThan(20);
  });

  it("names one process of each handler that is lacking, and of 64 of them at most", async () => {
    const off = await town.host("off", { loop: "off" });
    for (let n = 100; n < 180; n++)
      for (const which of ["a", "b"]) await off.kernel.start({ id: `p${n}${which}`, ...task(`h${n}`) });
    const a = await town.host("a", { handlers: { h100: () => new Promise(() => {}), h101: () => new Promise(() => {}) } });
    await until(() => a.sweeps.length > 0, "a sweep");
    expect(a.sweeps[0]?.skipped).toEqual(Array.from({ length: 64 }, (_, n) => `p${102 + n}a`));
  });

  it("looks through the processes of several handlers in the order of their ids, however many each has", async () => {
    const off = await town.host("off", { loop: "off" });
    const ids = Array.from({ length: 200 }, (_, n) => `p${1_000 + n}`);
    for (const [n, id] of ids.entries()) await off.kernel.start({ id, ...task(n % 10 === 0 ? "rare" : "often") });
    const runs: string[] = [];
    const run = ({ record }: ProcessContext) => void runs.push(record.id);
    await town.host("a", { handlers: { rare: run, often: run }, concurrency: 1 });
    await until(() => runs.length === ids.length, "all runs");
    expect(runs).toEqual(ids);
  });

  it("takes nothing of its page's own claims for an orphan, also when the page claims while it looks", async () => {
    const done = gate();
    const runs: number[] = [];
    const job = async ({ attempt }: ProcessContext) => {
      runs.push(attempt);
      await done.promise;
      return "done";
    };
    const a = await town.host("a", { handlers: { job } });
    await rounds();
    let started = false;
    a.probed.hooks.open = async ({ mode, tables }) => {
      if (started || mode !== "read" || !tables.includes("farewells") || !tables.includes("attachments")) return;
      started = true;
      await a.kernel.start({ id: "p", ...task("job") });
    };
    await town.clock.advance(sweepMs);
    expect(started).toBe(true);
    expect(await leaseOf("p")).toMatchObject({ fencingToken: 1, ownerId: expect.stringMatching(/^a:/) });
    done.open();
    expect(await a.kernel.process("p").outcome()).toEqual({ type: "success", value: "done" });
    expect(runs).toEqual([1]);
    expect(a.lost).toEqual([]);
  });
});

describe("a process that is started", () => {
  const running = () => new Promise<never>(() => {});

  it("is claimed in the write that registers it, and no other host claims or reads for it", async () => {
    const a = await town.host("a", { handlers: { job: running } });
    const b = await town.host("b", { handlers: { job: running } });
    await rounds(30);
    const before = [a.probed.seen.length, b.probed.seen.length];
    await a.kernel.start({ id: "p", ...task("job") });
    await rounds(30);
    const [first] = a.probed.seen.slice(before[0]).filter(({ mode }) => mode === "write");
    const tables = first?.writes.map(({ table }) => table);
    expect(tables).toEqual(expect.arrayContaining(["processes", "registrations", "leases"]));
    expect(b.probed.seen.slice(before[1])).toEqual([]);
    expect(claimsOf(b)).toEqual([]);
  });

  it("is run by each host that starts it, where all start as many as they have slots for", async () => {
    const ran = new Map<string, number>();
    const names = ["a", "b", "c", "d", "e", "f"];
    const hosts: TownHost[] = [];
    for (const name of names) {
      const job = async () => {
        ran.set(name, (ran.get(name) ?? 0) + 1);
        await rounds(2);
      };
      hosts.push(await town.host(name, { handlers: { job }, concurrency: 4 }));
    }
    await rounds(30);
    for (let round = 0; round < 3; round++) {
      const handles = await Promise.all(
        hosts.flatMap(({ kernel }) => Array.from({ length: 4 }, () => kernel.start(task("job")))),
      );
      await Promise.all(handles.map((handle) => handle.outcome()));
      await rounds(30);
    }
    expect([...ran.values()]).toEqual(names.map(() => 12));
  });

  it("is claimed by another host after a moment, where its own has no slot or no handler", async () => {
    const runs: string[] = [];
    const starter = await town.host("starter", { handlers: {} });
    await town.host("b", { handlers: { job: () => void runs.push("b") } });
    await rounds(30);
    await starter.kernel.start({ id: "p", ...task("job") });
    await rounds(30);
    expect(runs).toEqual([]);
    await town.clock.advance(80);
    expect(runs).toEqual(["b"]);
  });

  it("does not go before one that waits for a slot already", async () => {
    const gates = { p: gate(), q: gate() };
    const runs: string[] = [];
    const job = async ({ record }: ProcessContext) => {
      runs.push(record.id);
      await gates[record.id as "p" | "q"]?.promise;
    };
    const a = await town.host("a", { handlers: { job }, concurrency: 1 });
    await rounds();
    await a.kernel.start({ id: "p", ...task("job") });
    await a.kernel.start({ id: "q", ...task("job") });
    await rounds(30);
    gates.p.open();
    await a.kernel.process("p").outcome();
    await a.kernel.start({ id: "r", ...task("job") });
    await rounds(60);
    expect(runs).toEqual(["p", "q"]);
    gates.q.open();
    await a.kernel.process("r").outcome();
    expect(runs).toEqual(["p", "q", "r"]);
  });

  it("takes no more slots than there are, however many are started at once", async () => {
    const a = await town.host("a", { handlers: { job: running }, concurrency: 3 });
    await rounds();
    await Promise.all(Array.from({ length: 10 }, () => a.kernel.start(task("job"))));
    await rounds(30);
    expect(claimsOf(a)).toHaveLength(3);
  });

  it("is claimed by no host whose loop is off", async () => {
    const off = await town.host("off", { handlers: { job: running }, loop: "off" });
    await off.kernel.start({ id: "p", ...task("job") });
    expect(await town.rows("leases")).toEqual([]);
  });
});

describe("a slot that a start takes after the loop has asked for it", () => {
  it("is not promised twice: what the loop claimed meanwhile is run by another host", async () => {
    const long = () => new Promise<void>(() => {});
    const runs: string[] = [];
    const quick = ({ record }: ProcessContext) => void runs.push(record.id);
    const a = await town.host("a", { concurrency: 1, handlers: { job: long } });
    await town.clock.advance(1_000);
    const off = await town.host("off", { loop: "off" });
    let isStarted = false;
    a.probed.hooks.open = async ({ mode, tables }) => {
      // The loop asked its page, and now looks at the process that it heard of.
      if (isStarted || mode !== "read" || tables.join() !== "processes,leases") return;
      isStarted = true;
      await a.kernel.start({ id: "own", ...task("job") });
    };
    await off.kernel.start({ id: "q", ...task("job") });
    await town.clock.advance(1_000);
    expect(isStarted).toBe(true);
    expect(await leaseOf("own")).toMatchObject({ hostId: "a" });
    await town.host("b", { handlers: { job: quick } });
    await town.clock.advance(sweepMs);
    expect(runs).toEqual(["q"]);
  });
});
