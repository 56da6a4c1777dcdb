import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { broadcastNotices } from "../../src/corridor/notices.js";
import { createCorridor } from "../../src/corridor/run.js";
import { HoldfastError } from "../../src/domain/errors.js";
import { DEFAULT_TIMINGS } from "../../src/domain/time.js";
import type { LoopPage } from "../../src/kernel/host/loop-contract.js";
import { createPresence } from "../../src/kernel/host/presence.js";
import type { ProcessContext } from "../../src/kernel/process/context/context.js";
import { createLoop } from "../../src/loop/loop.js";
import type { Row } from "../../src/ports/storage.js";
import { SCHEMA, TABLES } from "../../src/stores/schema.js";
import { gate, rounds, until } from "../kernel/rounds.js";
import type { Seen } from "../stores/probe-storage.js";
import { buildTown, type Town, type TownHost } from "./town.js";

let town: Town;
beforeEach(() => {
  town = buildTown();
});
afterEach(() => town.close());

const task = (name: string) => ({ input: { type: "task" as const, name } });

/** A handler that works until it is told, and a log of the hosts that ran it. */
function work() {
  const done = gate();
  const log: string[] = [];
  const signals: AbortSignal[] = [];
  const handlersOf = (host: string) => ({
    job: async ({ attempt, signal }: ProcessContext) => {
      log.push(`${host} ${attempt}`);
      signals.push(signal);
      await done.promise;
      return `${host} ${attempt}`;
    },
  });
  return { done, log, signals, handlersOf };
}

const leaseOf = async (processId: string) => (await town.rows("leases")).find(({ resource }) => resource === processId);
const stateOf = async ({ kernel }: TownHost, processId: string) => (await kernel.processes.getProcess(processId))?.status;

/** Two hosts, of which the first runs "p". */
async function twoHosts(options: Parameters<Town["host"]>[1] = {}) {
  const { handlersOf, ...rest } = work();
  const a = await town.host("a", { handlers: handlersOf("a"), ...options });
  await a.kernel.start({ id: "p", ...task("job") });
  await until(() => rest.log.length === 1, "the first run");
  const b = await town.host("b", { handlers: handlersOf("b"), ...options });
  await rounds();
  return { a, b, ...rest };
}

describe("renewal", () => {
  it("keeps a lease alive over a long run", async () => {
    const { a, b, done, log } = await twoHosts();
    await town.clock.advance(600_000);
    expect(await a.kernel.processes.getLease("p")).toMatchObject({ fencingToken: 1, ownerId: expect.stringMatching(/^a:/) });
    expect(log).toEqual(["a 1"]);
    done.open();
    expect(await b.kernel.process("p").outcome()).toEqual({ type: "success", value: "a 1" });
    expect([...a.faults, ...b.faults]).toEqual([]);
  });

  it("that fails for trouble with the storage keeps the run going, and a later one saves it", async () => {
    const { a, done, log, signals } = await twoHosts();
    a.cutOff();
    await town.clock.advance(25_000);
    expect(signals[0]?.aborted).toBe(false);
    expect(a.faults.length).toBeGreaterThan(0);
    a.mend();
    await town.clock.advance(30_000);
    expect(signals[0]?.aborted).toBe(false);
    done.open();
    expect(await a.kernel.process("p").outcome()).toEqual({ type: "success", value: "a 1" });
    expect(log).toEqual(["a 1"]);
  });

  it("that fails until the deadline ends the run with lease-lost", async () => {
    const { a, signals } = await twoHosts();
    a.cutOff();
    await town.clock.advance(29_999);
    expect(signals[0]?.aborted).toBe(false);
    await town.clock.advance(1);
    expect(signals[0]?.reason).toMatchObject({ code: "lease-lost" });
    expect(a.lost).toEqual(["p"]);
  });

  it("that is refused ends the run at once", async () => {
    const { a, b, signals } = await twoHosts();
    const row = await leaseOf("p");
    await b.kernel.close();
    await town.put("leases", {
      ...row,
      fencingToken: 2,
      leaseToken: "another",
      ownerId: "c:1",
      expiresAtMs: town.clock.now() + 60_000,
    } as Row);
    await town.clock.advance(10_000);
    expect(signals[0]?.reason).toMatchObject({ code: "lease-lost" });
    expect(a.lost).toEqual(["p"]);
  });
});

describe("a host that dies", () => {
  it("is taken over at once when its Web Lock falls free, fenced", async () => {
    const { a, b, done, log } = await twoHosts();
    a.die();
    await rounds(30);
    expect(log).toEqual(["a 1", "b 2"]);
    expect((await leaseOf("p"))?.fencingToken).toBe(2);
    a.mend();
    done.open();
    expect(await b.kernel.process("p").outcome()).toEqual({ type: "success", value: "b 2" });
  });

  it("is taken over by one of those that are left", async () => {
    const { a, log, handlersOf } = { ...work(), ...(await twoHosts()) };
    await town.host("c", { handlers: handlersOf("c") });
    await rounds();
    a.die();
    await rounds(30);
    expect(log).toHaveLength(2);
  });

  it("uses up an attempt of what it ran", async () => {
    const { a, b, log } = await twoHosts({ attemptBudget: 1 });
    a.die();
    await rounds(30);
    expect(log).toEqual(["a 1"]);
    expect(await stateOf(b, "p")).toMatchObject({ state: "failed", awaitOutput: { code: "process_recovery_failed" } });
  });

  it("that said farewell is freed at once, without using up an attempt", async () => {
    const { a, b, log } = await twoHosts({ attemptBudget: 1, locks: false });
    const bootId = (await leaseOf("p"))?.bootId as string;
    a.cutOff();
    await town.put("farewells", { v: 1, bootId, hostId: "a", endedAtMs: town.clock.now() });
    await b.kernel.start({ id: "q", ...task("other") });
    await town.clock.advance(20_000);
    expect(log).toEqual(["a 1"]);
    await town.clock.advance(10_000);
    expect(log).toEqual(["a 1", "b 2"]);
    expect(await town.rows("farewells")).toEqual([]);
  });

  it("that said farewell and whose lease ran out meanwhile uses up no attempt either", async () => {
    const { done, log, handlersOf } = work();
    const a = await town.host("a", { handlers: handlersOf("a"), attemptBudget: 1, locks: false });
    await a.kernel.start({ id: "p", ...task("job") });
    await until(() => log.length === 1, "the first run");
    const bootId = (await leaseOf("p"))?.bootId as string;
    a.cutOff();
    await town.put("farewells", { v: 1, bootId, hostId: "a", endedAtMs: town.clock.now() });
    await town.clock.advance(120_000);
    const b = await town.host("b", { handlers: handlersOf("b"), attemptBudget: 1, locks: false });
    await rounds(30);
    done.open();
    expect(await b.kernel.process("p").outcome()).toEqual({ type: "success", value: "b 2" });
  });

  it("in order is taken over at once, without using up an attempt", async () => {
    const { a, log } = await twoHosts({ attemptBudget: 1 });
    await a.kernel.close();
    await rounds(30);
    expect(log).toEqual(["a 1", "b 2"]);
    expect(await leaseOf("p")).toMatchObject({ fencingToken: 2, fruitless: 0 });
  });
});

describe("an expired lease", () => {
  it("of a host that still holds its lock is claimed only after one renewal's time of watching it", async () => {
    const { a, log } = await twoHosts();
    a.cutOff();
    await town.clock.advance(39_900);
    expect(log).toEqual(["a 1"]);
    await town.clock.advance(200);
    expect(log).toEqual(["a 1", "b 2"]);
  });

  it("is watched from the start again when a tick came late", async () => {
    const { a, log } = await twoHosts();
    a.cutOff();
    await town.clock.advance(35_000);
    town.clock.sleep(60_000);
    await town.clock.wake();
    await town.clock.advance(9_900);
    expect(log).toEqual(["a 1"]);
    await town.clock.advance(200);
    expect(log).toEqual(["a 1", "b 2"]);
  });

  it.each([
    ["while it looked", "read"],
    ["while it claimed something else", "write"],
  ] as const)("is watched from the start again when the machine slept in the middle of a turn, %s", async (_, when) => {
    const { a, b, log } = await twoHosts();
    a.cutOff();
    await town.clock.advance(35_000);
    let slept = false;
    b.probed.hooks.begin = ({ mode, tables }) => {
      if (slept || mode !== when || !tables.includes("leases") || tables.includes("registrations")) return;
      slept = true;
      town.clock.sleep(60_000);
    };
    await b.kernel.processes.registerProcess({ id: "q", ...task("job") });
    await town.clock.advance(100);
    await rounds();
    expect(slept).toBe(true);
    await town.clock.wake();
    await town.clock.advance(9_000);
    expect(log).toEqual(["a 1", "b 1"]);
    await town.clock.advance(2_000);
    expect(log).toEqual(["a 1", "b 1", "b 2"]);
  });

  it("is claimed at its expiry where there are no locks", async () => {
    const { a, log } = await twoHosts({ locks: false });
    a.cutOff();
    await town.clock.advance(29_999);
    expect(log).toEqual(["a 1"]);
    await town.clock.advance(1);
    expect(log).toEqual(["a 1", "b 2"]);
  });

  it("is not made of a live one by a host without locks, which can tell no host's death", async () => {
    const { handlersOf, log, done, signals } = work();
    const a = await town.host("a", { handlers: handlersOf("a") });
    await a.kernel.start({ id: "p", ...task("job") });
    await until(() => log.length === 1, "the first run");
    await a.kernel.agent("of a");
    const b = await town.host("b", { handlers: handlersOf("b"), locks: false });
    await town.clock.advance(600_000);
    expect(signals[0]?.aborted).toBe(false);
    expect(await b.kernel.lifecycle.get("of a")).toMatchObject({ status: "online" });
    done.open();
    expect(await b.kernel.process("p").outcome()).toEqual({ type: "success", value: "a 1" });
    expect(log).toEqual(["a 1"]);
  });

  it("of an owner that is no runner is claimed at its expiry", async () => {
    const { log, handlersOf } = work();
    const off = await town.host("off", { loop: "off" });
    await off.kernel.start({ id: "p", ...task("job") });
    await off.kernel.processes.claimProcessLease("p", "somebody", 12_000);
    await town.host("b", { handlers: handlersOf("b") });
    await town.clock.advance(11_999);
    expect(log).toEqual([]);
    await town.clock.advance(1);
    expect(log).toEqual(["b 2"]);
  });
});

describe("after a sleep of the whole machine", () => {
  it.each([600_000, 31_000])("of %i ms the holder goes on, ends once, and nobody else runs it (V-77)", async (ms) => {
    const { a, b, done, log, signals } = await twoHosts();
    await town.clock.advance(5_000);
    town.clock.sleep(ms);
    await town.clock.wake();
    await town.clock.advance(60_000);
    expect(log).toEqual(["a 1"]);
    expect(signals[0]?.aborted).toBe(false);
    done.open();
    expect(await b.kernel.process("p").outcome()).toEqual({ type: "success", value: "a 1" });
    expect(a.lost).toEqual([]);
    const events = await b.kernel.processes.eventsAfter("p", 0);
    expect(events.map(({ eventType }) => eventType)).toEqual(["process.completed"]);
  });

  it("the holder may write at once, before any timer came", async () => {
    const go = gate();
    const started = gate();
    const job = async ({ step, attempt }: ProcessContext) => {
      started.open();
      await go.promise;
      return [attempt, await step("a", () => "stored")];
    };
    const a = await town.host("a", { handlers: { job } });
    const b = await town.host("b", { handlers: { job: () => "stolen" } });
    await a.kernel.start({ id: "p", ...task("job") });
    await started.promise;
    await rounds();
    town.clock.sleep(600_000);
    go.open();
    expect(await a.kernel.process("p").outcome()).toEqual({ type: "success", value: [1, "stored"] });
    await town.clock.wake();
    expect(b.faults).toEqual([]);
  });
});

/** 300 processes that no host has claimed. */
async function backlogged() {
  const off = await town.host("off", { loop: "off" });
  await Promise.all(Array.from({ length: 300 }, (_, n) => off.kernel.start({ id: `p${1_000 + n}`, ...task("job") })));
  await rounds();
  return { off };
}

describe("claims", () => {
  it("of several hosts run each process once", async () => {
    const runs: string[] = [];
    const handlers = { job: ({ record }: ProcessContext) => void runs.push(record.id) };
    const hosts = await Promise.all(["a", "b", "c"].map((name) => town.host(name, { handlers, concurrency: 2 })));
    const handles = await Promise.all(Array.from({ length: 30 }, (_, n) => (hosts[n % 3] as TownHost).kernel.start(task("job"))));
    await Promise.all(handles.map((handle) => handle.outcome()));
    expect([...runs].sort()).toEqual(handles.map(({ id }) => id).sort());
    expect(hosts.flatMap(({ faults }) => faults)).toEqual([]);
  });

  it("that a dead loop left behind are handed back and made anew, without using up an attempt", async () => {
    const { a, log, done } = await twoHosts({ attemptBudget: 1 });
    const off = await town.host("off", { loop: "off", channel: false });
    await off.kernel.start({ id: "orphan", ...task("job") });
    const own = await leaseOf("p");
    await town.put("leases", {
      ...own,
      resource: "orphan",
      leaseToken: "never told",
      ownerId: "a:orphan",
      expiresAtMs: town.clock.now() + 3_600_000,
    } as Row);
    await town.clock.advance(60_000);
    expect(log).toHaveLength(2);
    expect(log[1]).toMatch(/2$/);
    expect(await leaseOf("orphan")).toMatchObject({ fencingToken: 2, fruitless: 0 });
    done.open();
    await a.kernel.process("orphan").outcome();
  });

  it("work off a backlog that is larger than the slots, without waiting for the sweep", async () => {
    const off = await town.host("off", { loop: "off" });
    const handles = await Promise.all(Array.from({ length: 300 }, (_, n) => off.kernel.start({ id: `p${n}`, ...task("job") })));
    let running = 0;
    let most = 0;
    const job = async () => {
      most = Math.max(most, ++running);
      await rounds(1);
      running--;
    };
    await town.host("a", { handlers: { job }, concurrency: 7 });
    await Promise.all(handles.map(({ id }) => off.kernel.process(id).events()[Symbol.asyncIterator]().next()));
    expect(most).toBe(7);
  }, 20_000);

  it("that another host was quicker with leave no slot idle until the next sweep", async () => {
    const off = await town.host("off", { loop: "off" });
    for (const id of ["p1", "p2"]) await off.kernel.start({ id, ...task("job") });
    await rounds();
    const runs: string[] = [];
    const a = await town.host("a", {
      handlers: { job: ({ record }: ProcessContext) => void runs.push(record.id) },
      concurrency: 1,
    });
    let raced = false;
    a.probed.hooks.open = async ({ mode, tables }) => {
      if (raced || mode !== "write" || !tables.includes("processes")) return;
      raced = true;
      await off.kernel.processes.claimProcessLease("p1", "rival", 3_600_000);
    };
    await rounds(40);
    expect(raced).toBe(true);
    expect(runs).toEqual(["p2"]);
  });

  it("look through everything, however much of it this host cannot run", async () => {
    const off = await town.host("off", { loop: "off" });
    await Promise.all(Array.from({ length: 600 }, (_, n) => off.kernel.start({ id: `m${1_000 + n}`, ...task("unknown") })));
    await off.kernel.start({ id: "a", ...task("job") });
    await off.kernel.start({ id: "z", ...task("job") });
    await rounds();
    const runs: string[] = [];
    const a = await town.host("a", { handlers: { job: ({ record }: ProcessContext) => void runs.push(record.id) } });
    await until(() => runs.length === 2, "both runs");
    await until(() => a.sweeps.length > 0, "the sweep");
    expect(a.sweeps[0]).toMatchObject({ claimed: ["a", "z"], faulted: [] });
    expect(a.sweeps[0]?.skipped).toEqual(["m1000"]);
  });

  it("let no process wait for ever behind a chain of children", async () => {
    const off = await town.host("off", { loop: "off" });
    await off.kernel.start({ id: "p", ...task("job") });
    await off.kernel.start({ id: "z", ...task("job") });
    await rounds();
    const runs: string[] = [];
    const job = async ({ record, start }: ProcessContext) => {
      runs.push(record.id);
      if (runs.length < 40) await start("n", task("job"));
    };
    await town.host("a", { handlers: { job }, concurrency: 1 });
    await until(() => runs.length > 30, "many runs");
    expect(runs.indexOf("z")).toBeGreaterThan(0);
    expect(runs.indexOf("z")).toBeLessThan(5);
  });

  it("of a host that closes in the middle of them are handed back, without using up an attempt", async () => {
    const { log, handlersOf, done } = work();
    const off = await town.host("off", { loop: "off" });
    await off.kernel.start({ id: "p", ...task("job") });
    await rounds();
    const a = await town.host("a", { handlers: handlersOf("a"), attemptBudget: 1 });
    let closing: Promise<void> | undefined;
    a.probed.hooks.done = ({ writes }) => {
      if (writes.some((write) => write.table === "leases")) closing ??= a.kernel.close();
    };
    await until(() => closing !== undefined, "the claim");
    await closing;
    expect(log).toEqual([]);
    expect(await leaseOf("p")).toMatchObject({ fencingToken: 1, endedInOrder: 1 });
    const b = await town.host("b", { handlers: handlersOf("b"), attemptBudget: 1 });
    done.open();
    expect(await b.kernel.process("p").outcome()).toEqual({ type: "success", value: "b 2" });
    expect(log).toEqual(["b 2"]);
  });

  it("of a host that closes in the middle of them do not walk on over the backlog", async () => {
    const { off } = await backlogged();
    const a = await town.host("a", { handlers: { job: () => new Promise(() => {}) }, concurrency: 2 });
    let closing: Promise<void> | undefined;
    a.probed.hooks.done = ({ writes }) => {
      if (writes.some((write) => write.table === "leases")) closing ??= a.kernel.close();
    };
    await until(() => closing !== undefined, "the claim");
    await closing;
    await rounds(30);
    expect((await town.rows("leases")).length).toBeLessThanOrEqual(4);
    expect(off.faults).toEqual([]);
  });

  it("that the page refuses do not walk on over the backlog", async () => {
    const { off } = await backlogged();
    const notices = broadcastNotices("town", undefined);
    const { open } = off.probed.storage;
    const storage = await open({ name: "town", schema: SCHEMA, durability: "strict", newDatabaseId: "town", onState: () => {} });
    let refusals = 0;
    let swept = false;
    const page: LoopPage = {
      pulse: async () => ({
        asOfMs: town.clock.monotonicMs(),
        host: { hostId: "a", bootId: "a", locked: false },
        leases: [],
        waiting: [],
        abandoned: [],
        claiming: [],
        slots: 1,
        free: refusals > 0 ? 0 : 2,
        handlers: ["job"],
        terms: new Map(),
        sessions: [],
        attending: false,
        farewells: [],
        moves: 0,
      }),
      async run(claims) {
        refusals++;
        return claims.map(({ lease }) => lease.processId);
      },
      limitKeys: async () => [],
      renewed: async () => {},
      schedulesDue: async () => true,
      moved: async () => {},
      swept: async () => {
        swept = true;
      },
      fault: async () => {},
    };
    const loop = createLoop({
      corridor: createCorridor({ storage, tables: TABLES, notices, clock: town.clock }),
      notices,
      clock: town.clock,
      locks: undefined,
      timings: DEFAULT_TIMINGS,
      retention: {},
      databaseId: "town",
      presence: createPresence({
        channel: undefined,
        name: "town:seen",
        databaseId: "town",
        clock: town.clock,
        locks: undefined,
        lockPrefix: "town",
        ttlMs: DEFAULT_TIMINGS.livenessTtlMs,
        tableId: "a",
        bootId: () => "a",
      }),
      page,
      newNonce: () => "0123456789abcdef",
      farewellMs: 0,
    });
    await until(() => swept, "the sweep");
    await town.clock.advance(120_000);
    await loop.stop();
    expect(refusals).toBe(1);
    expect(await town.rows("leases")).toHaveLength(2);
  });

  it("hear of a process that another host registers", async () => {
    const { log, handlersOf } = work();
    const off = await town.host("off", { loop: "off" });
    await town.host("a", { handlers: handlersOf("a") });
    await rounds();
    await off.kernel.start({ id: "p", ...task("job") });
    await until(() => log.length === 1, "the run");
  });

  it("find at the sweep what no notice told of", async () => {
    const { log, handlersOf } = work();
    const off = await town.host("off", { loop: "off", channel: false });
    await town.host("a", { handlers: handlersOf("a") });
    await rounds();
    await off.kernel.start({ id: "p", ...task("job") });
    await town.clock.advance(29_000);
    expect(log).toEqual([]);
    await town.clock.advance(1_000);
    expect(log).toEqual(["a 1"]);
  });
});

describe("an external process", () => {
  const external = { input: { type: "external" as const, metadata: null } };

  it("that is leased by hand again and again is looked at once", async () => {
    const a = await town.host("a");
    const { processes } = (await town.host("off", { loop: "off" })).kernel;
    await processes.registerProcess({ id: "p", ...external });
    await rounds();
    a.probed.seen.length = 0;
    for (let n = 0; n < 5; n++) {
      await processes.completeProcessLease(await processes.claimProcessLease("p", "me", 1_000));
      await rounds();
    }
    expect(a.probed.seen.flatMap(({ gets }) => gets)).toEqual([]);
  });

  it("is run when its id becomes another's", async () => {
    const { log, handlersOf } = work();
    await town.host("a", { handlers: handlersOf("a") });
    const off = await town.host("off", { loop: "off" });
    await off.kernel.processes.registerProcess({ id: "p", ...external });
    await rounds();
    await town.remove("processes", "p");
    await town.remove("registrations", "p");
    await off.kernel.start({ id: "p", ...task("job") });
    await until(() => log.length === 1, "its run");
  });
});

describe("a row that cannot be read", () => {
  const processRow = async (id: string) => (await town.rows("processes")).find(({ processId }) => processId === id) as Row;
  const held = {
    v: 1,
    resource: "bad",
    fencingToken: 1,
    claimedAtMs: 1,
    expiresAtMs: 1,
    ownerId: "x",
    leaseToken: "x",
    hostId: "x",
    bootId: "x",
    fruitless: 0,
  };
  const cases: [string, () => Promise<void>, string | undefined][] = [
    ["a process of a newer shape", async () => town.put("processes", { ...(await processRow("bad")), v: 99 }), "version"],
    [
      "a process with a broken column",
      async () => town.put("processes", { ...(await processRow("bad")), lastSequence: "one" }),
      "read-failed",
    ],
    [
      "a process without a provenance",
      async () => town.put("processes", { ...(await processRow("bad")), provenance: null }),
      "read-failed",
    ],
    ["a free lease of a newer shape", () => town.put("leases", { v: 99, resource: "bad" }), "version"],
    [
      "a free lease with a broken column",
      () => town.put("leases", { v: 1, resource: "bad", fencingToken: "one" }),
      "read-failed",
    ],
    ["a held lease of a newer shape", () => town.put("leases", { ...held, v: 99 }), "version"],
    ["a held lease with a broken column", () => town.put("leases", { ...held, fruitless: "none" }), "read-failed"],
  ];

  it.each(cases)("%s is told in the sweep and stops no other", async (_, spoil, code) => {
    const off = await town.host("off", { loop: "off" });
    for (const id of ["aa", "bad", "zz"]) await off.kernel.start({ id, ...task("job") });
    await spoil();
    const runs: string[] = [];
    const a = await town.host("a", { handlers: { job: ({ record }: ProcessContext) => void runs.push(record.id) } });
    await rounds(30);
    expect(runs.sort()).toEqual(["aa", "zz"]);
    expect(a.sweeps[0]?.faulted).toEqual([{ processId: "bad", code }]);
  });

  it.each([
    ["a farewell of a newer shape", () => town.put("farewells", { v: 99, bootId: "gone" })],
    ["a farewell with a broken column", () => town.put("farewells", { v: 1, bootId: "gone" })],
    ["a registration of a newer shape", () => town.put("registrations", { v: 99, processId: "bad", sessionId: "root" })],
  ])("%s stops no other", async (_, spoil) => {
    const off = await town.host("off", { loop: "off" });
    for (const id of ["aa", "bad", "zz"]) await off.kernel.start({ id, ...task("job") });
    await spoil();
    const runs: string[] = [];
    await town.host("a", { handlers: { job: ({ record }: ProcessContext) => void runs.push(record.id) } });
    await rounds(30);
    expect(runs).toEqual(expect.arrayContaining(["aa", "zz"]));
  });
});

describe("a storage that hangs", () => {
  it("in the loop's turn ends no run before its deadline, and the loop goes on when it answers", async () => {
    const { a, done, signals, log } = await twoHosts();
    const answer = gate();
    a.probed.hooks.open = () => answer.promise;
    await town.clock.advance(20_000);
    expect(signals[0]?.aborted).toBe(false);
    a.mend();
    answer.open();
    await town.clock.advance(60_000);
    expect(signals[0]?.aborted).toBe(false);
    done.open();
    expect(await a.kernel.process("p").outcome()).toEqual({ type: "success", value: "a 1" });
    expect(log).toEqual(["a 1"]);
  });

  it("until the lease ran out ends the run, also when it never answers", async () => {
    const { a, signals, log } = await twoHosts();
    const answer = gate();
    a.probed.hooks.open = () => answer.promise;
    await town.clock.advance(60_000);
    a.mend();
    const { aborted, reason } = signals[0] as AbortSignal;
    answer.fail(new HoldfastError("unavailable", "it never answered"));
    expect(log).toEqual(["a 1", "b 2"]);
    expect(aborted).toBe(true);
    expect(reason).toMatchObject({ code: "lease-lost" });
  });
});

describe("an error in a turn", () => {
  it("is told as a fault, and the loop lives on", async () => {
    const { log, handlersOf } = work();
    const a = await town.host("a", { handlers: handlersOf("a") });
    await rounds();
    a.cutOff();
    const off = await town.host("off", { loop: "off" });
    await off.kernel.start({ id: "p", ...task("job") });
    await rounds();
    expect(a.faults).toMatchObject([{ area: "loop", code: "unavailable" }]);
    a.mend();
    await town.clock.advance(2_500);
    expect(log).toEqual(["a 1"]);
  });
});

describe("an error in every turn", () => {
  it("is met again no more often than every quarter of a renewal", async () => {
    const a = await town.host("a");
    await rounds();
    const refused = ({ mode, tables }: Seen) => mode === "write" && tables.includes("attachments");
    a.probed.hooks.open = (seen) => {
      if (refused(seen)) throw new HoldfastError("quota-exceeded", "full");
    };
    // A dead host left this behind: freeing it is what fails.
    const left = { ownerId: "x", leaseToken: "x", hostId: "x", bootId: "dead", locked: 1, fruitless: 0 };
    const expiresAtMs = town.clock.now() + 3_600_000;
    await town.put("leases", { v: 1, resource: "z", fencingToken: 1, claimedAtMs: 1, expiresAtMs, ...left });
    await town.clock.advance(61_000);
    const before = a.faults.length;
    expect(before).toBeGreaterThan(0);
    await town.clock.advance(5_000);
    expect(a.faults.length - before).toBeGreaterThan(0);
    expect(a.faults.length - before).toBeLessThanOrEqual(2);
    a.mend();
    await town.clock.advance(2_500);
    expect((await leaseOf("z"))?.leaseToken).toBeUndefined();
  });
});

describe("a host", () => {
  it("with its loop off claims, renews and sweeps nothing", async () => {
    const { log, handlersOf } = work();
    const off = await town.host("off", { loop: "off", handlers: handlersOf("off") });
    await off.kernel.start({ id: "p", ...task("job") });
    const lease = await off.kernel.processes.claimProcessLease("p", "me", 1_000);
    await town.clock.advance(120_000);
    expect(log).toEqual([]);
    expect(off.sweeps).toEqual([]);
    await expect(off.kernel.processes.renewProcessLease(lease, 1_000)).rejects.toMatchObject({ code: "lease-lost" });
  });

  it("goes on without a Web Lock when the lock service does not answer", async () => {
    const { log, handlersOf } = work();
    const silent = { request: () => new Promise<never>(() => {}), query: async () => ({}) };
    const a = await town.host("a", { handlers: handlersOf("a"), locks: silent as never });
    await a.kernel.start({ id: "p", ...task("job") });
    await town.clock.advance(3_000);
    expect(log).toEqual(["a 1"]);
    expect((await leaseOf("p"))?.locked).toBeUndefined();
  });
});
