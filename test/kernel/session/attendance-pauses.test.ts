// Sessions whose turn failed and is tried again later, in tabs that never opened them: when they look, and what it costs.
import { IDBFactory, IDBKeyRange } from "fake-indexeddb";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { indexedDbStorage } from "../../../src/adapters/storage-indexeddb.js";
import { memoryStorage } from "../../../src/adapters/storage-memory.js";
import { comes } from "../../../src/conformance/session/session.fixture.js";
import { DEFAULT_TIMINGS } from "../../../src/domain/time.js";
import type { RetryPolicy, Turn } from "../../../src/index.js";
// Loading takes time that no clock of a town knows of.
import "../../../src/kernel/session/attendance/attendant.js";
import { lazyParts } from "../../../src/kernel/lazy-parts.js";
import type { KernelOptions } from "../../../src/kernel/options.js";
import type { KernelStorage } from "../../../src/ports/storage.js";
import { buildTown, type Town, type TownHost } from "../../loop/town.js";
import { rounds } from "../rounds.js";
import { event, prompt, rowsOf } from "./tabs.js";

const { pollMs } = DEFAULT_TIMINGS;
/** In this time a tab has seen a notice, and has acted on it. */
const SOON_MS = 400;
const PAUSE_MS = 6 * pollMs;
const POLICY: RetryPolicy = { attempts: 3, backoffMs: PAUSE_MS, factor: 1, maxBackoffMs: PAUSE_MS, jitter: 0 };

const PLACES: Readonly<Record<string, () => KernelStorage>> = {
  memory: memoryStorage,
  "fake-indexeddb": () => indexedDbStorage({ indexedDB: new IDBFactory(), IDBKeyRange }),
};

describe.each(Object.entries(PLACES))("a paused session that no code has open, in %s (A-17, A-18)", (_, place) => {
  let town: Town;
  let rows: ReturnType<typeof rowsOf>;
  let log: string[];

  beforeEach(async () => {
    town = buildTown(place());
    rows = rowsOf(town);
    log = [];
    await Promise.all([lazyParts.attendant.load(), lazyParts.turns.load()]);
  });
  afterEach(() => town.close());

  /** A tab with `turns`, which fail the first attempt at an input whose id begins with "bad". */
  const tab = (name: string): Promise<TownHost> => {
    const turns: KernelOptions["turns"] = async ({ attempt, inputs }: Turn) => {
      const [{ inputId = "" } = {}] = inputs;
      log.push(`${inputId} ${attempt}`);
      if (inputId.startsWith("bad") && attempt === 1) throw new Error("no");
    };
    return town.host(name, { turns, turnRetry: POLICY });
  };

  /** Time goes by, a poll at a time, and then all is done that is to be done at that time. */
  async function pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= pollMs) {
      await town.clock.advance(Math.min(pollMs, left));
      await rounds();
    }
  }

  /** A short time, in which one thing after another is done. */
  async function soon(): Promise<void> {
    for (let moment = 0; moment < 4; moment++) await pass(SOON_MS / 4);
  }

  /** A tab that runs no turns has submitted these, and three tabs know that the first attempt of the first one failed. */
  async function pauses(...inputs: ReturnType<typeof prompt>[]): Promise<TownHost[]> {
    const off = await town.host("off", { loop: "off" });
    const session = await off.kernel.session("s");
    const tabs = [await tab("a"), await tab("b"), await tab("c")];
    await soon();
    for (const input of inputs) await session.submit(input);
    const [first] = inputs;
    await comes(async () => {
      await pass(100);
      return (await rows.record(first?.inputId ?? "")).retryAtMs !== undefined;
    }, "the failure");
    await soon();
    return [off, ...tabs];
  }

  const openings = (hosts: readonly TownHost[]) => hosts.reduce((sum, { probed }) => sum + probed.puts("attachments").length, 0);
  const retryAt = async (inputId = "bad") => (await rows.record(inputId)).retryAtMs ?? 0;
  const left = async () => (await retryAt()) - town.clock.now();

  it("is due at the end of the pause, which the failing write says", async () => {
    await pauses(prompt("bad"));
    const { due, dueAtMs } = await rows.runtime();
    expect([due, dueAtMs]).toEqual(["waiting", await retryAt()]);
  });

  it("is visited by no tab before its pause is over, and each poll reads one row of it", async () => {
    const [, ...tabs] = await pauses(prompt("bad"));
    const before = openings(tabs);
    const reads = tabs.map(({ probed }) => probed.seen.length);
    await pass(4 * pollMs);
    expect([log, openings(tabs) - before]).toEqual([["bad 1"], 0]);
    for (const [at, { probed }] of tabs.entries()) {
      const looks = probed.seen.slice(reads[at]).filter(({ tables }) => tables.includes("runtimes"));
      expect(looks.every(({ mode, gets, rows: found }) => mode === "read" && gets.length === 0 && found === 1)).toBe(true);
      expect(looks.length).toBeLessThanOrEqual(5);
    }
  });

  it("is gone on with when its pause is over, by one tab, even if its first tab died", async () => {
    const [, ...tabs] = await pauses(prompt("bad"));
    const first = tabs.find(({ probed }) => probed.puts("receipts").length + probed.puts("attachments").length > 0);
    first?.die();
    const others = tabs.filter((each) => each !== first);
    const before = openings(others);
    await pass((await left()) - 1);
    expect([log, openings(others) - before]).toEqual([["bad 1"], 0]);
    await soon();
    expect([log, await rows.phase("bad")]).toEqual([["bad 1", "bad 2"], "consumed"]);
    expect(await rows.counts("bad")).toEqual({ attemptCount: 2, recoveryCount: 0 });
  });

  it("is gone on with at the next poll by a tab that is there only since its pause began", async () => {
    const tabs = await pauses(prompt("bad"));
    for (const { kernel } of tabs) await kernel.close();
    const late = await tab("late");
    await pass((await left()) - 1);
    expect([log, openings([late])]).toEqual([["bad 1"], 0]);
    await soon();
    expect([log, await rows.phase("bad")]).toEqual([["bad 1", "bad 2"], "consumed"]);
  });

  it("is visited once more when more is submitted behind what is paused, and then not before its end", async () => {
    const [off, ...tabs] = await pauses(prompt("bad"), prompt("p"));
    const before = openings(tabs);
    await pass(2 * pollMs);
    expect([log, openings(tabs) - before]).toEqual([["bad 1"], 0]);
    expect((await rows.runtime()).dueAtMs).toBe(await retryAt());
    await (await off?.kernel.session("s"))?.submit(prompt("q"));
    await soon();
    const visits = openings(tabs) - before;
    expect(visits).toBeGreaterThan(0);
    expect((await rows.runtime()).dueAtMs).toBe(await retryAt());
    await pass(2 * pollMs);
    expect([log, openings(tabs) - before]).toEqual([["bad 1"], visits]);
    await pass(await left());
    await soon();
    expect(log).toEqual(["bad 1", "bad 2", "p 1", "q 1"]);
  });

  it("runs at once what is submitted to its steer lane, and pauses again", async () => {
    const [off, ...tabs] = await pauses(prompt("bad"));
    await (await off?.kernel.session("s"))?.submit(event("now", { handlingMode: "steer" }));
    await soon();
    expect([log, await rows.phase("now")]).toEqual([["bad 1", "now 1"], "consumed"]);
    const before = openings(tabs);
    await pass(2 * pollMs);
    expect([openings(tabs) - before, (await rows.runtime()).dueAtMs]).toEqual([0, await retryAt()]);
  });

  it("runs at once what waits behind the paused input when that is cancelled", async () => {
    const [off] = await pauses(prompt("bad"), prompt("p"));
    await (await off?.kernel.session("s"))?.cancel("bad");
    await soon();
    expect([log, await rows.phase("bad"), await rows.phase("p")]).toEqual([["bad 1", "p 1"], "abandoned", "consumed"]);
    expect((await rows.runtime()).due).toBeUndefined();
  });
});
