import { describe, expect, it } from "vitest";
import {
  beginsToRead,
  foundLease,
  heardOf,
  looked,
  mayBeHeld,
  type Pacing,
  poked,
  startPacing,
  troubled,
  turnStored,
  waitedFor,
  woke,
} from "../../../src/kernel/session/pacing.rules.js";
import type { Change } from "../../../src/ports/notices.js";

const POLL_MS = 5_000;
const RENEW_MS = 10_000;
const TTL_MS = 30_000;
const START = startPacing({ pollMs: POLL_MS, leaseRenewMs: RENEW_MS, leaseTtlMs: TTL_MS });

/** The pacing of a tab that waits until `dueMs`, with `before` tabs that go first. */
const waiting = (dueMs: number, before = 0): Pacing => ({ ...START, dueMs, standing: { before, others: before } });
const looking = (more: Partial<Pacing> = {}): Pacing => ({ ...START, isLooking: true, ...more });

const input = (sequence?: number): Change => ({ about: "input", id: "s", ...(sequence !== undefined && { sequence }) });
const lease = (member?: string, sequence?: number): Change => ({
  about: "lease",
  id: "s",
  ...(member !== undefined && { member }),
  ...(sequence !== undefined && { sequence }),
});
const held = (more: { expired?: boolean; expiresAtMs?: number; token?: string } = {}) =>
  ({ kind: "held", token: "t", expiresAtMs: 0, expired: false, ...more }) as const;

describe("a poke", () => {
  it("begins a look at once", () => {
    const { pacing, lookInMs } = poked(waiting(900), 100);
    expect(lookInMs).toBe(0);
    expect(pacing.isLooking).toBe(true);
  });

  it("while a look is under way is answered by another one at its end, and by one alone", () => {
    const once = poked(looking(), 100);
    expect(once.lookInMs).toBeUndefined();
    const twice = poked(once.pacing, 100);
    const next = looked(twice.pacing, { kind: "idle" }, 200, 0);
    expect(next.lookInMs).toBe(0);
    expect(looked(beginsToRead(next.pacing), { kind: "idle" }, 300, 0).lookInMs).toBe(POLL_MS);
  });

  it("of which the look under way reads is answered by it", () => {
    const { pacing } = poked(looking(), 100);
    expect(looked(beginsToRead(pacing), { kind: "idle" }, 200, 0).lookInMs).toBe(POLL_MS);
  });

  it("waits for the end of the pause after trouble, and not a moment longer", () => {
    const paused = troubled(START, 1_000);
    expect(poked(paused, 1_500).lookInMs).toBe(POLL_MS - 500);
    expect(poked(paused, 1_500).pacing.isLooking).toBe(false);
    expect(poked(paused, 1_000 + POLL_MS).lookInMs).toBe(0);
  });

  it("of this tab's own makes the next look go first, whatever was only heard beside it", () => {
    expect(poked(START, 0, true).pacing.isPolite).toBe(true);
    expect(poked(START, 0).pacing.isPolite).toBe(false);
    expect(poked(poked(START, 0).pacing, 0, true).pacing.isPolite).toBe(false);
    expect(beginsToRead(poked(START, 0).pacing).isPolite).toBe(true);
  });
});

describe("a look that found an input paused (A-18)", () => {
  const paused = (retryAtMs: number) => looked(looking(), { kind: "idle", retryAtMs }, 100, 1_000);

  it("is followed by one at the end of the pause, or by a poll that comes before", () => {
    expect(paused(3_000).lookInMs).toBe(2_000);
    expect(paused(1_000 + POLL_MS + 1).lookInMs).toBe(POLL_MS);
    expect(paused(1_001).lookInMs).toBe(20);
    expect(looked(looking(), { kind: "idle" }, 100, 1_000).lookInMs).toBe(POLL_MS);
  });

  it("wakes every tab at that time, so the tabs before this one go first", () => {
    const { pacing } = paused(3_000);
    expect(woke(pacing, 2_100).pacing.isPolite).toBe(true);
    expect(woke(waiting(2_100), 2_100).pacing.isPolite).toBe(false);
    expect(beginsToRead(pacing).isForRetry).toBe(false);
  });
});

describe("a notice", () => {
  it("of inputs begins a look in the tab that goes first, and in each other one a moment later than in the one before it", () => {
    expect(heardOf(waiting(POLL_MS), 0, [input(1)]).lookInMs).toBe(0);
    expect(heardOf(waiting(POLL_MS, 1), 0, [input(1)]).lookInMs).toBe(25);
    expect(heardOf(waiting(POLL_MS, 3), 0, [input(1)]).lookInMs).toBe(75);
  });

  it("puts off no look that is due before", () => {
    const { pacing, lookInMs } = heardOf(waiting(50, 3), 0, [input(1)]);
    expect(lookInMs).toBeUndefined();
    expect(pacing.dueMs).toBe(50);
  });

  it("of inputs is nothing to a tab that knows another one to hold the lease", () => {
    expect(heardOf({ ...waiting(POLL_MS), isHeldElsewhere: true }, 0, [input(1)]).lookInMs).toBeUndefined();
  });

  it("that the lease is held puts the look off until it may have run out", () => {
    const { pacing, lookInMs } = heardOf(waiting(10), 0, [lease("held")]);
    expect(lookInMs).toBe(POLL_MS);
    expect(pacing.isHeldElsewhere).toBe(true);
    const hasty = startPacing({ pollMs: POLL_MS, leaseRenewMs: 100, leaseTtlMs: 300 });
    expect(heardOf(hasty, 0, [lease("held")]).lookInMs).toBe(300);
  });

  it("that the lease is held is nothing to a look under way, which meets it, or made it", () => {
    const { pacing, lookInMs } = heardOf(looking(), 0, [lease("held")]);
    expect(lookInMs).toBeUndefined();
    expect(pacing).toMatchObject({ isStale: false, isHeldElsewhere: false });
  });

  it("that the lease may be free begins a look at once, also where it is not the last one that was told", () => {
    for (const changes of [[lease()], [lease("ended")], [lease(), lease("held")]])
      expect(heardOf({ ...waiting(POLL_MS, 3), isHeldElsewhere: true }, 0, changes).lookInMs).toBe(0);
  });

  it("that the lease was given back with nothing to do begins a look only where more was heard than its holder knew", () => {
    const before: Pacing = { ...waiting(POLL_MS), isHeldElsewhere: true };
    const told = heardOf(before, 0, [input(7)]).pacing;
    const known = heardOf(told, 0, [lease("idle", 7)]);
    expect(known.lookInMs).toBeUndefined();
    expect(known.pacing.isHeldElsewhere).toBe(false);
    expect(heardOf(told, 0, [lease("idle", 6)]).lookInMs).toBe(0);
    expect(heardOf(before, 0, [input(), lease("idle", 7)]).lookInMs).toBe(0);
    expect(heardOf(before, 0, [lease("idle")]).lookInMs).toBeUndefined();
  });

  it("of inputs counts until the next look reads", () => {
    const told = heardOf({ ...waiting(POLL_MS), isHeldElsewhere: true }, 0, [input(7)]).pacing;
    expect(heardOf(beginsToRead(told), 0, [lease("idle", 1)]).lookInMs).toBeUndefined();
  });

  it("during a look is answered by another one, which lets others go first", () => {
    const { pacing } = heardOf(looking(), 0, [lease("idle", 9)]);
    const next = looked(pacing, { kind: "idle" }, 10, 0);
    expect(next.lookInMs).toBe(0);
    expect(next.pacing.isPolite).toBe(true);
  });
});

describe("the end of a look", () => {
  it("with nothing to do, or with a failure, is followed by the next one a poll later", () => {
    for (const kind of ["idle", "failed"] as const) {
      const { pacing, lookInMs } = looked(looking(), { kind }, 100, 0);
      expect(lookInMs).toBe(POLL_MS);
      expect(pacing).toMatchObject({ isLooking: false, dueMs: 100 + POLL_MS });
    }
  });

  it("that lets others go first gives each of them a moment", () => {
    expect(looked(looking({ standing: { before: 2, others: 4 } }), { kind: "later" }, 0, 0).lookInMs).toBe(50);
  });

  it("at another tab's lease is followed by one when that runs out, or a poll later", () => {
    expect(looked(looking(), held({ expiresAtMs: 1_300 }), 0, 1_000).lookInMs).toBe(300);
    expect(looked(looking(), held({ expiresAtMs: 1_001 }), 0, 1_000).lookInMs).toBe(20);
    expect(looked(looking(), held({ expiresAtMs: 90_000 }), 0, 1_000).lookInMs).toBe(POLL_MS);
  });

  it("after trouble is followed by one when the pause is over", () => {
    expect(looked(troubled(looking(), 0), { kind: "trouble" }, 100, 0).lookInMs).toBe(POLL_MS - 100);
    expect(looked(troubled(looking(), 0), { kind: "trouble" }, POLL_MS + 1, 0).lookInMs).toBe(0);
  });

  it("after trouble, with something heard meanwhile, waits as well", () => {
    const { pacing } = poked(troubled(looking(), 0), 0);
    expect(looked(pacing, { kind: "failed" }, 100, 0).lookInMs).toBe(POLL_MS - 100);
  });
});

describe("trouble", () => {
  it("makes each pause twice as long as the one before, up to 64 polls, until a turn is stored", () => {
    const pauses: number[] = [];
    let pacing = START;
    for (let at = 0; at < 9; at++) {
      pacing = troubled(pacing, 0);
      pauses.push(pacing.notBeforeMs / POLL_MS);
    }
    expect(pauses).toEqual([1, 2, 4, 8, 16, 32, 64, 64, 64]);
    expect(troubled(turnStored(pacing), 0).notBeforeMs).toBe(POLL_MS);
  });
});

describe("an expired lease of a host that lives", () => {
  const expired = (pacing: Pacing, nowMs: number, token = "t") => looked(pacing, held({ expired: true, token }), nowMs, 0).pacing;

  it("is waited for as long as a renewal takes, under one token", () => {
    const first = expired(looking(), 1_000);
    expect(waitedFor(first, 1_000 + RENEW_MS - 1)).toBeUndefined();
    expect(waitedFor(first, 1_000 + RENEW_MS)).toBe("t");
    expect(waitedFor(expired(first, 4_000), 1_000 + RENEW_MS)).toBe("t");
    expect(waitedFor(expired(first, 4_000, "u"), 1_000 + RENEW_MS)).toBeUndefined();
  });

  it("is looked at when that time is over, or a poll later", () => {
    const first = looked(looking(), held({ expired: true }), 0, 0);
    expect(first.lookInMs).toBe(POLL_MS);
    expect(looked(first.pacing, held({ expired: true }), RENEW_MS - 300, 0).lookInMs).toBe(300);
    expect(looked(first.pacing, held({ expired: true }), RENEW_MS + 300, 0).lookInMs).toBe(20);
  });

  it("is waited for again once it was renewed", () => {
    const renewed = looked(expired(looking(), 0), held({ expiresAtMs: 90_000 }), 3_000, 0).pacing;
    expect(waitedFor(renewed, RENEW_MS)).toBeUndefined();
  });

  it("is waited for again after a timer so late that this machine slept, for its holder may have slept too", () => {
    const first = expired(looking(), 0);
    expect(first.dueMs).toBe(POLL_MS);
    expect(waitedFor(woke(first, POLL_MS + RENEW_MS / 2).pacing, RENEW_MS)).toBe("t");
    expect(waitedFor(woke(first, POLL_MS + RENEW_MS / 2 + 1).pacing, 2 * RENEW_MS)).toBeUndefined();
  });
});

it("another tab's lease is read alone where one is known to be held, or other tabs have a handler", () => {
  expect(mayBeHeld(START)).toBe(false);
  expect(mayBeHeld(foundLease(START, true))).toBe(true);
  expect(mayBeHeld(foundLease(foundLease(START, true), false))).toBe(false);
  expect(mayBeHeld({ ...START, standing: { before: 0, others: 1 } })).toBe(true);
});

it("a timer begins a look that goes first: no notice asked for it", () => {
  const { pacing, lookInMs } = woke(waiting(100), 100);
  expect(lookInMs).toBe(0);
  expect(pacing.isPolite).toBe(false);
});
