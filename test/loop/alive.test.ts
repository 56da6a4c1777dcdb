import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { memoryStorage } from "../../src/adapters/storage-memory.js";
import { channelHub } from "../../src/conformance/kit/channel.fixture.js";
import { broadcastNotices } from "../../src/corridor/notices.js";
import { createCorridor } from "../../src/corridor/run.js";
import { HoldfastError } from "../../src/domain/errors.js";
import { DEFAULT_TIMINGS } from "../../src/domain/time.js";
import type { LoopPage, Pulse } from "../../src/kernel/host/loop-contract.js";
import { createPresence } from "../../src/kernel/host/presence.js";
import { createLoop } from "../../src/loop/loop.js";
import type { ChannelFactory } from "../../src/ports/notices.js";
import type { KernelStorage, Row } from "../../src/ports/storage.js";
import { SCHEMA, TABLES } from "../../src/stores/schema.js";
import { gate, rounds, until } from "../kernel/rounds.js";
import type { Seen } from "../stores/probe-storage.js";
import { isPresence, type Tap, tap } from "./tapped-channel.js";
import { buildTown, type Town, type TownHost } from "./town.js";

const { heartbeatMs, heartbeatFlushMs, staleAfterMs, livenessTtlMs, sweepMs, leaseTtlMs, leaseRenewMs } = DEFAULT_TIMINGS;

let place: KernelStorage;
let town: Town;
let hub: ChannelFactory;
beforeEach(() => {
  place = memoryStorage();
  town = buildTown(place);
  hub = channelHub();
});
afterEach(() => town.close());

type Options = Parameters<Town["host"]>[1];

/** A host whose messages are overheard. */
async function tapped(name: string, options: Options = {}): Promise<TownHost & { air: Tap }> {
  const air = tap(hub);
  return Object.assign(await town.host(name, { channel: air.channel, ...options }), { air });
}

const beatsOf = ({ said }: Tap) => said.filter(({ name, message }) => isPresence(name) && message.beat !== undefined).length;
const hostWrites = ({ probed }: TownHost) => probed.puts("hosts").length;
const isBeat = ({ mode, tables }: Seen) => mode === "write" && tables.length === 3 && tables.includes("farewells");
const rowOf = async (name: string) => (await town.rows("hosts")).find(({ hostId }) => hostId === name);
const recordOf = ({ kernel }: TownHost, agentId: string) => kernel.lifecycle.get(agentId);

/** What a host hears of agents, in order. */
function told({ kernel }: TownHost): string[] {
  const log: string[] = [];
  kernel.on("agentOnline", ({ agentId }) => log.push(`${agentId} online`));
  kernel.on("agentOffline", ({ agentId }) => log.push(`${agentId} offline`));
  return log;
}

/** The host's beats are not stored; all else is. */
function loseBeats({ probed }: TownHost): void {
  probed.hooks.open = (seen) => {
    if (isBeat(seen)) throw new HoldfastError("unavailable", "no beat is stored");
  };
}

describe("a beat", () => {
  it("of a fresh row is one touch, and opens no write transaction (V-22, V-52)", async () => {
    const a = await tapped("a");
    await rounds();
    const before = { touches: beatsOf(a.air), transactions: a.probed.seen.length };
    await town.clock.advance(3 * heartbeatMs);
    expect(beatsOf(a.air) - before.touches).toBe(3);
    expect(hostWrites(a)).toBe(1);
    // The sweeper's writes meanwhile are not the beat's.
    const writes = a.probed.seen.slice(before.transactions).filter(({ mode }) => mode === "write");
    expect(writes.filter(({ tables }) => tables.includes("hosts"))).toEqual([]);
  });

  it("is touch and write from the flush interval on, to the millisecond (V-23)", async () => {
    const a = await tapped("a");
    await rounds();
    await town.clock.advance(heartbeatFlushMs - 1);
    expect([beatsOf(a.air), hostWrites(a)]).toEqual([4, 1]);
    await town.clock.advance(1);
    expect([beatsOf(a.air), hostWrites(a)]).toEqual([5, 2]);
    expect((await rowOf("a"))?.lastSeenAtMs).toBe(town.clock.now());
    await town.clock.advance(heartbeatFlushMs);
    expect([beatsOf(a.air), hostWrites(a)]).toEqual([9, 3]);
  });

  it("without a channel writes each time (V-21)", async () => {
    const a = await town.host("a", { channel: false });
    await rounds();
    await town.clock.advance(4 * heartbeatMs);
    expect(hostWrites(a)).toBe(5);
    expect(a.faults).toEqual([]);
  });

  it("that cannot touch writes instead, and is no fault (V-20, V-25)", async () => {
    const a = await tapped("a");
    await rounds();
    a.air.onPost = (name) => {
      if (isPresence(name)) throw new Error("the channel is broken");
      return true;
    };
    await town.clock.advance(2 * heartbeatMs);
    expect(hostWrites(a)).toBe(3);
    expect((await rowOf("a"))?.lastSeenAtMs).toBe(town.clock.now());
    a.air.onPost = () => true;
    await town.clock.advance(heartbeatMs);
    expect(hostWrites(a)).toBe(3);
    expect(a.faults).toEqual([]);
  });

  it("decides from the row before it touches (V-20, V-30)", async () => {
    const a = await tapped("a");
    await rounds();
    const order: string[] = [];
    a.air.onPost = (name, { beat }) => {
      if (isPresence(name) && beat) order.push("touch");
      return true;
    };
    a.probed.hooks.done = ({ mode, tables, writes }) => {
      if (mode === "read" && tables.join() === "hosts") order.push("look");
      if (writes.length > 0) order.push("write");
    };
    await town.clock.advance(heartbeatFlushMs);
    // Sweeps read, too.
    expect(order.filter((what, at) => what !== "look" || order[at + 1] === "touch")).toEqual([
      ...["look", "touch"],
      ...["look", "touch"],
      ...["look", "touch"],
      ...["look", "touch", "write"],
    ]);
  });

  it("whose write fails is told as a fault and tried again in a quarter of its time, and says what is so then (V-26, V-54)", async () => {
    const a = await tapped("a");
    await rounds();
    loseBeats(a);
    await town.clock.advance(heartbeatFlushMs);
    expect(a.faults).toMatchObject([{ area: "loop", code: "unavailable" }]);
    expect(beatsOf(a.air)).toBe(5);
    await town.clock.advance(heartbeatMs / 4);
    expect(a.faults).toHaveLength(2);
    a.mend();
    await town.clock.advance(heartbeatMs / 4);
    expect(a.faults).toHaveLength(2);
    expect((await rowOf("a"))?.lastSeenAtMs).toBe(town.clock.now());
  });

  it("finds its row gone and writes a new one (V-29)", async () => {
    const a = await tapped("a");
    await rounds();
    const storage = await place.open({
      name: "town",
      schema: SCHEMA,
      durability: "strict",
      newDatabaseId: "town",
      onState: () => {},
    });
    const bootId = (await rowOf("a"))?.bootId as string;
    await storage.transact(["hosts"], "write", async (tx) => tx.write([{ table: "hosts", drop: bootId }]));
    await town.clock.advance(heartbeatMs);
    expect(await rowOf("a")).toMatchObject({ bootId, lastSeenAtMs: town.clock.now(), locked: 1 });
    expect(a.faults).toEqual([]);
  });

  it("that cannot read its row is trouble, and no disappearance (V-29)", async () => {
    const a = await tapped("a");
    await rounds();
    a.probed.hooks.open = ({ tables }) => {
      if (tables.join() === "hosts") throw new HoldfastError("unavailable", "no look at the hosts");
    };
    await town.clock.advance(heartbeatMs);
    expect(hostWrites(a)).toBe(1);
    expect(a.faults).toMatchObject([{ area: "loop", code: "unavailable" }]);
  });

  it("comes first of all, before anything that is slow", async () => {
    const never = gate();
    const off = await town.host("off", { loop: "off" });
    await off.kernel.start({ id: "p", input: { type: "task", name: "job" } });
    const a = await town.host("a", { handlers: { job: () => null } });
    a.probed.hooks.open = ({ tables }) => (tables.includes("leases") || tables.includes("processes") ? never.promise : undefined);
    await rounds();
    expect(await rowOf("a")).toMatchObject({ hostId: "a", lastSeenAtMs: town.clock.now() });
    never.open();
    a.mend();
  });

  it("is not made by a kernel without a loop, where a heartbeat by hand writes before it resolves (V-51, V-60)", async () => {
    const off = await tapped("off", { loop: "off" });
    await off.kernel.lifecycle.register("x");
    await town.clock.advance(heartbeatFlushMs);
    expect(await town.rows("hosts")).toEqual([]);
    expect(beatsOf(off.air)).toBe(0);
    await off.kernel.lifecycle.heartbeat("x");
    expect(await town.rows("agents")).toMatchObject([{ agentId: "x", lastSeenAtMs: town.clock.now() }]);
  });
});

describe("ten thousand agents of one host", () => {
  it("are beaten for with as many transactions and rows as one agent is (V-50, V-27)", async () => {
    const minute = async (host: TownHost) => {
      await rounds();
      const from = host.probed.seen.length;
      await town.clock.advance(60_000);
      const seen = host.probed.seen.slice(from);
      const rows = seen.flatMap(({ writes }) => writes).map((write) => write.table);
      return { transactions: seen.length, writes: seen.filter(({ writes }) => writes.length > 0).length, rows };
    };
    const one = await tapped("one");
    const single = await one.kernel.agent("a single one");
    const ofOne = await minute(one);
    await single[Symbol.asyncDispose]();
    await one.kernel.close();
    const many = await tapped("many");
    await Promise.all(Array.from({ length: 10_000 }, (_, n) => many.kernel.agent(`agent ${n}`)));
    const ofMany = await minute(many);
    expect(ofMany).toEqual(ofOne);
    expect(ofMany).toMatchObject({ writes: 1, rows: ["hosts"] });
    await town.clock.advance(staleAfterMs + sweepMs);
    expect((await many.kernel.lifecycle.list({ status: "online" })).length).toBe(10_000);
    expect((await recordOf(many, "agent 9999"))?.lastSeenAtMs).toBeGreaterThan(town.clock.now() - heartbeatFlushMs - heartbeatMs);
  }, 60_000);
});

/** A loop whose page is the test's. */
async function loopOf(pulse: () => Promise<Pick<Pulse, "moves"> & Partial<Pulse>>) {
  const storage = await place.open({
    name: "town",
    schema: SCHEMA,
    durability: "strict",
    newDatabaseId: "town",
    onState: () => {},
  });
  const notices = broadcastNotices("town", undefined);
  const air = tap(hub);
  const { clock } = town;
  const presence = createPresence({
    channel: air.channel,
    name: "town:seen",
    databaseId: "town",
    clock,
    locks: undefined,
    lockPrefix: "town",
    ttlMs: livenessTtlMs,
    tableId: "a",
    bootId: () => undefined,
  });
  presence.open();
  const moved: number[] = [];
  const page: LoopPage = {
    pulse: async () => ({
      asOfMs: clock.monotonicMs(),
      host: { hostId: "a", bootId: "boot", locked: false },
      leases: [],
      waiting: [],
      abandoned: [],
      claiming: [],
      free: 0,
      slots: 1,
      handlers: [],
      terms: new Map(),
      sessions: [],
      attending: false,
      farewells: [],
      ...(await pulse()),
    }),
    run: async () => [],
    limitKeys: async () => [],
    renewed: async () => {},
    schedulesDue: async () => true,
    moved: async (moves) => void moved.push(moves),
    swept: async () => {},
    fault: async () => {},
  };
  const loop = createLoop({
    corridor: createCorridor({ storage, tables: TABLES, notices, clock }),
    notices,
    clock,
    locks: undefined,
    timings: DEFAULT_TIMINGS,
    retention: {},
    databaseId: "town",
    presence,
    page,
    newNonce: () => "0123456789abcdef",
    farewellMs: 0,
  });
  return { loop, air, moved };
}

describe("a page that falls silent", () => {
  it("is beaten for as it last told, but not for longer than its leases would be renewed, and again when it answers", async () => {
    let answer = gate();
    let isSilent = false;
    const { loop, air } = await loopOf(async () => {
      if (isSilent) await answer.promise;
      return { moves: 0 };
    });
    await town.clock.advance(heartbeatFlushMs);
    expect((await rowOf("a"))?.lastSeenAtMs).toBe(town.clock.now());
    isSilent = true;
    const silentSince = beatsOf(air);
    await town.clock.advance(10 * heartbeatMs);
    expect(beatsOf(air) - silentSince).toBeLessThanOrEqual(1);
    expect(town.clock.now() - ((await rowOf("a"))?.lastSeenAtMs as number)).toBe(10 * heartbeatMs);
    isSilent = false;
    answer.open();
    answer = gate();
    await town.clock.advance(2 * heartbeatMs);
    expect(town.clock.now() - ((await rowOf("a"))?.lastSeenAtMs as number)).toBeLessThanOrEqual(2 * heartbeatMs);
    await loop.stop();
  });

  it("has its leases renewed through a long task, and run out 2 * leaseTtlMs - leaseRenewMs after its last word at the latest", async () => {
    const { kernel } = await town.host("b", { loop: "off" });
    await kernel.processes.registerProcess({ id: "p", input: { type: "task", name: "job" } });
    const leases = [await kernel.processes.claimProcessLease("p", "a:x", leaseTtlMs)];
    const answer = gate();
    let lastWordMs = Number.POSITIVE_INFINITY;
    const { loop } = await loopOf(async () => {
      if (town.clock.now() > lastWordMs) await answer.promise;
      return { moves: 0, leases };
    });
    await town.clock.advance(3 * leaseRenewMs);
    lastWordMs = town.clock.now();
    await town.clock.advance(leaseTtlMs + leaseRenewMs / 2);
    expect((await kernel.processes.getLease("p"))?.ownerId).toBe("a:x");
    await town.clock.advance(leaseTtlMs - leaseRenewMs - leaseRenewMs / 2);
    expect(await kernel.processes.getLease("p")).toBeUndefined();
    answer.open();
    await loop.stop();
  });
});

describe("what the row says of agents that went to others", () => {
  it("is told to a page that knows another number, at every beat until it knows", async () => {
    let moves = 0;
    const { loop, moved } = await loopOf(async () => ({ moves }));
    await rounds();
    await town.put("hosts", { ...(await rowOf("a")), moves: 3 } as Row);
    await town.clock.advance(2 * heartbeatMs);
    expect(moved).toEqual([3, 3]);
    moves = 3;
    await town.clock.advance(2 * heartbeatMs);
    expect(moved).toEqual([3, 3]);
    await loop.stop();
  });
});

describe("a beat behind a farewell", () => {
  it.each([
    ["that no loop has read yet", (bootId: string) => town.put("farewells", { v: 1, bootId, hostId: "a", endedAtMs: 1 })],
    [
      "that was acted on",
      async () => town.put("hosts", { ...(await rowOf("a")), end: "left", endedAtMs: 1, locked: undefined } as Row),
    ],
  ])("%s changes nothing", async (_, leave) => {
    const a = await tapped("a");
    await rounds();
    const log = told(a);
    await a.kernel.agent("x");
    await rounds();
    await leave((await rowOf("a"))?.bootId as string);
    const before = await town.rows("hosts");
    await town.clock.advance(heartbeatMs);
    await town.clock.advance(heartbeatFlushMs);
    expect(await town.rows("hosts")).toEqual(before);
    expect(log).toEqual(["x online"]);
    expect(a.faults).toEqual([]);
  });
});

describe("a host that was given up", () => {
  it("is back with its next beat, all its agents in one write, each another incarnation (V-24, V-28, V-27, Y-22)", async () => {
    const a = await tapped("a");
    const b = await tapped("b");
    const ids = Array.from({ length: 300 }, (_, n) => `x${n}`);
    await Promise.all(ids.map((id) => a.kernel.agent(id)));
    await rounds();
    const log = told(b);
    loseBeats(a);
    await town.clock.advance(staleAfterMs + livenessTtlMs + sweepMs);
    expect(log.toSorted()).toEqual(ids.map((id) => `${id} offline`).toSorted());
    expect(await recordOf(b, "x7")).toMatchObject({ status: "offline", registration: "expired", incarnation: 1 });
    expect(await rowOf("a")).toMatchObject({ end: "silent" });
    log.length = 0;
    const from = a.probed.seen.length;
    a.mend();
    await town.clock.advance(heartbeatMs);
    expect(log.toSorted()).toEqual(ids.map((id) => `${id} online`).toSorted());
    expect(await recordOf(b, "x7")).toMatchObject({ status: "online", registration: "registered", incarnation: 2, hostId: "a" });
    const writes = a.probed.seen.slice(from).flatMap((seen) => seen.writes);
    expect(writes.map((write) => write.table)).toEqual(["hosts"]);
    await town.clock.advance(staleAfterMs + livenessTtlMs);
    expect(log).toHaveLength(300);
    expect(await recordOf(b, "x7")).toMatchObject({ status: "online", incarnation: 2 });
  });

  it("is heard of again in the memory of all, itself included", async () => {
    const a = await tapped("a");
    const b = await tapped("b");
    await a.kernel.agent("x");
    loseBeats(a);
    await town.clock.advance(staleAfterMs + livenessTtlMs + sweepMs);
    a.mend();
    await town.clock.advance(heartbeatMs + livenessTtlMs);
    for (const { kernel } of [a, b])
      expect(await kernel.liveness.isAliveBatch(["x"])).toEqual({ ok: true, alive: new Map([["x", true]]) });
  });

  it("brings back no agent that was deregistered or taken meanwhile (V-55)", async () => {
    const a = await tapped("a");
    const b = await tapped("b");
    const [gone, taken, own] = await Promise.all([a.kernel.agent("gone"), a.kernel.agent("taken"), a.kernel.agent("own")]);
    await rounds();
    loseBeats(a);
    a.air.onHear = isPresence;
    await town.clock.advance(staleAfterMs + livenessTtlMs + sweepMs);
    await b.kernel.lifecycle.deregister("gone");
    await b.kernel.agent("taken");
    const log = told(b);
    a.mend();
    await town.clock.advance(heartbeatMs);
    expect(log).toEqual(["own online"]);
    expect(await recordOf(b, "gone")).toMatchObject({ registration: "deregistered", incarnation: 1 });
    expect(await recordOf(b, "taken")).toMatchObject({ registration: "registered", incarnation: 2, hostId: "b" });
    expect([gone, taken, own].map(({ signal }) => signal.reason?.code)).toEqual(["not-found", "conflict", undefined]);
  });

  it("but that nobody had told offline goes on as the same incarnation", async () => {
    const a = await tapped("a");
    const off = await tapped("off", { loop: "off" });
    await a.kernel.agent("x");
    await rounds();
    const log = told(off);
    town.clock.sleep(staleAfterMs);
    expect(await recordOf(off, "x")).toMatchObject({ status: "offline", registration: "expired", incarnation: 1 });
    await town.clock.wake();
    await town.clock.advance(heartbeatMs);
    expect(await recordOf(off, "x")).toMatchObject({ status: "online", incarnation: 1 });
    expect(log).toEqual([]);
  });
});

describe("an agent that is deregistered", () => {
  it("is forgotten everywhere, and asks no clock (V-75, V-84)", async () => {
    const a = await tapped("a");
    const b = await tapped("b");
    await a.kernel.agent("of a");
    await a.kernel.lifecycle.register("lone");
    await rounds();
    const seen = (host: TownHost) => host.kernel.liveness.isAliveBatch(["of a", "lone"]);
    const all = (alive: boolean) => ({
      ok: true,
      alive: new Map([
        ["of a", alive],
        ["lone", alive],
      ]),
    });
    expect([await seen(a), await seen(b)]).toEqual([all(true), all(true)]);
    const log = told(b);
    const before = town.clock.now();
    for (const id of ["of a", "lone"]) await b.kernel.lifecycle.deregister(id);
    await rounds();
    expect(town.clock.now()).toBe(before);
    expect(log).toEqual(["of a offline", "lone offline"]);
    expect([await seen(a), await seen(b)]).toEqual([all(false), all(false)]);
  });
});

describe("an agent that another caller", () => {
  const takings: [string, (b: TownHost) => Promise<unknown>, string][] = [
    ["registers as its own", (b) => b.kernel.agent("x"), "conflict"],
    ["registers without a host", (b) => b.kernel.lifecycle.register("x"), "conflict"],
    ["deregisters", (b) => b.kernel.lifecycle.deregister("x"), "not-found"],
    [
      "deregisters and registers again",
      async (b) => {
        await b.kernel.lifecycle.deregister("x");
        await b.kernel.lifecycle.register("x");
      },
      "conflict",
    ],
  ];

  describe.each([
    ["without a channel", { channel: false } as Options],
    ["with every notice lost", undefined],
  ])("%s", (_, options) => {
    it.each(takings)("%s aborts its signal at the next beat at the latest, and no other's", async (__, take, code) => {
      const a = await tapped("a", options);
      a.air.onHear = isPresence;
      const b = await tapped("b");
      const [x, y] = await Promise.all([a.kernel.agent("x"), a.kernel.agent("y")]);
      await rounds();
      await town.clock.advance(heartbeatMs / 2);
      await take(b);
      await rounds();
      expect(x.signal.aborted).toBe(false);
      await town.clock.advance(heartbeatMs);
      expect(x.signal.reason).toMatchObject({ code });
      expect(y.signal.aborted).toBe(false);
      const before = await recordOf(b, "x");
      await x[Symbol.asyncDispose]();
      expect(await recordOf(b, "x")).toEqual(before);
    });
  });

  it("takes is told to its host at once where notices arrive", async () => {
    const a = await tapped("a");
    const b = await tapped("b");
    const x = await a.kernel.agent("x");
    await b.kernel.agent("x");
    await until(() => x.signal.aborted, "the abort");
    expect(x.signal.reason).toMatchObject({ code: "conflict" });
    expect(await recordOf(a, "x")).toMatchObject({ hostId: "b", incarnation: 2, status: "online" });
  });
});

describe("a farewell that the host did not say", () => {
  it("takes nothing from a host that lives, and does not make its later crash an end in order", async () => {
    const a = await tapped("a");
    const b = await tapped("b");
    await a.kernel.agent("x");
    await rounds();
    const bootId = (await rowOf("a"))?.bootId as string;
    const seen = a.air.said.find(({ name }) => isPresence(name))?.name as string;
    broadcastNotices(seen.slice(0, -":seen".length), hub).publish([{ about: "host", id: bootId }]);
    await town.clock.advance(DEFAULT_TIMINGS.leaseRenewMs);
    expect(await recordOf(b, "x")).toMatchObject({ registration: "registered", incarnation: 1 });
    a.die();
    await town.clock.advance(1_000);
    expect(await recordOf(b, "x")).toMatchObject({ registration: "expired", incarnation: 1 });
  });
});
