// Parked processes: no host claims them before they are due, and one does then, whatever the machine's clock does meanwhile.
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { DEFAULT_TIMINGS } from "../../../src/domain/time.js";
import type { ProcessContext } from "../../../src/kernel/process/context/context.js";
import type { Row } from "../../../src/ports/storage.js";
import { rounds } from "../../kernel/rounds.js";
import { buildTown, type Town, type TownHost } from "../town.js";

const { sweepMs } = DEFAULT_TIMINGS;

let town: Town;
/** How far the machine's wall clock was set. */
let setMs: number;
beforeEach(() => {
  town = buildTown();
  setMs = 0;
});
afterEach(() => town.close());

const wallMs = () => town.clock.now() + setMs;

/** A host whose wall clock can be set; the log holds which runs began, and when. */
async function host(name: string, log: string[], options: Parameters<Town["host"]>[1] = {}): Promise<TownHost> {
  const job = ({ record }: ProcessContext) => void log.push(`${record.id} on ${name}`);
  const { monotonicMs, setTimer } = town.clock;
  return await town.host(name, { clock: { now: wallMs, monotonicMs, setTimer }, handlers: { job }, ...options });
}

const processRow = async (processId: string) => (await town.rows("processes")).find((row) => row.processId === processId) as Row;
const reads = ({ probed }: TownHost) => probed.seen.filter(({ mode }) => mode === "read").length;

describe("a timer of a machine whose clock is set (F-22)", () => {
  const dueIn = 3_600_000;

  /** A run that sleeps, in memory or suspended; the log holds when it woke. */
  async function sleeper(suspendAfterMs: number): Promise<{ woke: number[]; dueAtMs: number; host: TownHost }> {
    const woke: number[] = [];
    const a = await host("a", [], {
      handlers: {
        nap: async ({ sleep }: ProcessContext) => {
          await sleep("s", dueIn);
          woke.push(wallMs());
        },
      },
      timings: { suspendAfterMs },
    });
    await a.kernel.start("nap", { id: "p" });
    await rounds(20);
    const dueAtMs = wallMs() + dueIn;
    await town.clock.advance(2_000);
    expect((await a.kernel.processes.getProcess("p"))?.suspended).toBe(suspendAfterMs === 0 ? true : undefined);
    return { woke, dueAtMs, host: a };
  }

  for (const [what, suspendAfterMs] of [
    ["in memory", Number.POSITIVE_INFINITY],
    ["suspended", 0],
  ] as const) {
    it(`${what}: set forward past it, it fires within a second, once`, async () => {
      const { woke, host: a } = await sleeper(suspendAfterMs);
      setMs = dueIn;
      await town.clock.advance(1_000);
      await rounds(20);
      expect(woke).toHaveLength(1);
      setMs = 0;
      await town.clock.advance(60_000);
      expect(woke).toHaveLength(1);
      expect((await a.kernel.processes.getProcess("p"))?.status.state).toBe("completed");
    });

    it(`${what}: set back, it fires no earlier by that clock, and is not lost`, async () => {
      const { woke, dueAtMs } = await sleeper(suspendAfterMs);
      setMs = 30_000 - dueIn;
      town.clock.sleep(dueIn - 10_000);
      await town.clock.wake();
      await rounds(20);
      expect(woke).toEqual([]);
      // By the clock that was set back, as much is left as it was set back by, less what passed.
      town.clock.sleep(dueAtMs - wallMs() - 1_000);
      await town.clock.wake();
      await rounds(20);
      expect(woke).toEqual([]);
      await town.clock.advance(2_000);
      await rounds(20);
      expect(woke.map((atMs) => atMs >= dueAtMs && atMs <= dueAtMs + 1_000)).toEqual([true]);
    });

    it(`${what}: it fires once when the machine wakes after it`, async () => {
      const { woke } = await sleeper(suspendAfterMs);
      town.clock.sleep(10 * dueIn);
      await town.clock.wake();
      await town.clock.advance(3_000);
      await rounds(20);
      expect(woke).toHaveLength(1);
    });
  }
});

describe("a process with startAtMs", () => {
  it("is not claimed before, and is then, by the host that started it (F-10)", async () => {
    const log: string[] = [];
    const a = await host("a", log);
    const startAtMs = wallMs() + 90_000;
    const handle = await a.kernel.start("job", { id: "p", startAtMs });
    expect(await handle.record()).toMatchObject({ startAtMs, status: { state: "running" } });
    await town.clock.advance(89_999);
    expect(log).toEqual([]);
    await town.clock.advance(1);
    await rounds();
    expect(log).toEqual(["p on a"]);
    expect(await handle.record()).toMatchObject({ startAtMs, status: { state: "completed" } });
  });

  it("is run by another host when its own is gone, told by no notice but its start (F-10)", async () => {
    const log: string[] = [];
    const b = await host("b", log);
    const a = await host("a", log, { handlers: {} });
    await a.kernel.start("job", { id: "p", startAtMs: wallMs() + 10_500 });
    await a.kernel.close();
    await town.clock.advance(1_000);
    const before = reads(b);
    await town.clock.advance(8_000);
    expect(reads(b)).toBe(before);
    await town.clock.advance(1_500);
    await rounds();
    expect(log).toEqual(["p on b"]);
  });

  it("is run by a host that came after its start, and heard of nothing (F-10)", async () => {
    const log: string[] = [];
    const a = await host("a", log, { loop: "off" });
    await a.kernel.start("job", { id: "p", startAtMs: wallMs() + 45_000 });
    await host("b", log);
    await town.clock.advance(44_999);
    expect(log).toEqual([]);
    await town.clock.advance(1);
    await rounds();
    expect(log).toEqual(["p on b"]);
  });

  it("whose notice is lost is found by the sweep (F-10)", async () => {
    const log: string[] = [];
    const b = await host("b", log, { channel: false });
    const a = await host("a", log, { loop: "off" });
    await town.clock.advance(1);
    await a.kernel.start("job", { id: "p", startAtMs: wallMs() + sweepMs + 7_000 });
    await town.clock.advance(sweepMs + 6_999);
    expect(log).toEqual([]);
    await town.clock.advance(1);
    await rounds();
    expect(log).toEqual(["p on b"]);
    await b.kernel.close();
  });

  it("is run by one host alone, of several that wake for it (F-10)", async () => {
    const log: string[] = [];
    const a = await host("a", log);
    await host("b", log);
    await host("c", log);
    await a.kernel.start("job", { id: "p", startAtMs: wallMs() + 5_000 });
    await town.clock.advance(60_000);
    expect(log).toHaveLength(1);
  });

  it("runs within a second after the clock was set past it, and not before it where the clock was set back (F-10, F-22)", async () => {
    const log: string[] = [];
    const a = await host("a", log);
    await a.kernel.start("job", { id: "p", startAtMs: wallMs() + 3_600_000 });
    await town.clock.advance(2_500);
    setMs = 3_600_000;
    await town.clock.advance(1_000);
    expect(log).toEqual(["p on a"]);

    await a.kernel.start("job", { id: "q", startAtMs: wallMs() + 20_000 });
    await town.clock.advance(15_000);
    setMs -= 60_000;
    await town.clock.advance(64_000);
    expect(log).toEqual(["p on a"]);
    await town.clock.advance(1_000);
    await rounds();
    expect(log).toEqual(["p on a", "q on a"]);
  });

  it("runs when the machine wakes from a sleep past it (F-10, F-22)", async () => {
    const log: string[] = [];
    const a = await host("a", log);
    await a.kernel.start("job", { id: "p", startAtMs: wallMs() + 7_200_000 });
    await town.clock.advance(1_000);
    town.clock.sleep(36_000_000);
    await town.clock.wake();
    await rounds();
    expect(log).toEqual(["p on a"]);
  });

  it("waits for a slot like any other once it is due (F-10)", async () => {
    const log: string[] = [];
    const order: string[] = [];
    const job = async ({ record }: ProcessContext) => {
      order.push(record.id);
      await new Promise<void>((resolve) => town.clock.setTimer(resolve, 10_000));
    };
    const a = await host("a", log, { concurrency: 1, handlers: { job } });
    for (const id of ["p", "q", "r"]) await a.kernel.start("job", { id, startAtMs: wallMs() + 1_000 });
    await town.clock.advance(1_000);
    await rounds();
    expect(order).toHaveLength(1);
    await town.clock.advance(30_000);
    expect(order.sort()).toEqual(["p", "q", "r"]);
  });

  it("of which more are due than one search takes, all run (F-10)", async () => {
    const log: string[] = [];
    const a = await host("a", log);
    await a.kernel.start("job", { id: "p", startAtMs: wallMs() + 1_000 });
    const [row, registration] = [await processRow("p"), (await town.rows("registrations"))[0] as Row];
    for (let n = 0; n < 300; n++) {
      await town.put("processes", { ...row, processId: `p${n}` });
      await town.put("registrations", { ...registration, processId: `p${n}` });
    }
    await town.clock.advance(10_000);
    expect(new Set(log).size).toBe(301);
  });

  it("in the past starts at once (F-10)", async () => {
    const log: string[] = [];
    const a = await host("a", log);
    const handle = await a.kernel.start("job", { id: "p", startAtMs: wallMs() - 1 });
    await rounds();
    expect(log).toEqual(["p on a"]);
    expect(await handle.record()).toMatchObject({ startAtMs: wallMs() - 1 });
  });

  it("is told of when it is due and no host has its handler, and not before (F-10)", async () => {
    const log: string[] = [];
    const a = await host("a", log);
    await a.kernel.start("missing", { id: "p", startAtMs: wallMs() + 10 * sweepMs });
    const told = () => a.faults.filter(({ area }) => area === "handlers").map(({ processId }) => processId);
    await town.clock.advance(9 * sweepMs);
    expect(told()).toEqual([]);
    expect(a.sweeps.flatMap(({ skipped }) => skipped)).toEqual([]);
    await town.clock.advance(3 * sweepMs);
    expect(told()).toEqual(["p"]);
  });
});
