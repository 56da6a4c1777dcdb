import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { memoryStorage } from "../../../src/adapters/storage-memory.js";
import { channelHub } from "../../../src/conformance/kit/channel.fixture.js";
import { operation, waiting } from "../../../src/conformance/session/session.fixture.js";
import type { InputKind, StoredInputState } from "../../../src/domain/session/input.js";
import type { Kernel } from "../../../src/index.js";
import { createKernel } from "../../../src/index.js";
import type { KernelStorage, OpenStorage, Reader } from "../../../src/ports/storage.js";
import { SCHEMA } from "../../../src/stores/schema.js";
import {
  draftOf,
  type LiveRuntimeRow,
  loadReplaceable,
  loadSessionState,
  readLive,
  recover,
} from "../../../src/stores/session/draft.js";
import { inputWrites } from "../../../src/stores/session/inputs/input-rows.rules.js";
import { builtInPolicy, kindOf, laneOf, semanticsOf } from "../../../src/stores/session/inputs/policy.rules.js";
import type { InputRow } from "../../../src/stores/session/inputs/tables.js";
import { loadNext } from "../../../src/stores/session/next-inputs.js";
import { chooseBatch } from "../../../src/stores/session/turns.rules.js";
import { tap } from "../../loop/tapped-channel.js";
import { buildTown, type Town } from "../../loop/town.js";
import { gate, rounds, until } from "../rounds.js";
import { openTab, progress, prompt, RUNTIME_ID, rowsOf, saying, type Tab } from "./tabs.js";

/** A storage that counts the rows that its reads return. */
function counting(inner: KernelStorage) {
  const read: string[] = [];
  const noted = (reader: Reader): Reader => ({
    async get(table, key) {
      const row = await reader.get(table, key);
      if (row) read.push(table);
      return row;
    },
    async range(table, query) {
      const rows = await reader.range(table, query);
      read.push(...rows.map(() => table));
      return rows;
    },
  });
  const storage: KernelStorage = {
    kind: inner.kind,
    async open(opening) {
      const open = await inner.open(opening);
      return {
        databaseId: open.databaseId,
        durability: open.durability,
        close: () => open.close(),
        transact: (tables, mode, body, durability) =>
          open.transact(tables, mode, (tx) => body({ ...noted(tx), write: (writes) => tx.write(writes) }), durability),
      };
    },
  };
  return { storage, read };
}

describe("with many inputs that wait,", () => {
  let kernels: Kernel[] = [];

  afterEach(async () => {
    await Promise.all(kernels.map((kernel) => kernel.close()));
    kernels = [];
  });

  /** The rows that `act` reads while the inputs of `waiting` wait. */
  async function rowsRead(given: {
    waiting: readonly object[];
    act(session: Awaited<ReturnType<Kernel["session"]>>): Promise<void>;
  }): Promise<string[]> {
    const { storage, read } = counting(memoryStorage());
    const kernel = await createKernel({ name: "backlog", storage, loop: "off", channel: false, locks: false });
    kernels.push(kernel);
    const session = await kernel.session("s");
    await Promise.all(given.waiting.map((each) => session.submit(each as Parameters<typeof session.submit>[0])));
    read.length = 0;
    await given.act(session);
    return [...read];
  }

  const many = (count: number, of: (inputId: string, more?: object) => object, more: (at: number) => object = () => ({})) =>
    Array.from({ length: count }, (_, at) => of(`w${String(at).padStart(4, "0")}`, more(at)));

  it.each<[string, (at: number) => object]>([
    ["as they are", () => ({})],
    ["with idempotency keys", (at) => ({ idempotencyKey: `k${at}` })],
    ["with one supersession key that replaces nothing", () => ({ supersessionKey: "x" })],
  ])("prompts %s, an accept reads no more than with few", async (_, more) => {
    const act = async (session: Awaited<ReturnType<Kernel["session"]>>) => {
      await session.submit(prompt("next", { ...more(-1), idempotencyKey: "next" }) as never);
    };
    const few = await rowsRead({ waiting: many(12, prompt, more), act });
    expect(await rowsRead({ waiting: many(1_000, prompt, more), act })).toEqual(few);
  });

  it("an accept that replaces one of them reads that one", async () => {
    const act = async (session: Awaited<ReturnType<Kernel["session"]>>) => {
      await session.submit(progress("new", { supersessionKey: "x" }) as never);
      expect((await kernels.at(-1)?.runtime.loadInputState(RUNTIME_ID, "old"))?.currentState).toBe("coalesced");
    };
    const old = progress("old", { supersessionKey: "x" });
    const few = await rowsRead({ waiting: [...many(12, prompt), old], act });
    expect(await rowsRead({ waiting: [...many(1_000, prompt), old], act })).toEqual(few);
  });
});

describe("a turn of many that wait", () => {
  /** How many rows of inputs each of the first turns reads, from its begin to the begin of the next one. */
  async function readByTurn(inputs: readonly object[], turns: number): Promise<{ ran: string[]; read: number[] }> {
    const { storage, read } = counting(memoryStorage());
    const kernel = await createKernel({ name: "backlog", storage, channel: false, locks: false, loop: "inline" });
    const session = await kernel.session("s");
    await Promise.all(inputs.map((each) => session.submit(each as Parameters<typeof session.submit>[0])));
    const ran: string[] = [];
    const marks: number[] = [];
    const done = gate();
    const off = session.onTurn(async ({ inputs: staged }) => {
      ran.push(staged.map(({ inputId }) => inputId).join(" "));
      marks.push(read.filter((table) => table === "inputs").length);
      if (ran.length > turns) {
        done.open();
        await new Promise(() => {});
      }
    });
    await done.promise;
    off();
    await kernel.close();
    return { ran, read: marks.slice(1).map((mark, at) => mark - (marks[at] as number)) };
  }

  const prompts = (count: number) => Array.from({ length: count }, (_, at) => prompt(`p${String(at).padStart(4, "0")}`));

  it("reads no more rows than one of few", async () => {
    const few = await readByTurn(prompts(40), 6);
    const many = await readByTurn(prompts(1_000), 6);
    expect(many.ran).toEqual(few.ran);
    expect(many.read).toEqual(few.read);
    expect(Math.max(...many.read)).toBeLessThan(60);
  });

  it("reads no more where what runs next stands behind them all", async () => {
    const steering = (count: number) => [
      ...prompts(count),
      prompt("steer0", { handlingMode: "steer" }),
      { inputType: "continuation", inputId: "steer1" },
      prompt("steer2", { handlingMode: "steer" }),
    ];
    const few = await readByTurn(steering(40), 4);
    const many = await readByTurn(steering(1_000), 4);
    expect(many.ran).toEqual(few.ran);
    expect(many.ran.slice(0, 3)).toEqual(["steer0", "steer1", "steer2"]);
    expect(many.read).toEqual(few.read);
  });
});

describe("of several tabs with a turn handler", () => {
  let town: Town;

  beforeEach(() => {
    town = buildTown();
  });

  afterEach(() => town.close());

  const transactions = (tab: Tab) => tab.probed.seen.map(({ mode, tables }) => ({ mode, tables }));
  const begins = (tab: Tab) => transactions(tab).filter(({ mode, tables }) => mode === "write" && tables.includes("farewells"));

  async function openTabs(count: number, handler: (name: string) => Parameters<typeof openTab>[2]) {
    const tabs: Tab[] = [];
    for (let at = 0; at < count; at++) tabs.push(await openTab(town, `tab${at}`, handler(`tab${at}`)));
    await rounds(60);
    for (const { probed } of tabs) probed.seen.length = 0;
    return tabs;
  }

  it("those that wait for another's lease read nothing of what comes meanwhile", async () => {
    const end = gate();
    const running: string[] = [];
    const tabs = await openTabs(5, (name) => async () => {
      running.push(name);
      await end.promise;
    });
    const submitter = await openTab(town, "submitter");
    await submitter.session.submit(prompt("first"));
    await until(() => running.length === 1, "a turn");
    await rounds(60);
    for (const { probed } of tabs) probed.seen.length = 0;
    for (let at = 0; at < 40; at++) await submitter.session.submit(prompt(`p${at}`));
    await town.clock.advance(200);
    await rounds(60);
    const waiting = tabs.filter(({ name }) => name !== running[0]);
    for (const tab of waiting) expect(transactions(tab)).toEqual([]);
    // No reads for its turns either, which run one after another under one lease: the lease is read when it comes back.
    end.open();
    await until(() => running.length === 41, "all turns");
    await rounds(60);
    expect(new Set(running).size).toBe(1);
    for (const tab of waiting) {
      const looks = transactions(tab).filter(({ tables }) => tables.includes("leases"));
      expect(looks.length).toBeLessThan(4);
    }
  });

  it("one is woken by one input, and the others when it does nothing", async () => {
    const ran: string[] = [];
    const tabs = await openTabs(5, (name) => async (turn) => {
      ran.push(name);
      turn.append(saying(name));
    });
    const submitter = await openTab(town, "submitter");
    await submitter.session.submit(prompt("p"));
    await until(() => ran.length === 1, "a turn");
    await rounds(60);
    await town.clock.advance(1_000);
    expect(tabs.filter((tab) => begins(tab).length > 0)).toHaveLength(1);

    tabs.find(({ name }) => name === ran[0])?.cutOff();
    await submitter.session.submit(prompt("q"));
    await rounds(60);
    expect(ran).toHaveLength(1);
    await town.clock.advance(25);
    await until(() => ran.length === 2, "another tab's turn");
    expect(ran[1]).not.toBe(ran[0]);
  });

  it("one alone reads for an input that another tab runs, and none for the lease that comes back", async () => {
    const ran: string[] = [];
    const tabs = await openTabs(6, (name) => async () => void ran.push(name));
    const ofLease = (tab: Tab) => transactions(tab).filter(({ tables }) => tables.includes("leases"));
    for (const tab of tabs) {
      for (const { probed } of tabs) probed.seen.length = 0;
      await tab.session.submit(prompt(`from ${tab.name}`));
      await until(() => ran.at(-1) === tab.name, "its turn");
      await until(() => tab.session.state === "attached", "the end of its turn");
      await rounds(60);
      await town.clock.advance(1_000);
      // The first tab in their order looks at once, whichever tab submits: it reads twice at most, and tries to begin once.
      const woken = tabs.filter((other) => other !== tab && ofLease(other).length > 0);
      expect(woken.length).toBeLessThan(2);
      for (const other of woken) expect(ofLease(other).length).toBeLessThan(5);
    }
    expect(ran).toEqual(tabs.map(({ name }) => name));
  });

  it("one runs an input that came behind the lease's return, whichever is heard of first", async () => {
    const hub = channelHub();
    const air = tap(hub);
    const end = gate();
    const ran: string[] = [];
    const a = await openTab(town, "a", async () => await end.promise, { channel: air.channel });
    await rounds(60);
    const b = await openTab(town, "b", async ({ inputs }) => void ran.push(...inputs.map(({ inputId }) => inputId)), {
      channel: hub,
    });
    const submitter = await openTab(town, "submitter", undefined, { channel: hub });
    await rounds(60);
    await a.session.submit(prompt("p"));
    await until(() => a.told.some(({ code }) => code === "run.started"), "its turn");
    await rounds(60);
    // Notices of the first tab are late from now on.
    const late: (() => void)[] = [];
    const toAll = new Map<string, ReturnType<typeof hub>>();
    air.onPost = (name, message) => {
      if (!toAll.has(name)) toAll.set(name, hub(name));
      late.push(() => toAll.get(name)?.postMessage(message));
      return false;
    };
    end.open();
    await until(() => a.told.some(({ code }) => code === "run.completed"), "the end of its turn");
    await rounds(60);
    a.die();
    b.probed.seen.length = 0;
    await submitter.session.submit(prompt("q"));
    await rounds(60);
    // This tab still takes the lease for held.
    expect(ran).toEqual([]);
    for (const say of late) say();
    await rounds(60);
    await town.clock.advance(25);
    await until(() => ran.length === 1, "the other tab's turn");
    expect(ran).toEqual(["q"]);
    for (const channel of toAll.values()) channel.close();
  });

  it("the one that submits waits for none of the others", async () => {
    const ran: string[] = [];
    const tabs = await openTabs(4, (name) => async () => void ran.push(name));
    for (const tab of tabs) {
      for (const other of tabs) if (other !== tab) other.cutOff();
      await tab.session.submit(prompt(`from ${tab.name}`));
      await until(() => ran.at(-1) === tab.name, "its turn");
      await until(() => tab.session.state === "attached", "the end of its turn");
      for (const other of tabs) other.mend();
      // Long enough for all their pauses.
      await town.clock.advance(120_000);
      await rounds(30);
    }
    expect(ran).toEqual(tabs.map(({ name }) => name));
  });

  it("all go on with a backlog whose holder left, each input once and in order", async () => {
    const ran: string[] = [];
    const tabs = await openTabs(3, (name) => async (turn) => {
      await turn.step("count", () => 1);
      for (const { inputId } of turn.inputs) ran.push(`${inputId}`);
      turn.append(saying(name));
    });
    const rows = rowsOf(town);
    const submitter = await openTab(town, "submitter");
    const ids = Array.from({ length: 60 }, (_, at) => `p${String(at).padStart(2, "0")}`);
    const submitted = Promise.all(ids.map((inputId) => submitter.session.submit(prompt(inputId))));
    await until(() => ran.length > 10, "a few turns");
    await submitted;
    await tabs[0]?.session[Symbol.asyncDispose]();
    await town.clock.advance(100);
    await until(() => ran.length >= 20, "more turns");
    await tabs[1]?.session[Symbol.asyncDispose]();
    await town.clock.advance(100);
    await until(() => ran.length >= ids.length, "all turns");
    await rounds(60);
    expect((await rows.receipts()).flatMap(({ contributingInputIds }) => contributingInputIds).sort()).toEqual(ids);
    expect((await rows.said()).filter((text) => ids.includes(text as string))).toEqual(ids);
  });
});

const KINDS: readonly InputKind[] = ["prompt", "external_event", "peer_request", "continuation", "peer_response_progress"];
const PERSISTED: Partial<Record<InputKind, object>> = {
  prompt: { inputType: "prompt", text: "x" },
  external_event: { inputType: "external_event" },
  peer_request: { inputType: "peer", convention: { conventionType: "request" } },
  continuation: { inputType: "continuation" },
  peer_response_progress: { inputType: "peer", convention: { conventionType: "response_progress" } },
};

const HOST = { hostId: "h", bootId: "b", locked: false };
const SELF = { host: HOST, hasLocks: false };

interface Sketch {
  kind: InputKind;
  mode: "queue" | "steer" | undefined;
  silent: boolean;
  phase: "queued" | "queued" | "staged" | "accepted" | "applied";
  durability: "durable" | "ephemeral";
  host: string;
  work: string | undefined;
  crashes: number;
  key: string | undefined;
  broken: boolean;
  retryAtMs: number | undefined;
}

function rowOf(sketch: Sketch, at: number): InputRow {
  const { kind, mode, silent, phase, durability } = sketch;
  const decision = builtInPolicy({ kind, idle: true, ...(mode && { handlingMode: mode }), silent });
  const inputId = `i${(at * 37) % 101}-${at}`;
  const record: StoredInputState = waiting(inputId, {
    currentState: phase,
    durability,
    policy: { version: 1, decision },
    runtimeSemantics: semanticsOf(kind, decision),
    persistedInput: { ...PERSISTED[kind], ...(sketch.key && { supersessionKey: sketch.key }) } as never,
    ...(phase !== "queued" && phase !== "accepted" && { lastRunId: "r", lastBoundarySequence: 0 }),
    ...(phase === "queued" && sketch.retryAtMs !== undefined && { retryAtMs: sketch.retryAtMs }),
  });
  return {
    v: 1,
    runtimeId: RUNTIME_ID,
    inputId,
    rank: at,
    record: sketch.broken ? operation(inputId, { currentState: "queued", policy: undefined } as never) : record,
    ...(durability === "ephemeral" && { hostId: sketch.host }),
    ...(sketch.work && phase === "queued" && { workId: sketch.work, workSize: 1 }),
    ...(phase === "staged" && { workId: "w", workSize: 1, crashes: sketch.crashes }),
  };
}

const sketches = fc.record({
  kind: fc.constantFrom(...KINDS, "prompt" as const, "external_event" as const),
  mode: fc.constantFrom(undefined, undefined, undefined, "queue" as const, "steer" as const),
  silent: fc.boolean(),
  phase: fc.constantFrom("queued", "queued", "queued", "queued", "staged", "accepted", "applied"),
  durability: fc.constantFrom("durable", "durable", "durable", "ephemeral"),
  host: fc.constantFrom("h", "gone"),
  work: fc.constantFrom(undefined, undefined, undefined, "w1"),
  crashes: fc.constantFrom(0, 4),
  key: fc.constantFrom(undefined, "x", "y"),
  broken: fc.constantFrom(false, false, false, false, false, false, true),
  // Before, at and after the moment of the choice.
  retryAtMs: fc.constantFrom(undefined, undefined, undefined, undefined, undefined, 4, 5, 6),
}) as fc.Arbitrary<Sketch>;

/** The choice by a walk over all inputs: the first that waits, the queue before the steer lane. */
function firstOf(live: readonly InputRow[], kind: InputKind, key: string): InputRow | undefined {
  const matches = live.filter(({ record: { currentState, persistedInput } }) => {
    return (
      currentState === "queued" && persistedInput && kindOf(persistedInput) === kind && persistedInput.supersessionKey === key
    );
  });
  const isQueued = ({ record: { policy } }: InputRow) => policy !== undefined && laneOf(policy.decision) === "queue";
  return matches.find(isQueued) ?? matches[0];
}

it("what is read of them chooses what all of them would choose", async () => {
  const runtime = { runtimeId: RUNTIME_ID, state: "idle", sessionId: "s", incarnation: 0, endedKeys: 0, v: 1 };
  const ground = async (sketched: readonly Sketch[]): Promise<OpenStorage> => {
    const storage = await memoryStorage().open({
      name: "rows",
      schema: SCHEMA,
      durability: "strict",
      newDatabaseId: "x",
      onState: () => {},
    });
    const rows = sketched.map((sketch, at) => ({ after: rowOf(sketch, at) }));
    await storage.transact(["inputs"], "write", async (tx) =>
      tx.write(inputWrites(rows, []).writes.filter(({ table }) => table === "inputs")),
    );
    return storage;
  };
  const tables = Object.keys(SCHEMA.tables);
  await fc.assert(
    fc.asyncProperty(fc.array(sketches, { maxLength: 60, size: "max" }), fc.boolean(), async (sketched, isDraining) => {
      const storage = await ground(sketched);
      const found = await storage.transact(tables, "read", async (tx) => {
        const { live } = await readLive(tx, RUNTIME_ID);
        return {
          live,
          held: await loadNext(tx, RUNTIME_ID, true),
          whole: await loadSessionState(tx, RUNTIME_ID),
          part: await loadSessionState(tx, RUNTIME_ID, loadNext(tx, RUNTIME_ID, false)),
          replaceable: await Promise.all(
            KINDS.map(async (kind) => [await loadReplaceable(tx, RUNTIME_ID, kind, "x"), firstOf(live, kind, "x")]),
          ),
        };
      });
      const ids = (rows: readonly InputRow[]) => rows.map(({ inputId }) => inputId);
      expect(ids(chooseBatch(found.held, isDraining, 5))).toEqual(ids(chooseBatch(found.live, isDraining, 5)));
      const recovered = (around: typeof found.whole) => {
        const draft = draftOf(runtime as unknown as LiveRuntimeRow, around.live, [], 5);
        recover(draft, around, SELF, 5);
        const done = draft.done(undefined);
        const writes = done.kind === "accept" ? done.writes : [];
        return { batch: ids(chooseBatch(draft.live, isDraining, 5)), writes, happened: draft.happened };
      };
      expect(recovered(found.part)).toEqual(recovered(found.whole));
      for (const [first, all] of found.replaceable) expect(first?.inputId).toEqual(all?.inputId);
      await storage.close();
    }),
    { seed: 7, numRuns: 300 },
  );
});
