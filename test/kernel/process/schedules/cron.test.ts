import { describe, expect, it } from "vitest";
import { cron } from "../../../../src/kernel/process/schedules/cron.js";

const MINUTE = 60_000;
const { check, occurrences } = await cron.load();

/** The times after `from`, in UTC. */
function runs(expression: string, timeZone: string, from: string, count: number): string[] {
  const all = occurrences(expression, timeZone);
  const found: string[] = [];
  for (let ms = all.after(Date.parse(from)); ms !== undefined && found.length < count; ms = all.after(ms))
    found.push(new Date(ms).toISOString().slice(0, 16));
  return found;
}

describe("A local time that a clock change skips (F-29)", () => {
  it.each([
    ["30 2 * * *", "Europe/Berlin", "2026-03-28T12:00Z", ["2026-03-29T01:00", "2026-03-30T00:30"]],
    ["30 2 * * *", "America/New_York", "2026-03-07T12:00Z", ["2026-03-08T07:00", "2026-03-09T06:30"]],
    // Half an hour is skipped here.
    ["15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00Z", ["2026-10-03T15:30", "2026-10-04T15:15"]],
    ["*/20 2 * * *", "Europe/Berlin", "2026-03-28T12:00Z", ["2026-03-29T01:00", "2026-03-30T00:00", "2026-03-30T00:20"]],
    ["0 */2 * * *", "Europe/Berlin", "2026-03-28T23:30Z", ["2026-03-29T01:00", "2026-03-29T02:00"]],
    ["15 30 2 29 3 *", "Europe/Berlin", "2026-03-28T12:00Z", ["2026-03-29T01:00", "2027-03-29T00:30"]],
  ])("of %s in %s runs at the next valid one", (expression, timeZone, from, expected) => {
    expect(runs(expression, timeZone, from, expected.length)).toEqual(expected);
  });
});

describe("A local time that a clock change doubles (F-29)", () => {
  it.each([
    ["30 2 * * *", "Europe/Berlin", "2026-10-24T12:00Z", ["2026-10-25T00:30", "2026-10-26T01:30"]],
    ["30 1 * * *", "America/New_York", "2026-10-31T12:00Z", ["2026-11-01T05:30", "2026-11-02T06:30"]],
    ["45 1 * * *", "Australia/Lord_Howe", "2026-04-04T00:00Z", ["2026-04-04T14:45", "2026-04-05T15:15"]],
    ["*/30 2 * * *", "Europe/Berlin", "2026-10-24T12:00Z", ["2026-10-25T00:00", "2026-10-25T00:30", "2026-10-26T01:00"]],
  ])("of %s in %s runs once", (expression, timeZone, from, expected) => {
    expect(runs(expression, timeZone, from, expected.length)).toEqual(expected);
  });

  it("runs once, whenever the first of the two times was", () => {
    for (const now of ["2026-10-25T00:30Z", "2026-10-25T00:45Z", "2026-10-25T01:15Z", "2026-10-25T01:30Z"])
      expect(runs("30 2 * * *", "Europe/Berlin", now, 1)).toEqual(["2026-10-26T01:30"]);
  });
});

it("A cron expression for every hour runs in each hour that passes, also over a clock change (F-29)", () => {
  expect(runs("0 * * * *", "Europe/Berlin", "2026-10-24T23:30Z", 4)).toEqual([
    "2026-10-25T00:00",
    "2026-10-25T01:00",
    "2026-10-25T02:00",
    "2026-10-25T03:00",
  ]);
  expect(runs("30 * * * *", "Europe/Berlin", "2026-03-29T00:00Z", 2)).toEqual(["2026-03-29T00:30", "2026-03-29T01:30"]);
});

describe("A cron expression (F-29)", () => {
  /** The occurrences in three days around a clock change, by the local time of each minute. */
  function byMinute(hours: readonly number[], minutes: readonly number[], timeZone: string, fromMs: number): number[] {
    const clock = new Intl.DateTimeFormat("en-GB", { timeZone, dateStyle: "short", timeStyle: "short" });
    const seen = new Map<string, number>();
    for (let ms = fromMs; ms < fromMs + 3 * 24 * 60 * MINUTE; ms += MINUTE) {
      const local = clock.format(ms);
      if (!seen.has(local)) seen.set(local, ms);
    }
    const found = [...seen].filter(([local]) => {
      const [hour, minute] = (local.split(", ")[1] ?? "").split(":").map(Number);
      return hours.includes(hour ?? -1) && minutes.includes(minute ?? -1);
    });
    return found.map(([, ms]) => ms);
  }

  it.each([
    ["Europe/Berlin", "2026-10-24T00:00Z"],
    ["America/New_York", "2026-10-31T00:00Z"],
    ["Australia/Lord_Howe", "2026-04-03T12:00Z"],
    ["Asia/Tokyo", "2026-04-03T12:00Z"],
  ])("runs at the first of each local time in %s", (timeZone, from) => {
    const fromMs = Date.parse(from);
    const expected = byMinute([0, 1, 2, 3, 12], [0, 10, 20, 30, 40, 50], timeZone, fromMs);
    const all = occurrences("*/10 0-3,12 * * *", timeZone);
    const found: number[] = [];
    for (let ms = all.after(fromMs - 1); ms !== undefined && ms < fromMs + 3 * 24 * 60 * MINUTE; ms = all.after(ms))
      found.push(ms);
    expect(found).toEqual(expected);
    const [first = 0, last = 0] = [found[0], found.at(-1)];
    for (const upToMs of [last, last - 1, first + MINUTE]) {
      const inRange = found.filter((ms) => ms > first && ms <= upToMs);
      expect(all.last(7, first, upToMs)).toEqual(inRange.slice(-7));
      expect(all.count(first, upToMs)).toBe(inRange.length);
    }
  });

  it("counts at most a thousand occurrences", () => {
    expect(occurrences("* * * * * *", "UTC").count(0, 10_000_000_000)).toBe(1_000);
  });

  const zone = "UTC";
  it.each([
    "",
    "* * * *",
    "* * * * * * *",
    "61 * * * *",
    "* 24 * * *",
    "*/0 * * * *",
    "5-1 * * * *",
    "x * * * *",
    "@daily",
    "2026-01-24T00:00:00",
    "0 0 0 13 *",
    "1e1 * * * *",
    "-1 * * * *",
  ])("that is broken is refused: %s", (expression) => {
    expect(() => check(expression, zone, 0)).toThrow(expect.objectContaining({ code: "invalid" }));
    expect(() => check(expression, zone, 0)).toThrow(/^spec\.when\.cron must be/);
  });

  it("without an occurrence is refused", () => {
    expect(() => check("0 0 30 2 *", zone, 0)).toThrow(/^spec\.when\.cron must have an occurrence/);
  });

  it.each(["Nowhere/Town", "+02:00", "Europe", "Europe/Berlin ", "__proto__"])(
    "with the unknown zone %s is refused",
    (timeZone) => {
      expect(() => check("0 0 * * *", timeZone, 0)).toThrow(/^spec\.when\.timeZone must be/);
    },
  );
});
