import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { SessionRuntime } from "../../../src/index.js";
import { buildTown, type Town } from "../../loop/town.js";
import type { Seen } from "../../stores/probe-storage.js";
import { gate, rounds } from "../rounds.js";
import { openTab, prompt, saying, type Tab } from "./tabs.js";

let town: Town;

beforeEach(() => {
  town = buildTown();
});

afterEach(() => town.close());

const POLL_MS = 5_000;

/** The changes that a listener is told from now on, one text each. `next` resolves with those of the next poll, sorted. */
async function ears(session: SessionRuntime) {
  const heard: string[] = [];
  session.subscribe((change) => heard.push(change.type === "input" ? change.inputId : change.type));
  await rounds();
  return {
    heard,
    async next() {
      heard.length = 0;
      await town.clock.advance(POLL_MS);
      await rounds();
      return [...new Set(heard)].sort();
    },
  };
}

describe("without a channel, a listener is told by the next poll", () => {
  let a: Tab;
  let b: Tab;

  beforeEach(async () => {
    a = await openTab(town, "a", undefined, { channel: false });
    b = await openTab(town, "b", undefined, { channel: false });
  });

  it("of each input that another kernel takes, takes back, replaces and runs", async () => {
    const { next } = await ears(a.session);
    await b.session.submit(prompt("p"));
    await b.session.submit(prompt("q"));
    expect(await next()).toEqual(["p", "q"]);
    expect(await next()).toEqual([]);
    await b.session.cancel("p");
    expect(await next()).toEqual(["p"]);
    const progress = { inputType: "peer" as const, convention: { conventionType: "response_progress" }, supersessionKey: "x" };
    await b.session.submit({ ...progress, inputId: "old" });
    expect(await next()).toEqual(["old"]);
    await b.session.submit({ ...progress, inputId: "new" });
    expect(await next()).toEqual(["new", "old"]);
    b.session.onTurn(async (turn) => void turn.append(saying("x")));
    expect(await next()).toEqual(["messages", "new", "q"]);
    expect(await next()).toEqual([]);
  });

  it("of one that came and ended between two polls", async () => {
    const { next } = await ears(a.session);
    b.session.onTurn(async () => {});
    await b.session.submit(prompt("p"));
    await rounds(30);
    expect(await next()).toContain("p");
  });

  it("of one that it submitted itself, and of which its own kernel told only the beginning", async () => {
    const { heard, next } = await ears(a.session);
    await a.session.submit(prompt("p"));
    expect(heard).toEqual(["p"]);
    b.session.onTurn(async () => {});
    await rounds(30);
    expect(await next()).toContain("p");
    expect(await next()).toEqual([]);
  });

  it("of an ephemeral one that is gone", async () => {
    const { heard, next } = await ears(a.session);
    await b.session.submit(prompt("other", { durability: "ephemeral" }));
    expect(await next()).toEqual(["other"]);
    await a.session.submit(prompt("own", { durability: "ephemeral" }));
    expect(heard.at(-1)).toBe("own");
    b.session.onTurn(async () => {});
    await rounds(30);
    expect(await a.kernel.runtime.loadInputStates(a.session.runtimeId)).toEqual([]);
    expect(await next()).toEqual(["messages", "other", "own"]);
    expect(await next()).toEqual([]);
  });

  it("of the messages of a turn, though its own kernel changes the session in between", async () => {
    const { heard, next } = await ears(a.session);
    b.session.onTurn(async (turn) => void turn.append(saying("x")));
    await b.session.submit(prompt("p"));
    await rounds(30);
    await a.session.retire();
    await rounds();
    expect([...heard, ...(await next())]).toEqual(expect.arrayContaining(["messages", "state", "p"]));
  });

  it("of another state, and of a transcript that was replaced whole", async () => {
    const { next } = await ears(a.session);
    await b.session.retire();
    expect(await next()).toEqual(["state"]);
    const bytes = (text: string) =>
      new TextEncoder().encode(JSON.stringify({ id: "s", messages: [{ role: "user", content: text }] }));
    for (const text of ["one", "two"]) {
      await b.kernel.runtime.commitSessionSnapshot(b.session.runtimeId, { sessionSnapshot: bytes(text) });
      expect(await next()).toEqual(["messages"]);
    }
  });

  it("of inputs that a host stores by itself", async () => {
    const { next } = await ears(a.session);
    await b.session.submit(prompt("p"));
    await next();
    const state = await b.kernel.runtime.loadInputState(b.session.runtimeId, "p");
    await b.kernel.runtime.persistInputState(b.session.runtimeId, { ...(state as NonNullable<typeof state>), updatedAtMs: 9 });
    expect(await next()).toEqual(["p"]);
  });

  it("of a deletion, and of nothing after it", async () => {
    const { next } = await ears(a.session);
    await b.kernel.sessions.delete("s");
    expect(await next()).toEqual(["messages", "state"]);
    expect(await next()).toEqual([]);
  });
});

it("over a channel nothing is told a second time by a poll, and no input is read for it", async () => {
  const a = await openTab(town, "a");
  const b = await openTab(town, "b", async (turn) => void turn.append(saying("x")));
  const { heard, next } = await ears(a.session);
  for (const inputId of ["p", "q"]) await b.session.submit(prompt(inputId));
  await rounds(60);
  expect(heard).toEqual(expect.arrayContaining(["p", "q", "messages", "state"]));
  a.probed.seen.length = 0;
  expect(await next()).toEqual([]);
  expect(a.probed.seen.flatMap(({ ranges }) => ranges).filter((range) => range.startsWith("inputs"))).toEqual([]);
});

describe("of notices that come while a tab reads", () => {
  const isRead = ({ mode, tables }: Seen) => mode === "read" && tables.join() === "runtimes,sessions";

  /** A tab whose reads take `ms` milliseconds, with the list of reads that it began. */
  async function slowTab(ms: number) {
    const a = await openTab(town, "a");
    const b = await openTab(town, "b");
    await rounds();
    const begun: Seen[] = [];
    const open = gate();
    a.probed.hooks.open = async (seen) => {
      if (!isRead(seen) || begun.push(seen) > 1) return;
      await open.promise;
    };
    /** Changes the state each time, so that there is news. */
    const change = async () => {
      await b.session[b.session.state === "retired" ? "recycle" : "retire"]();
      await rounds();
    };
    return {
      a,
      begun,
      change,
      async endFirst() {
        await town.clock.advance(ms);
        open.open();
        await rounds();
      },
    };
  }

  it("it reads once more for all, after a rest as long as the read was, where it has a listener", async () => {
    const { a, begun, change, endFirst } = await slowTab(40);
    const heard: string[] = [];
    a.session.subscribe(({ type }) => heard.push(type));
    await rounds();
    expect(begun).toHaveLength(1);
    for (let n = 0; n < 3; n++) await change();
    await endFirst();
    await change();
    await town.clock.advance(39);
    await rounds();
    expect(begun).toHaveLength(1);
    await town.clock.advance(1);
    await rounds();
    expect(begun).toHaveLength(2);
    expect(heard).toContain("state");
    // No rest is due after a quiet time.
    await change();
    expect(begun).toHaveLength(3);
  });

  it("it rests four times as long where it has none, and a listener that comes ends that", async () => {
    const { a, begun, change, endFirst } = await slowTab(40);
    await change();
    expect(begun).toHaveLength(1);
    await change();
    await change();
    await endFirst();
    await town.clock.advance(159);
    await rounds();
    expect(begun).toHaveLength(1);
    expect(a.session.state).toBe("retired");
    a.session.subscribe(() => {});
    await rounds();
    expect(begun).toHaveLength(2);
    await change();
    expect(a.session.state).toBe("idle");
  });
});
