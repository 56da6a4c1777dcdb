import { describe, expect, it } from "vitest";
import { HoldfastError } from "../../../src/domain/errors.js";
import { type Claim, grant, leaseOf, type PreviousOwner, renewed } from "../../../src/stores/host/claims.rules.js";
import {
  attemptsOf,
  awoken,
  fence,
  type HeldLeaseRow,
  isLive,
  leaseChange,
  released,
} from "../../../src/stores/host/leases.rules.js";
import type { LeaseRow } from "../../../src/stores/host/tables.js";

const T = 1_000_000;
const TTL = 30_000;
const held: HeldLeaseRow = {
  v: 1,
  resource: "p",
  fencingToken: 4,
  claimedAtMs: T - TTL,
  expiresAtMs: T,
  ownerId: "one",
  leaseToken: "token.4",
  fruitless: 2,
};
const claim: Claim = { resource: "p", ownerId: "two", ttlMs: TTL, nonce: "nonce" };
const nothing: PreviousOwner = { farewell: false };

const granted = (
  row: LeaseRow | undefined,
  by: Partial<Claim> = {},
  previous: PreviousOwner = nothing,
  nowMs = T,
): HeldLeaseRow => {
  const made = grant(row, { ...claim, ...by }, previous, nowMs);
  if (made instanceof HoldfastError) throw made;
  return made;
};

describe("a lease is live", () => {
  it.each([
    ["before its expiry", T - 1, true],
    ["not at its expiry", T, false],
    ["not after it", T + 1, false],
  ])("%s", (_, nowMs, live) => {
    expect(isLive(held, nowMs)).toBe(live);
  });

  it("never without a token, and never where there is none", () => {
    expect(isLive(released({ ...held, expiresAtMs: T + TTL }, true), 0)).toBe(false);
    expect(isLive(undefined, 0)).toBe(false);
  });
});

describe("a lease whose handler does nothing but wait", () => {
  const row: HeldLeaseRow = { ...held, waiting: 1 };
  const { waiting: _, ...awake } = row;

  it("is marked by the renewal that finds it so, and no more by the next that does not (A-33)", () => {
    expect(renewed(held, TTL, T, true)).toEqual({ ...row, expiresAtMs: T + TTL });
    expect(renewed(row, TTL, T, false)).toEqual({ ...held, expiresAtMs: T + TTL });
  });

  it("stays as it is by a renewal that does not know (A-33)", () => {
    expect([renewed(row, TTL, T), renewed(held, TTL, T)].map(({ waiting }) => waiting)).toEqual([1, undefined]);
  });

  it("is marked no more by the next fenced write (A-33)", () => {
    expect(awoken(row)).toEqual([{ table: "leases", put: awake }]);
    expect([awoken(held), awoken(undefined)]).toEqual([[], []]);
  });

  it("uses up no attempt when its owner dies, freed or run out, and the next grant is not marked (A-33)", () => {
    for (const left of [row, released(row, false)]) {
      const next = granted(left);
      expect([next.fruitless, next.waiting, next.endedInOrder]).toEqual([2, undefined, undefined]);
    }
    expect(granted(released(held, false)).fruitless).toBe(3);
  });
});

describe("a claim", () => {
  it("of what was never claimed gets fence 1", () => {
    expect(granted(undefined)).toEqual({
      v: 1,
      resource: "p",
      fencingToken: 1,
      attempts: 1,
      claimedAtMs: T,
      expiresAtMs: T + TTL,
      ownerId: "two",
      leaseToken: "nonce.1",
      fruitless: 0,
    });
  });

  it("of what has no row any more gets the first fence above the floor, and counts its attempts anew", () => {
    const made = granted(undefined, {}, { ...nothing, floor: 7 });
    expect(made).toMatchObject({ fencingToken: 8, attempts: 1, leaseToken: "nonce.8", fruitless: 0 });
    expect(granted(made, { ownerId: "three" }, nothing, T + TTL)).toMatchObject({ fencingToken: 9, attempts: 2 });
  });

  it("counts attempts by the fence where the row is older than that column, also over a release", () => {
    expect(attemptsOf(held)).toBe(4);
    expect(granted(held)).toMatchObject({ fencingToken: 5, attempts: 5 });
    expect(granted(released(held, true))).toMatchObject({ fencingToken: 5, attempts: 5 });
  });

  it("keeps the count of attempts over a release and a renewal", () => {
    const made = granted(undefined, {}, { ...nothing, floor: 7 });
    expect([released(made, true).attempts, renewed(made, TTL, T).attempts]).toEqual([1, 1]);
  });

  it("is refused while another's lease is live, and the error names owner and expiry", () => {
    expect(() => granted(held, {}, nothing, T - 1)).toThrow(
      expect.objectContaining({
        code: "lease-held",
        message: expect.stringContaining("already leased by `one` until 1000000"),
        details: { ownerId: "one", expiresAtMs: T },
      }),
    );
  });

  it("does not tell the holder's token", () => {
    const refused = grant(held, claim, nothing, T - 1);
    expect(JSON.stringify([refused, (refused as HoldfastError).message])).not.toContain("token.4");
  });

  it.each([
    ["of an expired lease", held, {}, T],
    ["of a released lease", released(held, true), {}, T - 1],
    ["of the owner's own live lease", held, { ownerId: "one" }, T - 1],
  ])("%s raises the fence and makes a new token", (_, row, by, nowMs) => {
    expect(granted(row, by, nothing, nowMs)).toMatchObject({
      fencingToken: 5,
      leaseToken: "nonce.5",
      claimedAtMs: nowMs,
      expiresAtMs: nowMs + TTL,
    });
  });

  it("of no time to live is granted and at once not live", () => {
    const row = granted(undefined, { ttlMs: 0 });
    expect(row.expiresAtMs).toBe(T);
    expect(isLive(row, T)).toBe(false);
  });

  it("of a runner tells its host, and whether it holds its lock", () => {
    const host = { hostId: "h", bootId: "b", locked: true };
    expect(granted(undefined, { host })).toMatchObject({ hostId: "h", bootId: "b", locked: 1 });
    expect(granted(undefined, { host: { ...host, locked: false } })).not.toHaveProperty("locked");
  });

  it("forgets the host and the end of the owner before it", () => {
    const made = granted({ ...held, hostId: "h", bootId: "b", locked: 1, endedInOrder: 1 });
    for (const column of ["hostId", "bootId", "locked", "endedInOrder"]) expect(made).not.toHaveProperty(column);
  });
});

describe("the claims in a row that led nowhere", () => {
  const inOrder = released(held, true);
  const freed = released(held, false);
  it.each<[string, LeaseRow | undefined, Partial<Claim>, PreviousOwner, number]>([
    ["are none at the first claim", undefined, {}, nothing, 0],
    ["are none at the first claim, whatever was stored before", undefined, {}, { farewell: true, progressFence: 9 }, 0],
    ["grow when the lease ran out and nothing was stored", held, {}, nothing, 3],
    ["grow when a dead host's lease was freed", freed, {}, nothing, 3],
    ["grow when what was stored is an earlier owner's", held, {}, { farewell: false, progressFence: 3 }, 3],
    ["are none after an owner that stored an event", held, {}, { farewell: false, progressFence: 4 }, 0],
    ["are none after an owner that stored an event and died", freed, {}, { farewell: false, progressFence: 4 }, 0],
    ["are none after an owner that stored an event and ended in order", inOrder, {}, { farewell: false, progressFence: 4 }, 0],
    ["stay after an end in order", inOrder, {}, nothing, 2],
    ["stay after an end in order under an earlier owner's progress", inOrder, {}, { farewell: false, progressFence: 3 }, 2],
    ["stay after a farewell", held, {}, { farewell: true }, 2],
    ["stay when the owner claims its own expired lease again", held, { ownerId: "one" }, nothing, 2],
    [
      "are none when the owner that stored an event claims again",
      held,
      { ownerId: "one" },
      { farewell: false, progressFence: 4 },
      0,
    ],
  ])("%s", (_, row, by, previous, expected) => {
    expect(granted(row, by, previous).fruitless).toBe(expected);
  });

  it("stay when the owner claims its own live lease again", () => {
    expect(granted(held, { ownerId: "one" }, nothing, T - 1).fruitless).toBe(2);
  });

  it("are kept by renewal and release", () => {
    expect(renewed(held, TTL, T).fruitless).toBe(2);
    expect(inOrder.fruitless).toBe(2);
    expect(freed.fruitless).toBe(2);
  });
});

describe("the fence", () => {
  const lease = leaseOf(held);

  it("lets the live lease through, also at its last millisecond", () => {
    expect(fence(held, lease, T - 1)).toBe(held);
  });

  it("does not ask the times of the presented lease", () => {
    expect(fence(held, { ...lease, claimedAtMs: 0, expiresAtMs: 0 }, T - 1)).toBe(held);
    expect(fence(held, { ...lease, expiresAtMs: T + TTL }, T)).toMatchObject({ code: "lease-lost" });
  });

  it.each<[string, LeaseRow | undefined, Partial<typeof lease>, number]>([
    ["that expired", held, {}, T],
    ["that was never stored", undefined, {}, T - 1],
    ["that was released", released(held, true), {}, T - 1],
    ["with another token", held, { leaseToken: "token.5" }, T - 1],
    ["with another fence", held, { fencingToken: 5 }, T - 1],
    ["of another owner", held, { ownerId: "two" }, T - 1],
    ["of before a claim by the same owner", granted(held, { ownerId: "one" }, nothing, T - 1), {}, T - 1],
  ])("refuses a lease %s", (_, row, edited, nowMs) => {
    expect(fence(row, { ...lease, ...edited }, nowMs)).toMatchObject({
      code: "lease-lost",
      message: expect.stringContaining("missing or expired"),
      details: { processId: "p" },
    });
  });
});

describe("renewal and release", () => {
  it("changes the expiry alone, and may shorten it", () => {
    expect(renewed(held, 5, T - 100)).toEqual({ ...held, expiresAtMs: T - 95 });
  });

  it("keeps the fence and leaves nothing of the owner", () => {
    const full = { ...held, hostId: "h", bootId: "b", locked: 1 as const };
    const bare = { v: 1, resource: "p", fencingToken: 4, attempts: 4, claimedAtMs: 0, expiresAtMs: 0, fruitless: 2 };
    expect(released(full, false)).toEqual(bare);
    expect(released(full, true)).toEqual({ ...bare, endedInOrder: 1 });
  });

  it("shows the holder nothing of the bookkeeping", () => {
    expect(leaseOf({ ...held, hostId: "h", bootId: "b", locked: 1 })).toEqual({
      schemaVersion: 1,
      processId: "p",
      ownerId: "one",
      leaseToken: "token.4",
      fencingToken: 4,
      claimedAtMs: T - TTL,
      expiresAtMs: T,
    });
  });
});

it("a change of a lease is told by its resource", () => {
  expect(leaseChange("p")).toEqual({ about: "lease", id: "p" });
});
