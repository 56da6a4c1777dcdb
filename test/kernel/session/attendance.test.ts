// Sessions that wait, in tabs that never opened them: which tab goes on with them, and what looking for them costs.
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { DEFAULT_TIMINGS } from "../../../src/domain/time.js";
import type { Turn } from "../../../src/index.js";
// Loading takes time that no clock of a town knows of.
import "../../../src/kernel/session/attendance/attendant.js";
import { lazyParts } from "../../../src/kernel/lazy-parts.js";
import type { KernelOptions } from "../../../src/kernel/options.js";
import { createBackOff } from "../../../src/kernel/session/attendance/back-off.rules.js";
import { buildTown, type Town, type TownHost } from "../../loop/town.js";
import { gate, rounds, until } from "../rounds.js";
import { prompt, RUNTIME_ID, rowsOf, saying } from "./tabs.js";

const { pollMs } = DEFAULT_TIMINGS;
/** Far less than a poll: what is seen in this time came by a notice. */
const SOON_MS = 400;

let town: Town;
beforeEach(async () => {
  town = buildTown();
  await Promise.all([lazyParts.attendant.load(), lazyParts.turns.load()]);
});
afterEach(() => town.close());

/** `turns` of several tabs, whose runs stand until they are let go, and the list of which tab began what. */
function shift() {
  const log: string[] = [];
  const done = gate();
  const of = (tab: string): Pick<KernelOptions, "turns"> => ({
    async turns(turn: Turn, { sessionId }) {
      log.push(`${tab} ${turn.attempt}: ${sessionId} ${turn.inputs.map(({ inputId }) => inputId).join(" ")}`);
      await done.promise;
      turn.append(saying(`${tab} answers`));
    },
  });
  return { log, done, of };
}

const transactionsOf = ({ probed }: TownHost) => probed.seen.length;
const openings = ({ probed }: TownHost) => probed.puts("attachments").length;

describe("a session that no code of the other tabs has open (A-17)", () => {
  it("is gone on with by one of them at once when the tab that runs it dies", async () => {
    const { log, done, of } = shift();
    const a = await town.host("a", of("a"));
    const b = await town.host("b", of("b"));
    const c = await town.host("c", of("c"));
    await town.clock.advance(SOON_MS);
    const session = await a.kernel.session("s");
    await session.submit(prompt("p"));
    await until(() => log.length === 1, "the first turn");
    a.die();
    await town.clock.advance(SOON_MS);
    await until(() => log.length === 2, "the second attempt");
    done.open();
    await rounds(30);
    expect([log[0], log[1]?.slice(1)]).toEqual(["a 1: s p", " 2: s p"]);
    const rows = rowsOf(town);
    expect(await rows.counts("p")).toEqual({ attemptCount: 2, recoveryCount: 1 });
    expect((await rows.lease())?.leaseToken).toBeUndefined();
    expect([...b.faults, ...c.faults]).toEqual([]);
    expect((await b.kernel.sessions.list()).map(({ waiting, running }) => [waiting, running])).toEqual([[0, false]]);
  });

  it("is said to run no more as soon as its tab is dead, before its lease is freed", async () => {
    const { log, of } = shift();
    const a = await town.host("a", of("a"));
    const b = await town.host("b", { loop: "off" });
    await (await a.kernel.session("s")).submit(prompt("p"));
    await until(() => log.length === 1, "the turn");
    const figures = async () => (await b.kernel.sessions.list()).map(({ waiting, running }) => [waiting, running]);
    expect(await figures()).toEqual([[1, true]]);
    const session = await b.kernel.session("s");
    expect((await session.owner())?.hostId).toBe("a");
    a.die();
    expect(await figures()).toEqual([[1, false]]);
    expect((await rowsOf(town).lease())?.leaseToken).toBeDefined();
    // One answer in the list and of the session itself.
    expect(await session.owner()).toBeUndefined();
  });

  it("is left to the tab that submits: twenty others open nothing", async () => {
    const { log, done, of } = shift();
    const a = await town.host("a", of("a"));
    const others: TownHost[] = [];
    for (let n = 0; n < 20; n++) others.push(await town.host(`other ${n}`, of(`other ${n}`)));
    await town.clock.advance(SOON_MS);
    done.open();
    const session = await a.kernel.session("s");
    for (let n = 0; n < 10; n++) {
      await session.submit(prompt(`p${n}`));
      await town.clock.advance(SOON_MS);
    }
    expect(log).toEqual(Array.from({ length: 10 }, (_, n) => `a 1: s p${n}`));
    expect(others.map(openings)).toEqual(others.map(() => 0));
  });

  it("is opened by few of twenty tabs where the tab that submits runs nothing, and run once", async () => {
    const { log, done, of } = shift();
    const a = await town.host("a", { loop: "off" });
    const others: TownHost[] = [];
    for (let n = 0; n < 20; n++) others.push(await town.host(`other ${n}`, of(`other ${n}`)));
    await town.clock.advance(SOON_MS);
    done.open();
    const session = await a.kernel.session("s");
    await session.submit(prompt("p"));
    await town.clock.advance(SOON_MS);
    await until(() => log.length === 1, "the turn");
    await town.clock.advance(SOON_MS);
    expect(log).toHaveLength(1);
    expect(others.filter((host) => openings(host) > 0).length).toBeLessThan(5);
    expect((await town.rows("attachments")).map(({ hostId }) => hostId)).toEqual(["a"]);
  });

  it("is found by the next poll where its notice was lost", async () => {
    const { log, done, of } = shift();
    done.open();
    const b = await town.host("b", of("b"));
    await town.clock.advance(SOON_MS);
    const deaf = await town.host("deaf", { loop: "off", channel: false });
    await (await deaf.kernel.session("s")).submit(prompt("p"));
    await town.clock.advance(pollMs);
    await until(() => log.length === 1, "the turn");
    expect([log, b.faults]).toEqual([["b 1: s p"], []]);
  });

  it("waits where the storage fails, a longer time after each failure, and is run when it is mended", async () => {
    const { log, done, of } = shift();
    done.open();
    const b = await town.host("b", of("b"));
    await town.clock.advance(SOON_MS);
    b.probed.hooks.open = ({ mode, tables }) => {
      if (mode === "write" && tables.includes("quarantine")) throw new Error("no opening today");
    };
    const off = await town.host("off", { loop: "off" });
    await (await off.kernel.session("s")).submit(prompt("p"));
    await town.clock.advance(40 * pollMs);
    expect([log, b.faults.length > 3, b.faults.length < 10]).toEqual([[], true, true]);
    b.mend();
    await town.clock.advance(64 * pollMs);
    await until(() => log.length === 1, "the turn");
  });

  it("is opened at the news of another input, however long it could not be opened", async () => {
    const { log, done, of } = shift();
    done.open();
    const b = await town.host("b", of("b"));
    await town.clock.advance(SOON_MS);
    b.probed.hooks.open = ({ mode, tables }) => {
      if (mode === "write" && tables.includes("quarantine")) throw new Error("no opening today");
    };
    const session = await (await town.host("off", { loop: "off" })).kernel.session("s");
    await session.submit(prompt("p"));
    await town.clock.advance(40 * pollMs);
    b.mend();
    await session.submit(prompt("q"));
    await town.clock.advance(SOON_MS);
    await until(() => log.length === 2, "both turns");
  });
});

describe("looking for sessions that wait (A-17)", () => {
  it("costs a tab that did not open it nothing for the turns that another tab runs", async () => {
    const { log, done, of } = shift();
    done.open();
    const a = await town.host("a", of("a"));
    const b = await town.host("b", of("b"));
    await town.clock.advance(SOON_MS);
    const session = await a.kernel.session("s");
    const before = transactionsOf(b);
    for (let n = 0; n < 10; n++) {
      await session.submit(prompt(`p${n}`));
      await until(() => log.length === n + 1, "its turn");
      await town.clock.advance(100);
    }
    const looks = b.probed.seen.slice(before).filter(({ gets }) => gets.some((get) => get.startsWith("runtimes")));
    expect([log.length, looks.length]).toEqual([10, 0]);
  });

  it("are not looked at again and again while others are still being opened", async () => {
    const { done, log, of } = shift();
    done.open();
    const off = await town.host("off", { loop: "off" });
    for (const id of ["s", "t"]) await (await off.kernel.session(id)).submit(prompt("p"));
    const opening = gate();
    const b = await town.host("b", { ...of("b"), concurrency: 3 });
    b.probed.hooks.open = async ({ mode, tables }) => {
      if (mode === "write" && tables.includes("quarantine")) await opening.promise;
    };
    const before = transactionsOf(b);
    await town.clock.advance(4 * pollMs);
    const looks = b.probed.seen
      .slice(before)
      .filter(({ mode, tables }) => mode === "read" && tables.join() === "runtimes,leases");
    expect([log.length, looks.length > 1, looks.length < 10]).toEqual([0, true, true]);
    opening.open();
    await until(() => log.length === 2, "both turns");
  });

  it("costs a read of no rows at each poll, however many sessions there are", async () => {
    const off = await town.host("off", { loop: "off" });
    for (let n = 0; n < 30; n++) await (await off.kernel.session(`s${n}`))[Symbol.asyncDispose]();
    const count = async (options: Partial<KernelOptions>) => {
      const host = await town.host("counted", options);
      await town.clock.advance(7 * pollMs);
      const before = transactionsOf(host);
      await town.clock.advance(6 * pollMs);
      const seen = host.probed.seen.slice(before).filter(({ mode, tables }) => mode === "read" && tables.includes("runtimes"));
      await host.kernel.close();
      return seen.map(({ gets, rows }) => [gets.length, rows]);
    };
    expect(await count({})).toEqual([]);
    expect(await count(shift().of("counted"))).toEqual(Array.from({ length: 6 }, () => [0, 0]));
  });

  it("reads nothing of what other tabs hold but their leases, and no other tab's session is opened", async () => {
    const { log, of } = shift();
    const a = await town.host("a", of("a"));
    for (let n = 0; n < 5; n++) await (await a.kernel.session(`s${n}`)).submit(prompt("p"));
    await until(() => log.length === 5, "the turns");
    const b = await town.host("b", of("b"));
    await town.clock.advance(20 * pollMs);
    expect([log.length, openings(b), b.faults]).toEqual([5, 0, []]);
    expect((await town.rows("leases")).filter(({ resource }) => String(resource).startsWith(RUNTIME_ID))).toHaveLength(5);
  });
});

describe("the back-off from a session that has no turn to begin", () => {
  it("is twice as long each time in a row, up to 64 polls, and begins anew after a time without one", () => {
    const backOff = createBackOff(10);
    let nowMs = 0;
    const lengths: number[] = [];
    for (let time = 0; time < 9; time++) {
      backOff.begin("s", nowMs, 4);
      let length = 0;
      while (backOff.lasts("s", nowMs + length)) length += 10;
      lengths.push(length);
      nowMs += length;
    }
    expect(lengths).toEqual([10, 20, 40, 80, 160, 320, 640, 640, 640]);
    backOff.begin("s", nowMs + 641, 4);
    expect([backOff.lasts("s", nowMs + 650), backOff.lasts("s", nowMs + 651)]).toEqual([true, false]);
    backOff.begin("s", nowMs + 651, 4);
    backOff.end("s");
    expect(backOff.lasts("s", nowMs + 651)).toBe(false);
  });

  it("ends with the news of an input that was not there when it began", () => {
    const backOff = createBackOff(10);
    backOff.begin("s", 0, 4);
    backOff.hear("s", 4);
    expect(backOff.lasts("s", 1)).toBe(true);
    backOff.hear("s", 5);
    expect(backOff.lasts("s", 1)).toBe(false);
  });
});
