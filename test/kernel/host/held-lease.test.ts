import { describe, expect, it } from "vitest";
import { manualClock } from "../../../src/adapters/clock-manual.js";
import { memoryStorage } from "../../../src/adapters/storage-memory.js";
import { accept } from "../../../src/corridor/command.js";
import { broadcastNotices } from "../../../src/corridor/notices.js";
import { createCorridor } from "../../../src/corridor/run.js";
import { HoldfastError } from "../../../src/domain/errors.js";
import type { ProcessLease } from "../../../src/domain/lease.js";
import { DEFAULT_LIMITS } from "../../../src/domain/time.js";
import { type HeldLease, holdLease } from "../../../src/kernel/host/leases/held-lease.js";
import { createHeldLeases } from "../../../src/kernel/host/leases/held-leases.js";
import type { Clock } from "../../../src/ports/clock.js";
import { eventAppender, eventMethods } from "../../../src/stores/process/events.js";
import { claimProcessLease } from "../../../src/stores/process/leases.js";
import { leaseMethods } from "../../../src/stores/process/leases-by-hand.js";
import { payloadSchemas } from "../../../src/stores/process/payload-schema.js";
import { processMethods } from "../../../src/stores/process/processes.js";
import { SCHEMA, TABLES } from "../../../src/stores/schema.js";
import { probe } from "../../stores/probe-storage.js";
import { gate } from "../rounds.js";

const TTL = 30_000;

async function setUp(within: (clock: Clock) => Clock = (clock) => clock) {
  const probed = probe(memoryStorage());
  const storage = await probed.storage.open({
    name: "heldLease",
    schema: SCHEMA,
    durability: "strict",
    newDatabaseId: "db",
    onState: () => {},
  });
  const clock = manualClock();
  const corridor = createCorridor({ storage, tables: TABLES, notices: broadcastNotices("heldLease", undefined), clock });
  let nonces = 0;
  const newNonce = () => `nonce${++nonces}`;
  const leases = leaseMethods(corridor, DEFAULT_LIMITS, newNonce);
  await processMethods(corridor, DEFAULT_LIMITS, payloadSchemas()).registerProcess({
    id: "p",
    input: { type: "task", name: "job" },
    eventTypes: [{ name: "note" }],
  });
  const lost: HoldfastError[] = [];
  const parts = {
    corridor,
    clock: within(clock),
    ttlMs: TTL,
    async reclaim({ processId, ownerId, leaseToken }: ProcessLease) {
      const host = { hostId: "h", bootId: "b", locked: false };
      const claim = { processId, ownerId, ttlMs: TTL, nonce: newNonce(), host, over: leaseToken };
      return (await corridor.run(claimProcessLease, claim)).lease;
    },
    onLost: (reason: HoldfastError) => lost.push(reason),
  };
  const heldLease = holdLease(parts, await leases.claimProcessLease("p", "me", TTL), clock.monotonicMs());
  const cutOff = () => {
    probed.hooks.open = () => {
      throw new HoldfastError("unavailable", "cut off");
    };
  };
  /** Another owner, with a corridor of its own to the same rows. */
  const neighbour = createCorridor({ storage, tables: TABLES, notices: broadcastNotices("heldLease", undefined), clock });
  const theirs = {
    ...leaseMethods(neighbour, DEFAULT_LIMITS, () => `theirs${++nonces}`),
    ...eventMethods(neighbour, DEFAULT_LIMITS, eventAppender(neighbour, DEFAULT_LIMITS, payloadSchemas())),
  };
  return { probed, clock, corridor, leases, theirs, heldLease, lost, cutOff };
}

describe("the page's own deadline", () => {
  it("is the ttl after the claim was asked for", async () => {
    const { clock, heldLease, lost, cutOff } = await setUp();
    cutOff();
    await clock.advance(TTL - 1);
    expect(heldLease.over).toBeUndefined();
    await clock.advance(1);
    expect(heldLease.over).toMatchObject({ code: "lease-lost" });
    expect(lost).toEqual([heldLease.over]);
  });

  it("moves with a renewal to the ttl after that was sent, and never back", async () => {
    const { clock, leases, heldLease, cutOff } = await setUp();
    await clock.advance(20_000);
    await leases.renewProcessLease(heldLease.lease, TTL);
    heldLease.extend(20_000);
    heldLease.extend(10_000);
    cutOff();
    await clock.advance(TTL - 1);
    expect(heldLease.over).toBeUndefined();
    await clock.advance(1);
    expect(heldLease.over).toMatchObject({ code: "lease-lost" });
  });

  it("counts a renewal from when it was sent, however late the news of it comes", async () => {
    const { clock, leases, heldLease, cutOff } = await setUp();
    await clock.advance(20_000);
    await leases.renewProcessLease(heldLease.lease, TTL);
    await clock.advance(5_000);
    heldLease.extend(20_000);
    cutOff();
    await clock.advance(TTL - 5_000 - 1);
    expect(heldLease.over).toBeUndefined();
    await clock.advance(1);
    expect(heldLease.over).toMatchObject({ code: "lease-lost" });
  });

  it.each([0.3, 1, 40])("ends the held lease in time where timers fire %s ms early", async (earlyMs) => {
    const { clock, lost, cutOff } = await setUp((inner) => ({
      ...inner,
      setTimer: (run, delayMs) => inner.setTimer(run, delayMs > earlyMs ? delayMs - earlyMs : delayMs),
    }));
    cutOff();
    await clock.advance(TTL - 1);
    expect(lost).toEqual([]);
    await clock.advance(1);
    expect(lost).toHaveLength(1);
  });

  it("asks for no look where a timer fires early", async () => {
    const { clock, probed } = await setUp((inner) => ({
      ...inner,
      setTimer: (run, delayMs) => inner.setTimer(run, delayMs > 40 ? delayMs - 40 : delayMs),
    }));
    probed.seen.length = 0;
    await clock.advance(TTL - 1);
    expect(probed.seen).toEqual([]);
    await clock.advance(1);
    expect(probed.seen).not.toEqual([]);
  });

  it("is set again after a look that learned nothing", async () => {
    const { clock, heldLease, lost, probed, cutOff } = await setUp();
    // A look that a write asked for is under way when the deadline comes, and fails before it.
    const answer = gate();
    await clock.advance(TTL - 1);
    probed.hooks.open = () => answer.promise;
    const looking = heldLease.recheck();
    await clock.advance(0);
    cutOff();
    answer.fail(new HoldfastError("unavailable", "cut off"));
    expect(await looking).toBe(true);
    await clock.advance(1);
    expect(lost).toHaveLength(1);
  });

  it("asks the stored row before it believes that the lease is gone", async () => {
    const { clock, leases, heldLease } = await setUp();
    await clock.advance(20_000);
    await leases.renewProcessLease(heldLease.lease, TTL);
    await clock.advance(20_000);
    expect(heldLease.over).toBeUndefined();
  });

  it("claims an untaken lease again for the same owner", async () => {
    const { clock, leases, heldLease } = await setUp();
    await clock.advance(TTL);
    expect(heldLease.over).toBeUndefined();
    expect(heldLease.lease).toMatchObject({ ownerId: "me", fencingToken: 2 });
    expect(await leases.getLease("p")).toMatchObject({ ownerId: "me", fencingToken: 2 });
  });

  it.each([
    ["at its deadline", TTL],
    ["before it", 1_000],
  ])("claims again only over its own grant: what another took and handed back in between is lost, %s", async (_, ms) => {
    const { probed, clock, leases, theirs, heldLease, lost } = await setUp();
    await leases.renewProcessLease(heldLease.lease, ms);
    let between = false;
    probed.hooks.open = async ({ mode }) => {
      if (between || mode !== "write") return;
      between = true;
      const lease = await theirs.claimProcessLease("p", "other", TTL);
      await theirs.appendEvent("p", { eventType: "note", payload: "theirs", lease });
      await theirs.completeProcessLease(lease);
    };
    await clock.advance(ms);
    expect(await heldLease.recheck()).toBe(false);
    expect(between).toBe(true);
    expect(heldLease.over).toMatchObject({ code: "lease-lost" });
    expect(lost).toEqual([heldLease.over]);
    expect(await leases.getLease("p")).toBeUndefined();
    expect((await theirs.claimProcessLease("p", "next", TTL)).fencingToken).toBe(3);
  });

  it("does nothing more once the held lease was ended", async () => {
    const { clock, leases, heldLease, lost } = await setUp();
    heldLease.end(new HoldfastError("closed", "done"));
    await clock.advance(2 * TTL);
    expect(heldLease.over).toMatchObject({ code: "closed" });
    expect(lost).toEqual([]);
    expect(await leases.getLease("p")).toBeUndefined();
  });
});

describe("a held lease that is over", () => {
  it("stays over for the first reason", async () => {
    const { heldLease, lost } = await setUp();
    const reason = new HoldfastError("closed", "done");
    heldLease.end(reason);
    heldLease.end(new HoldfastError("closed", "done again"));
    expect(heldLease.over).toBe(reason);
    expect(lost).toEqual([]);
  });
});

describe("a look at the stored row", () => {
  it("loses what has no row any more, and claims nothing", async () => {
    const { corridor, heldLease, lost, probed } = await setUp();
    const drop = {
      tables: ["leases"],
      load: async () => undefined,
      decide: () => accept(undefined, [{ table: "leases", drop: "p" }]),
    };
    await corridor.run(drop, null);
    probed.seen.length = 0;
    expect(await heldLease.recheck()).toBe(false);
    expect(lost).toEqual([heldLease.over]);
    expect(probed.seen.map(({ mode }) => mode)).toEqual(["read"]);
  });

  it("loses what another has taken", async () => {
    const { clock, leases, heldLease, lost, probed, cutOff } = await setUp();
    cutOff();
    await clock.advance(TTL - 1);
    probed.hooks = {};
    await Promise.all([
      leases.completeProcessLease(heldLease.lease).then(() => leases.claimProcessLease("p", "other", TTL)),
      clock.advance(1),
    ]);
    expect(await heldLease.recheck()).toBe(false);
    expect(lost).toHaveLength(1);
  });

  it("keeps a live lease, and looks once for those that ask at once", async () => {
    const { heldLease, probed } = await setUp();
    probed.seen.length = 0;
    expect(await Promise.all([heldLease.recheck(), heldLease.recheck(), heldLease.recheck()])).toEqual([true, true, true]);
    expect(probed.seen).toHaveLength(1);
  });

  it("looks again for those that ask after the answer", async () => {
    const { heldLease, probed } = await setUp();
    probed.seen.length = 0;
    expect(await heldLease.recheck()).toBe(true);
    expect(await heldLease.recheck()).toBe(true);
    expect(probed.seen).toHaveLength(2);
  });

  it("is none once the held lease is over", async () => {
    const { heldLease, probed } = await setUp();
    probed.seen.length = 0;
    heldLease.end(new HoldfastError("closed", "done"));
    expect(await heldLease.recheck()).toBe(false);
    expect(probed.seen).toEqual([]);
  });

  it("waits a third of the ttl for a storage that does not answer, and learns nothing from its silence", async () => {
    const { clock, heldLease, lost, probed } = await setUp();
    probed.hooks.open = () => gate().promise;
    const seen: boolean[] = [];
    void heldLease.recheck().then((ours) => seen.push(ours));
    await clock.advance(TTL / 3 - 1);
    expect(seen).toEqual([]);
    await clock.advance(1);
    expect(seen).toEqual([true]);
    expect(lost).toEqual([]);
  });

  it("loses the lease when the storage was silent until after the deadline", async () => {
    const { clock, heldLease, lost, probed } = await setUp();
    await clock.advance(TTL - TTL / 3);
    probed.hooks.open = () => gate().promise;
    const looking = heldLease.recheck();
    await clock.advance(TTL / 3 - 1);
    expect(lost).toEqual([]);
    await clock.advance(1);
    expect(await looking).toBe(false);
    expect(lost).toEqual([heldLease.over]);
  });

  it("that was answered leaves no wait for a silence behind", async () => {
    const timers = new Set<() => void>();
    const { heldLease } = await setUp((inner) => ({
      ...inner,
      setTimer(run, delayMs) {
        const cancel = inner.setTimer(run, delayMs);
        timers.add(cancel);
        return () => {
          timers.delete(cancel);
          cancel();
        };
      },
    }));
    await heldLease.recheck();
    expect(timers.size).toBe(1);
    heldLease.end(new HoldfastError("closed", "done"));
    expect(timers.size).toBe(0);
  });

  it("moves the deadline to the stored expiry, counted from when it was asked", async () => {
    const { clock, heldLease, leases, lost, probed, cutOff } = await setUp();
    await clock.advance(20_000);
    await leases.renewProcessLease(heldLease.lease, TTL);
    probed.hooks.done = () => clock.advance(5_000);
    expect(await heldLease.recheck()).toBe(true);
    cutOff();
    await clock.advance(TTL - 5_000 - 1);
    expect(lost).toEqual([]);
    await clock.advance(1);
    expect(lost).toHaveLength(1);
  });

  it("counts a lease that was claimed again from when the look began", async () => {
    const { clock, heldLease, leases, lost, probed, cutOff } = await setUp();
    await leases.renewProcessLease(heldLease.lease, 1_000);
    await clock.advance(1_000);
    probed.hooks.done = ({ mode }) => (mode === "write" ? clock.advance(5_000) : undefined);
    expect(await heldLease.recheck()).toBe(true);
    expect(heldLease.lease.fencingToken).toBe(2);
    cutOff();
    await clock.advance(TTL - 5_000 - 1);
    expect(lost).toEqual([]);
    await clock.advance(1);
    expect(lost).toHaveLength(1);
  });

  it.each(["read", "write"] as const)("believes nothing that a heldLease hears after its end, in a %s", async (when) => {
    const { clock, leases, heldLease, lost, probed } = await setUp();
    await leases.renewProcessLease(heldLease.lease, 1_000);
    await clock.advance(1_000);
    const reason = new HoldfastError("closed", "done");
    probed.hooks.done = ({ mode }) => {
      if (mode === when) heldLease.end(reason);
    };
    expect(await heldLease.recheck()).toBe(false);
    expect(heldLease.over).toBe(reason);
    expect(lost).toEqual([]);
    // A lease that this page has given up is not claimed again.
    expect((await leases.getLease("p"))?.fencingToken).toBe(when === "read" ? undefined : 2);
  });

  it.each(["lease-lost", "lease-held", "terminal", "not-found"] as const)(
    "loses at once where claiming again is refused as %s, and waits for the deadline where it fails otherwise",
    async (code) => {
      for (const [thrown, isLost] of [
        [new HoldfastError(code, "refused"), true],
        [new HoldfastError("unavailable", "cut off"), false],
        [Object.assign(new Error("no error of ours"), { code }), false],
      ] as const) {
        const { clock, leases, heldLease, lost, probed } = await setUp();
        await leases.renewProcessLease(heldLease.lease, 1_000);
        await clock.advance(1_000);
        probed.hooks.open = ({ mode }) => {
          if (mode === "write") throw thrown;
        };
        expect(await heldLease.recheck()).toBe(!isLost);
        expect(lost).toHaveLength(isLost ? 1 : 0);
      }
    },
  );
});

describe("all that a page holds", () => {
  const made = (processId: string, more: Partial<HeldLease> = {}) => {
    const calls: string[] = [];
    const lease: ProcessLease = {
      schemaVersion: 1,
      processId,
      ownerId: "me",
      leaseToken: `${processId}.1`,
      fencingToken: 1,
      claimedAtMs: 0,
      expiresAtMs: TTL,
    };
    const heldLease: HeldLease = {
      lease,
      over: undefined,
      write: (write) => write(lease),
      extend: (asOfMs) => void calls.push(`extend ${asOfMs}`),
      recheck: async () => calls.push("recheck") > 0,
      giveBack: async () => true,
      end: () => {},
      ...more,
    };
    return { heldLease, calls };
  };

  it("is to be renewed but for what is over, and is all gone when the last is removed", () => {
    const heldLeases = createHeldLeases();
    expect(heldLeases.isEmpty).toBe(true);
    const [a, b] = [made("a"), made("b", { over: new HoldfastError("lease-lost", "gone") })];
    heldLeases.add(a.heldLease);
    heldLeases.add(b.heldLease);
    expect(heldLeases.leases).toEqual([a.heldLease.lease]);
    heldLeases.remove(a.heldLease);
    expect(heldLeases.leases).toEqual([]);
    expect(heldLeases.isEmpty).toBe(false);
    heldLeases.remove(b.heldLease);
    expect(heldLeases.isEmpty).toBe(true);
  });

  it("keeps the held lease that came after one that is removed late", () => {
    const heldLeases = createHeldLeases();
    const [before, after] = [made("a"), made("a")];
    heldLeases.add(before.heldLease);
    heldLeases.add(after.heldLease);
    heldLeases.remove(before.heldLease);
    expect(heldLeases.leases).toEqual([after.heldLease.lease]);
  });

  it("is extended and looked at by name, whatever is not held among the names", async () => {
    const heldLeases = createHeldLeases();
    const [a, b] = [made("a"), made("b")];
    heldLeases.add(a.heldLease);
    heldLeases.add(b.heldLease);
    heldLeases.extend(["x", "a"], 7);
    expect([a.calls, b.calls]).toEqual([["extend 7"], []]);
    await heldLeases.recheck(["x", "b"]);
    expect([a.calls, b.calls]).toEqual([["extend 7"], ["recheck"]]);
    await heldLeases.recheckAll();
    expect([a.calls, b.calls]).toEqual([
      ["extend 7", "recheck"],
      ["recheck", "recheck"],
    ]);
  });

  it("is looked at to the end", async () => {
    const heldLeases = createHeldLeases();
    const answer = gate<boolean>();
    heldLeases.add(made("a", { recheck: () => answer.promise }).heldLease);
    let looked = 0;
    void heldLeases.recheck(["a"]).then(() => looked++);
    void heldLeases.recheckAll().then(() => looked++);
    await new Promise((resolve) => setTimeout(resolve, 0));
    expect(looked).toBe(0);
    answer.open(true);
    await new Promise((resolve) => setTimeout(resolve, 0));
    expect(looked).toBe(2);
  });
});

describe("a write", () => {
  const refusedOnce = () => {
    const seen: string[] = [];
    return {
      seen,
      write: async (lease: { leaseToken: string }) => {
        seen.push(lease.leaseToken);
        if (seen.length === 1) throw new HoldfastError("lease-lost", "refused");
        return "stored";
      },
    };
  };

  it("that is refused is tried once more when the lease is still ours, with the lease as it is then", async () => {
    const { clock, heldLease, leases } = await setUp();
    const live = refusedOnce();
    expect(await heldLease.write(live.write)).toBe("stored");
    expect(live.seen).toEqual(["nonce1.1", "nonce1.1"]);
    await clock.advance(TTL);
    const later = refusedOnce();
    expect(await heldLease.write(later.write)).toBe("stored");
    expect(later.seen[1]).toBe(heldLease.lease.leaseToken);
    expect((await leases.getLease("p"))?.fencingToken).toBe(2);
  });

  it("that is refused when the lease is another's is not tried again", async () => {
    const { heldLease, leases } = await setUp();
    await leases.completeProcessLease(heldLease.lease);
    await leases.claimProcessLease("p", "other", TTL);
    const { seen, write } = refusedOnce();
    const refused = await heldLease.write(write).catch((error: unknown) => error);
    expect(refused).toMatchObject({ code: "lease-lost" });
    expect(refused).toBe(heldLease.over);
    expect(seen).toHaveLength(1);
    await expect(heldLease.write(write)).rejects.toBe(heldLease.over);
    expect(seen).toHaveLength(1);
  });

  it("that fails for another reason passes that on", async () => {
    const { heldLease } = await setUp();
    for (const error of [new HoldfastError("invalid", "bad"), Object.assign(new Error("not ours"), { code: "lease-lost" })]) {
      let tries = 0;
      const write = () => {
        tries++;
        return Promise.reject(error);
      };
      await expect(heldLease.write(write)).rejects.toBe(error);
      expect(tries).toBe(1);
    }
    expect(heldLease.over).toBeUndefined();
  });
});
