// Liveness as other tabs see it: of tabs that close, crash, freeze, are throttled or kept for the back button; and messages of
// strangers, which neither rows nor memory may believe.
import { expect, it } from "vitest";
import {
  eventually,
  expectSound,
  type Fixture,
  facts,
  freeze,
  goBack,
  type Missing,
  newName,
  newTab,
  openTabs,
  SLOW,
  stepIn,
  type Tab,
  useTabs,
} from "./harness.js";

useTabs();

/** Timings quick enough to see hosts declared dead, and slow enough that a busy machine does not lose one that runs. */
const LIVELY = {
  leaseTtlMs: 9_000,
  leaseRenewMs: 1_000,
  heartbeatMs: 200,
  livenessTtlMs: 1_500,
  heartbeatFlushMs: 400,
  staleAfterMs: 4_000,
  sweepMs: 400,
  pollMs: 500,
};
/** Rows are hardly ever written, and silence declares no host dead while a test runs: liveness can only be seen in memory. */
const BEATEN = { ...SLOW, heartbeatMs: 200, livenessTtlMs: 1_500 };

it("has the agents of a tab seen by five others, in memory and in the rows (V-1)", async () => {
  const name = newName();
  const [a, ...others] = await openTabs(["a", "b", "c", "d", "e", "f"], { name, timings: SLOW });
  await enlist(a, ["one", "two"]);
  await a.call(({ kernel }) => kernel.liveness.touch("runtime", 60_000));
  const expected = { one: true, two: true, runtime: true, stranger: false };
  for (const tab of others) {
    await eventually(() => seen(tab, Object.keys(expected))).toEqual(expected);
    expect(await registered(tab, "one")).toEqual({ status: "online", registration: "registered", incarnation: 1 });
    expect(await registered(tab, "two")).toEqual({ status: "online", registration: "registered", incarnation: 1 });
    expect(await registered(tab, "stranger")).toBeUndefined();
    await eventually(() => told(tab, "agentOnline")).toEqual(["one", "two"]);
    expect(await told(tab, "agentOffline")).toEqual([]);
  }
  // A tab that comes later hears it from the tabs that are there.
  const [late] = await openTabs(["late"], { name, timings: SLOW });
  await eventually(() => seen(late, Object.keys(expected))).toEqual(expected);
});

it("has a closed tab's agents deregistered at once, told once in each of the others (V-84, Y-12)", async () => {
  const name = newName();
  const [a, b, c] = await openTabs(["a", "b", "c"], { name, timings: SLOW });
  await enlist(a, ["one", "two"]);
  await enlist(b, ["other"]);
  await a.close();
  for (const tab of [b, c]) {
    await eventually(() => told(tab, "agentOffline")).toEqual(["one", "two"]);
    expect(await registered(tab, "one")).toEqual({ status: "offline", registration: "deregistered", incarnation: 1 });
    expect(await registered(tab, "other")).toMatchObject({ status: "online", incarnation: 1 });
    await eventually(() => seen(tab, ["one", "two", "other"])).toEqual({ one: false, two: false, other: true });
  }
  await settle();
  for (const tab of [b, c]) expect(await told(tab, "agentOffline")).toEqual(["one", "two"]);
});

it("has a crashed renderer's agents expired at once, told once in each of the others: its Web Lock falls free (Y-12)", async () => {
  const name = newName();
  const [a, b, c] = await openTabs(["a", "b", "c"], { name, timings: SLOW });
  await enlist(a, ["one", "two"]);
  await enlist(b, ["other"]);
  const { boot } = await hostOf(a);
  await a.crash();
  for (const tab of [b, c]) {
    await eventually(() => told(tab, "agentOffline")).toEqual(["one", "two"]);
    expect(await registered(tab, "one")).toEqual({ status: "offline", registration: "expired", incarnation: 1 });
    expect(await registered(tab, "other")).toMatchObject({ status: "online", incarnation: 1 });
    // The crashed tab's last message would still count for more than a minute.
    await eventually(() => seen(tab, ["one", "two", "other"])).toEqual({ one: false, two: false, other: true });
    expect((await hosts(tab)).filter(({ bootId, alive }) => bootId === boot && alive)).toEqual([]);
  }
  await settle();
  for (const tab of [b, c]) expect(await told(tab, "agentOffline")).toEqual(["one", "two"]);
});

it("gives a frozen tab's agents up once and not before their time, and has them back when it thaws (V-24, V-73)", async () => {
  const name = newName();
  const [a] = await openTabs(["a"], { name, timings: LIVELY });
  await enlist(a, ["one", "two"]);
  await a.call((fixture) => fixture.tick());
  const [b, c] = await openTabs(["b", "c"], { name, timings: LIVELY });
  await enlist(b, ["other"]);
  await freeze(a);
  for (const tab of [b, c]) {
    await eventually(() => told(tab, "agentOffline")).toEqual(["one", "two"]);
    expect(await registered(tab, "one")).toEqual({ status: "offline", registration: "expired", incarnation: 1 });
    await eventually(() => seen(tab, ["one", "other"])).toEqual({ one: false, other: true });
    const silentMs = await tab.call(async ({ kernel, heard }) => {
      const record = await kernel.lifecycle.get("one");
      const offline = heard.find(({ event }) => event === "agentOffline");
      return (offline?.atMs ?? 0) - (record?.lastSeenAtMs ?? 0);
    });
    expect(silentMs).toBeGreaterThanOrEqual(LIVELY.staleAfterMs);
  }
  // The same time again: a host is declared dead once.
  await settle(LIVELY.staleAfterMs);
  for (const tab of [b, c]) expect(await told(tab, "agentOffline")).toEqual(["one", "two"]);

  await a.setLifecycle("active");
  await a.activate();
  for (const tab of [a, b, c]) {
    await eventually(() => registered(tab, "one")).toEqual({ status: "online", registration: "registered", incarnation: 2 });
    await eventually(() => seen(tab, ["one", "two", "other"])).toEqual({ one: true, two: true, other: true });
  }
  for (const tab of [b, c]) await eventually(() => told(tab, "agentOnline", "other")).toEqual(["one", "two"]);
  expect(await ends(a)).toEqual([]);

  // The registration is still the same one: its disposal ends the agent.
  await dispose(a, "one");
  for (const tab of [b, c]) {
    await eventually(() => registered(tab, "one")).toMatchObject({ registration: "deregistered", incarnation: 2 });
    await eventually(() => told(tab, "agentOffline")).toEqual(["one", "one", "two"]);
  }
});

it("has the agents of a page offline while it is put aside, and registers them again when it comes back", async () => {
  const name = newName();
  const [a] = await openTabs(["a"], { name, timings: SLOW });
  await enlist(a, ["one", "two"]);
  const [b] = await openTabs(["b"], { name, timings: SLOW });
  await a.load("/elsewhere");
  await eventually(() => told(b, "agentOffline")).toEqual(["one", "two"]);
  expect(await registered(b, "one")).toEqual({ status: "offline", registration: "deregistered", incarnation: 1 });
  await eventually(() => seen(b, ["one", "two"])).toEqual({ one: false, two: false });

  await goBack(a);
  for (const tab of [a, b]) {
    await eventually(() => registered(tab, "one")).toEqual({ status: "online", registration: "registered", incarnation: 2 });
    await eventually(() => registered(tab, "two")).toMatchObject({ status: "online", incarnation: 2 });
    await eventually(() => seen(tab, ["one", "two"])).toEqual({ one: true, two: true });
  }
  await eventually(() => told(b, "agentOnline")).toEqual(["one", "two"]);
  expect(await told(b, "agentOffline")).toEqual(["one", "two"]);
  expect(await ends(a)).toEqual([]);
  await dispose(a, "one");
  await eventually(() => registered(b, "one")).toMatchObject({ registration: "deregistered", incarnation: 2 });
});

it("keeps the agents of a hidden tab online whose timers are throttled: its worker beats", async () => {
  const name = newName();
  const [a] = await openTabs(["a"], { name, timings: LIVELY });
  await enlist(a, ["one"]);
  const { boot } = await hostOf(a);
  const [b] = await openTabs(["b"], { name, timings: LIVELY });
  await a.call((fixture) => fixture.tick());
  const databaseId = await databaseOf(b);
  await b.call(
    (_, channelName, bootId) => {
      const beats: unknown[] = [];
      const channel = new BroadcastChannel(channelName);
      channel.onmessage = ({ data }) => data.boot === bootId && data.beat && beats.push(data);
      Object.assign(window, { beats });
    },
    `holdfast:${databaseId}:seen`,
    boot,
  );
  const ticks = (from: "page" | "worker") => facts("tick").filter((tick) => tick.tab === "a" && tick.from === from).length;
  const count = async () => ({
    page: ticks("page"),
    worker: ticks("worker"),
    beats: await b.call(() => (window as unknown as { beats: unknown[] }).beats.length),
  });
  const before = await count();
  await eventually(() => ticks("page")).toBeGreaterThan(before.page + 10);
  const after = await count();
  const grown = { page: after.page - before.page, worker: after.worker - before.worker, beats: after.beats - before.beats };
  expect(grown.worker, "the page was not throttled").toBeGreaterThan(4 * grown.page);
  expect(grown.beats).toBeGreaterThan(2 * grown.page);
  expect(await registered(b, "one")).toEqual({ status: "online", registration: "registered", incarnation: 1 });
  await eventually(() => seen(b, ["one"])).toEqual({ one: true });
  expect(await told(b, "agentOffline")).toEqual([]);
});

it("lets the later of two tabs have an agent: the earlier one's signal aborts, and its end does not deregister (Y-2)", async () => {
  const name = newName();
  const [a, b, c] = await openTabs(["a", "b", "c"], { name, timings: SLOW });
  await enlist(a, ["one", "own"]);
  const first = await recordIn(a, "one");
  await enlist(b, ["one"]);
  await eventually(() => ends(a)).toEqual(["one: conflict"]);
  await dispose(a, "one");
  await settle();
  const { hostId } = await hostOf(b);
  for (const tab of [a, b, c]) {
    expect(await registered(tab, "one")).toEqual({ status: "online", registration: "registered", incarnation: 2 });
    expect(await recordIn(tab, "one")).toMatchObject({ hostId, registeredAtMs: first?.registeredAtMs });
    await eventually(() => seen(tab, ["one", "own"])).toEqual({ one: true, own: true });
    expect(await told(tab, "agentOffline")).toEqual([]);
  }
  // The agent belongs to the later tab, and to it alone.
  await a.close();
  await eventually(() => told(c, "agentOffline")).toEqual(["own"]);
  expect(await registered(c, "one")).toMatchObject({ status: "online" });
  expect(await ends(b)).toEqual([]);
  await dispose(b, "one");
  await eventually(() => registered(c, "one")).toMatchObject({ registration: "deregistered" });
});

const without: readonly (readonly [string, readonly Missing[]])[] = [
  ["Worker", ["Worker"]],
  ["Web Locks", ["locks"]],
  ["BroadcastChannel (V-6, V-7)", ["BroadcastChannel"]],
  ["any of the three", ["Worker", "BroadcastChannel", "locks"]],
];

it.each(without)("knows who is alive after a crash and a closed tab without %s", async (_, missing) => {
  const name = newName();
  const [a, b, c] = await openTabs(["a", "b", "c"], { name, timings: LIVELY, without: missing });
  const hasChannel = !missing.includes("BroadcastChannel");
  await enlist(a, ["one"]);
  await enlist(b, ["other"]);
  for (const tab of [a, b, c]) {
    expect(await registered(tab, "one")).toEqual({ status: "online", registration: "registered", incarnation: 1 });
    expect(await registered(tab, "other")).toEqual({ status: "online", registration: "registered", incarnation: 1 });
    if (hasChannel) await eventually(() => seen(tab, ["one", "other"])).toEqual({ one: true, other: true });
    else {
      const answers = await tab.call(async ({ kernel: { liveness }, codeOf }) => [
        liveness.available(),
        await codeOf(liveness.touch("one", 1_000)),
        await liveness.isAliveBatch(["one"]),
        await liveness.isAliveBatch([]),
        await codeOf(liveness.forget("one")),
      ]);
      expect(answers).toEqual([false, "unavailable", { ok: false }, { ok: false }, "resolved"]);
    }
  }
  // The hosts beat for longer than silence is tolerated.
  await settle(LIVELY.staleAfterMs);
  for (const tab of [a, b, c]) expect(await registered(tab, "one")).toMatchObject({ status: "online", incarnation: 1 });

  await a.crash();
  for (const tab of [b, c]) {
    await eventually(() => registered(tab, "one")).toEqual({ status: "offline", registration: "expired", incarnation: 1 });
    expect(await registered(tab, "other")).toEqual({ status: "online", registration: "registered", incarnation: 1 });
  }
  // Only the tab that found the dead host is told if there is no channel.
  const toldOfOne = async () => (await Promise.all([b, c].map((tab) => told(tab, "agentOffline")))).flat();
  await eventually(toldOfOne).toEqual(hasChannel ? ["one", "one"] : ["one"]);
  await b.close();
  await eventually(() => registered(c, "other")).toMatchObject({ status: "offline", incarnation: 1 });
  await eventually(async () => (await told(c, "agentOffline")).filter((agentId) => agentId === "other")).toEqual(["other"]);
});

const MANY = 10_000;
const manyIds = Array.from({ length: MANY }, (_, at) => `agent-${at}`);

it("keeps ten thousand agents of a tab alive in another's memory by its beats, and writes no row for it (V-22)", async () => {
  const name = newName();
  const [a, b] = await openTabs(["a", "b"], { name, timings: BEATEN });
  await enlist(a, manyIds);
  await eventually(() => aliveAmong(b, MANY)).toBe(MANY);
  expect(await onlineIn(b)).toBe(MANY);
  await eventually(async () => new Set(await told(b, "agentOnline")).size).toBe(MANY);
  expect((await hosts(a)).map(({ self, agents, alive }) => [self, agents, alive]).sort()).toEqual([
    [false, 0, true],
    [true, MANY, true],
  ]);

  const { boot } = await hostOf(a);
  const before = await rowsOf(b, name, boot);
  // The messages of the registration have expired by then.
  await settle(3 * BEATEN.livenessTtlMs);
  await eventually(() => aliveAmong(b, MANY)).toBe(MANY);
  expect(await onlineIn(b)).toBe(MANY);
  expect(await rowsOf(b, name, boot)).toEqual(before);
  expect(before.agents).toBe(MANY);
  for (const tab of [a, b]) expect(await told(tab, "agentOffline")).toEqual([]);
});

it("writes one row for ten thousand agents when the flush interval is over (V-23)", async () => {
  const name = newName();
  const [b, a] = await openTabs(["b", "a"], { name, timings: LIVELY, loop: "inline" });
  await enlist(a, manyIds);
  await eventually(() => aliveAmong(b, MANY)).toBe(MANY);
  const { boot } = await hostOf(a);
  const before = await rowsOf(b, name, boot);
  await a.call(() => {
    const writes: Record<string, number> = {};
    for (const method of ["put", "add", "delete", "clear"] as const) {
      const write = IDBObjectStore.prototype[method] as (...args: unknown[]) => IDBRequest;
      Object.assign(IDBObjectStore.prototype, {
        [method](this: IDBObjectStore, ...args: unknown[]) {
          writes[this.name] = (writes[this.name] ?? 0) + 1;
          return write.apply(this, args);
        },
      });
    }
    Object.assign(window, { writes });
  });
  const writes = () => a.call(() => (window as unknown as { writes: Record<string, number> }).writes);
  await eventually(async () => (await writes()).hosts ?? 0).toBeGreaterThan(5);
  expect(Object.keys(await writes())).toEqual(["hosts"]);
  const after = await rowsOf(b, name, boot);
  expect(after.digest).toBe(before.digest);
  expect(after.host.lastSeenAtMs).toBeGreaterThan(before.host.lastSeenAtMs);
  expect(await onlineIn(b)).toBe(MANY);
  expect(await told(b, "agentOffline")).toEqual([]);
});

it("believes no stranger of the origin: the dead stay dead, the living keep agents and leases, and it is counted (Y-20)", async () => {
  const name = newName();
  const [a] = await openTabs(["a"], { name, timings: LIVELY });
  await enlist(a, ["live"]);
  await a.start("p", { steps: 3, gateAt: 1 });
  await stepIn(a, "p", "s1");
  const [d, b] = await openTabs(["d", "b"], { name, timings: LIVELY });
  await enlist(d, ["dead"]);
  const [{ boot: live }, { boot: dead }, databaseId] = [await hostOf(a), await hostOf(d), await databaseOf(b)];
  await d.crash();
  await eventually(() => registered(b, "dead")).toMatchObject({ registration: "expired" });
  const stranger = await newTab("stranger");
  await stranger.call(rage, { databaseId, live, dead });

  const tabs = [a, b];
  const posted = () => stranger.call(() => (window as unknown as { posted: number }).posted);
  // For longer than a lease, and than the silence after which a host counts as dead.
  for (const enough of [1_000, 2_000, 3_000, 4_000, 5_000]) {
    await eventually(posted).toBeGreaterThan(enough);
    for (const tab of tabs) {
      expect(await registered(tab, "dead")).toEqual({ status: "offline", registration: "expired", incarnation: 1 });
      expect(await registered(tab, "live")).toEqual({ status: "online", registration: "registered", incarnation: 1 });
      expect((await hosts(tab)).filter(({ bootId }) => bootId === dead || bootId === "nobody")).not.toContainEqual(
        expect.objectContaining({ alive: true }),
      );
      expect((await hosts(tab)).find(({ bootId }) => bootId === live)?.alive).toBe(true);
      const lease = await tab.call(({ kernel }) => kernel.processes.getLease("p"));
      expect(lease).toMatchObject({ fencingToken: 1 });
    }
  }
  await stranger.close();

  for (const tab of tabs) {
    await eventually(() => seen(tab, ["live", "dead"])).toEqual({ live: true, dead: false });
    expect((await tab.call(({ kernel }) => kernel.status())).dropped).toBeGreaterThan(0);
    expect(await tab.heard("fault")).toEqual([]);
  }
  expect(await ends(a)).toEqual([]);
  await enlist(b, ["new"]);
  await eventually(() => seen(a, ["new"])).toEqual({ new: true });
  await a.openGate("p");
  await a.ended("p");
  expect(a.aborts("p")).toEqual([]);
  const { lease } = await expectSound(name, "p", { state: "completed", steps: 3 });
  expect(lease?.fencingToken).toBe(1);
});

/** Posts harmful messages, as a page without a kernel can, again and again until it is closed. */
function rage(_: Fixture, { databaseId, live, dead }: { databaseId: string; live: string; dead: string }): void {
  const notices = new BroadcastChannel(`holdfast:${databaseId}`);
  const presence = new BroadcastChannel(`holdfast:${databaseId}:seen`);
  const scope = Object.assign(window, { posted: 0 });
  let round = 0;
  const say = (said: object) =>
    presence.postMessage({ v: 1, of: databaseId, from: `stranger-${round}`, atMs: Date.now(), ...said });
  const tell = (...changes: object[]) => notices.postMessage({ v: 1, changes });
  const holes: unknown[] = [];
  holes.length = 9;
  const loop: unknown[] = [];
  loop.push(loop);
  const garbage = [
    null,
    7,
    "beat",
    [],
    {},
    loop,
    new Map([["v", 1]]),
    new Error("x"),
    new ArrayBuffer(64),
    { v: 1 },
    { v: 2, of: databaseId, from: "x", atMs: 0 },
    { v: 1, changes: 1 },
    { v: 1, changes: [null] },
    { v: 1, changes: holes },
    { v: 1, changes: [{ about: "everything", id: "p" }] },
    { v: 1, changes: [{ about: "host", id: 7 }] },
  ];
  const broken = [
    { of: "another" },
    { from: "" },
    { atMs: Number.NaN },
    { boot: 7 },
    { beat: { seenAtMs: 1, ttlMs: 1 } },
    { boot: dead, beat: { seenAtMs: 1, ttlMs: Number.POSITIVE_INFINITY } },
    { boot: dead, beat: "beat" },
    { boot: dead, joined: [""] },
    { boot: dead, joined: holes },
    { boot: dead, joined: ["x".repeat(5_000)] },
    { touched: [["dead", -1]] },
    { touched: [["dead"]] },
    { forgotten: "live" },
    { asks: "please" },
  ];
  const forever = { seenAtMs: Number.MAX_SAFE_INTEGER, ttlMs: Number.MAX_VALUE };
  const forged = [
    { boot: dead, beat: forever, joined: ["dead"], answers: true },
    { boot: dead, beat: { seenAtMs: Date.now(), ttlMs: 1e12 }, atMs: Number.MAX_SAFE_INTEGER },
    { boot: "nobody", beat: forever, joined: ["dead", "live", "nobody's"] },
    { touched: [["dead", Number.MAX_VALUE]] },
    { boot: live, left: ["live"] },
    { boot: live, beat: { seenAtMs: 0, ttlMs: 1 }, joined: ["dead"], answers: true },
    { forgotten: ["live", "dead"] },
    { asks: true },
  ];
  // The rounds are slow enough for every tab and worker to handle one before the next: the test asks what a stranger can make
  // them believe, not how much they can take.
  setInterval(() => {
    round++;
    for (const message of garbage) for (const channel of [notices, presence]) channel.postMessage(message);
    for (const said of [...broken, ...forged]) say(said);
    tell({ about: "host", id: live }, { about: "host", id: dead }, { about: "host", id: "nobody" });
    tell({ about: "boot", id: live }, { about: "boot", id: dead }, { about: "boot", id: `nobody-${round}` });
    tell({ about: "agent", id: "dead", member: "online" }, { about: "agent", id: "live", member: "offline" });
    tell({ about: "agent", id: "live", member: "moved" }, { about: "lease", id: "p" }, { about: "registered", id: "p" });
    if (round % 10 === 0) {
      say({ touched: Array.from({ length: 4_096 }, (_, at) => [`flood-${round}-${at}`, 1e9]) });
      say({ boot: "nobody", joined: Array.from({ length: 4_096 }, (_, at) => `flood-${round}-${at}`) });
      say({ boot: "nobody", joined: Array.from({ length: 5_000 }, (_, at) => `more-${at}`) });
      tell(...Array.from({ length: 5_000 }, () => ({ about: "host", id: live })));
    }
    scope.posted += 2 * garbage.length + broken.length + forged.length + 4;
  }, 150);
}

/** How many of `count` agents the tab's memory knows to be alive; undefined where it does not know. */
function aliveAmong(tab: Tab, count: number): Promise<number | undefined> {
  return tab.call(async ({ kernel }, many) => {
    const batch = await kernel.liveness.isAliveBatch(Array.from({ length: many }, (_, at) => `agent-${at}`));
    return batch.ok ? [...batch.alive.values()].filter(Boolean).length : undefined;
  }, count);
}

function onlineIn(tab: Tab): Promise<number> {
  return tab.call(async ({ kernel }) => (await kernel.lifecycle.list({ status: "online" })).length);
}

/** The stored rows of a host and its agents. */
function rowsOf(tab: Tab, name: string, bootId: string) {
  return tab.call(
    async (_, databaseName, boot) => {
      const result = <T>(request: IDBRequest<T>) =>
        new Promise<T>((resolve, reject) => {
          request.onsuccess = () => resolve(request.result);
          request.onerror = () => reject(request.error);
        });
      const database = await result(indexedDB.open(databaseName));
      const transaction = database.transaction(["hosts", "agents"]);
      const [host, agents] = await Promise.all([
        result(transaction.objectStore("hosts").get(boot)),
        result(transaction.objectStore("agents").getAll()),
      ]);
      database.close();
      const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(JSON.stringify(agents)));
      return {
        host: host as { lastSeenAtMs: number },
        agents: agents.length,
        digest: new Uint8Array(digest).join(),
      };
    },
    name,
    bootId,
  );
}

function enlist(tab: Tab, agentIds: string[]): Promise<void> {
  return tab.call((fixture, ids) => fixture.enlist(ids), agentIds);
}

function dispose(tab: Tab, agentId: string): Promise<void> {
  return tab.call(async ({ agents }, id) => await agents.get(id)?.[Symbol.asyncDispose](), agentId);
}

/** The ends of the tab's registrations. */
function ends(tab: Tab): Promise<string[]> {
  return tab.call(({ agentEnds }) => agentEnds);
}

/** An agent's state by the rows. */
async function registered(tab: Tab, agentId: string) {
  const record = await recordIn(tab, agentId);
  if (!record) return undefined;
  const { status, registration, incarnation } = record;
  return { status, registration, incarnation };
}

function recordIn(tab: Tab, agentId: string) {
  return tab.call(({ kernel }, id) => kernel.lifecycle.get(id), agentId);
}

/** The agents' liveness by the tab's memory. */
function seen(tab: Tab, agentIds: string[]): Promise<Record<string, boolean> | "unknown"> {
  return tab.call(async ({ kernel }, ids) => {
    const batch = await kernel.liveness.isAliveBatch(ids);
    return batch.ok ? Object.fromEntries(batch.alive) : "unknown";
  }, agentIds);
}

/** The agents that the tab was told of, sorted, without those of its `own`. */
async function told(tab: Tab, event: "agentOnline" | "agentOffline", ...own: string[]): Promise<string[]> {
  const agentIds = ((await tab.heard(event)) as { agentId: string }[]).map(({ agentId }) => agentId);
  return agentIds.filter((agentId) => !own.includes(agentId)).sort();
}

function hosts(tab: Tab) {
  return tab.call(({ kernel }) => kernel.hosts());
}

async function hostOf(tab: Tab): Promise<{ hostId: string; boot: string }> {
  const self = (await hosts(tab)).find(({ self }) => self);
  return { hostId: self?.hostId ?? "", boot: self?.bootId ?? "" };
}

/** The id that names the database's channels. */
function databaseOf(tab: Tab): Promise<string> {
  return tab.call(({ kernel }) => kernel.runtime.authAuthorityKey()?.split(":").at(-1) ?? "");
}

/** Waits for the time in which more events could still be told. */
function settle(ms = 1_000): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
