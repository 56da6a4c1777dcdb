import { afterEach, describe, expect, it } from "vitest";
import { manualClock } from "../../../../src/adapters/clock-manual.js";
import { HoldfastError } from "../../../../src/domain/errors.js";
import type { ScheduleSpec } from "../../../../src/domain/process/schedule.js";
import type { Kernel } from "../../../../src/kernel/kernel.js";
import type { Row } from "../../../../src/ports/storage.js";
import { SCHEMA } from "../../../../src/stores/schema.js";
import { type Bench, bench, closeBenches } from "../../hosts.js";
import { rounds } from "../../rounds.js";

afterEach(closeBenches);

const start = { name: "work" };
const every = (everyMs: number, more: Partial<ScheduleSpec> = {}): ScheduleSpec => ({
  id: "s",
  when: { everyMs },
  start,
  ...more,
});
const idsOf = async ({ processes }: Kernel) => (await processes.list()).map(({ id }) => id);
const handlers = { work: async () => "done" };
const forever = { work: () => new Promise<void>(() => {}) };

/** What is stored stays; no tab is there for so long. */
async function away({ kernel, probed, clock }: Bench, ms: number, options = {}): Promise<Bench> {
  await kernel.close();
  await clock.advance(ms);
  const opened = await bench(options, { probed, clock });
  await rounds(40);
  return opened;
}

/** Puts what cannot be read in the place of these schedules. */
async function breakRows({ storage }: Bench["probed"], ids: readonly string[]): Promise<void> {
  const rows = await storage.open({
    name: "bench",
    schema: SCHEMA,
    durability: "strict",
    newDatabaseId: "x",
    onState: () => {},
  });
  await rows.transact(["schedules"], "write", async (tx) => {
    for (const id of ids)
      tx.write([{ table: "schedules", put: { ...((await tx.get("schedules", id)) as Row), missed: "many" } }]);
  });
  await rows.close();
}

describe("A schedule", () => {
  it("runs each occurrence as one process whose cause names it, and moves nextAtMs (F-27)", async () => {
    const { kernel, clock } = await bench({ handlers });
    const t0 = clock.now();
    const record = await kernel.schedules.put(every(60_000, { start: { name: "work", input: { page: 1 } } }));
    expect(record).toEqual({
      ...every(60_000, { start: { name: "work", input: { page: 1 } } }),
      nextAtMs: t0 + 60_000,
      paused: false,
      missed: 0,
    });
    await clock.advance(59_999);
    expect(await idsOf(kernel)).toEqual([]);
    await clock.advance(1);
    const id = `s@${t0 + 60_000}`;
    expect(await idsOf(kernel)).toEqual([id]);
    const process = await kernel.processes.getProcess(id);
    expect(process?.provenance.causedBy).toEqual({ type: "host_event", scheduleId: "s", scheduledAtMs: t0 + 60_000 });
    expect(process?.input).toEqual({ type: "task", name: "work", args: { page: 1 } });
    expect(process?.status.state).toBe("completed");
    expect(await kernel.schedules.get("s")).toEqual({
      ...record,
      nextAtMs: t0 + 120_000,
      lastAtMs: t0 + 60_000,
      lastProcessId: id,
    });
    await clock.advance(120_000);
    expect(await idsOf(kernel)).toHaveLength(3);
    expect((await kernel.schedules.get("s"))?.missed).toBe(0);
  });

  it("of cron runs at the local time (F-29)", async () => {
    const { kernel, clock } = await bench({ handlers });
    // 14 November 2023, 22:13:20 UTC.
    const record = await kernel.schedules.put({ id: "s", when: { cron: "14 23 * * *", timeZone: "Europe/Berlin" }, start });
    const atMs = Date.parse("2023-11-14T22:14Z");
    expect(record.nextAtMs).toBe(atMs);
    await clock.advance(atMs - clock.now());
    expect(await idsOf(kernel)).toEqual([`s@${atMs}`]);
    expect((await kernel.schedules.get("s"))?.nextAtMs).toBe(Date.parse("2023-11-15T22:14Z"));
  });

  it("has one process per occurrence, however many tabs look (F-27)", async () => {
    const first = await bench({ handlers: forever });
    const others = await Promise.all(
      Array.from({ length: 19 }, () => bench({ handlers: forever }, { probed: first.probed, clock: first.clock })),
    );
    const t0 = first.clock.now();
    await first.kernel.schedules.put(every(32_000));
    await first.clock.advance(32_000);
    expect(await idsOf(first.kernel)).toEqual([`s@${t0 + 32_000}`]);
    expect((await first.kernel.schedules.get("s"))?.missed).toBe(0);
    expect([first, ...others].flatMap(({ faults }) => faults)).toEqual([]);
  });

  it("is found by another tab when the tab that put it is gone (F-27)", async () => {
    const first = await bench({ handlers });
    const second = await bench({ handlers }, { probed: first.probed, clock: first.clock });
    await first.kernel.schedules.put(every(40_000));
    await first.kernel.close();
    await first.clock.advance(40_000);
    expect(await idsOf(second.kernel)).toHaveLength(1);
  });

  it("starts nothing in a tab whose loop is off, and another tab catches up (F-27)", async () => {
    const off = await bench({ handlers, loop: "off" });
    const t0 = off.clock.now();
    await off.kernel.schedules.put(every(1_000));
    await off.clock.advance(3_500);
    expect(await idsOf(off.kernel)).toEqual([]);
    const on = await bench({ handlers }, { probed: off.probed, clock: off.clock });
    await rounds(40);
    expect(await idsOf(on.kernel)).toEqual([`s@${t0 + 3_000}`]);
  });

  it("is tried again when the storage fails, which is told; nothing is lost (F-27)", async () => {
    const { kernel, clock, probed, faults } = await bench({ handlers });
    const t0 = clock.now();
    await kernel.schedules.put(every(60_000));
    let isBroken = true;
    probed.hooks.open = ({ mode, tables }) => {
      if (isBroken && mode === "write" && tables.includes("schedules") && tables.includes("grants"))
        throw new HoldfastError("write-failed", "no disk");
    };
    await clock.advance(62_000);
    expect(await idsOf(kernel)).toEqual([]);
    expect(faults.map(({ area, code }) => [area, code])).toEqual([["schedules", "write-failed"]]);
    isBroken = false;
    await clock.advance(10_000);
    expect(await idsOf(kernel)).toEqual([`s@${t0 + 60_000}`]);
  });

  it("skips an occurrence whose id another registration has, and tells it (F-27)", async () => {
    const { kernel, clock, faults } = await bench({ handlers });
    const t0 = clock.now();
    await kernel.schedules.put(every(60_000));
    await kernel.processes.registerProcess({ id: `s@${t0 + 60_000}`, input: { type: "external", metadata: null } });
    await clock.advance(120_000);
    expect(await idsOf(kernel)).toEqual([`s@${t0 + 60_000}`, `s@${t0 + 120_000}`]);
    expect((await kernel.processes.getProcess(`s@${t0 + 60_000}`))?.input.type).toBe("external");
    expect(faults.map(({ area, code, processId }) => [area, code, processId])).toEqual([
      ["schedules", "conflict", `s@${t0 + 60_000}`],
    ]);
  });

  it("of one millisecond does not keep the loop busy (F-27)", async () => {
    const { kernel, clock, probed } = await bench({ handlers: forever });
    await kernel.schedules.put(every(1));
    const before = probed.seen.length;
    await clock.advance(2_000);
    expect(await idsOf(kernel)).toHaveLength(1);
    expect(probed.seen.length - before).toBeLessThan(100);
  });

  it("runs within 10 s where the wall clock is set forward (F-27)", async () => {
    const clock = manualClock();
    let aheadMs = 0;
    const { kernel } = await bench({ handlers }, { clock: { ...clock, now: () => clock.now() + aheadMs } });
    const t0 = clock.now();
    await kernel.schedules.put(every(3_600_000));
    await clock.advance(5_000);
    expect(await idsOf(kernel)).toEqual([]);
    aheadMs = 3_600_000;
    await clock.advance(10_000);
    expect(await idsOf(kernel)).toEqual([`s@${t0 + 3_600_000}`]);
  });

  it("that cannot be read is told once, and harms no other (F-27)", async () => {
    const { kernel, clock, probed, faults } = await bench({ handlers });
    const t0 = clock.now();
    await kernel.schedules.put(every(5_000, { id: "a" }));
    await kernel.schedules.put(every(10_000, { id: "b" }));
    await breakRows(probed, ["a"]);
    await clock.advance(40_000);
    expect((await idsOf(kernel)).slice(0, 2)).toEqual([`b@${t0 + 10_000}`, `b@${t0 + 20_000}`]);
    expect(faults.map(({ area, code }) => [area, code])).toEqual([["schedules", "read-failed"]]);
  });

  it("runs beside more broken ones than one look takes (F-27)", async () => {
    const { kernel, clock, probed } = await bench({ handlers });
    const t0 = clock.now();
    const ids = Array.from({ length: 70 }, (_, n) => `a${n}`);
    for (const id of ids) await kernel.schedules.put(every(5_000, { id }));
    await kernel.schedules.put(every(10_000, { id: "b" }));
    await breakRows(probed, ids);
    await clock.advance(20_000);
    expect((await idsOf(kernel))[0]).toBe(`b@${t0 + 10_000}`);
  });

  it("that is not due costs no read (F-27)", async () => {
    const { kernel, clock, probed } = await bench({ handlers, timings: { sweepMs: 30_000 } });
    await kernel.schedules.put(every(3_600_000));
    await clock.advance(1);
    const before = probed.seen.length;
    await clock.advance(9_000);
    expect(probed.seen.slice(before).filter(({ tables }) => tables.includes("schedules"))).toEqual([]);
  });
});

describe("Occurrences that came while no tab was there (F-28)", () => {
  it("run once, the latest one, by default", async () => {
    const first = await bench({ handlers });
    const t0 = first.clock.now();
    await first.kernel.schedules.put(every(10_000));
    const { kernel } = await away(first, 35_000, { handlers });
    expect(await idsOf(kernel)).toEqual([`s@${t0 + 30_000}`]);
    const record = await kernel.schedules.get("s");
    expect([record?.missed, record?.nextAtMs, record?.lastAtMs]).toEqual([3, t0 + 40_000, t0 + 30_000]);
  });

  it("do not run with skip", async () => {
    const first = await bench({ handlers });
    const t0 = first.clock.now();
    await first.kernel.schedules.put(every(10_000, { catchUp: "skip" }));
    const { kernel, clock } = await away(first, 35_000, { handlers });
    expect(await idsOf(kernel)).toEqual([]);
    expect((await kernel.schedules.get("s"))?.missed).toBe(3);
    await clock.advance(5_000);
    expect(await idsOf(kernel)).toEqual([`s@${t0 + 40_000}`]);
  });

  it("run each with all, at most the latest 100, and how many were left out is told", async () => {
    const first = await bench({ handlers });
    const t0 = first.clock.now();
    await first.kernel.schedules.put(every(10_000, { catchUp: "all" }));
    const second = await away(first, 35_000, { handlers });
    expect(await idsOf(second.kernel)).toEqual([1, 2, 3].map((n) => `s@${t0 + n * 10_000}`));
    const third = await away(second, 1_500_000, { handlers });
    await third.clock.advance(5_000);
    expect((await idsOf(third.kernel)).length).toBe(104);
    expect((await third.kernel.schedules.get("s"))?.missed).toBe(153);
    const [fault, ...more] = third.faults;
    expect([fault?.area, fault?.message, more]).toEqual(["schedules", expect.stringContaining("50 missed"), []]);
  });

  it("of a cron are caught up, too", async () => {
    const first = await bench({ handlers });
    await first.kernel.schedules.put({ id: "s", when: { cron: "*/10 * * * *", timeZone: "UTC" }, start });
    // From 22:13:20 to 23:03:20.
    const { kernel } = await away(first, 3_000_000, { handlers });
    expect(await idsOf(kernel)).toEqual([`s@${Date.parse("2023-11-14T23:00Z")}`]);
    expect((await kernel.schedules.get("s"))?.missed).toBe(5);
  });
});

describe("Occurrences that came while a loop was held up (F-28)", () => {
  async function heldUp(forMs: number): Promise<[ids: string[], missed: number | undefined, startMs: number]> {
    const clock = manualClock();
    let aheadMs = 0;
    const { kernel } = await bench({ handlers }, { clock: { ...clock, now: () => clock.now() + aheadMs } });
    const t0 = clock.now();
    await kernel.schedules.put(every(20_000, { catchUp: "skip" }));
    await clock.advance(1);
    aheadMs = forMs;
    await clock.advance(12_000);
    return [await idsOf(kernel), (await kernel.schedules.get("s"))?.missed, t0];
  }

  it("are those of a machine that slept, too (F-28)", async () => {
    const [ids, missed] = await heldUp(125_000);
    expect([ids, missed]).toEqual([[], 6]);
  });

  it("are none while the loop is only throttled (F-28)", async () => {
    const [ids, missed, t0] = await heldUp(25_000);
    expect([ids, missed]).toEqual([[`s@${t0 + 20_000}`], 0]);
  });
});

describe("An occurrence that comes while the last one runs (F-28)", () => {
  it("is let go while the last one is suspended (F-28)", async () => {
    const { kernel, clock, probed } = await bench({ handlers: {} });
    const t0 = clock.now();
    await kernel.schedules.put(every(10_000));
    await clock.advance(10_000);
    const id = `s@${t0 + 10_000}`;
    const rows = await probed.storage.open({
      name: "bench",
      schema: SCHEMA,
      durability: "strict",
      newDatabaseId: "x",
      onState: () => {},
    });
    await rows.transact(["processes"], "write", async (tx) => {
      const { runnable, ...row } = (await tx.get("processes", id)) as Row;
      tx.write([{ table: "processes", put: { ...row, parked: runnable, suspended: 1 } as Row }]);
    });
    await rows.close();
    await clock.advance(10_000);
    expect([await idsOf(kernel), (await kernel.schedules.get("s"))?.missed]).toEqual([[id], 1]);
  });

  it("is let go by default, and counted in missed", async () => {
    const { kernel, clock } = await bench({ handlers: forever });
    const t0 = clock.now();
    await kernel.schedules.put(every(60_000));
    await clock.advance(180_000);
    expect(await idsOf(kernel)).toEqual([`s@${t0 + 60_000}`]);
    const record = await kernel.schedules.get("s");
    expect([record?.missed, record?.nextAtMs, record?.lastAtMs]).toEqual([2, t0 + 240_000, t0 + 60_000]);
  });

  it("runs with allow", async () => {
    const { kernel, clock } = await bench({ handlers: forever });
    await kernel.schedules.put(every(60_000, { overlap: "allow" }));
    await clock.advance(180_000);
    expect(await idsOf(kernel)).toHaveLength(3);
    expect((await kernel.schedules.get("s"))?.missed).toBe(0);
  });
});

describe("A paused schedule", () => {
  it("runs nothing, and goes on after the pause without what fell into it (F-27)", async () => {
    const { kernel, clock } = await bench({ handlers });
    const t0 = clock.now();
    await kernel.schedules.put(every(60_000));
    const paused = await kernel.schedules.pause("s");
    expect([paused.paused, paused.nextAtMs]).toEqual([true, undefined]);
    await clock.advance(150_000);
    expect(await idsOf(kernel)).toEqual([]);
    const resumed = await kernel.schedules.resume("s");
    expect([resumed.paused, resumed.nextAtMs, resumed.missed]).toEqual([false, t0 + 180_000, 0]);
    await clock.advance(30_000);
    expect(await idsOf(kernel)).toEqual([`s@${t0 + 180_000}`]);
  });

  it("starts one process by trigger, which leaves it as it is (F-27)", async () => {
    const { kernel, clock } = await bench({ handlers });
    await kernel.schedules.put(every(60_000));
    const paused = await kernel.schedules.pause("s");
    const handle = await kernel.schedules.trigger("s");
    await clock.advance(1);
    expect(await handle.result()).toBe("done");
    expect(handle.id).toMatch(/^s@[0-9a-f]{8}-/);
    expect((await handle.record())?.provenance.causedBy).toEqual({ type: "host_event", scheduleId: "s" });
    expect(await kernel.schedules.get("s")).toEqual(paused);
  });
});
