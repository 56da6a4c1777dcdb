import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { channelHub } from "../../src/conformance/kit/channel.fixture.js";
import { HoldfastError } from "../../src/domain/errors.js";
import { DEFAULT_TIMINGS } from "../../src/domain/time.js";
import { sweeperLockName } from "../../src/loop/sweeper.js";
import type { Clock } from "../../src/ports/clock.js";
import type { ChannelFactory } from "../../src/ports/notices.js";
import type { Row } from "../../src/ports/storage.js";
import { gate, rounds } from "../kernel/rounds.js";
import type { Seen } from "../stores/probe-storage.js";
import { lockService } from "./locks-double.js";
import { isPresence, type Tap, tap } from "./tapped-channel.js";
import { buildTown, type Town, type TownHost } from "./town.js";

const { heartbeatMs, heartbeatFlushMs, staleAfterMs, livenessTtlMs, sweepMs } = DEFAULT_TIMINGS;

let town: Town;
let hub: ChannelFactory;
beforeEach(() => {
  town = buildTown();
  hub = channelHub();
});
afterEach(() => town.close());

type Options = Parameters<Town["host"]>[1];
type Heard = TownHost & { air: Tap; log: string[] };

/** A host whose messages are overheard, with what it hears of agents, in order. */
async function tapped(name: string, options: Options = {}): Promise<Heard> {
  const air = tap(hub);
  const host = await town.host(name, { channel: air.channel, ...options });
  const log: string[] = [];
  host.kernel.on("agentOnline", ({ agentId }) => log.push(`${agentId} online`));
  host.kernel.on("agentOffline", ({ agentId }) => log.push(`${agentId} offline`));
  return Object.assign(host, { air, log });
}

const unlocked = { locks: false } as const;
const isWrite = (...tables: string[]) => {
  const wanted = tables.toSorted().join();
  return (seen: Seen) => seen.mode === "write" && seen.tables.toSorted().join() === wanted;
};
/** The writes of the two stages that judge. */
const isHostsEnd = isWrite("hosts", "agents");
const isAgentsEnd = isWrite("agents");
const isBeat = isWrite("hosts", "farewells", "agents");

const agentRow = async (agentId: string) => (await town.rows("agents")).find((row) => row.agentId === agentId) as Row;
const hostRow = async (name: string) => (await town.rows("hosts")).find(({ hostId }) => hostId === name) as Row;

/** The host is gone without a farewell, and without a lock that could tell. */
function vanish(host: Heard): void {
  host.die();
  host.air.onPost = () => false;
}

/** An agent that no host beats for, as it was registered. */
function lone(agentId: string, lastSeenAtMs: number): Promise<void> {
  const seen = { registeredAtMs: lastSeenAtMs, lastSeenAtMs, loneSeenAtMs: lastSeenAtMs };
  return town.put("agents", { v: 1, agentId, incarnation: 1, ticket: "t", ...seen });
}

describe("silence", () => {
  it("is the threshold itself, for an agent on its own (V-70)", async () => {
    const a = await tapped("a");
    await rounds();
    const nextSweepMs = town.clock.now() + sweepMs;
    await town.clock.advance(sweepMs);
    await lone("just", nextSweepMs + sweepMs - staleAfterMs);
    await lone("not yet", nextSweepMs + sweepMs - staleAfterMs + 1);
    await town.clock.advance(sweepMs);
    expect(a.log).toEqual(["just offline"]);
    expect(await agentRow("just")).toMatchObject({ ended: "expired", endedAtMs: town.clock.now() });
    await town.clock.advance(sweepMs);
    expect(a.log).toEqual(["just offline", "not yet offline"]);
  });

  it("is the threshold itself, for a host and all its agents (V-70, V-43)", async () => {
    const a = await tapped("a");
    await rounds();
    const second = town.clock.now() + 2 * sweepMs;
    for (const [bootId, ahead] of [
      ["just", 0],
      ["not yet", 1],
    ] as const) {
      const lastSeenAtMs = second - staleAfterMs + ahead;
      await town.put("hosts", { v: 1, bootId, hostId: bootId, lastSeenAtMs });
      const seen = { registeredAtMs: 1, lastSeenAtMs: 1 };
      await town.put("agents", { v: 1, agentId: bootId, incarnation: 1, ticket: "t", hostId: bootId, bootId, ...seen });
    }
    await town.clock.advance(2 * sweepMs);
    expect(a.log).toEqual(["just offline"]);
    expect(await a.kernel.lifecycle.list({ status: "offline" })).toMatchObject([{ agentId: "just", registration: "expired" }]);
    expect(await a.kernel.lifecycle.list({ status: "online" })).toMatchObject([{ agentId: "not yet" }]);
    await town.clock.advance(sweepMs);
    expect(a.log).toEqual(["just offline", "not yet offline"]);
  });

  it("counts from the registration of an agent that never beat (V-70)", async () => {
    const a = await tapped("a");
    await town.clock.advance(sweepMs);
    const off = await tapped("off", { loop: "off" });
    await off.kernel.lifecycle.register("x");
    await off.kernel.liveness.forget("x");
    await town.clock.advance(staleAfterMs - 1);
    expect(a.log).toEqual(["x online"]);
    await town.clock.advance(sweepMs);
    expect(a.log).toEqual(["x online", "x offline"]);
  });

  it.each([0, 1, 7_000, 14_999, 22_500])(
    "of a host without lock and channel, that died %i ms after a beat, is told in time (V-46)",
    async (laterMs) => {
      const b = await tapped("b", { ...unlocked, channel: false });
      await town.clock.advance(4_000);
      const a = await tapped("a", { ...unlocked, channel: false });
      await a.kernel.agent("x");
      await rounds();
      await town.clock.advance(heartbeatFlushMs + laterMs);
      vanish(a);
      const lastBeatMs = (await hostRow("a")).lastSeenAtMs as number;
      let offlineAtMs = 0;
      b.kernel.on("sweep", ({ agentsOffline }) => {
        if (agentsOffline.includes("x")) offlineAtMs ||= town.clock.now();
      });
      await town.clock.advance(staleAfterMs + sweepMs);
      expect(offlineAtMs).toBeGreaterThanOrEqual(lastBeatMs + staleAfterMs);
      expect(offlineAtMs).toBeLessThanOrEqual(lastBeatMs + staleAfterMs + sweepMs);
    },
  );

  it("of a host that was heard until it died is told within the threshold and a sweep of its last beat (V-46)", async () => {
    const b = await tapped("b", unlocked);
    const a = await tapped("a", unlocked);
    await a.kernel.agent("x");
    await town.clock.advance(heartbeatFlushMs + 3 * heartbeatMs);
    vanish(a);
    b.log.length = 0;
    await town.clock.advance(livenessTtlMs - heartbeatMs);
    expect(b.log).toEqual([]);
    await town.clock.advance(staleAfterMs + sweepMs - livenessTtlMs + heartbeatMs);
    expect(b.log).toEqual(["x offline"]);
    await town.clock.advance(staleAfterMs);
    expect(b.log).toEqual(["x offline"]);
  });

  it("ends no work, and is told of no work (V-76, V-79)", async () => {
    const done = gate();
    const handlers = { job: () => done.promise };
    const a = await tapped("a", { ...unlocked, handlers });
    const b = await tapped("b", { ...unlocked, handlers });
    await a.kernel.agent("x");
    const started = await a.kernel.start({ input: { type: "task", name: "job" } });
    await rounds();
    const lease = await a.kernel.processes.getLease(started.id);
    a.air.onPost = (name) => !isPresence(name);
    a.probed.hooks.open = (seen) => {
      if (isBeat(seen)) throw new HoldfastError("unavailable", "no beat is stored");
    };
    await town.clock.advance(2 * staleAfterMs);
    expect(b.log).toContain("x offline");
    expect(await b.kernel.processes.getLease(started.id)).toMatchObject({ fencingToken: lease?.fencingToken });
    expect((await started.record())?.status.state).toBe("running");
    a.mend();
    done.open();
    expect(await started.outcome()).toMatchObject({ type: "success" });
    expect([...a.lost, ...b.lost]).toEqual([]);
  });
});

describe("a host or agent that was heard lately", () => {
  it("is left out, but not for longer than one liveness time beyond the threshold (V-71, V-42)", async () => {
    const a = await tapped("a");
    const off = await tapped("off", { loop: "off" });
    await rounds();
    const t0 = town.clock.now();
    await lone("heard", t0);
    await lone("unheard", t0);
    while (town.clock.now() < t0 + staleAfterMs + livenessTtlMs - sweepMs) {
      await off.kernel.liveness.touch("heard", livenessTtlMs);
      await town.clock.advance(sweepMs);
    }
    expect(a.log).toEqual(["unheard offline"]);
    await off.kernel.liveness.touch("heard", livenessTtlMs);
    await town.clock.advance(sweepMs);
    expect(a.log).toEqual(["unheard offline", "heard offline"]);
    expect(await off.kernel.liveness.isAliveBatch(["heard"])).toMatchObject({ alive: new Map([["heard", false]]) });
  });

  it("counts nothing to one that has no channel (V-71)", async () => {
    const a = await tapped("a", { channel: false });
    const off = await tapped("off", { loop: "off" });
    await rounds();
    await lone("x", town.clock.now());
    for (let at = 0; at < staleAfterMs; at += sweepMs) {
      await off.kernel.liveness.touch("x", livenessTtlMs);
      await town.clock.advance(sweepMs);
    }
    expect(a.log).toEqual(["x offline"]);
  });

  it("keeps a host whose beats are heard though none is stored, one liveness time beyond the threshold (V-71, V-42)", async () => {
    const a = await tapped("a", unlocked);
    const b = await tapped("b", unlocked);
    await a.kernel.agent("x");
    await rounds();
    b.log.length = 0;
    a.probed.hooks.open = (seen) => {
      if (isBeat(seen)) throw new HoldfastError("unavailable", "no beat is stored");
    };
    const storedAtMs = (await hostRow("a")).lastSeenAtMs as number;
    await town.clock.advance(staleAfterMs + livenessTtlMs - sweepMs);
    expect(b.log).toEqual([]);
    expect(await b.kernel.hosts()).toMatchObject([{ hostId: "a", alive: true }, { hostId: "b" }]);
    await town.clock.advance(2 * sweepMs);
    expect(b.log).toEqual(["x offline"]);
    expect((await hostRow("a")).lastSeenAtMs).toBe(storedAtMs);
  });
});

describe("a beat between the look and the write", () => {
  it("of an agent on its own wins (V-72, V-73)", async () => {
    const a = await tapped("a");
    await rounds();
    await lone("late", town.clock.now());
    await lone("silent", town.clock.now());
    a.probed.hooks.open = (seen) => (isAgentsEnd(seen) ? lone("late", town.clock.now()) : undefined);
    await town.clock.advance(staleAfterMs);
    expect(a.log).toEqual(["silent offline"]);
    expect(a.sweeps.flatMap(({ agentsOffline }) => agentsOffline)).toEqual(["silent"]);
    expect((await agentRow("late")).ended).toBeUndefined();
    const forgotten = a.air.said.flatMap(({ message }) => message.forgotten ?? []);
    expect(forgotten).toEqual(["silent"]);
  });

  it("of a host wins, for all its agents (V-72, V-73)", async () => {
    const a = await tapped("a", unlocked);
    const b = await tapped("b", unlocked);
    await a.kernel.agent("x");
    await rounds();
    b.log.length = 0;
    vanish(a);
    let caught = 0;
    b.probed.hooks.open = async (seen) => {
      if (!isHostsEnd(seen)) return;
      caught++;
      await town.put("hosts", { ...(await hostRow("a")), lastSeenAtMs: town.clock.now() });
    };
    await town.clock.advance(staleAfterMs + sweepMs);
    expect(caught).toBe(1);
    expect(b.log).toEqual([]);
    expect(await b.kernel.lifecycle.get("x")).toMatchObject({ status: "online", incarnation: 1 });
  });

  it("of an agent by hand, while its host is given up, keeps that one alone (V-72)", async () => {
    const a = await tapped("a", unlocked);
    const b = await tapped("b", unlocked);
    await Promise.all([a.kernel.agent("x"), a.kernel.agent("y")]);
    await rounds();
    b.log.length = 0;
    vanish(a);
    await town.clock.advance(heartbeatFlushMs);
    await b.kernel.lifecycle.heartbeat("y");
    await town.clock.advance(staleAfterMs - heartbeatFlushMs + sweepMs);
    expect(b.log).toEqual(["x offline"]);
    expect(await b.kernel.lifecycle.get("y")).toMatchObject({ status: "online", incarnation: 1 });
    await town.clock.advance(heartbeatFlushMs + sweepMs);
    expect(b.log).toEqual(["x offline", "y offline"]);
  });
});

describe("two sweepers on one database", () => {
  it("tell each end once, also without a lock between them (V-82)", async () => {
    const a = await tapped("a", unlocked);
    const b = await tapped("b", unlocked);
    const c = await tapped("c", unlocked);
    const off = await tapped("off", { loop: "off" });
    const t0 = town.clock.now();
    await Promise.all(Array.from({ length: 600 }, (_, n) => lone(`lone ${n}`, t0 - n)));
    await Promise.all(Array.from({ length: 50 }, (_, n) => a.kernel.agent(`of a ${n}`)));
    await rounds();
    vanish(a);
    off.log.length = 0;
    // Both have looked before either writes.
    for (const { probed } of [b, c]) probed.hooks.open = (seen) => (seen.mode === "write" ? rounds(3) : undefined);
    await town.clock.advance(staleAfterMs + livenessTtlMs);
    expect(off.log).toHaveLength(650);
    expect(new Set(off.log).size).toBe(650);
    const told = [b, c].flatMap(({ sweeps }) => sweeps.flatMap(({ agentsOffline }) => agentsOffline));
    expect(told.toSorted()).toEqual(off.log.map((entry) => entry.replace(" offline", "")).toSorted());
  });

  it("take turns where there are locks: a sweeper that finds the lock taken looks at nothing", async () => {
    const a = await tapped("a");
    const b = await tapped("b");
    await town.clock.advance(sweepMs);
    const slow = gate();
    let looks = 0;
    for (const { probed } of [a, b])
      probed.hooks.open = (seen) => {
        if (seen.mode === "read" && seen.tables.join() === "agents") looks++;
        return isAgentsEnd(seen) ? slow.promise : undefined;
      };
    await lone("x", town.clock.now() - staleAfterMs);
    await town.clock.advance(sweepMs);
    expect(looks).toBe(1);
    slow.open();
    await rounds();
    expect(b.log).toEqual(["x offline"]);
  });
});

describe("what others remember", () => {
  it("is forgotten after the write, for those that it made offline (V-74)", async () => {
    const a = await tapped("a", unlocked);
    const b = await tapped("b", unlocked);
    await a.kernel.agent("of a");
    await rounds();
    await lone("lone", town.clock.now());
    await lone("alive", town.clock.now() + staleAfterMs);
    vanish(a);
    const order: string[] = [];
    b.probed.hooks.done = ({ writes }) => {
      for (const write of writes) if ("put" in write && (write.put.end || write.put.ended)) order.push("written");
    };
    b.air.onPost = (name, { forgotten }) => {
      if (isPresence(name) && forgotten) order.push(`forgotten ${(forgotten as string[]).toSorted().join(", ")}`);
      return true;
    };
    await town.clock.advance(staleAfterMs);
    expect(order).toEqual(["written", "written", "forgotten lone, of a"]);
  });
});

describe("a stage that fails", () => {
  it("is told as a fault and stops no other, and the next sweep makes up for it", async () => {
    const a = await tapped("a", unlocked);
    const b = await tapped("b", { ...unlocked, retention: { offlineAgentsMs: 1 } });
    await a.kernel.agent("of a");
    await rounds();
    await lone("lone", town.clock.now());
    vanish(a);
    b.log.length = 0;
    b.probed.hooks.open = (seen) => {
      if (isHostsEnd(seen)) throw new HoldfastError("quota-exceeded", "full");
    };
    await town.clock.advance(staleAfterMs);
    expect(b.log).toEqual(["lone offline"]);
    expect(b.faults).toMatchObject([{ area: "loop", code: "quota-exceeded" }]);
    b.mend();
    await town.clock.advance(sweepMs);
    expect(b.log).toEqual(["lone offline", "of a offline"]);
    expect(b.faults).toHaveLength(1);
    await town.clock.advance(sweepMs);
    expect(await town.rows("agents")).toEqual([]);
  });

  it.each([
    ["a host of a newer shape", "hosts", { v: 99, bootId: "bad" }],
    ["a host with a broken column", "hosts", { v: 1, bootId: "bad", lastSeenAtMs: "long ago" }],
    ["an agent of a newer shape", "agents", { v: 99, agentId: "bad", loneSeenAtMs: 1 }],
    ["an agent with a broken column", "agents", { v: 1, agentId: "bad", loneSeenAtMs: 1, incarnation: "one" }],
    ["an agent of a newer shape of a host", "agents", { v: 99, agentId: "bad", bootId: "dead" }],
  ] as const)("is not what %s makes: it is left to those who can read it", async (_, table, row) => {
    const a = await tapped("a");
    await rounds();
    await town.put(table, row);
    await town.put("hosts", { v: 1, bootId: "dead", hostId: "dead", lastSeenAtMs: 1 });
    await lone("silent", 1);
    await town.clock.advance(2 * sweepMs);
    expect(a.log).toEqual(["silent offline"]);
    expect(a.faults).toEqual([]);
    expect(await town.rows(table)).toContainEqual(row);
  });
});

describe("a slow sweep", () => {
  it("delays the next: there are never two in one host, and the turns go on (V-83)", async () => {
    const a = await tapped("a", unlocked);
    await town.clock.advance(2 * heartbeatMs);
    let looks = 0;
    const slow = gate();
    a.probed.hooks.open = async ({ mode, tables }) => {
      if (mode !== "read" || tables.join() !== "agents") return;
      looks++;
      await slow.promise;
    };
    await lone("x", town.clock.now() - staleAfterMs);
    await town.clock.advance(5 * sweepMs);
    expect(looks).toBe(1);
    expect(a.sweeps.length).toBeGreaterThan(4);
    expect((await hostRow("a")).lastSeenAtMs).toBeGreaterThan(town.clock.now() - heartbeatFlushMs - heartbeatMs);
    slow.open();
    await rounds();
    expect(a.log).toEqual(["x offline"]);
  });
});

describe("the sweepers' lock", () => {
  it("that is never let go is done without at the third time", async () => {
    const service = lockService();
    // This read gives the database its id.
    await town.rows("hosts");
    void service.client("stranger").request(sweeperLockName("town"), () => new Promise<void>(() => {}));
    const a = await tapped("a", { locks: service.client("a") });
    await rounds();
    await lone("x", town.clock.now() - staleAfterMs);
    // The first sweep was at once, and does not judge yet.
    await town.clock.advance(2 * sweepMs - 1);
    expect(a.log).toEqual([]);
    await town.clock.advance(1);
    expect(a.log).toEqual(["x offline"]);
    await lone("y", town.clock.now() - staleAfterMs);
    await town.clock.advance(2 * sweepMs);
    expect(a.log).toEqual(["x offline"]);
    await town.clock.advance(sweepMs);
    expect(a.log).toEqual(["x offline", "y offline"]);
    expect(a.faults).toEqual([]);
  });

  it("that cannot be asked for is done without", async () => {
    const service = lockService();
    const client = service.client("a");
    const request = (name: string, ...rest: [never, never]) => {
      if (name.endsWith(":sweep")) throw new Error("no lock of that name");
      return client.request(name, ...rest);
    };
    const a = await tapped("a", { locks: { request: request as typeof client.request, query: client.query } });
    await rounds();
    await lone("x", town.clock.now() - staleAfterMs);
    await town.clock.advance(2 * sweepMs);
    expect(a.log).toEqual(["x offline"]);
  });

  it("is let go of after every sweep, and by a kernel that closes in the middle of one", async () => {
    const service = lockService();
    const client = service.client("a");
    const held = async () => (await client.query()).held?.filter(({ name }) => name?.endsWith(":sweep")).length;
    const a = await tapped("a", { locks: client });
    await town.clock.advance(sweepMs);
    expect(await held()).toBe(0);
    const slow = gate();
    a.probed.hooks.open = (seen) => (isAgentsEnd(seen) ? slow.promise : undefined);
    await lone("x", town.clock.now() - staleAfterMs);
    await town.clock.advance(sweepMs);
    expect(await held()).toBe(1);
    const closing = a.kernel.close();
    await rounds();
    expect(await held()).toBe(0);
    slow.open();
    await closing;
  });
});

describe("a host whose lock falls free", () => {
  it("is dead at once, whatever was heard of it a moment ago, and each of its agents offline once", async () => {
    const b = await tapped("b");
    const a = await tapped("a");
    await Promise.all([a.kernel.agent("x"), a.kernel.agent("y")]);
    await town.clock.advance(heartbeatMs);
    b.log.length = 0;
    const before = town.clock.now();
    vanish(a);
    await rounds(30);
    expect(town.clock.now()).toBe(before);
    expect(b.log.toSorted()).toEqual(["x offline", "y offline"]);
    expect(await b.kernel.lifecycle.get("x")).toMatchObject({ status: "offline", registration: "expired" });
    expect(await hostRow("a")).toMatchObject({ end: "crashed" });
    expect(await b.kernel.liveness.isAliveBatch(["x"])).toMatchObject({ alive: new Map([["x", false]]) });
    await town.clock.advance(staleAfterMs + livenessTtlMs);
    expect(b.log).toHaveLength(2);
    expect(b.sweeps.flatMap(({ agentsOffline }) => agentsOffline).toSorted()).toEqual(["x", "y"]);
  });

  it("is found by each of those that are left, and told once", async () => {
    const others = await Promise.all(["b", "c", "d"].map((name) => tapped(name)));
    const a = await tapped("a");
    await a.kernel.agent("x");
    await rounds(30);
    vanish(a);
    await rounds(60);
    for (const { log } of others) expect(log.filter((entry) => entry === "x offline")).toHaveLength(1);
  });
});

describe("late is not dead:", () => {
  /** Two hosts with an agent each, which were awake for a while. */
  async function awake(options: Options = {}) {
    const a = await tapped("a", options);
    const b = await tapped("b", options);
    await a.kernel.agent("of a");
    await b.kernel.agent("of b");
    await town.clock.advance(heartbeatFlushMs + 10_000);
    for (const { log } of [a, b]) log.length = 0;
    const calm = async () => {
      for (const { log } of [a, b]) expect(log).toEqual([]);
      for (const id of ["of a", "of b"])
        expect(await a.kernel.lifecycle.get(id)).toMatchObject({ status: "online", incarnation: 1 });
    };
    return { a, b, calm };
  }

  it.each([staleAfterMs, 600_000])("a machine that slept for %i ms wakes with everybody alive", async (ms) => {
    const { calm } = await awake();
    town.clock.sleep(ms);
    await town.clock.wake();
    await town.clock.advance(2 * staleAfterMs);
    await calm();
  });

  it.each([
    ["looked", "read"],
    ["began to write", "write"],
  ] as const)(
    "a machine that fell asleep as the sweeper %s, too, and the other needs a while to store its beat",
    async (_, mode) => {
      const { a, b, calm } = await awake(unlocked);
      let slept = false;
      b.probed.hooks.begin = (seen) => {
        if (slept || seen.mode !== mode || !seen.tables.includes("hosts")) return;
        slept = true;
        a.cutOff();
        town.clock.sleep(600_000);
      };
      await town.clock.advance(heartbeatFlushMs);
      expect(slept).toBe(true);
      await town.clock.advance(heartbeatMs);
      a.mend();
      await town.clock.advance(staleAfterMs);
      await calm();
    },
  );

  it("a kernel that opens on a machine that just woke waits for the others' beats", async () => {
    const a = await tapped("a", unlocked);
    await a.kernel.agent("x");
    await rounds();
    town.clock.sleep(600_000);
    const b = await tapped("b", unlocked);
    await rounds(30);
    expect(b.log).toEqual([]);
    await town.clock.wake();
    await town.clock.advance(2 * staleAfterMs);
    expect(b.log).toEqual([]);
    expect(await b.kernel.lifecycle.get("x")).toMatchObject({ status: "online", incarnation: 1 });
  });

  it("a kernel that opens waits two heartbeats, and no longer", async () => {
    await lone("x", 1);
    const a = await tapped("a");
    await town.clock.advance(2 * heartbeatMs - 1);
    expect(a.log).toEqual([]);
    await town.clock.advance(sweepMs);
    expect(a.log).toEqual(["x offline"]);
  });

  /** A wall clock that can be set. */
  function settable() {
    let setMs = 0;
    const clock: Clock = {
      now: () => town.clock.now() + setMs,
      monotonicMs: () => town.clock.monotonicMs(),
      setTimer: (run, delayMs) => town.clock.setTimer(run, delayMs),
    };
    const set = (ms: number) => {
      setMs += ms;
    };
    return { clock, set };
  }

  it.each([staleAfterMs, 3_600_000])("a wall clock that is set %i ms ahead kills nobody", async (ms) => {
    const { clock, set } = settable();
    const { calm } = await awake({ ...unlocked, clock });
    set(ms);
    await town.clock.advance(staleAfterMs);
    await calm();
  });

  it("a wall clock that is set back kills nobody, and keeps nobody alive who is silent", async () => {
    const { clock, set } = settable();
    const { a, b, calm } = await awake({ ...unlocked, clock });
    const off = await tapped("off", { loop: "off", clock });
    await off.kernel.lifecycle.register("lone");
    await rounds();
    for (const { log } of [a, b]) log.length = 0;
    set(-3_600_000);
    // The time for which the heard beats count passes first.
    await town.clock.advance(livenessTtlMs + sweepMs);
    await calm();
    for (const { lastSeenAtMs } of await town.rows("hosts")) expect(lastSeenAtMs).toBeLessThanOrEqual(clock.now());
    expect((await agentRow("lone")).loneSeenAtMs).toBeLessThanOrEqual(clock.now());
    vanish(a);
    await town.clock.advance(staleAfterMs + sweepMs);
    expect(b.log.toSorted()).toEqual(["lone offline", "of a offline"]);
  });

  it("rows from the future are pulled to now, and then are silent like any other", async () => {
    const a = await tapped("a");
    await town.clock.advance(sweepMs);
    const future = town.clock.now() + 3_600_000;
    await lone("x", future);
    await lone("a little", town.clock.now() + sweepMs + heartbeatMs);
    await town.put("hosts", { v: 1, bootId: "h", hostId: "h", lastSeenAtMs: future });
    await town.put("agents", {
      ...{ v: 1, agentId: "of h", incarnation: 1, ticket: "t", hostId: "h", bootId: "h" },
      ...{ registeredAtMs: 1, lastSeenAtMs: 1 },
    });
    await town.clock.advance(sweepMs);
    const now = town.clock.now();
    expect(await agentRow("x")).toMatchObject({ lastSeenAtMs: now, loneSeenAtMs: now });
    expect(await agentRow("a little")).toMatchObject({ lastSeenAtMs: now + heartbeatMs });
    expect(await hostRow("h")).toMatchObject({ lastSeenAtMs: now });
    await town.clock.advance(staleAfterMs);
    expect(a.log.toSorted()).toEqual(["of h offline", "x offline"]);
  });
});

describe("retention", () => {
  const keptMs = 600_000;
  const root = { sessionId: "root" };
  const job = (name = "job") => ({ input: { type: "task" as const, name } });
  const idsOf = async () => (await town.rows("processes")).map(({ processId }) => String(processId)).sort();

  /** An agent that expired `agoMs` ago. */
  function overAgent(agentId: string, agoMs: number): Promise<void> {
    const endedAtMs = town.clock.now() - agoMs;
    const row = { v: 1, agentId, incarnation: 3, registeredAtMs: 1, lastSeenAtMs: 1, ticket: "t" };
    return town.put("agents", { ...row, ended: "expired", endedAtMs });
  }

  /** A process that ended `agoMs` ago, with an event. */
  async function ended(off: Heard, id: string, agoMs: number): Promise<void> {
    await off.kernel.start({ id, ...job() });
    await off.kernel.processes.completeProcess(id, { type: "success", value: 1 });
    await age(id, agoMs);
  }

  async function age(id: string, agoMs: number): Promise<void> {
    const row = (await town.rows("processes")).find(({ processId }) => processId === id) as Row;
    await town.put("processes", { ...row, endedAtMs: town.clock.now() - agoMs });
  }

  it("is none by default: what ended years ago stays (V-81)", async () => {
    const off = await tapped("off", { loop: "off" });
    await overAgent("x", town.clock.now() - 1);
    await ended(off, "p", town.clock.now() - 1);
    await tapped("a");
    await town.clock.advance(5 * sweepMs);
    expect([await idsOf(), (await town.rows("agents")).length]).toEqual([["p"], 1]);
  });

  it("of agents removes those that are offline for so long, to the millisecond (V-81)", async () => {
    const a = await tapped("a", { retention: { offlineAgentsMs: keptMs } });
    await rounds();
    await a.kernel.agent("online");
    await lone("lone", town.clock.now());
    await overAgent("old", keptMs - sweepMs);
    await overAgent("younger", keptMs - sweepMs - 1);
    await town.clock.advance(sweepMs);
    expect((await town.rows("agents")).map(({ agentId }) => agentId)).toEqual(["lone", "online", "younger"]);
    await town.clock.advance(sweepMs);
    expect((await town.rows("agents")).map(({ agentId }) => agentId)).toEqual(["lone", "online"]);
    expect(await a.kernel.lifecycle.get("old")).toBeUndefined();
  });

  it("of agents removes those of a host that is gone, and then its row (V-81)", async () => {
    const b = await tapped("b", { retention: { offlineAgentsMs: 2 * sweepMs } });
    const a = await tapped("a");
    await Promise.all(Array.from({ length: 150 }, (_, n) => a.kernel.agent(`x${n}`)));
    await rounds(30);
    vanish(a);
    await rounds(30);
    expect(await hostRow("a")).toMatchObject({ end: "crashed" });
    await town.clock.advance(2 * sweepMs - 1);
    expect(await town.rows("agents")).toHaveLength(150);
    await town.clock.advance(sweepMs);
    expect(await town.rows("agents")).toEqual([]);
    expect(await hostRow("a")).toBeDefined();
    await town.clock.advance(2 * sweepMs);
    expect((await town.rows("hosts")).map(({ hostId }) => hostId)).toEqual(["b"]);
    expect(b.log.filter((entry) => entry.endsWith("offline"))).toHaveLength(150);
  });

  /** Many processes that ended, each with what belongs to it, as a runner leaves it. */
  async function endedMany(count: number, agoMs: number, name: (n: number) => string): Promise<void> {
    const endedAtMs = town.clock.now() - agoMs;
    const common = { v: 1, registrationHash: "h", provenance: { ownerScope: root, hostProfileId: "default" } };
    for (let n = 0; n < count; n++) {
      const processId = name(n);
      const process = {
        ...common,
        processId,
        inputType: "task",
        handler: "job",
        createdAtMs: 1,
        updatedAtMs: 1,
        lastSequence: 1,
      };
      await town.put("processes", { ...process, state: "completed", awaitOutput: { type: "success", value: n }, endedAtMs });
      await town.put("leases", {
        v: 1,
        resource: processId,
        fencingToken: 1,
        attempts: 1,
        claimedAtMs: 0,
        expiresAtMs: 0,
        fruitless: 0,
      });
    }
  }

  it("removes at most twenty-five of each in a transaction, with others let in between, until there are no more (V-81)", async () => {
    const a = await tapped("a", { retention: { offlineAgentsMs: 1, terminalProcessesMs: 1 } });
    await rounds();
    for (let n = 0; n < 250; n++) await overAgent(`x${n}`, 1_000);
    await endedMany(250, 1_000, (n) => `p${n}`);
    const dropped = ({ writes }: Seen, table: string) =>
      writes.filter((write) => "drop" in write && write.table === table).length;
    const asked: Promise<void>[] = [];
    await a.kernel.secrets.put("s", "its code is loaded now");
    a.probed.seen.length = 0;
    a.probed.hooks.end = (seen) => {
      if (dropped(seen, "processes") > 0) asked.push(a.kernel.secrets.put("s", String(asked.length)));
    };
    await town.clock.advance(sweepMs + 1_000);
    await Promise.all(asked);
    expect([(await town.rows("agents")).length, await idsOf(), await town.rows("leases")]).toEqual([0, [], []]);
    for (const table of ["processes", "agents"]) {
      const sizes = a.probed.seen.map((seen) => dropped(seen, table)).filter((size) => size > 0);
      expect(sizes.length).toBeGreaterThan(2);
      expect(Math.max(...sizes)).toBeLessThanOrEqual(25);
    }
    // Each call was made while a page was removed, and done before the next one.
    const writes = a.probed.seen.filter(({ writes }) => writes.length > 0);
    const order = writes.map((seen) => (dropped(seen, "processes") > 0 ? "page" : seen.tables.includes("sealed") ? "other" : ""));
    expect(order.filter((kind) => kind !== "")).toEqual(asked.flatMap(() => ["page", "other"]));
  });

  it("keeps up with an app that ends a hundred a second, beside any number that are kept", async () => {
    const off = await tapped("off", { loop: "off" });
    await tapped("a", { retention: { terminalProcessesMs: 1 } });
    await rounds();
    await endedMany(400, 3_600_000, (n) => `kept ${n}`);
    for (let n = 0; n < 400; n++) await off.kernel.processes.grantHandle(root, `kept ${n}`, {});
    await town.clock.advance(sweepMs + 1_000);
    const perSweep = (100 * sweepMs) / 1_000;
    await endedMany(perSweep, 1_000, (n) => `p${n}`);
    await town.clock.advance(sweepMs + 10_000);
    expect((await idsOf()).filter((id) => !id.startsWith("kept"))).toEqual([]);
    expect(await idsOf()).toHaveLength(400);
    // Processes that are granted no longer are found again, too.
    await off.kernel.processes.deleteSessionProcessState("root");
    await town.clock.advance(2 * sweepMs);
    expect(await idsOf()).toEqual([]);
  });

  it("reads past those that are kept once, not in every sweep", async () => {
    const off = await tapped("off", { loop: "off" });
    const a = await tapped("a", { retention: { terminalProcessesMs: 1 } });
    await rounds();
    await endedMany(400, 3_600_000, (n) => `kept ${n}`);
    for (let n = 0; n < 400; n++) await off.kernel.processes.grantHandle(root, `kept ${n}`, {});
    await town.clock.advance(2 * sweepMs);
    let pages = 0;
    a.probed.hooks.open = ({ mode, tables }) => {
      if (mode === "write" && tables.includes("registrations")) pages++;
    };
    await town.clock.advance(4 * sweepMs);
    // A page is twenty-five processes, and there are four in a sweep.
    expect(pages).toBeLessThanOrEqual(16);
  });

  it("keeps one whose row or whose lease cannot be read, and none beside it", async () => {
    const a = await tapped("a", { retention: { terminalProcessesMs: 1, offlineAgentsMs: 1 } });
    await rounds();
    await endedMany(3, 1_000, (n) => `p${n}`);
    const [row] = await town.rows("processes");
    await town.put("processes", { ...(row as Row), processId: "newer", v: 99 });
    await town.put("processes", { ...(row as Row), processId: "of a newer lease" });
    await town.put("leases", { v: 99, resource: "of a newer lease" });
    await overAgent("x", 1_000);
    await town.put("agents", { ...(await agentRow("x")), agentId: "newer", v: 99 });
    await town.clock.advance(sweepMs);
    expect(await idsOf()).toEqual(["newer", "of a newer lease"]);
    expect((await town.rows("agents")).map(({ agentId }) => agentId)).toEqual(["newer"]);
    expect(a.faults).toEqual([]);
  });

  it("keeps one whose lease is still held: its holder has not heard of its end", async () => {
    const off = await tapped("off", { loop: "off" });
    await tapped("a", { retention: { terminalProcessesMs: 1 } });
    await rounds();
    await off.kernel.start({ id: "p", ...job() });
    await off.kernel.processes.claimProcessLease("p", "me", 2 * sweepMs + 1_000);
    await off.kernel.processes.completeProcess("p", { type: "success", value: 1 });
    await age("p", 1_000);
    await town.clock.advance(sweepMs);
    expect(await idsOf()).toEqual(["p"]);
    await town.clock.advance(2 * sweepMs);
    expect([await idsOf(), await town.rows("leases")]).toEqual([[], []]);
  });

  it("keeps what an event of a running process caused", async () => {
    const off = await tapped("off", { loop: "off" });
    await tapped("a", { retention: { terminalProcessesMs: 1 } });
    await rounds();
    await off.kernel.start({ id: "parent", ...job("external job") });
    const causedBy = { type: "process_event" as const, processId: "parent", sequence: 1 };
    const provenance = { ownerScope: root, hostProfileId: "default", causedBy };
    await off.kernel.processes.registerProcess({ id: "child", ...job(), provenance });
    await off.kernel.processes.completeProcess("child", { type: "success", value: 1 });
    await age("child", 1_000);
    await town.clock.advance(sweepMs);
    expect(await idsOf()).toEqual(["child", "parent"]);
  });

  it("removes the leases that older databases kept of what is gone, and none of what is there", async () => {
    const off = await tapped("off", { loop: "off" });
    const session = await off.kernel.session("here");
    await off.kernel.start({ id: "running", ...job("another's") });
    const left = { v: 1, claimedAtMs: 0, expiresAtMs: 0, fruitless: 0 };
    for (let n = 0; n < 120; n++) await town.put("leases", { ...left, resource: `gone ${n}`, fencingToken: n + 1 });
    await town.put("leases", { ...left, resource: "running", fencingToken: 3 });
    await town.put("leases", { ...left, resource: session.runtimeId, fencingToken: 4 });
    await town.put("leases", { ...left, resource: "rt:session:deleted", fencingToken: 300 });
    await town.put("leases", { ...left, resource: "held", fencingToken: 5, ownerId: "x", leaseToken: "t", expiresAtMs: 2e15 });
    const a = await tapped("a", { retention: { terminalProcessesMs: keptMs }, handlers: { job: () => 1 } });
    await town.clock.advance(2 * sweepMs);
    const kept = (await town.rows("leases")).map(({ resource }) => resource);
    expect(kept).toEqual(["held", session.runtimeId, "running"]);
    expect(await town.rows("floors")).toEqual([{ v: 1, name: "leases", floor: 300 }]);
    const tokens: number[] = [];
    a.kernel.on("leaseClaimed", ({ fencingToken }) => tokens.push(fencingToken));
    await (await a.kernel.start({ id: "gone 7", ...job() })).outcome();
    expect(tokens).toEqual([301]);
  });

  it("removes them within one sweep, however many that are wanted stand before them", async () => {
    const off = await tapped("off", { loop: "off" });
    const left = { v: 1, claimedAtMs: 0, expiresAtMs: 0, fruitless: 0, fencingToken: 1 };
    for (let n = 0; n < 100; n++) {
      const resource = `a wanted ${1_000 + n}`;
      await off.kernel.processes.registerProcess({ id: resource, input: { type: "external", metadata: null } });
      await town.put("leases", { ...left, resource });
      await town.put("leases", { ...left, resource: `gone ${1_000 + n}` });
    }
    await tapped("a", { retention: { terminalProcessesMs: keptMs } });
    await town.clock.advance(sweepMs - 1);
    expect((await town.rows("leases")).map(({ resource }) => String(resource)).filter((id) => id.startsWith("gone"))).toEqual([]);
    expect(await town.rows("leases")).toHaveLength(100);
  });

  it("leaves those leases where it is not asked for", async () => {
    await town.put("leases", { v: 1, resource: "gone", fencingToken: 1, claimedAtMs: 0, expiresAtMs: 0, fruitless: 0 });
    await tapped("a", { retention: { offlineAgentsMs: 1 } });
    await town.clock.advance(3 * sweepMs);
    expect(await town.rows("leases")).toHaveLength(1);
  });

  it("of processes removes all of an old ended one, and nothing of one that runs or is younger (V-81)", async () => {
    const off = await tapped("off", { loop: "off" });
    await tapped("a", { retention: { terminalProcessesMs: keptMs } });
    await rounds();
    await ended(off, "old", keptMs - sweepMs);
    await ended(off, "younger", keptMs - sweepMs - 1);
    await off.kernel.start({ id: "running", ...job() });
    await off.kernel.processes.appendEvent("running", {
      eventType: "process.cancel_requested",
      payload: { reason: "no" },
      replayKey: "k",
    });
    await town.clock.advance(sweepMs);
    expect(await idsOf()).toEqual(["running", "younger"]);
    for (const table of ["registrations", "events"] as const)
      expect((await town.rows(table)).filter(({ processId }) => processId === "old")).toEqual([]);
    expect((await town.rows("events")).map(({ processId }) => processId)).toContain("running");
  });

  it("keeps what is granted, what has a wake to deliver, and what a running process started (V-81)", async () => {
    const done = gate();
    const handlers = {
      parent: async ({ start }: { start(key: string, request: object): Promise<unknown> }) => {
        await start("child", { id: "child", ...job("external job") });
        await done.promise;
      },
    } as never;
    const a = await tapped("a", { retention: { terminalProcessesMs: keptMs }, handlers });
    const { processes } = a.kernel;
    await ended(a, "granted", keptMs);
    await processes.grantHandle(root, "granted", {});
    const eventTypes = [{ name: "call", semantics: { wake: { input: { pointer: "/text" } } } }];
    await a.kernel.start({ id: "woken", ...job(), eventTypes });
    const wake = await processes.appendEvent("woken", { eventType: "call", payload: { text: "hello" }, wakeTarget: root });
    await processes.completeProcess("woken", { type: "success", value: 1 });
    await age("woken", keptMs);
    await a.kernel.start({ id: "parent", ...job("parent") });
    await rounds(30);
    const child = (await idsOf()).find((id) => !["granted", "woken", "parent"].includes(id)) as string;
    await processes.completeProcess(child, { type: "success", value: 1 });
    await age(child, keptMs);
    await ended(a, "unwanted", keptMs);
    await town.clock.advance(2 * sweepMs);
    expect(await idsOf()).toEqual(["granted", "parent", "woken", child].sort());
    await processes.revokeHandle(root, "granted");
    await processes.ackWake("woken", wake.event.sequence);
    done.open();
    await town.clock.advance(2 * sweepMs);
    expect(await idsOf()).toEqual(["parent"]);
    expect(a.faults).toEqual([]);
  });

  it("gets to those behind a hundred that are kept (V-81)", async () => {
    const off = await tapped("off", { loop: "off" });
    await tapped("a", { retention: { terminalProcessesMs: 1 } });
    await rounds();
    for (let n = 0; n < 120; n++) {
      await ended(off, `kept ${n}`, 2_000);
      await off.kernel.processes.grantHandle(root, `kept ${n}`, {});
    }
    await ended(off, "z", 1_000);
    await town.clock.advance(2 * sweepMs);
    expect((await idsOf()).filter((id) => !id.startsWith("kept"))).toEqual([]);
    expect(await idsOf()).toHaveLength(120);
  });

  it("lets no fencing token go back, also when the id is used again (V-81)", async () => {
    const a = await tapped("a", { retention: { terminalProcessesMs: 1 }, handlers: { job: () => 1 } });
    const first = await a.kernel.start({ id: "p", ...job() });
    await first.outcome();
    await town.clock.advance(2 * sweepMs);
    expect([await idsOf(), await town.rows("leases")]).toEqual([[], []]);
    const tokens: number[] = [];
    a.kernel.on("leaseClaimed", ({ fencingToken }) => tokens.push(fencingToken));
    const again = await a.kernel.start({ id: "p", ...job() });
    expect(await again.outcome()).toEqual({ type: "success", value: 1 });
    expect(tokens).toEqual([2]);
    // The floor is that of the database: any id that is new counts on from there.
    await (await a.kernel.start({ id: "q", ...job() })).outcome();
    expect(tokens).toEqual([2, 2]);
  });

  it("begins to count attempts anew with an id that is used again, and never ran one that was cancelled first", async () => {
    const attempts: number[] = [];
    const handlers = { job: ({ attempt }: { attempt: number }) => void attempts.push(attempt) } as never;
    const a = await tapped("a", { retention: { terminalProcessesMs: 1 }, handlers });
    await (await a.kernel.start({ id: "p", ...job() })).outcome();
    await town.clock.advance(2 * sweepMs);
    await (await a.kernel.start({ id: "p", ...job() })).outcome();
    expect(attempts).toEqual([1, 1]);
    await town.clock.advance(2 * sweepMs);
    const off = await tapped("off", { loop: "off" });
    const again = await off.kernel.start({ id: "r", ...job() });
    await again.cancel("not wanted");
    const result = again.outcome();
    await town.clock.advance(sweepMs);
    expect(await result).toMatchObject({ type: "cancelled", message: "not wanted" });
    expect(attempts).toEqual([1, 1]);
  });

  it("looks once more in the write: what is granted, woken or registered again meanwhile stays (V-72, V-81)", async () => {
    const off = await tapped("off", { loop: "off" });
    const a = await tapped("a", { retention: { offlineAgentsMs: 1, terminalProcessesMs: 1 } });
    await rounds();
    await overAgent("x", 1_000);
    await ended(off, "p", 1_000);
    let caught = 0;
    let registered = (await off.kernel.lifecycle.get("x"))?.incarnation ?? 0;
    a.probed.hooks.open = async ({ mode, tables }) => {
      if (mode !== "write") return;
      if (tables.includes("registrations") && caught++ < 9) await off.kernel.processes.grantHandle(root, "p", {});
      else if (tables.includes("agents") && caught++ < 9) {
        await off.kernel.lifecycle.register("x");
        registered++;
      }
    };
    await town.clock.advance(sweepMs);
    expect(caught).toBeGreaterThan(1);
    expect(await idsOf()).toEqual(["p"]);
    expect(await off.kernel.lifecycle.get("x")).toMatchObject({ status: "online", incarnation: registered });
  });
});
