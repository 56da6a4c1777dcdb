import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LAST_DATE_MS } from "../../../../src/domain/process/schedule.js";
import { everyFrom, missedIn, onceAt, upTo } from "../../../../src/stores/process/schedules/schedules.rules.js";

describe("The occurrences of everyMs", () => {
  it("begin at the anchor and end with the time of a Date", () => {
    expect(everyFrom(1_000, 10).after(-5)).toBe(1_000);
    expect(everyFrom(1_000, 10).after(999)).toBe(1_000);
    expect(everyFrom(1_000, 10).after(1_000)).toBe(1_010);
    expect(everyFrom(0, LAST_DATE_MS).after(0)).toBe(LAST_DATE_MS);
    expect(everyFrom(1, LAST_DATE_MS).after(1)).toBe(undefined);
  });

  it("agree in after, count and last, also for large numbers", () => {
    const numbers = fc.tuple(
      fc.integer({ min: 0, max: LAST_DATE_MS / 2 }),
      fc.integer({ min: 1, max: 1_000_000 }),
      fc.integer({ min: -30, max: 30 }),
      fc.integer({ min: 0, max: 60 }),
    );
    fc.assert(
      fc.property(numbers, ([anchorMs, everyMs, from, length]) => {
        const all = everyFrom(anchorMs, everyMs);
        const [afterMs, upToMs] = [anchorMs + from * everyMs + 1, anchorMs + (from + length) * everyMs];
        const walked: number[] = [];
        for (let ms = all.after(afterMs); ms !== undefined && ms <= upToMs; ms = all.after(ms)) walked.push(ms);
        expect(all.count(afterMs, upToMs)).toBe(walked.length);
        expect(all.last(100, afterMs, upToMs)).toEqual(walked);
        expect(all.last(3, afterMs, upToMs)).toEqual(walked.slice(-3));
      }),
    );
  });
});

it("No occurrence is later than untilMs, which may have one itself", () => {
  const all = upTo(30, everyFrom(0, 10));
  expect([all.after(15), all.after(20), all.after(30)]).toEqual([20, 30, undefined]);
  expect(all.count(0, 100)).toBe(3);
  expect(all.last(2, 0, 100)).toEqual([20, 30]);
  expect(upTo(4, onceAt(5)).after(0)).toBe(undefined);
});

describe("Missed occurrences (F-28)", () => {
  const all = everyFrom(0, 10);
  it("are run as catchUp says", () => {
    expect(missedIn(all, undefined, [0, 45])).toEqual({ count: 4, catchUpAtMs: 40, leftOut: 0 });
    expect(missedIn(all, "last", [0, 45])).toEqual({ count: 4, catchUpAtMs: 40, leftOut: 0 });
    expect(missedIn(all, "skip", [0, 45])).toEqual({ count: 4, catchUpAtMs: undefined, leftOut: 0 });
    expect(missedIn(all, "all", [0, 45])).toEqual({ count: 4, catchUpAtMs: 10, leftOut: 0 });
    expect(missedIn(all, "all", [0, 1_505])).toEqual({ count: 150, catchUpAtMs: 510, leftOut: 50 });
    expect(missedIn(all, "last", [0, 5])).toEqual({ count: 0, catchUpAtMs: undefined, leftOut: 0 });
  });
});
