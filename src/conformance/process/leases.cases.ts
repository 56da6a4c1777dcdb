import { manualClock } from "../../adapters/clock-manual.js";
import type { ProcessLease } from "../../domain/lease.js";
import type { ProcessRegistry } from "../../kernel/process/registry.js";
import {
  casesOn,
  count,
  type OpenFixture,
  outcomes,
  type Runner,
  readAll,
  refusal,
  refused,
  success,
  task,
} from "../kit/fixture.js";

const TTL = 1000;

/** Leases: at most one live owner, and no other owner can write. */
export function leaseCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise, changesNothing } = casesOn(open, runner);
  const register = (processes: ProcessRegistry, ...ids: string[]) =>
    Promise.all(ids.map((id) => processes.registerProcess(task(id, { eventTypes: [{ name: "note" }] }))));

  /** Every way to write under a lease; renewal last. */
  const writes: [name: string, write: (processes: ProcessRegistry, lease: ProcessLease) => Promise<unknown>][] = [
    ["append", (processes, lease) => processes.appendEvent(lease.processId, { eventType: "note", payload: 1, lease })],
    ["complete", (processes, lease) => processes.completeProcess(lease.processId, success("stale"), { lease })],
    ["renew", (processes, lease) => processes.renewProcessLease(lease, TTL)],
  ];
  /** Fails unless the lease is dead: no write with it is accepted. */
  const isDead = (processes: ProcessRegistry, lease: ProcessLease) =>
    changesNothing(processes, async () => {
      for (const [, write] of writes) await refused(write(processes, lease), "lease-lost", "missing or expired");
    });
  const shown = ({ leaseToken: _, ...rest }: ProcessLease) => rest;

  promise("a free process is granted: fence 1, from now, for the time asked for (L-1, L-4)", async ({ processes, clock }) => {
    await register(processes, "p");
    await clock.advance(7);
    const { leaseToken, ...rest } = await processes.claimProcessLease("p", "a", TTL);
    expect(rest).toEqual({
      schemaVersion: 1,
      processId: "p",
      ownerId: "a",
      fencingToken: 1,
      claimedAtMs: clock.now(),
      expiresAtMs: clock.now() + TTL,
    });
    expect(typeof leaseToken === "string" && leaseToken.length >= 32).toBe(true);
    expect(await processes.getLease("p")).toEqual(rest);
  });

  promise("a claim changes no record and no event", async ({ processes, clock }) => {
    const [record] = await register(processes, "p");
    await clock.advance(1);
    await processes.completeProcessLease(await processes.claimProcessLease("p", "a", TTL));
    expect(await processes.getProcess("p")).toEqual(record);
    expect(await processes.eventsAfter("p", 0)).toEqual([]);
  });

  promise("a live lease keeps others out to its last millisecond and not one longer (L-1, L-2)", async ({ processes, clock }) => {
    await register(processes, "p");
    const lease = await processes.claimProcessLease("p", "a", TTL);
    for (const step of [0, TTL - 1]) {
      await clock.advance(step);
      await changesNothing(processes, async () => {
        const until = `is already leased by \`a\` until ${lease.expiresAtMs}`;
        await refused(processes.claimProcessLease("p", "b", TTL), "lease-held", until);
      });
      expect(await processes.getLease("p")).toEqual(shown(lease));
    }
    await clock.advance(1);
    expect(await processes.getLease("p")).toBe(undefined);
    const next = await processes.claimProcessLease("p", "b", TTL);
    expect([next.ownerId, next.fencingToken, next.claimedAtMs]).toEqual(["b", 2, clock.now()]);
  });

  promise(
    "its holder writes and renews to the last millisecond and not one longer (L-2, L-6, L-14)",
    async ({ processes, clock }) => {
      await register(processes, "renew", "append", "complete");
      const [renew, append, complete] = await Promise.all(
        ["renew", "append", "complete"].map((id) => processes.claimProcessLease(id, "a", TTL)),
      );
      if (!renew || !append || !complete) throw new Error("no leases");
      await clock.advance(TTL - 1);
      await processes.appendEvent("append", { eventType: "note", payload: 1, lease: append });
      await processes.completeProcess("complete", success(1), { lease: complete });
      expect((await processes.renewProcessLease(renew, TTL)).expiresAtMs).toBe(clock.now() + TTL);
      await clock.advance(1);
      await isDead(processes, append);
      await clock.advance(TTL - 2);
      expect(await processes.getLease("renew")).toEqual({ ...shown(renew), expiresAtMs: clock.now() + 1 });
      await clock.advance(1);
      await isDead(processes, renew);
    },
  );

  promise("a time to live of 0 is granted and over at once (L-3)", async ({ processes }) => {
    await register(processes, "p");
    const first = await processes.claimProcessLease("p", "a", 0);
    expect([first.fencingToken, first.expiresAtMs - first.claimedAtMs]).toEqual([1, 0]);
    await isDead(processes, first);
    expect(await processes.getLease("p")).toBe(undefined);
    const second = await processes.claimProcessLease("p", "b", TTL);
    expect(second.fencingToken).toBe(2);
    await processes.renewProcessLease(second, 0);
    await isDead(processes, second);
    expect((await processes.claimProcessLease("p", "a", TTL)).fencingToken).toBe(3);
  });

  promise(
    "claiming one's own live lease raises the fence, makes a new token and kills the object before (L-4)",
    async ({ processes, clock }) => {
      await register(processes, "p");
      const first = await processes.claimProcessLease("p", "a", TTL);
      await clock.advance(1);
      const second = await processes.claimProcessLease("p", "a", TTL);
      expect([second.fencingToken, second.claimedAtMs, second.leaseToken === first.leaseToken]).toEqual([2, clock.now(), false]);
      await isDead(processes, first);
      await changesNothing(processes, () => processes.completeProcessLease(first));
      await processes.renewProcessLease(second, TTL);
    },
  );

  promise("the fence rises by one with every grant, and only then (L-4, L-8, L-9)", async ({ processes, clock }) => {
    await register(processes, "p", "q");
    for (const fence of count(4)) {
      const lease = await processes.claimProcessLease("p", `owner ${fence % 2}`, TTL);
      expect(lease.fencingToken).toBe(fence);
      await refused(processes.claimProcessLease("p", "other", TTL), "lease-held");
      expect((await processes.renewProcessLease(lease, TTL)).fencingToken).toBe(fence);
      if (fence % 2) await processes.completeProcessLease(lease);
      else await clock.advance(TTL);
    }
    expect((await processes.claimProcessLease("q", "a", TTL)).fencingToken).toBe(1);
  });

  promise("no two grants have one token, under another name neither (L-5)", async ({ processes, open, name }) => {
    const stores = [processes, (await open()).processes];
    const elsewhere = (await open({ name: `${name}.x` })).processes;
    for (const store of [processes, elsewhere]) await register(store, "twin");
    const twins = [await processes.claimProcessLease("twin", "a", TTL), await elsewhere.claimProcessLease("twin", "a", TTL)];
    expect(twins[0]?.leaseToken === twins[1]?.leaseToken).toBe(false);
    await register(processes, ...count(10).map((n) => `p${n}`));
    const leases = await Promise.all(
      count(40).map((n) => (stores[n % 2] ?? processes).claimProcessLease(`p${(n % 10) + 1}`, "a", TTL)),
    );
    expect(new Set(leases.map(({ leaseToken }) => leaseToken)).size).toBe(40);
  });

  promise("a renewal changes the expiry alone, also to an earlier one (L-6)", async ({ processes, clock }) => {
    await register(processes, "p");
    const lease = await processes.claimProcessLease("p", "a", TTL);
    await clock.advance(10);
    for (const ttl of [TTL, 5 * TTL, 1]) {
      const renewed = await processes.renewProcessLease(lease, ttl);
      expect(renewed).toEqual({ ...lease, expiresAtMs: clock.now() + ttl });
      expect(await processes.getLease("p")).toEqual(shown(renewed));
    }
    await clock.advance(1);
    await isDead(processes, lease);
  });

  promise(
    "a lease object from before a renewal still works: the stored expiry decides (L-7, L-14)",
    async ({ processes, clock }) => {
      await register(processes, "p");
      const lease = await processes.claimProcessLease("p", "a", TTL);
      await clock.advance(TTL - 1);
      await processes.renewProcessLease(lease, TTL);
      await clock.advance(TTL - 1);
      await processes.appendEvent("p", { eventType: "note", payload: 1, lease });
      await processes.completeProcess("p", success(1), { lease });
    },
  );

  const edits: Partial<ProcessLease>[] = [{ ownerId: "b" }, { fencingToken: 2 }, { fencingToken: 7 }, { leaseToken: "guessed" }];
  promise("a lease with another owner, fence or token is not the live one (L-7)", async ({ processes }) => {
    await register(processes, "p", "q");
    const lease = await processes.claimProcessLease("p", "a", TTL);
    const other = await processes.claimProcessLease("q", "a", TTL);
    for (const edit of [...edits, { leaseToken: other.leaseToken }, { processId: "q" }])
      await isDead(processes, { ...lease, ...edit });
    await isDead(processes, { ...lease, processId: "q" });
  });

  promise("times that a caller edited are neither believed nor stored (L-7b)", async ({ processes, clock }) => {
    await register(processes, "p");
    const lease = await processes.claimProcessLease("p", "a", TTL);
    const edited = { ...lease, claimedAtMs: 0, expiresAtMs: lease.expiresAtMs + 1e9 };
    expect(await processes.renewProcessLease(edited, TTL)).toEqual(lease);
    expect(await processes.getLease("p")).toEqual(shown(lease));
    expect(await processes.renewProcessLease({ ...lease, expiresAtMs: 0 }, TTL)).toEqual(lease);
    await clock.advance(TTL);
    await isDead(processes, edited);
  });

  promise("a release frees the process at once and keeps the fence (L-8, L-9)", async ({ processes }) => {
    await register(processes, "p");
    const lease = await processes.claimProcessLease("p", "a", TTL);
    await processes.completeProcessLease({ processId: "p", leaseToken: lease.leaseToken });
    expect(await processes.getLease("p")).toBe(undefined);
    await isDead(processes, lease);
    const next = await processes.claimProcessLease("p", "b", TTL);
    expect([next.ownerId, next.fencingToken]).toEqual(["b", 2]);
  });

  promise("a release that matches nothing succeeds and does nothing (L-8)", async ({ processes, clock }) => {
    await register(processes, "p", "free");
    const expired = await processes.claimProcessLease("p", "a", TTL);
    await clock.advance(TTL);
    await processes.completeProcessLease(expired);
    await processes.completeProcessLease(expired);
    const lease = await processes.claimProcessLease("p", "b", TTL);
    await changesNothing(processes, async () => {
      await processes.completeProcessLease(expired);
      await processes.completeProcessLease({ processId: "p", leaseToken: "guessed" });
      await processes.completeProcessLease({ processId: "free", leaseToken: lease.leaseToken });
      await processes.completeProcessLease({ processId: "nobody", leaseToken: lease.leaseToken });
    });
    expect([lease.fencingToken, (await processes.renewProcessLease(lease, TTL)).ownerId]).toEqual([2, "b"]);
  });

  promise("an unknown process cannot be claimed, and nothing is invented for it (L-10)", async ({ processes }) => {
    await refused(processes.claimProcessLease("p", "a", TTL), "not-found", "unknown process");
    const unknown = {
      schemaVersion: 1,
      processId: "p",
      ownerId: "a",
      leaseToken: "t",
      fencingToken: 1,
      claimedAtMs: 0,
      expiresAtMs: 0,
    } as const;
    await refused(processes.renewProcessLease(unknown, TTL), "lease-lost", "missing or expired");
    await register(processes, "p");
    expect((await processes.claimProcessLease("p", "b", TTL)).fencingToken).toBe(1);
  });

  promise("an ended process cannot be claimed, by its holder neither, and nothing is stored (L-11)", async ({ processes }) => {
    await register(processes, "free", "held");
    const lease = await processes.claimProcessLease("held", "a", TTL);
    for (const id of ["free", "held"]) await processes.completeProcess(id, success(1));
    await changesNothing(processes, async () => {
      for (const [id, owner] of [
        ["free", "a"],
        ["held", "a"],
        ["held", "b"],
      ] as const) {
        await refused(processes.claimProcessLease(id, owner, TTL), "terminal", "already terminal");
      }
    });
    expect((await processes.renewProcessLease(lease, TTL)).fencingToken).toBe(1);
  });

  promise(
    "a lease outlives an end by somebody else: it renews and writes while it is live (L-12)",
    async ({ processes, clock }) => {
      await register(processes, "p");
      const lease = await processes.claimProcessLease("p", "a", TTL);
      await processes.completeProcess("p", success("from outside"));
      expect(await processes.getLease("p")).toEqual(shown(lease));
      await clock.advance(TTL - 1);
      await processes.renewProcessLease(lease, TTL);
      await processes.appendEvent("p", { eventType: "note", payload: "late", lease });
      await refused(processes.completeProcess("p", success("late"), { lease }), "conflict");
      await processes.completeProcessLease(lease);
      expect(await processes.getLease("p")).toBe(undefined);
    },
  );

  promise("of twenty racing owners one wins, on a free and on an expired process (L-13)", async ({ processes, open, clock }) => {
    await register(processes, "p");
    const stores = [processes, ...(await Promise.all(count(3).map(() => open()))).map((kernel) => kernel.processes)];
    for (const fence of [1, 2, 3]) {
      const { values, codes } = await outcomes(
        count(20).map((n) => (stores[n % 4] ?? processes).claimProcessLease("p", `owner ${n}`, TTL)),
      );
      expect(values.map(({ fencingToken }) => fencingToken)).toEqual([fence]);
      expect(codes).toEqual(count(19).map(() => "lease-held"));
      expect(await processes.getLease("p")).toEqual(values.map(shown)[0]);
      await clock.advance(TTL);
    }
  });

  promise("a stalled owner writes nothing once another has claimed (L-14)", async ({ processes, open, clock }) => {
    const other = (await open()).processes;
    await register(processes, "p");
    const stalled = await processes.claimProcessLease("p", "a", TTL);
    await clock.advance(TTL);
    const lease = await other.claimProcessLease("p", "b", TTL);
    await isDead(processes, stalled);
    await other.appendEvent("p", { eventType: "note", payload: "mine", lease });
    await isDead(processes, stalled);
    const record = await other.completeProcess("p", success("mine"), { lease });
    await isDead(processes, stalled);
    expect(await processes.getProcess("p")).toEqual(record);
  });

  promise("a leased completion ends the process and releases, in one write (L-14)", async ({ processes }) => {
    await register(processes, "p");
    const lease = await processes.claimProcessLease("p", "a", TTL);
    const record = await processes.completeProcess("p", success(1), { lease });
    expect(record.status).toEqual({ state: "completed", awaitOutput: success(1) });
    expect(await processes.getLease("p")).toBe(undefined);
    await changesNothing(processes, async () => {
      await refused(processes.renewProcessLease(lease, TTL), "lease-lost", "missing or expired");
      await refused(processes.appendEvent("p", { eventType: "note", payload: 1, lease }), "lease-lost", "missing or expired");
    });
  });

  promise("a renewal that is refused beside other commands is refused as when it is alone", async ({ processes }) => {
    await register(processes, "p", "q");
    const dead = await processes.claimProcessLease("p", "a", TTL);
    await processes.completeProcessLease(dead);
    const live = await processes.claimProcessLease("q", "a", TTL);
    await Promise.all([
      refused(processes.renewProcessLease(dead, TTL), "lease-lost", "missing or expired"),
      processes.renewProcessLease(live, TTL),
      processes.appendEvent("q", { eventType: "note", payload: 1, lease: live }),
      refused(processes.renewProcessLease(dead, TTL), "lease-lost", "missing or expired"),
    ]);
  });

  promise("a refused leased completion keeps the lease (L-14)", async ({ processes }) => {
    await register(processes, "p");
    const lease = await processes.claimProcessLease("p", "a", TTL);
    await refused(processes.completeProcess("p", { type: "success" } as never, { lease }), "invalid", "output");
    await refused(processes.completeProcess("p", success(1), { lease: { ...lease, ownerId: "b" } }), "lease-lost");
    expect(await processes.getLease("p")).toEqual(shown(lease));
  });

  promise(
    "whether a lease is live is judged by the clock of the kernel that is asked (L-15)",
    async ({ processes, open, clock }) => {
      await register(processes, "p");
      const lease = await processes.claimProcessLease("p", "a", TTL);
      const at = async (offset: number) => (await open({ clock: manualClock(clock.now() + offset) })).processes;
      await refused((await at(TTL - 1)).claimProcessLease("p", "b", TTL), "lease-held");
      const behind = await at(-500);
      await refused(behind.claimProcessLease("p", "b", TTL), "lease-held");
      expect((await behind.renewProcessLease(lease, TTL)).expiresAtMs).toBe(clock.now() - 500 + TTL);
      expect((await (await at(TTL - 500)).claimProcessLease("p", "b", TTL)).fencingToken).toBe(2);
    },
  );

  promise("the token is shown to its holder alone (L-5)", async ({ processes }) => {
    await register(processes, "p");
    const lease = await processes.claimProcessLease("p", "a", TTL);
    await processes.appendEvent("p", { eventType: "note", payload: 1, lease });
    const errors = [
      await refusal(processes.claimProcessLease("p", "b", TTL)),
      await refusal(processes.renewProcessLease({ ...lease, ownerId: "b" }, TTL)),
    ];
    const told = errors.map((error) => [(error as Error).message, (error as { details?: unknown }).details]);
    expect(JSON.stringify([told, await readAll(processes)]).includes(lease.leaseToken)).toBe(false);
    expect("leaseToken" in ((await processes.getLease("p")) ?? {})).toBe(false);
  });
}
