import { describe, expect, it } from "vitest";
import { isAhead, isSilent, moved, needsWrite, over, seen } from "../../../src/stores/host/hosts.rules.js";
import type { Host } from "../../../src/stores/host/leases.rules.js";
import type { HostRow } from "../../../src/stores/host/tables.js";

const HOST: Host = { hostId: "h", bootId: "b", locked: true };
const ROW: HostRow = { v: 1, bootId: "b", hostId: "h", lastSeenAtMs: 1_000, locked: 1 };

describe("a beat writes the row", () => {
  const at = (nowMs: number, row: HostRow | undefined = ROW, more: { fast?: boolean; host?: Host } = {}) =>
    needsWrite(row, more.host ?? HOST, { nowMs, flushMs: 60, fast: more.fast ?? true });

  it("at the flush interval, and not a millisecond before it (V-22, V-23)", () => {
    expect([1_000, 1_059, 1_060].map((nowMs) => at(nowMs))).toEqual([false, false, true]);
  });

  it("always where there is no fast record (V-21)", () => expect(at(1_000, ROW, { fast: false })).toBe(true));

  it("where there is none (V-29)", () =>
    expect(needsWrite(undefined, HOST, { nowMs: 1_000, flushMs: 60, fast: true })).toBe(true));

  it.each(["silent", "crashed"] as const)("where it was given up as %s (V-24)", (end) =>
    expect(at(1_000, over(ROW, end, 900))).toBe(true),
  );

  it("when its lock was granted or lost since", () => {
    const { locked: _, ...unlocked } = ROW;
    expect(at(1_000, unlocked)).toBe(true);
    expect(at(1_000, ROW, { host: { ...HOST, locked: false } })).toBe(true);
    expect(at(1_000, unlocked, { host: { ...HOST, locked: false } })).toBe(false);
  });

  it("where it does not say which handlers its host has (A-22)", () => {
    const host = { ...HOST, handlers: ["job"] };
    expect(at(1_000, ROW, { host })).toBe(true);
    expect(at(1_000, { ...ROW, handlers: ["job"] }, { host })).toBe(false);
  });

  it("from the future, because the clock went back", () => expect(at(999)).toBe(true));
});

describe("a host's row", () => {
  it("says which handlers its host has (A-22)", () => {
    expect(seen(undefined, { ...HOST, handlers: ["job"] }, 5_000).handlers).toEqual(["job"]);
  });

  it("after a beat is seen now, by the clock as it is, also when that went back", () => {
    expect(seen(undefined, HOST, 5_000)).toEqual({ ...ROW, lastSeenAtMs: 5_000 });
    expect(seen(ROW, HOST, 10)).toEqual({ ...ROW, lastSeenAtMs: 10 });
  });

  it.each(["silent", "crashed", "left"] as const)("that was given up as %s is one revival more after a beat (V-28)", (end) => {
    const once = seen(over(ROW, end, 900), HOST, 2_000);
    expect(once).toEqual({ ...ROW, lastSeenAtMs: 2_000, revivals: 1 });
    expect(seen(over(once, end, 2_500), HOST, 3_000)).toMatchObject({ revivals: 2 });
    expect(seen(once, HOST, 3_000)).toMatchObject({ revivals: 1 });
  });

  it("keeps the count of its moves through beats, ends and returns", () => {
    const row = moved(moved(ROW));
    expect(row.moves).toBe(2);
    expect(seen(row, HOST, 2_000).moves).toBe(2);
    expect(seen(over(row, "silent", 2_000), HOST, 3_000).moves).toBe(2);
  });

  it("that is over keeps its last seen, and its lock only while it is silent", () => {
    expect(over(ROW, "silent", 2_000)).toEqual({ ...ROW, end: "silent", endedAtMs: 2_000 });
    const { locked: _, ...unlocked } = ROW;
    expect(over(ROW, "crashed", 2_000)).toEqual({ ...unlocked, end: "crashed", endedAtMs: 2_000 });
    expect(over(ROW, "left", 2_000)).toEqual({ ...unlocked, end: "left", endedAtMs: 2_000 });
  });
});

describe("silence", () => {
  const silence = { asOfMs: 1_000, staleAfterMs: 150, aheadMs: 15 };

  it("begins at the very threshold (V-70)", () => {
    expect([850, 851, 1_000].map((lastSeenAtMs) => isSilent(lastSeenAtMs, silence))).toEqual([true, false, false]);
  });

  it("of a row from the future is none; it is ahead by more than a heartbeat", () => {
    expect([1_015, 1_016].map((lastSeenAtMs) => isAhead(lastSeenAtMs, silence))).toEqual([false, true]);
    expect(isSilent(1_016, silence)).toBe(false);
  });
});
