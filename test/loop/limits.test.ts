// Limits over hosts that share one storage: what runs at a time, what is held back, and who goes next.
import type { StandardSchemaV1 } from "@standard-schema/spec";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { LimitSpec } from "../../src/domain/process/limit.js";
import { DEFAULT_TIMINGS } from "../../src/domain/time.js";
import type { ProcessContext } from "../../src/kernel/process/context/context.js";
import { defineProcess } from "../../src/kernel/process/definition/define.js";
import type { Row } from "../../src/ports/storage.js";
import { gate, rounds, until } from "../kernel/rounds.js";
import { buildTown, type Town, type TownHost } from "./town.js";

const { sweepMs } = DEFAULT_TIMINGS;

let town: Town;
beforeEach(() => {
  town = buildTown();
});
afterEach(() => town.close());

const task = (name: string, args?: string) => ({ input: { type: "task" as const, name, ...(args !== undefined && { args }) } });

/** What ran, in order, and a gate for each process that runs. */
function work() {
  const log: string[] = [];
  const gates = new Map<string, ReturnType<typeof gate<void>>>();
  const run = async ({ record }: ProcessContext) => {
    log.push(record.id);
    const done = gate();
    gates.set(record.id, done);
    await done.promise;
  };
  const end = async (id: string) => {
    await until(() => gates.has(id), `the run of ${id}`);
    gates.get(id)?.open();
    await rounds();
  };
  return { log, run, end };
}

const waitingOf = async ({ kernel }: TownHost, id: string) => (await kernel.processes.getProcess(id))?.waiting;
const start = ({ kernel }: TownHost, id: string, name = "job", args?: string) => kernel.start({ id, ...task(name, args) });
const processOf = async (id: string) => (await town.rows("processes")).find(({ processId }) => processId === id) as Row;

/** Counts the places that are taken of each key, at each commit of any of the hosts. */
function watchPlaces(hosts: readonly TownHost[]): { most: Map<string, number> } {
  const held = new Map<string, string>();
  const most = new Map<string, number>();
  for (const { probed } of hosts) {
    probed.hooks.done = ({ writes }) => {
      for (const write of writes) {
        if (write.table !== "leases" || !("put" in write)) continue;
        const { resource, limitKey } = write.put as unknown as { resource: string; limitKey?: string };
        if (limitKey === undefined) held.delete(resource);
        else held.set(resource, limitKey);
      }
      for (const key of new Set(held.values())) {
        const count = [...held.values()].filter((one) => one === key).length;
        most.set(key, Math.max(most.get(key) ?? 0, count));
      }
    };
  }
  return { most };
}

const hostsOf = async (count: number, handlers: NonNullable<Parameters<Town["host"]>[1]>["handlers"], more = {}) => {
  const hosts: TownHost[] = [];
  for (let n = 0; n < count; n++) hosts.push(await town.host(`host ${n}`, { handlers: handlers ?? {}, ...more }));
  await rounds(30);
  return hosts as [TownHost, ...TownHost[]];
};

describe("a limit of runs at a time", () => {
  it("holds over all hosts at every commit, and everything runs (F-23)", async () => {
    let running = 0;
    let mostRunning = 0;
    let ended = 0;
    const run = async () => {
      mostRunning = Math.max(mostRunning, ++running);
      await rounds(1);
      running--;
      ended++;
    };
    const hosts = await hostsOf(20, { job: { run, limit: { concurrency: 8 } } });
    const { most } = watchPlaces(hosts);
    await Promise.all(hosts.flatMap((host) => Array.from({ length: 25 }, () => host.kernel.start(task("job")))));
    for (let second = 0; second < 600 && ended < 500; second++) await town.clock.advance(1_000);
    expect(ended).toBe(500);
    expect(mostRunning).toBeLessThanOrEqual(8);
    expect(most).toEqual(new Map([["job", 8]]));
    expect((await town.rows("leases")).filter(({ limitKey }) => limitKey !== undefined)).toEqual([]);
    expect(hosts.flatMap(({ faults }) => faults)).toEqual([]);
  });

  it("counts each key for itself, and one that is held back lets others by (F-23, F-25)", async () => {
    const { log, run, end } = work();
    const key = (args: unknown) => `tenant ${String(args)}`;
    const [a] = await hostsOf(1, { job: { run, limit: { key, concurrency: 1 } } });
    for (const [id, tenant] of [
      ["a1", "a"],
      ["a2", "a"],
      ["b1", "b"],
    ] as const)
      await start(a, id, "job", tenant);
    await rounds();
    expect(log).toEqual(["a1", "b1"]);
    expect(await waitingOf(a, "a2")).toEqual([{ key: "tenant a", kind: "limit", sinceMs: town.clock.now() }]);
    expect(await waitingOf(a, "b1")).toBe(undefined);
    await end("a1");
    await town.clock.advance(100);
    expect(log).toEqual(["a1", "b1", "a2"]);
    expect(await waitingOf(a, "a2")).toBe(undefined);
  });

  it("is shared by handlers that name one key (F-23)", async () => {
    const { log, run, end } = work();
    const limit = { key: "api", concurrency: 1 };
    const [a] = await hostsOf(1, { one: { run, limit }, other: { run, limit } });
    await start(a, "p", "one");
    await start(a, "q", "other");
    await rounds();
    expect(log).toEqual(["p"]);
    await end("p");
    await town.clock.advance(100);
    expect(log).toEqual(["p", "q"]);
  });

  it("gives the place to the oldest, also where another was started just now (F-25)", async () => {
    const { log, run, end } = work();
    const [a] = await hostsOf(1, { job: { run, limit: { concurrency: 1 } } });
    for (const id of ["z", "y", "x"]) {
      await start(a, id);
      await town.clock.advance(1);
    }
    // The place falls free, and a start comes before any loop has looked.
    await town.clock.advance(1);
    const late = end("z").then(() => start(a, "a"));
    await late;
    await town.clock.advance(100);
    expect(log).toEqual(["z", "y"]);
    await end("y");
    await town.clock.advance(100);
    await end("x");
    await town.clock.advance(100);
    expect(log).toEqual(["z", "y", "x", "a"]);
  });

  it("is judged by the host that claims, each by its own (F-26)", async () => {
    const { log, run } = work();
    const old = await town.host("old", { handlers: { job: { run, limit: { concurrency: 1 } } } });
    const next = await town.host("next", { handlers: { job: { run, limit: { concurrency: 2 } } } });
    await rounds(30);
    for (const id of ["p", "q", "r"]) await start(old, id);
    await town.clock.advance(1_000);
    expect(log).toEqual(["p", "q"]);
    expect((await town.rows("leases")).map(({ resource, hostId }) => [resource, hostId])).toEqual([
      ["p", "old"],
      ["q", "next"],
    ]);
    await town.host("free", { handlers: { job: run } });
    await town.clock.advance(1_000);
    expect(log).toEqual(["p", "q", "r"]);
    expect([old, next].flatMap(({ faults }) => faults)).toEqual([]);
  });

  it("does not count a claim by hand, nor holds it back (F-23)", async () => {
    const { log, run } = work();
    const [a] = await hostsOf(1, { job: { run, limit: { concurrency: 1 } } });
    const { processes } = a.kernel;
    await start(a, "p");
    await start(a, "q");
    const lease = await processes.claimProcessLease("q", "by hand", 10_000);
    expect(lease.fencingToken).toBe(1);
    expect(await waitingOf(a, "q")).toBe(undefined);
    await processes.completeProcessLease(lease);
    await town.clock.advance(100);
    expect(await waitingOf(a, "q")).toMatchObject([{ kind: "limit" }]);
    expect(log).toEqual(["p"]);
  });

  it("writes the wait of a process once, whatever sweeps come (F-25)", async () => {
    const { run } = work();
    const [a, b] = (await hostsOf(2, { job: { run, limit: { concurrency: 1 } } })) as unknown as [TownHost, TownHost];
    await start(a, "p");
    await start(a, "q");
    const row = await processOf("q");
    expect(row).toMatchObject({ limited: "handler:job", limitKey: "job", limitedAtMs: town.clock.now() });
    expect(row.runnable).toBe(undefined);
    await town.clock.advance(5 * sweepMs);
    const puts = [a, b].flatMap(({ probed }) => probed.puts("processes")).filter(({ processId }) => processId === "q");
    expect(puts).toHaveLength(1);
    expect(await processOf("q")).toEqual(row);
  });

  it("ends what was held back without a run, and does not look for it any more (F-25)", async () => {
    const { log, run, end } = work();
    const [a] = await hostsOf(1, { job: { run, limit: { concurrency: 1 } } });
    await start(a, "p");
    await start(a, "q");
    await a.kernel.processes.completeProcess("q", { type: "success", value: 1 });
    const row = await processOf("q");
    expect([row.limited, row.limitKey, row.limitedAtMs]).toEqual([undefined, undefined, undefined]);
    await end("p");
    await town.clock.advance(sweepMs);
    expect(log).toEqual(["p"]);
  });

  it("tells of a handler that no host has any more, though a limit holds its processes back (A-22)", async () => {
    const { run } = work();
    const a = await town.host("a", { handlers: { job: { run, limit: { concurrency: 1 } } } });
    await start(a, "p");
    await start(a, "q");
    const row = await processOf("q");
    await a.kernel.close();
    await town.remove("processes", "p");
    await town.remove("leases", "p");
    await town.put("processes", row);
    const b = await town.host("b", { handlers: {} });
    for (const _ of [1, 2, 3]) await town.clock.advance(sweepMs);
    expect(b.faults).toMatchObject([{ area: "handlers", processId: "q" }]);
  });
});

describe("a place", () => {
  const limit: LimitSpec = { concurrency: 1 };

  it("is taken within a second after it fell free, by a notice (F-25)", async () => {
    const { log, run, end } = work();
    const [a] = await hostsOf(3, { job: { run, limit } });
    await start(a, "p");
    await start(a, "q");
    await town.clock.advance(200);
    await end("p");
    await town.clock.advance(1_000);
    expect(log).toEqual(["p", "q"]);
  });

  it("is found by the sweep where the notice is lost (F-25)", async () => {
    const { log, run, end } = work();
    const deaf = { channel: false as const };
    const a = await town.host("a", { handlers: { job: { run, limit } }, concurrency: 1, ...deaf });
    const b = await town.host("b", { handlers: { job: { run, limit } }, ...deaf });
    await rounds(30);
    await start(a, "p");
    await start(b, "q");
    await end("p");
    expect(log).toEqual(["p"]);
    await a.kernel.close();
    await town.clock.advance(sweepMs);
    expect(log).toEqual(["p", "q"]);
  });

  it("of a host that died is free when its leases are freed, and the older process goes first (F-23)", async () => {
    const { log, run } = work();
    const handlers = { job: { run, limit } };
    const a = await town.host("a", { handlers });
    const b = await town.host("b", { handlers });
    await rounds(30);
    await start(a, "p");
    await town.clock.advance(1);
    await start(b, "q");
    await town.clock.advance(1_000);
    expect(log).toEqual(["p"]);
    a.die();
    await town.clock.advance(1_000);
    expect(log).toEqual(["p", "p"]);
    expect(await waitingOf(b, "q")).toMatchObject([{ key: "job", kind: "limit" }]);
  });

  it("stays taken by an expired lease of a host that lives, until that is freed or taken over (F-23)", async () => {
    const { log, run } = work();
    const [a] = await hostsOf(1, { job: { run, limit } });
    // It has another handler: it cannot take over what the first one holds.
    const b = await town.host("b", { handlers: { other: { run, limit: { key: "job", concurrency: 1 } } } });
    await rounds(30);
    await start(a, "p");
    await start(b, "q", "other");
    a.cutOff();
    await town.clock.advance(200_000);
    expect((await town.rows("leases")).map(({ resource, limitKey }) => [resource, limitKey])).toEqual([["p", "job"]]);
    expect(log).toEqual(["p"]);
    a.die();
    await town.clock.advance(1_000);
    expect(log).toEqual(["p", "q"]);
  });

  it("goes on with the process at a takeover of an expired lease, with others held back (F-23)", async () => {
    const { log, run } = work();
    const handlers = { job: { run, limit } };
    const a = await town.host("a", { handlers });
    const b = await town.host("b", { handlers });
    await rounds(30);
    await start(a, "p");
    await start(b, "q");
    a.cutOff();
    await town.clock.advance(60_000);
    expect(log).toEqual(["p", "p"]);
    expect((await town.rows("leases")).filter(({ limitKey }) => limitKey === "job")).toMatchObject([
      { resource: "p", hostId: "b" },
    ]);
  });

  it("is kept over a sleep of the machine, and lost where others took it meanwhile (F-23)", async () => {
    const signals: AbortSignal[] = [];
    const run = ({ signal }: ProcessContext) => {
      signals.push(signal);
      return new Promise<never>(() => {});
    };
    const a = await town.host("a", { handlers: { job: { run, limit } } });
    await rounds(30);
    await start(a, "p");
    await until(() => signals.length === 1, "the run");
    town.clock.sleep(600_000);
    await town.clock.wake();
    await town.clock.advance(1_000);
    expect(signals[0]?.aborted).toBe(false);
    town.clock.sleep(600_000);
    // A host with a limit of two began one more while this one slept.
    const row = (await town.rows("leases"))[0] as Row;
    const free = await processOf("p");
    await town.put("processes", { ...free, processId: "other" });
    await town.put("leases", {
      ...row,
      resource: "other",
      leaseToken: "other",
      expiresAtMs: town.clock.now() + 1e9,
      bootId: "x",
    });
    await town.clock.wake();
    await town.clock.advance(1_000);
    expect(signals[0]?.reason).toMatchObject({ code: "lease-lost" });
    expect(a.lost).toEqual(["p"]);
  });

  it("waits for a slot of a host whose slots are all taken (F-25)", async () => {
    const { log, run, end } = work();
    const a = await town.host("a", { handlers: { job: { run, limit }, long: run }, concurrency: 2 });
    await rounds(30);
    await start(a, "p");
    await start(a, "q");
    await start(a, "l1", "long");
    await start(a, "l2", "long");
    await start(a, "l3", "long");
    await rounds();
    expect(log).toEqual(["p", "l1"]);
    await end("p");
    await town.clock.advance(1_000);
    // What waited for its place is older than the long ones, but they had the slots first.
    expect(log).toHaveLength(3);
    for (const id of log.slice(1)) await end(id);
    await town.clock.advance(1_000);
    expect([...log].sort()).toEqual(["l1", "l2", "l3", "p", "q"]);
  });
});

describe("a rate", () => {
  const rate = { count: 2, perMs: 60_000 };
  const ids = (count: number) => Array.from({ length: count }, (_, n) => `p${n}`);

  it("lets no more begin in any window than it counts, over all hosts, and each in its time (F-24)", async () => {
    const begun: number[] = [];
    const run = () => void begun.push(town.clock.now());
    const hosts = await hostsOf(3, { job: { run, limit: { rate } } });
    const startedMs = town.clock.now();
    for (const [n, id] of ids(7).entries()) await start(hosts[n % 3] as TownHost, id);
    await town.clock.advance(250_000);
    expect(begun).toHaveLength(7);
    for (const [n, atMs] of begun.entries()) {
      const before = begun[n - rate.count];
      if (before !== undefined) expect(atMs - before).toBeGreaterThanOrEqual(rate.perMs);
      expect(atMs - startedMs - Math.floor(n / 2) * rate.perMs).toBeLessThanOrEqual(1_000 * Math.ceil(n / 2));
    }
    expect(hosts.flatMap(({ faults }) => faults)).toEqual([]);
    await town.clock.advance(2 * rate.perMs);
    expect(await town.rows("rates")).toEqual([]);
  });

  it("does not count a takeover (F-24)", async () => {
    const { log, run, end } = work();
    const handlers = { job: { run, limit: { rate: { count: 1, perMs: 60_000 } } } };
    const a = await town.host("a", { handlers });
    const b = await town.host("b", { handlers });
    await rounds(30);
    await start(a, "p");
    await town.clock.advance(1_000);
    a.die();
    await town.clock.advance(1_000);
    expect(log).toEqual(["p", "p"]);
    await end("p");
    await start(b, "q");
    await town.clock.advance(1_000);
    expect(await waitingOf(b, "q")).toMatchObject([{ key: "job", kind: "limit" }]);
    await town.clock.advance(58_000);
    expect(log).toEqual(["p", "p", "q"]);
  });

  it("and a limit of runs hold both (F-23, F-24)", async () => {
    const { log, run, end } = work();
    const [a] = await hostsOf(1, { job: { run, limit: { concurrency: 1, rate } } });
    for (const id of ids(3)) await start(a, id);
    await end("p0");
    await town.clock.advance(100);
    await end("p1");
    await town.clock.advance(1_000);
    expect(log).toEqual(["p0", "p1"]);
    await town.clock.advance(60_000);
    expect(log).toEqual(["p0", "p1", "p2"]);
  });

  it("waits for the storage's clock where that was set back, and begins none twice (F-22, F-24)", async () => {
    let setBackMs = 0;
    const clock = { ...town.clock, now: () => town.clock.now() - setBackMs };
    const { log, run } = work();
    const a = await town.host("a", { handlers: { job: { run, limit: { rate: { count: 1, perMs: 10_000 } } } }, clock });
    await rounds(30);
    for (const id of ids(3)) await start(a, id);
    await town.clock.advance(1_000);
    setBackMs = 30_000;
    await town.clock.advance(38_900);
    expect(log).toEqual(["p0"]);
    await town.clock.advance(2_000);
    expect(log).toEqual(["p0", "p1"]);
    await town.clock.advance(10_000);
    expect(log).toEqual(["p0", "p1", "p2"]);
  });
});

describe("a key that a function makes", () => {
  it("is told once where the function throws or gives no string, and is the handler's name then (F-23)", async () => {
    const { log, run } = work();
    const key = (args: unknown) => {
      if (args === "bad") throw new Error("no tenant");
      return (args === "none" ? undefined : args) as string;
    };
    const [a, b] = (await hostsOf(2, { job: { run, limit: { key, concurrency: 1 } } })) as unknown as [TownHost, TownHost];
    for (const [id, args] of [
      ["p", "bad"],
      ["q", "none"],
      ["r", "fine"],
    ] as const)
      await start(a, id, "job", args);
    await town.clock.advance(3 * sweepMs);
    expect(log).toEqual(["p", "r"]);
    expect(await waitingOf(b, "q")).toMatchObject([{ key: "job", kind: "limit" }]);
    const told = a.faults.map(({ area, processId, message }) => [area, processId, message]);
    expect(told).toEqual([
      ["handler", "p", 'the limit key of handler "job" threw: no tenant'],
      ["handler", "q", 'the limit key of handler "job" threw: the key must be a non-empty string'],
    ]);
  });

  it("gets what the schema makes of the input, and a copy where there is none (F-23)", async () => {
    const seen: unknown[] = [];
    const input: StandardSchemaV1<number, { of: unknown }> = {
      "~standard": { version: 1, vendor: "test", validate: (value) => ({ value: { of: value } }) },
    };
    const key = (args: unknown) => {
      seen.push(args);
      return "k";
    };
    const definition = defineProcess({ name: "defined", input, limit: { key, rate: { count: 5, perMs: 1_000 } }, run: () => {} });
    const a = await town.host("a", {
      processes: [definition],
      handlers: { plain: { run: () => {}, limit: { key, concurrency: 1 } } },
    });
    await rounds(30);
    await a.kernel.start(definition, { id: "p", input: 7 });
    await start(a, "q", "plain", "x");
    await town.clock.advance(1_000);
    expect(seen).toEqual([{ of: 7 }, "x"]);
    expect(a.faults).toEqual([]);
  });

  it("is asked of the page by a loop that claims, once for each process (F-23)", async () => {
    const { log, run } = work();
    const asked: unknown[] = [];
    const key = (args: unknown) => {
      asked.push(args);
      return String(args);
    };
    const off = await town.host("off", { loop: "off" });
    for (const id of ["p", "q", "r"]) await start(off, id, "job", id === "r" ? "b" : "a");
    await town.host("a", { handlers: { job: { run, limit: { key, concurrency: 1 } } } });
    await rounds(30);
    await town.clock.advance(3 * sweepMs);
    expect(log).toEqual(["p", "r"]);
    expect(asked).toEqual(["a", "a", "b"]);
  });

  it("leaves an input that does not fit its schema to the run, which fails with that (F-23)", async () => {
    const input = { "~standard": { version: 1 as const, vendor: "test", validate: () => ({ issues: [{ message: "not so" }] }) } };
    const definition = defineProcess({ name: "job", input, limit: { key: () => "k", concurrency: 1 }, run: () => {} });
    const off = await town.host("off", { loop: "off" });
    await start(off, "p");
    await town.host("a", { processes: [definition] });
    await rounds(30);
    expect((await off.kernel.processes.getProcess("p"))?.status).toMatchObject({ awaitOutput: { code: "invalid-input" } });
  });
});

describe("what limits cost", () => {
  const limit: LimitSpec = { concurrency: 1, rate: { count: 1_000, perMs: 1 } };

  it("is one transaction for a start, and four reads more (F-23)", async () => {
    const { run } = work();
    const a = await town.host("a", { handlers: { free: run, job: { run, limit } } });
    await rounds(30);
    const costOf = async (id: string, name: string) => {
      const from = a.probed.seen.length;
      await start(a, id, name);
      const [write] = a.probed.seen.slice(from).filter(({ mode }) => mode === "write");
      return { reads: (write?.gets.length ?? 0) + (write?.ranges.length ?? 0), tables: write?.writes.map(({ table }) => table) };
    };
    const free = await costOf("p", "free");
    expect(await costOf("q", "job")).toEqual({ reads: free.reads + 3, tables: [...(free.tables ?? []), "rates"] });
    const held = await costOf("r", "job");
    expect(held.reads).toBeLessThanOrEqual(free.reads + 3);
    expect(held.tables?.sort()).toEqual(["processes", "registrations"]);
  });

  it("are few reads of a sweep, however many processes are held back (F-25)", async () => {
    const { run } = work();
    const handlers = { job: { run, limit: { concurrency: 1 } } };
    const a = await town.host("a", { handlers });
    await start(a, "p");
    await start(a, "q");
    const row = await processOf("q");
    const rowsOfSweep = async () => {
      const from = a.probed.seen.length;
      await town.clock.advance(sweepMs);
      return a.probed.seen.slice(from).reduce((sum, { rows, mode }) => sum + (mode === "read" ? rows : 0), 0);
    };
    await rowsOfSweep();
    const few = await rowsOfSweep();
    for (let n = 0; n < 10_000; n++) await town.put("processes", { ...row, processId: `q${n}` });
    expect(await rowsOfSweep()).toBe(few);
    expect(few).toBeLessThan(30);
  });

  it("are no tries of those that wait behind one key, when a host comes upon many at once (F-25)", async () => {
    const { log, run } = work();
    const off = await town.host("off", { loop: "off" });
    for (let n = 1_000; n < 1_600; n++) await start(off, `p${n}`);
    await start(off, "p9", "other");
    const a = await town.host("a", { handlers: { job: { run, limit: { concurrency: 1 } }, other: run }, concurrency: 3 });
    await rounds(60);
    expect(log).toEqual(["p1000", "p9"]);
    const claims = a.probed.seen.filter(
      ({ mode, tables }) => mode === "write" && tables.includes("rates") && tables.includes("leases"),
    );
    expect(claims.length).toBeLessThan(20);
    expect((await town.rows("processes")).filter(({ limited }) => limited !== undefined)).toHaveLength(599);
  });
});
