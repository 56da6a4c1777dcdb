import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Turn } from "../../../src/index.js";
import { buildTown, type Town } from "../../loop/town.js";
import { gate, rounds, until } from "../rounds.js";
import { openTab, prompt, rowsOf, saying } from "./tabs.js";

let town: Town;
let rows: ReturnType<typeof rowsOf>;

beforeEach(() => {
  town = buildTown();
  rows = rowsOf(town);
});

afterEach(() => town.close());

const never = async () => await new Promise<void>(() => {});

describe("disposing a session", () => {
  it("resolves when its turn is handed back, though the handler does not hear of it", async () => {
    const begun = gate<Turn>();
    const a = await openTab(town, "a", async (turn) => {
      begun.open(turn);
      await never();
    });
    await a.session.submit(prompt("p"));
    await begun.promise;
    // A storage that is slow to write, as a busy disk is.
    const write = gate();
    a.probed.hooks.open = async ({ mode }) => void (mode === "write" && (await write.promise));
    let isDisposed = false;
    const disposed = a.session[Symbol.asyncDispose]().then(() => {
      isDisposed = true;
    });
    await rounds(30);
    expect([isDisposed, await rows.phase("p")]).toEqual([false, "staged"]);
    write.open();
    await disposed;
    expect(await rows.phase("p")).toBe("queued");
    expect((await rows.lease())?.leaseToken).toBeUndefined();
    expect(await rows.counts("p")).toEqual({ attemptCount: 1, recoveryCount: 0 });
  });

  it("twice waits twice for the same", async () => {
    const a = await openTab(town, "a", never);
    await a.session.submit(prompt("p"));
    await until(() => a.told.some(({ code }) => code === "run.started"), "its turn");
    const write = gate();
    a.probed.hooks.open = async ({ mode }) => void (mode === "write" && (await write.promise));
    const first = a.session[Symbol.asyncDispose]();
    let isDisposed = false;
    const second = a.session[Symbol.asyncDispose]().then(() => {
      isDisposed = true;
    });
    await rounds(30);
    expect(isDisposed).toBe(false);
    write.open();
    await Promise.all([first, second]);
    expect(await rows.phase("p")).toBe("queued");
  });

  it("after its handler was taken off still waits for the turn of that handler", async () => {
    const a = await openTab(town, "a");
    const off = a.session.onTurn(never);
    await a.session.submit(prompt("p"));
    await until(() => a.told.some(({ code }) => code === "run.started"), "its turn");
    const write = gate();
    a.probed.hooks.open = async ({ mode }) => void (mode === "write" && (await write.promise));
    expect(off()).toBeUndefined();
    let isDisposed = false;
    const disposed = a.session[Symbol.asyncDispose]().then(() => {
      isDisposed = true;
    });
    await rounds(30);
    expect(isDisposed).toBe(false);
    write.open();
    await disposed;
    expect(await rows.phase("p")).toBe("queued");
    expect((await rows.lease())?.leaseToken).toBeUndefined();
  });

  it("of two in one tab resolves when its own turn is handed back, and the other one's handler goes on", async () => {
    const done = gate();
    const ran: string[] = [];
    const a = await openTab(town, "a", async (turn) => {
      ran.push(`first ${turn.attempt}`);
      await done.promise;
    });
    const second = await a.kernel.session("s");
    second.onTurn(async (turn) => {
      ran.push(`second ${turn.attempt}`);
      await never();
    });
    await a.session.submit(prompt("p"));
    await until(() => ran.length === 1, "a turn");
    const write = gate();
    a.probed.hooks.open = async ({ mode }) => void (mode === "write" && (await write.promise));
    let isDisposed = false;
    const disposed = second[Symbol.asyncDispose]().then(() => {
      isDisposed = true;
    });
    await rounds(30);
    expect(isDisposed).toBe(false);
    write.open();
    await disposed;
    await until(() => ran.length === 2, "the next attempt");
    expect(ran).toEqual(["second 1", "first 2"]);
    done.open();
    await until(() => a.told.some(({ code }) => code === "run.completed"), "its end");
    expect(await rows.phase("p")).toBe("consumed");
  });

  it("while a turn of its handler is begun leaves the turn to the handler that stays", async () => {
    const ran: string[] = [];
    const a = await openTab(town, "a", async () => void ran.push("first"));
    const second = await a.kernel.session("s");
    second.onTurn(async () => void ran.push("second"));
    const begin = gate();
    let asked = false;
    a.probed.hooks.open = async ({ mode, tables }) => {
      if (mode !== "write" || !tables.includes("farewells") || !tables.includes("inputs")) return;
      asked = true;
      await begin.promise;
    };
    await a.session.submit(prompt("p"));
    await until(() => asked, "its begin");
    const disposed = second[Symbol.asyncDispose]();
    await rounds();
    begin.open();
    await disposed;
    await until(() => ran.length > 0, "a turn");
    await until(() => a.told.some(({ code }) => code === "run.completed"), "its end");
    expect(ran).toEqual(["first"]);
  });
});

describe("under a handler that hears of nothing", () => {
  it("a session that is deleted in another tab and made anew has its turns run in the same tab", async () => {
    const a = await openTab(town, "a", never);
    const b = await openTab(town, "b");
    await a.session.submit(prompt("p"));
    await until(() => a.told.some(({ code }) => code === "run.started"), "its turn");
    await b.kernel.sessions.delete("s");
    const anew = await a.kernel.session("s");
    anew.onTurn(async (turn) => void turn.append(saying("anew")));
    await anew.submit(prompt("q"));
    await until(() => a.told.some(({ code }) => code === "run.completed"), "its turn");
    expect(await rows.said()).toEqual(["q", "anew"]);
  });

  it("a session goes on with the next input when another tab takes back the one that runs", async () => {
    const ran: string[] = [];
    const a = await openTab(town, "a", async ({ inputs }) => {
      ran.push(...inputs.map(({ inputId }) => inputId));
      if (ran.length === 1) await never();
    });
    const b = await openTab(town, "b");
    await a.session.submit(prompt("p"));
    await until(() => ran.length === 1, "its turn");
    await b.session.submit(prompt("q"));
    await b.session.cancel("p");
    await until(() => a.told.some(({ code }) => code === "run.completed"), "the next turn");
    expect(ran).toEqual(["p", "q"]);
  });

  it("a session that another tab retires is drained when its turn is taken back, and runs again when it is recycled", async () => {
    const ran: string[] = [];
    const a = await openTab(town, "a", async ({ inputs }) => {
      ran.push(...inputs.map(({ inputId }) => inputId));
      if (ran.length === 1) await never();
    });
    const b = await openTab(town, "b");
    await a.session.submit(prompt("p"));
    await until(() => ran.length === 1, "its turn");
    await b.session.submit(prompt("q"));
    expect(await b.session.retire()).toEqual({ abandoned: 0, pendingDrain: 2 });
    await b.session.cancel("p");
    await until(() => ran.length === 2, "the drain");
    await until(() => a.session.state === "retired", "its end");
    await rounds(30);
    await b.session.recycle();
    await b.session.submit(prompt("r"));
    await until(() => ran.length === 3, "the turn after it");
    expect(ran).toEqual(["p", "q", "r"]);
  });

  it.each(["shutdown", "destroy"] as const)(
    "a tab whose session another one %ss takes part in nothing of it any more, and leaves at once",
    async (end) => {
      const a = await openTab(town, "a", never);
      const b = await openTab(town, "b");
      await a.session.submit(prompt("p"));
      await until(() => a.told.some(({ code }) => code === "run.started"), "its turn");
      await b.session[end]();
      await a.session[Symbol.asyncDispose]();
      expect((await rows.lease())?.leaseToken).toBeUndefined();
      expect(await rows.phase("p")).toBe("abandoned");
      expect(a.faults).toEqual([]);
    },
  );
});
