import { manualClock } from "../../adapters/clock-manual.js";
import type { Kernel } from "../../kernel/kernel.js";
import { channelHub } from "../kit/channel.fixture.js";
import { casesOn, count, type OpenFixture, outcomes, type Runner, refusalMismatch, refused } from "../kit/fixture.js";
import { noId, noObject } from "../kit/hostile.js";

const STALE_MS = 150_000;

/** Agents: registered ones, and those that are online. */
export function lifecycleCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise } = casesOn(open, runner);

  const summary = async (kernel: Kernel, agentId = "a") => {
    const agent = await kernel.lifecycle.get(agentId);
    return agent && [agent.registration, agent.status, agent.incarnation];
  };

  promise("a new agent is registered, online and seen now (Y-1)", async ({ kernel, clock }) => {
    expect(await kernel.lifecycle.get("a")).toBe(undefined);
    await kernel.lifecycle.register("a");
    expect(await kernel.lifecycle.get("a")).toEqual({
      agentId: "a",
      status: "online",
      registration: "registered",
      incarnation: 1,
      registeredAtMs: clock.now(),
      lastSeenAtMs: clock.now(),
    });
  });

  promise(
    "registering again, in whatever state, is one incarnation more, seen now, first registered when it was (Y-2, Y-7)",
    async ({ kernel: { lifecycle }, clock }) => {
      const registeredAtMs = clock.now();
      await lifecycle.register("a");
      const again = async (incarnation: number) => {
        await lifecycle.register("a");
        const record = await lifecycle.get("a");
        expect(record).toEqual({
          agentId: "a",
          status: "online",
          registration: "registered",
          incarnation,
          registeredAtMs,
          lastSeenAtMs: clock.now(),
        });
        await lifecycle.heartbeat("a");
      };
      await clock.advance(5);
      await again(2);
      await lifecycle.deregister("a");
      await clock.advance(5);
      await again(3);
      await clock.advance(STALE_MS);
      await again(4);
    },
  );

  promise("a heartbeat of a registered agent makes it seen now, in every kernel (Y-3, V-51)", async ({ kernel, clock, open }) => {
    const other = await open();
    await kernel.lifecycle.register("a");
    await clock.advance(70_000);
    await other.lifecycle.heartbeat("a");
    for (const one of [kernel, other]) expect((await one.lifecycle.get("a"))?.lastSeenAtMs).toBe(clock.now());
    await clock.advance(STALE_MS - 1);
    expect(await summary(kernel)).toEqual(["registered", "online", 1]);
  });

  promise(
    "no heartbeat makes an agent seen earlier, whatever the clock of who sends it (Y-3)",
    async ({ kernel, clock, open }) => {
      const behind = await open({ clock: manualClock(clock.now() - 60_000) });
      await kernel.lifecycle.register("a");
      const before = await kernel.lifecycle.get("a");
      await behind.lifecycle.heartbeat("a");
      for (const one of [kernel, behind]) expect(await one.lifecycle.get("a")).toEqual(before);
    },
  );

  promise(
    "a heartbeat of an agent that was never registered is refused and makes nothing (Y-4)",
    async ({ kernel: { lifecycle } }) => {
      await refused(lifecycle.heartbeat("a"), "not-found", "not registered");
      expect([await lifecycle.get("a"), await lifecycle.list()]).toEqual([undefined, []]);
    },
  );

  promise("a deregistered agent beats no more, until it is registered again (Y-5, Y-7)", async ({ kernel }) => {
    await kernel.lifecycle.register("a");
    await kernel.lifecycle.deregister("a");
    await refused(kernel.lifecycle.heartbeat("a"), "not-found", "not registered");
    expect(await summary(kernel)).toEqual(["deregistered", "offline", 1]);
    await kernel.lifecycle.register("a");
    await kernel.lifecycle.heartbeat("a");
    expect(await summary(kernel)).toEqual(["registered", "online", 2]);
  });

  promise("deregistering twice, and of an unknown one, succeeds and changes nothing (Y-6)", async ({ kernel, clock }) => {
    await kernel.lifecycle.deregister("nobody");
    expect(await kernel.lifecycle.list()).toEqual([]);
    await kernel.lifecycle.register("a");
    await kernel.lifecycle.deregister("a");
    const before = await kernel.lifecycle.get("a");
    await clock.advance(10);
    await kernel.lifecycle.deregister("a");
    expect(await kernel.lifecycle.get("a")).toEqual(before);
  });

  promise(
    "deregistering asks nothing of the clock: at the moment of registration, and long after it expired (V-75)",
    async ({ kernel, clock }) => {
      for (const silentMs of [0, STALE_MS - 1, STALE_MS, 10 * STALE_MS]) {
        const agentId = `a${silentMs}`;
        await kernel.lifecycle.register(agentId);
        await clock.advance(silentMs);
        await kernel.lifecycle.deregister(agentId);
        expect(await summary(kernel, agentId)).toEqual(["deregistered", "offline", 1]);
      }
    },
  );

  promise("agents do not touch one another (Y-9)", async ({ kernel: { lifecycle }, clock }) => {
    await Promise.all(["a", "b", "c"].map((agentId) => lifecycle.register(agentId)));
    await clock.advance(1_000);
    await lifecycle.heartbeat("b");
    await lifecycle.deregister("c");
    const all = await lifecycle.list();
    expect(all.map(({ agentId, registration }) => [agentId, registration])).toEqual([
      ["a", "registered"],
      ["b", "registered"],
      ["c", "deregistered"],
    ]);
    expect((all[1]?.lastSeenAtMs ?? 0) - (all[0]?.lastSeenAtMs ?? 0)).toBe(1_000);
  });

  promise(
    "calls of one id that race end as one of their orders, and no heartbeat brings back what was deregistered (Y-9)",
    async ({ kernel, open }) => {
      const other = await open();
      for (const round of count(10)) {
        const agentId = `a${round}`;
        await kernel.lifecycle.register(agentId);
        const { codes } = await outcomes([
          kernel.lifecycle.heartbeat(agentId),
          other.lifecycle.deregister(agentId),
          ...count(3).map(() => other.lifecycle.heartbeat(agentId)),
          kernel.lifecycle.heartbeat(agentId),
        ]);
        expect(codes.every((code) => code === "not-found")).toBe(true);
        expect(await summary(kernel, agentId)).toEqual(["deregistered", "offline", 1]);
      }
      await outcomes([
        ...count(4).map(() => kernel.lifecycle.register("b")),
        ...count(4).map(() => other.lifecycle.register("b")),
      ]);
      expect(await summary(kernel, "b")).toEqual(["registered", "online", 8]);
    },
  );

  promise("heartbeats that come at once are all stored (V-53)", async ({ kernel: { lifecycle }, clock }) => {
    const ids = count(50).map((n) => `a${String(n).padStart(2, "0")}`);
    await Promise.all(ids.map((agentId) => lifecycle.register(agentId)));
    await clock.advance(1_000);
    await Promise.all(ids.map((agentId) => lifecycle.heartbeat(agentId)));
    const all = await lifecycle.list();
    expect(all.map(({ agentId }) => agentId)).toEqual(ids);
    expect(all.every(({ lastSeenAtMs }) => lastSeenAtMs === clock.now())).toBe(true);
  });

  promise(
    "an agent expires at the very threshold, and its heartbeat is refused from then on (Y-11, Y-12)",
    async ({ kernel, clock }) => {
      await kernel.lifecycle.register("a");
      await clock.advance(STALE_MS - 1);
      expect(await summary(kernel)).toEqual(["registered", "online", 1]);
      await clock.advance(1);
      expect(await summary(kernel)).toEqual(["expired", "offline", 1]);
      await refused(kernel.lifecycle.heartbeat("a"), "not-found", "not registered");
      expect(await summary(kernel)).toEqual(["expired", "offline", 1]);
    },
  );

  promise("the list has all of them by id, or those of one status", async ({ kernel: { lifecycle }, clock }) => {
    for (const agentId of ["old", "\u{10000}", "\uffff", "gone", "é"]) await lifecycle.register(agentId);
    await clock.advance(STALE_MS);
    for (const agentId of ["\u{10000}", "\uffff", "é"]) await lifecycle.register(agentId);
    await lifecycle.deregister("gone");
    const ids = async (status?: "online" | "offline") =>
      (await lifecycle.list(status && { status })).map(({ agentId }) => agentId);
    expect(await ids()).toEqual(["gone", "old", "é", "\u{10000}", "\uffff"]);
    expect(await ids("online")).toEqual(["é", "\u{10000}", "\uffff"]);
    expect(await ids("offline")).toEqual(["gone", "old"]);
  });

  promise("what cannot be an id is refused by that field, and nothing is stored (Y-14)", async ({ kernel }) => {
    const wrong: string[] = [];
    for (const [what, id] of Object.entries({ ...noId(), "an empty text": "" }))
      for (const method of ["register", "heartbeat", "deregister", "get"] as const) {
        const problem = await refusalMismatch(kernel.lifecycle[method](id as never), "invalid", "agentId");
        if (problem !== undefined) wrong.push(`${method} ${what}: ${problem}`);
      }
    for (const [what, id] of Object.entries(noId())) {
      const problem = await refusalMismatch(kernel.agent(id as never), "invalid", "agentId");
      if (problem !== undefined) wrong.push(`agent ${what}: ${problem}`);
    }
    for (const [what, filter] of Object.entries({ ...noObject(), "another status": { status: "asleep" } })) {
      if (filter === undefined) continue;
      const problem = await refusalMismatch(kernel.lifecycle.list(filter as never), "invalid", "filter");
      if (problem !== undefined) wrong.push(`list ${what}: ${problem}`);
    }
    expect(wrong).toEqual([]);
    expect(await kernel.lifecycle.list()).toEqual([]);
  });

  promise("agents of another name are not seen (Y-15)", async ({ kernel, open }) => {
    await kernel.lifecycle.register("a");
    const other = await open({ name: `${kernel.name}-2` });
    expect([await other.lifecycle.list(), await other.lifecycle.get("a")]).toEqual([[], undefined]);
    await refused(other.lifecycle.heartbeat("a"), "not-found");
  });

  promise("a later start of the program finds them as they were (P-56)", async ({ kernel, reopen, clock }) => {
    await kernel.lifecycle.register("a");
    await kernel.lifecycle.register("b");
    await kernel.lifecycle.deregister("b");
    await clock.advance(1_000);
    const before = await kernel.lifecycle.list();
    const later = await reopen();
    expect(await later.lifecycle.list()).toEqual(before);
    await later.lifecycle.register("b");
    expect(await summary(later, "b")).toEqual(["registered", "online", 2]);
  });

  promise("a call to a kernel that is closed says so (V-59)", async ({ open }) => {
    const { lifecycle, liveness, close } = await open();
    await lifecycle.register("a");
    await close();
    for (const method of ["register", "heartbeat", "deregister", "get"] as const) await refused(lifecycle[method]("a"), "closed");
    await refused(lifecycle.list(), "closed");
    expect([liveness.available(), await liveness.isAliveBatch([])]).toEqual([false, { ok: false }]);
  });

  promise(
    "an agent that a host beats for names it, and is deregistered when it is disposed of, once",
    async ({ kernel, clock }) => {
      const agent = await kernel.agent("a");
      expect(agent.agentId).toBe("a");
      expect(await kernel.lifecycle.get("a")).toEqual({
        agentId: "a",
        status: "online",
        registration: "registered",
        incarnation: 1,
        registeredAtMs: clock.now(),
        lastSeenAtMs: clock.now(),
        hostId: kernel.hostId,
      });
      await agent[Symbol.asyncDispose]();
      expect(await summary(kernel)).toEqual(["deregistered", "offline", 1]);
      await kernel.lifecycle.register("a");
      await agent[Symbol.asyncDispose]();
      expect(await summary(kernel)).toEqual(["registered", "online", 2]);
      expect(agent.signal.aborted).toBe(false);
    },
  );

  promise("close() of a registration deregisters the agent, once (A-12)", async ({ kernel }) => {
    const agent = await kernel.agent("a");
    await Promise.all([agent.close(), agent.close()]);
    expect(await summary(kernel)).toEqual(["deregistered", "offline", 1]);
    await kernel.lifecycle.register("a");
    await agent.close();
    expect(await summary(kernel)).toEqual(["registered", "online", 2]);
  });

  promise(
    "of two registrations of one id in one kernel the later one counts: the other's signal aborts, its disposal does nothing",
    async ({ kernel }) => {
      const first = await kernel.agent("a");
      const second = await kernel.agent("a");
      expect([first.signal.aborted, second.signal.aborted]).toEqual([true, false]);
      expect((first.signal.reason as { code?: unknown }).code).toBe("conflict");
      await first[Symbol.asyncDispose]();
      expect(await summary(kernel)).toEqual(["registered", "online", 2]);
      await second[Symbol.asyncDispose]();
      expect(await summary(kernel)).toEqual(["deregistered", "offline", 2]);
    },
  );

  promise("a later registration in another kernel takes the agent over", async ({ kernel, open }) => {
    const other = await open({ hostId: "other" });
    const first = await kernel.agent("a");
    await other.agent("a");
    expect((await kernel.lifecycle.get("a"))?.hostId).toBe("other");
    await first[Symbol.asyncDispose]();
    expect(await summary(kernel)).toEqual(["registered", "online", 2]);
    await kernel.lifecycle.register("a");
    expect((await kernel.lifecycle.get("a"))?.hostId).toBe(undefined);
    expect(await summary(kernel)).toEqual(["registered", "online", 3]);
  });

  promise(
    "where notices arrive, the signal of a registration that another kernel replaced or ended aborts, and no other",
    async ({ kernel, open }) => {
      const channel = channelHub();
      const other = await open({ channel });
      const [taken, ended, kept] = await Promise.all(["a", "b", "c"].map((agentId) => other.agent(agentId)));
      if (!taken || !ended || !kept) throw new Error("three were registered");
      const aborted = ({ signal }: typeof taken) =>
        new Promise((resolve) => signal.addEventListener("abort", () => resolve((signal.reason as { code?: unknown }).code)));
      const reasons = Promise.all([taken, ended].map(aborted));
      const third = await open({ channel });
      const later = await third.agent("a");
      await third.lifecycle.deregister("b");
      expect(await reasons).toEqual(["conflict", "not-found"]);
      expect([later.signal.aborted, kept.signal.aborted]).toEqual([false, false]);
      for (const { [Symbol.asyncDispose]: dispose } of [taken, ended]) await dispose();
      expect(await summary(kernel, "a")).toEqual(["registered", "online", 2]);
    },
  );

  promise("closing a kernel deregisters its agents, and no one else's (V-57, V-58)", async ({ kernel, open }) => {
    const other = await open();
    await other.agent("a");
    await kernel.agent("b");
    await kernel.lifecycle.register("c");
    const late = other.agent("d").catch(() => undefined);
    await other.close();
    await late;
    const online = await kernel.lifecycle.list({ status: "online" });
    expect(online.map(({ agentId }) => agentId)).toEqual(["b", "c"]);
    expect(await summary(kernel)).toEqual(["deregistered", "offline", 1]);
    await refused(other.agent("e"), "closed");
  });

  promise("with the loop off nobody beats: its agents expire like all others (V-60)", async ({ kernel, clock }) => {
    await kernel.agent("a");
    await clock.advance(STALE_MS - 1);
    expect(await summary(kernel)).toEqual(["registered", "online", 1]);
    await clock.advance(1);
    expect(await summary(kernel)).toEqual(["expired", "offline", 1]);
    await kernel.agent("a");
    expect(await summary(kernel)).toEqual(["registered", "online", 2]);
  });

  promise("its host's beats keep an agent online, and its end ends it (Y-20, V-27)", async ({ kernel, open, clock }) => {
    const other = await open({ loop: "inline", hostId: "other" });
    await other.agent("a");
    for (const _ of count(20)) await clock.advance(15_000);
    expect(await summary(kernel)).toEqual(["registered", "online", 1]);
    expect(clock.now() - ((await kernel.lifecycle.get("a"))?.lastSeenAtMs ?? 0) < 75_000).toBe(true);
    const hosts = await kernel.hosts();
    expect(hosts.map(({ hostId, alive, self, agents, leases }) => [hostId, alive, self, agents, leases])).toEqual(
      [
        [kernel.hostId, true, true, 0, 0],
        ["other", true, false, 1, 0],
      ].sort(([a], [b]) => (String(a) < String(b) ? -1 : 1)),
    );
    await other.close();
    expect(await summary(kernel)).toEqual(["deregistered", "offline", 1]);
    expect((await kernel.hosts()).map(({ hostId }) => hostId)).toEqual([kernel.hostId]);
  });

  promise("going online and offline is told once each, with the write that made it so (V-73)", async ({ kernel, clock }) => {
    const told: string[] = [];
    kernel.on("agentOnline", ({ agentId }) => told.push(`${agentId} online`));
    kernel.on("agentOffline", ({ agentId }) => told.push(`${agentId} offline`));
    const { lifecycle } = kernel;
    await lifecycle.register("a");
    await lifecycle.heartbeat("a");
    await lifecycle.register("a");
    expect(told.splice(0)).toEqual(["a online"]);
    await lifecycle.deregister("a");
    await lifecycle.deregister("a");
    expect(told.splice(0)).toEqual(["a offline"]);
    await lifecycle.register("a");
    await clock.advance(STALE_MS);
    expect(told.splice(0)).toEqual(["a online"]);
    // The agent's silence was not told before.
    await lifecycle.register("a");
    expect(told.splice(0)).toEqual(["a offline", "a online"]);
  });
}
