import { afterEach, describe, expect, it } from "vitest";
import { manualClock } from "../../src/adapters/clock-manual.js";
import { memoryStorage } from "../../src/adapters/storage-memory.js";
import { accept, afterPreparing, type Command, refuse } from "../../src/corridor/command.js";
import { broadcastNotices } from "../../src/corridor/notices.js";
import { createCorridor } from "../../src/corridor/run.js";
import { HoldfastError, isHoldfastError } from "../../src/domain/errors.js";
import { DEFAULT_LIMITS } from "../../src/domain/time.js";
import type { Change } from "../../src/ports/notices.js";
import type { Query, Row, StorageSchema } from "../../src/ports/storage.js";
import { eventAppender, eventMethods } from "../../src/stores/process/events.js";
import { payloadSchemas } from "../../src/stores/process/payload-schema.js";
import { processMethods } from "../../src/stores/process/processes.js";
import { SCHEMA } from "../../src/stores/schema.js";
import { bench, closeBenches } from "../kernel/hosts.js";
import { gate, rounds } from "../kernel/rounds.js";
import { type Probe, probe } from "../stores/probe-storage.js";

afterEach(closeBenches);

const COUNTERS: StorageSchema = {
  version: 1,
  tables: { counters: { key: ["id"], indexes: { byColour: ["colour", "id"] } }, notes: { key: ["book", "page"] } },
};

async function setUp(schema: StorageSchema = COUNTERS) {
  const probed: Probe = probe(memoryStorage());
  const storage = await probed.storage.open({
    name: "run",
    schema,
    durability: "strict",
    newDatabaseId: "db",
    onState: () => {},
  });
  const clock = manualClock(1_000);
  const notices = broadcastNotices("run", undefined);
  const published: (readonly Change[])[] = [];
  notices.subscribe((changes) => published.push(changes));
  const corridor = createCorridor({ storage, tables: schema.tables, notices, clock });
  const stored = (table: string) => storage.transact([table], "read", (tx) => tx.range(table, {}));
  return {
    corridor,
    storage,
    clock,
    notices,
    published,
    probed,
    stored,
    writes: () => probed.seen.filter(({ mode }) => mode === "write"),
  };
}

interface Add {
  id: string;
  by?: number;
  fails?: "refuse" | "load" | "decide" | "plain";
  once?: boolean;
}

const add: Command<Add, Row | undefined, { id: string; value: number }> = {
  tables: ["counters"],
  async load(reader, { id, fails }) {
    if (fails === "load") throw new HoldfastError("read-failed", "this one cannot be read");
    return await reader.get("counters", id);
  },
  decide(row, { id, by = 1, fails }) {
    if (fails === "refuse") return refuse(new HoldfastError("conflict", "refused"));
    if (fails === "decide") throw new HoldfastError("invalid", "thrown");
    if (fails === "plain") throw new TypeError("a bug");
    const value = Number(row?.value ?? 0) + by;
    return accept({ id, value }, [{ table: "counters", put: { v: 1, id, value } }], [{ about: "record", id }]);
  },
  repeatable: ({ once }) => once !== true,
};

const codeOf = (outcome: PromiseSettledResult<unknown> | undefined) =>
  outcome?.status === "rejected" && isHoldfastError(outcome.reason) ? outcome.reason.code : "stored";

describe("group commit", () => {
  it("carries a burst of 1,000 appends in four transactions that read and write each row once", async () => {
    const { corridor, probed, writes } = await setUp(SCHEMA);
    const schemas = payloadSchemas();
    const processes = processMethods(corridor, DEFAULT_LIMITS, schemas);
    const events = eventMethods(corridor, DEFAULT_LIMITS, eventAppender(corridor, DEFAULT_LIMITS, schemas));
    await processes.registerProcess({ id: "p", input: { type: "external", metadata: null }, eventTypes: [{ name: "tick" }] });
    probed.seen.length = 0;
    const results = await Promise.all(
      Array.from({ length: 1_000 }, (_, n) => events.appendEvent("p", { eventType: "tick", payload: n, replayKey: `k${n}` })),
    );
    expect(results.map(({ event }) => event.sequence)).toEqual(Array.from({ length: 1_000 }, (_, n) => n + 1));
    expect(writes()).toHaveLength(Math.ceil(1_000 / 256));
    for (const { gets, writes: put } of writes()) {
      expect(new Set(gets).size).toBe(gets.length);
      const keys = put.map((write) =>
        "put" in write ? `${write.table} ${write.put.processId} ${write.put.sequence ?? ""}` : "",
      );
      expect(new Set(keys).size).toBe(keys.length);
    }
  });

  it("lets commands that come while a transaction is open share the next one", async () => {
    const { corridor, probed, writes } = await setUp();
    const opened = gate();
    const go = gate();
    probed.hooks.begin = async () => {
      opened.open();
      await go.promise;
    };
    const first = corridor.run(add, { id: "a" });
    await opened.promise;
    const others = Array.from({ length: 50 }, () => corridor.run(add, { id: "a" }));
    go.open();
    expect((await first).value).toBe(1);
    expect((await Promise.all(others)).map(({ value }) => value)).toEqual(Array.from({ length: 50 }, (_, n) => n + 2));
    expect(writes()).toHaveLength(2);
  });

  it("opens a group over the union of its commands' tables", async () => {
    const { corridor, writes } = await setUp();
    const note: Command<string, void, void> = {
      tables: ["notes", "counters"],
      load: async () => undefined,
      decide: (_, book) => accept(undefined, [{ table: "notes", put: { v: 1, book, page: 1 } }]),
    };
    await Promise.all([corridor.run(add, { id: "a" }), corridor.run(note, "b")]);
    expect([...(writes()[0]?.tables ?? [])].sort()).toEqual(["counters", "notes"]);
  });

  it("bounds a group by 1 MiB of payload", async () => {
    const { corridor, writes } = await setUp();
    await Promise.all(Array.from({ length: 5 }, () => corridor.run(add, { id: "a" }, { size: 400_000 })));
    expect(writes()).toHaveLength(3);
  });

  it("fills a group to the very last character and command", async () => {
    const { corridor, writes } = await setUp();
    await Promise.all([524_288, 524_288].map((size) => corridor.run(add, { id: "a" }, { size })));
    expect(writes()).toHaveLength(1);
    await Promise.all([524_288, 524_289].map((size) => corridor.run(add, { id: "a" }, { size })));
    expect(writes()).toHaveLength(3);
    await Promise.all(Array.from({ length: 256 }, () => corridor.run(add, { id: "a" })));
    expect(writes()).toHaveLength(4);
    await Promise.all(Array.from({ length: 257 }, () => corridor.run(add, { id: "a" })));
    expect(writes()).toHaveLength(6);
  });

  it("begins the loads of all its commands before any is answered", async () => {
    const { corridor, probed, writes } = await setUp();
    const answer = gate();
    probed.hooks.read = () => answer.promise;
    const running = Promise.all(["a", "b", "c"].map((id) => corridor.run(add, { id })));
    await rounds();
    expect(writes()[0]?.gets).toHaveLength(3);
    answer.open();
    await running;
    expect(writes()[0]?.gets).toHaveLength(3);
  });

  it.each(["start", "registerProcess"] as const)("bounds a group by 1 MiB of what is registered, by %s too", async (how) => {
    const { kernel, probed } = await bench({ loop: "off" });
    const metadata = "x".repeat(500_000);
    const register = how === "start" ? kernel.start : kernel.processes.registerProcess;
    probed.seen.length = 0;
    await Promise.all(Array.from({ length: 40 }, (_, n) => register({ id: `p${n}`, input: { type: "external", metadata } })));
    expect(probed.seen.filter(({ mode }) => mode === "write").length).toBeGreaterThanOrEqual(20);
    expect(await kernel.processes.list()).toHaveLength(40);
  });

  it("carries a command that is alone larger than the bound", async () => {
    const { corridor, writes } = await setUp();
    await Promise.all(["a", "b", "c"].map((id) => corridor.run(add, { id }, { size: 3_000_000 })));
    expect(writes()).toHaveLength(3);
  });

  it.each(["refuse", "load", "decide", "plain"] as const)(
    "lets a command that fails by %s harm no other of its group",
    async (fails) => {
      const { corridor, stored, writes } = await setUp();
      const outcomes = await Promise.allSettled([
        corridor.run(add, { id: "a" }),
        corridor.run(add, { id: "a", fails }),
        corridor.run(add, { id: "a" }),
      ]);
      const wanted = { refuse: "conflict", load: "read-failed", decide: "invalid", plain: "internal" }[fails];
      expect(outcomes.map(codeOf)).toEqual(["stored", wanted, "stored"]);
      expect(await stored("counters")).toEqual([{ v: 1, id: "a", value: 2 }]);
      expect(writes()).toHaveLength(1);
    },
  );

  it("shows a later command of the group what the earlier ones wrote, in rows and in ranges", async () => {
    const { corridor, writes } = await setUp();
    const put: Command<{ id: string; colour: string }, void, void> = {
      tables: ["counters"],
      load: async () => undefined,
      decide: (_, { id, colour }) => accept(undefined, [{ table: "counters", put: { v: 1, id, colour } }]),
    };
    const drop: Command<string, void, void> = {
      tables: ["counters"],
      load: async () => undefined,
      decide: (_, id) => accept(undefined, [{ table: "counters", drop: id }]),
    };
    const reds: Command<null, Row[], unknown[]> = {
      tables: ["counters"],
      load: (reader) => reader.range("counters", { index: "byColour", prefix: ["red"] }),
      decide: (rows) => accept(rows.map(({ id }) => id)),
    };
    const one: Command<string, Row | undefined, unknown> = {
      tables: ["counters"],
      load: (reader, id) => reader.get("counters", id),
      decide: (row) => accept(row?.colour ?? null),
    };
    const replies = await Promise.all([
      corridor.run(reds, null),
      corridor.run(put, { id: "a", colour: "red" }),
      corridor.run(reds, null),
      corridor.run(put, { id: "b", colour: "red" }),
      corridor.run(put, { id: "a", colour: "blue" }),
      corridor.run(reds, null),
      corridor.run(one, "a"),
      corridor.run(drop, "b"),
      corridor.run(reds, null),
      corridor.run(one, "b"),
    ]);
    expect(replies).toEqual([[], undefined, ["a"], undefined, undefined, ["b"], "blue", undefined, [], null]);
    expect(writes()).toHaveLength(1);
  });

  it("asks for a whole key of an index once, until a row comes under it or leaves it", async () => {
    const { corridor, probed } = await setUp({
      version: 1,
      tables: { counters: { key: ["id"], indexes: { byColour: ["colour"] } } },
    });
    const paint: Command<{ id: string; colour: string; unless?: string }, Row[], boolean> = {
      tables: ["counters"],
      load: (reader, { unless = "none" }) => reader.range("counters", { index: "byColour", prefix: [unless] }),
      decide: (found, { id, colour }) =>
        found.length > 0 ? accept(false) : accept(true, [{ table: "counters", put: { v: 1, id, colour } }]),
    };
    await corridor.run(paint, { id: "a", colour: "red" });
    probed.seen.length = 0;
    const replies = await Promise.all([
      corridor.run(paint, { id: "b", colour: "blue", unless: "blue" }),
      corridor.run(paint, { id: "c", colour: "green", unless: "green" }),
      corridor.run(paint, { id: "d", colour: "blue", unless: "blue" }),
      corridor.run(paint, { id: "e", colour: "red", unless: "red" }),
      corridor.run(paint, { id: "a", colour: "white" }),
      corridor.run(paint, { id: "e", colour: "red", unless: "red" }),
      corridor.run(paint, { id: "f", colour: "red", unless: "red" }),
    ]);
    expect(replies).toEqual([true, true, false, false, true, true, false]);
    const asked = probed.seen[0]?.ranges.map((range) => /\["(\w+)"\]/.exec(range)?.[1]);
    expect(asked?.filter((colour) => colour === "green")).toHaveLength(1);
    expect(asked?.filter((colour) => colour === "blue")).toHaveLength(2);
    expect(asked?.filter((colour) => colour === "red")).toHaveLength(3);
  });

  it("shows a later command of the group that a whole prefix was dropped", async () => {
    const { corridor, stored } = await setUp();
    const put: Command<[string, number], void, void> = {
      tables: ["notes"],
      load: async () => undefined,
      decide: (_, [book, page]) => accept(undefined, [{ table: "notes", put: { v: 1, book, page } }]),
    };
    const burn: Command<string, void, void> = {
      tables: ["notes"],
      load: async () => undefined,
      decide: (_, book) => accept(undefined, [{ table: "notes", dropPrefix: [book] }]),
    };
    const has: Command<[string, number], Row | undefined, boolean> = {
      tables: ["notes"],
      load: (reader, key) => reader.get("notes", key),
      decide: (row) => accept(row !== undefined),
    };
    const replies = await Promise.all([
      corridor.run(put, ["a", 1]),
      corridor.run(put, ["b", 1]),
      corridor.run(has, ["a", 1]),
      corridor.run(burn, "a"),
      corridor.run(has, ["a", 1]),
      corridor.run(has, ["b", 1]),
      corridor.run(put, ["a", 2]),
    ]);
    expect(replies).toEqual([undefined, undefined, true, undefined, false, true, undefined]);
    expect(await stored("notes")).toEqual([
      { v: 1, book: "a", page: 2 },
      { v: 1, book: "b", page: 1 },
    ]);
  });

  it("takes out of what it knows no row that has the dropped prefix in another table, or only a part of it", async () => {
    const { corridor, probed, writes } = await setUp({
      version: 1,
      tables: { notes: { key: ["book", "page"] }, drafts: { key: ["book", "page"] } },
    });
    const keys = [
      ["notes", "a", 1],
      ["notes", "a", 2],
      ["notes", "b", 1],
      ["drafts", "a", 1],
    ] as const;
    const tables = ["notes", "drafts"];
    const put: Command<null, void, void> = {
      tables,
      load: async () => undefined,
      decide: () =>
        accept(
          undefined,
          keys.map(([table, book, page]) => ({ table, put: { v: 1, book, page } })),
        ),
    };
    const look: Command<null, (Row | undefined)[], boolean[]> = {
      tables,
      load: (reader) => Promise.all(keys.map(([table, book, page]) => reader.get(table, [book, page]))),
      decide: (rows) => accept(rows.map((row) => row !== undefined)),
    };
    const burn: Command<null, void, void> = {
      tables,
      load: async () => undefined,
      decide: () => accept(undefined, [{ table: "notes", dropPrefix: ["a", 1] }]),
    };
    await corridor.run(put, null);
    const replies = await Promise.all([corridor.run(look, null), corridor.run(burn, null), corridor.run(look, null)]);
    expect(replies).toEqual([[true, true, true, true], undefined, [false, true, true, true]]);
    expect(writes()[1]?.gets).toEqual(['notes ["a",1]', 'notes ["a",2]', 'notes ["b",1]', 'drafts ["a",1]', 'notes ["a",1]']);
    expect(probed.puts("notes")).toHaveLength(3);
  });

  it("drops by a prefix what has a key of one part", async () => {
    const { corridor, stored } = await setUp();
    const burn: Command<string, void, void> = {
      tables: ["counters"],
      load: async () => undefined,
      decide: (_, id) => accept(undefined, [{ table: "counters", dropPrefix: [id] }]),
    };
    const replies = await Promise.all([
      corridor.run(add, { id: "ann" }),
      corridor.run(add, { id: "bob" }),
      corridor.run(burn, "ann"),
      corridor.run(add, { id: "ann" }),
      corridor.run(add, { id: "bob" }),
    ]);
    expect(replies.map((reply) => reply?.value)).toEqual([1, 1, undefined, 1, 2]);
    expect(await stored("counters")).toMatchObject([
      { id: "ann", value: 1 },
      { id: "bob", value: 2 },
    ]);
  });

  it("writes a row that several commands changed once, also when a range of another table is read in between", async () => {
    const { corridor, probed, stored, writes } = await setUp();
    // The range is first read after the row was staged, but before it is written: no load asks for it earlier.
    const pages: Command<null, Row[], number> = {
      tables: ["notes", "counters"],
      load: async (reader) => ((await reader.get("counters", "a")) ? reader.range("notes", {}) : []),
      decide: (rows) => accept(rows.length),
    };
    await Promise.all([corridor.run(add, { id: "a" }), corridor.run(pages, null), corridor.run(add, { id: "a" })]);
    expect(writes()[0]?.ranges).toEqual(["notes {}"]);
    expect(probed.puts("counters")).toEqual([{ v: 1, id: "a", value: 2 }]);
    expect(await stored("counters")).toEqual([{ v: 1, id: "a", value: 2 }]);
  });

  it("reads a range once until its table is written, whatever is written to another", async () => {
    const { corridor, writes } = await setUp();
    const all: Command<string, Row[], number> = {
      tables: ["notes", "counters"],
      load: (reader, table) => reader.range(table, {}),
      decide: (rows) => accept(rows.length),
    };
    const replies = await Promise.all([
      corridor.run(all, "notes"),
      corridor.run(all, "counters"),
      corridor.run(add, { id: "a" }),
      corridor.run(all, "notes"),
      corridor.run(all, "counters"),
    ]);
    expect(replies).toEqual([0, 0, { id: "a", value: 1 }, 0, 1]);
    expect(writes()[0]?.ranges).toEqual(["notes {}", "counters {}", "counters {}"]);
  });

  it("asks again for a whole key of an index when any of the rows that it found changes", async () => {
    const { corridor } = await setUp({
      version: 1,
      tables: { counters: { key: ["id"], indexes: { byColour: ["colour"], bySize: ["size"] } } },
    });
    interface Paint {
      id: string;
      colour: string;
      size: number;
    }
    const paint: Command<Paint, void, void> = {
      tables: ["counters"],
      load: async () => undefined,
      decide: (_, row) => accept(undefined, [{ table: "counters", put: { v: 1, ...row } }]),
    };
    const found: Command<[string, string | number], Row[], unknown[]> = {
      tables: ["counters"],
      load: (reader, [index, value]) => reader.range("counters", { index, prefix: [value] }),
      decide: (rows) => accept(rows.map(({ id }) => id)),
    };
    const red = () => corridor.run(found, ["byColour", "red"]);
    const small = () => corridor.run(found, ["bySize", 1]);
    for (const id of ["a", "b"]) await corridor.run(paint, { id, colour: "red", size: 1 });
    const replies = await Promise.all([
      red(),
      small(),
      corridor.run(paint, { id: "a", colour: "blue", size: 2 }),
      red(),
      small(),
      corridor.run(paint, { id: "b", colour: "blue", size: 2 }),
      red(),
      small(),
    ]);
    expect(replies).toEqual([["a", "b"], ["a", "b"], undefined, ["b"], ["b"], undefined, [], []]);
  });

  it("takes no other question of an index for the one that asks for a whole key of it", async () => {
    const { corridor } = await setUp({
      version: 1,
      tables: { counters: { key: ["id"], indexes: { byColour: ["colour"] } } },
    });
    const paint: Command<{ id: string; colour: string }, void, void> = {
      tables: ["counters"],
      load: async () => undefined,
      decide: (_, row) => accept(undefined, [{ table: "counters", put: { v: 1, ...row } }]),
    };
    const find: Command<Query, Row[], unknown[]> = {
      tables: ["counters"],
      load: (reader, query) => reader.range("counters", query),
      decide: (rows) => accept(rows.map(({ id }) => id)),
    };
    await corridor.run(paint, { id: "a", colour: "red" });
    await corridor.run(paint, { id: "b", colour: "red" });
    await corridor.run(paint, { id: "c", colour: "white" });
    const index = "byColour";
    const prefix = ["red"];
    const queries: Query[] = [{ index, prefix }, { index, prefix, limit: 1 }, { index, prefix, reverse: true }, { index }];
    const replies = await Promise.all(queries.map((query) => corridor.run(find, query)));
    expect(replies).toEqual([["a", "b"], ["a"], ["b", "a"], ["a", "b", "c"]]);
  });

  it("shows a later command of the group that what a whole key of an index found was dropped", async () => {
    const { corridor } = await setUp({
      version: 1,
      tables: { counters: { key: ["id"], indexes: { byColour: ["colour"] } } },
    });
    const paint: Command<string, void, void> = {
      tables: ["counters"],
      load: async () => undefined,
      decide: (_, id) => accept(undefined, [{ table: "counters", put: { v: 1, id, colour: "red" } }]),
    };
    const drop: Command<string, void, void> = {
      tables: ["counters"],
      load: async () => undefined,
      decide: (_, id) => accept(undefined, [{ table: "counters", drop: id }]),
    };
    const reds: Command<null, Row[], unknown[]> = {
      tables: ["counters"],
      load: (reader) => reader.range("counters", { index: "byColour", prefix: ["red"] }),
      decide: (rows) => accept(rows.map(({ id }) => id)),
    };
    await Promise.all(["a", "b"].map((id) => corridor.run(paint, id)));
    const replies = await Promise.all([corridor.run(reds, null), corridor.run(drop, "a"), corridor.run(reds, null)]);
    expect(replies).toEqual([["a", "b"], undefined, ["b"]]);
  });

  it("shows a later command of the group that what a whole key of an index found was dropped by a prefix", async () => {
    const { corridor } = await setUp({
      version: 1,
      tables: { notes: { key: ["book", "page"], indexes: { byColour: ["colour"] } } },
    });
    const put: Command<{ book: string; colour: string }, void, void> = {
      tables: ["notes"],
      load: async () => undefined,
      decide: (_, { book, colour }) => accept(undefined, [{ table: "notes", put: { v: 1, book, page: 1, colour } }]),
    };
    const burn: Command<string, void, void> = {
      tables: ["notes"],
      load: async () => undefined,
      decide: (_, book) => accept(undefined, [{ table: "notes", dropPrefix: [book] }]),
    };
    const reds: Command<null, Row[], unknown[]> = {
      tables: ["notes"],
      load: (reader) => reader.range("notes", { index: "byColour", prefix: ["red"] }),
      decide: (rows) => accept(rows.map(({ book }) => book)),
    };
    await Promise.all(["a", "b"].map((book) => corridor.run(put, { book, colour: "red" })));
    const replies = await Promise.all([corridor.run(reds, null), corridor.run(burn, "a"), corridor.run(reds, null)]);
    expect(replies).toEqual([["a", "b"], undefined, ["b"]]);
  });

  it("gives no two callers of a group the same objects", async () => {
    const { corridor } = await setUp();
    await corridor.run(add, { id: "a" });
    const read: Command<string, Row | undefined, { row: Row | undefined }> = {
      tables: ["counters"],
      load: (reader, id) => reader.get("counters", id),
      decide: (row) => accept({ row }),
    };
    const [one, other] = await Promise.all([corridor.run(read, "a"), corridor.run(read, "a")]);
    expect(one).toEqual(other);
    expect(one.row).not.toBe(other.row);
  });

  it("loads a command that is alone once, and gives it its reply as it is", async () => {
    const { corridor } = await setUp();
    const reply = { many: "rows" };
    let loads = 0;
    const alone: Command<null, void, object> = {
      tables: ["counters"],
      load: async () => {
        loads++;
      },
      decide: () => accept(reply),
    };
    expect(await corridor.run(alone, null)).toBe(reply);
    expect(loads).toBe(1);
  });

  it("commits relaxed only when every command of the group may be lost", async () => {
    const { corridor, writes } = await setUp();
    const relaxed = { ...add, durability: "relaxed" as const };
    await Promise.all([corridor.run(relaxed, { id: "a" }), corridor.run(relaxed, { id: "b" })]);
    await Promise.all([corridor.run(relaxed, { id: "a" }), corridor.run(add, { id: "b" })]);
    expect(writes().map(({ durability }) => durability)).toEqual(["relaxed", undefined]);
  });
});

describe("when a transaction fails", () => {
  it("runs the commands of an aborted transaction again one by one, and only those that fail alone reject", async () => {
    const { corridor, probed, stored, writes } = await setUp();
    const poisoned = (put: readonly unknown[]) => put.some((write) => (write as { put?: { id?: string } }).put?.id === "bad");
    probed.hooks.end = ({ writes: put }) => {
      if (poisoned(put)) throw new HoldfastError("write-failed", "the row is too much");
    };
    const outcomes = await Promise.allSettled(["a", "bad", "c"].map((id) => corridor.run(add, { id })));
    expect(outcomes.map(codeOf)).toEqual(["stored", "write-failed", "stored"]);
    expect((await stored("counters")).map(({ id, value }) => [id, value])).toEqual([
      ["a", 1],
      ["c", 1],
    ]);
    expect(writes().filter(({ committed }) => committed)).toHaveLength(2);
  });

  it("does not let a command swallow that the transaction itself failed", async () => {
    const { corridor, probed, stored } = await setUp();
    const careless: Command<null, null, string> = {
      tables: ["counters"],
      load: async (reader) => {
        await reader.get("counters", "a").catch(() => undefined);
        return null;
      },
      decide: () => accept("fine", [{ table: "counters", put: { v: 1, id: "a", value: 1 } }]),
    };
    probed.hooks.read = () => {
      throw new HoldfastError("write-failed", "the read failed");
    };
    await expect(corridor.run(careless, null)).rejects.toMatchObject({ code: "write-failed" });
    probed.hooks = {};
    expect(await stored("counters")).toEqual([]);
  });

  it("runs after an unknown outcome only the repeatable commands again", async () => {
    const { corridor, probed, stored } = await setUp();
    let lose = true;
    probed.hooks.done = ({ mode }) => {
      if (mode === "write" && lose) {
        lose = false;
        throw new HoldfastError("unavailable", "the connection was lost", { details: { outcome: "unknown" } });
      }
    };
    const set: Command<{ id: string; once: boolean }, Row | undefined, string> = {
      tables: ["counters"],
      load: (reader, { id }) => reader.get("counters", id),
      decide: (row, { id }) => (row ? accept("again") : accept("first", [{ table: "counters", put: { v: 1, id } }])),
      repeatable: ({ once }) => !once,
    };
    const [repeatable, single] = await Promise.allSettled([
      corridor.run(set, { id: "a", once: false }),
      corridor.run(set, { id: "b", once: true }),
    ]);
    expect(repeatable).toEqual({ status: "fulfilled", value: "again" });
    expect(single).toMatchObject({ status: "rejected", reason: { code: "unavailable", details: { outcome: "unknown" } } });
    expect((await stored("counters")).map(({ id }) => id)).toEqual(["a", "b"]);
  });

  it("tells the caller of a second unknown outcome instead of going round", async () => {
    const { corridor, probed, writes } = await setUp();
    probed.hooks.done = () => {
      throw new HoldfastError("unavailable", "lost", { details: { outcome: "unknown" } });
    };
    await expect(corridor.run(add, { id: "a" })).rejects.toMatchObject({ code: "unavailable", details: { outcome: "unknown" } });
    expect(writes()).toHaveLength(2);
  });

  it("rejects every command of the group when the storage cannot be reached, without a second try", async () => {
    const { corridor, probed, writes } = await setUp();
    probed.hooks.open = () => {
      throw new HoldfastError("unavailable", "gone");
    };
    const outcomes = await Promise.allSettled(["a", "b"].map((id) => corridor.run(add, { id })));
    expect(outcomes.map(codeOf)).toEqual(["unavailable", "unavailable"]);
    expect(writes()).toHaveLength(1);
  });

  it("goes on with the commands behind a failed transaction", async () => {
    const { corridor, probed } = await setUp();
    let fail = true;
    probed.hooks.open = () => {
      if (fail) throw new HoldfastError("unavailable", "gone");
    };
    await expect(corridor.run(add, { id: "a" })).rejects.toMatchObject({ code: "unavailable" });
    fail = false;
    await expect(corridor.run(add, { id: "a" })).resolves.toEqual({ id: "a", value: 1 });
  });

  it.each(["closed", "version", "unavailable"] as const)("tries no command of a group again that failed as %s", async (code) => {
    const { corridor, probed, writes } = await setUp();
    probed.hooks.open = () => {
      throw new HoldfastError(code, "gone");
    };
    const outcomes = await Promise.allSettled(["a", "b"].map((id) => corridor.run(add, { id })));
    expect(outcomes.map(codeOf)).toEqual([code, code]);
    expect(writes()).toHaveLength(1);
  });

  it("tries a command that is alone again when the page was frozen under its transaction, and for nothing else", async () => {
    const { corridor, probed, writes } = await setUp();
    const causes = [{ reason: "frozen" }, { reason: "frozen" }, { reason: "other" }];
    probed.hooks.open = () => {
      const details = causes.shift();
      if (details) throw new HoldfastError("write-failed", "undone", { details });
    };
    await expect(corridor.run(add, { id: "a" })).rejects.toMatchObject({ details: { reason: "other" } });
    expect(writes()).toHaveLength(3);
    await corridor.run(add, { id: "a" });
    expect(writes()).toHaveLength(4);
  });

  it("tells a failure whose details are no members as it is", async () => {
    const { corridor, probed } = await setUp();
    for (const details of [null, "text", ["outcome"], undefined]) {
      probed.hooks.open = () => {
        throw new HoldfastError("unavailable", "gone", details === undefined ? {} : { details });
      };
      await expect(corridor.run(add, { id: "a" })).rejects.toMatchObject({ code: "unavailable", message: "gone" });
    }
  });

  it("does not run again after an unknown outcome what does not say that it may", async () => {
    const { corridor, probed, writes } = await setUp();
    probed.hooks.done = () => {
      throw new HoldfastError("unavailable", "lost", { details: { outcome: "unknown" } });
    };
    const { repeatable: _, ...single } = add;
    await expect(corridor.run(single, { id: "a" })).rejects.toMatchObject({ details: { outcome: "unknown" } });
    expect(writes()).toHaveLength(1);
  });

  it("undoes all of a transaction in which a write was refused at once, and runs its commands alone", async () => {
    const { corridor, stored } = await setUp();
    const bad: Command<null, void, void> = {
      tables: ["counters"],
      load: async () => undefined,
      decide: () =>
        accept(undefined, [
          { table: "counters", dropPrefix: ["a"] },
          { table: "nowhere", dropPrefix: ["a"] },
        ]),
    };
    await corridor.run(add, { id: "a" });
    const outcomes = await Promise.allSettled([corridor.run(add, { id: "b" }), corridor.run(bad, null)]);
    expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "rejected"]);
    expect((await stored("counters")).map(({ id }) => id)).toEqual(["a", "b"]);
  });

  it("tells what a query throws that is no HoldfastError as read-failed with its cause", async () => {
    const { corridor } = await setUp();
    const cause = new TypeError("a broken row");
    await expect(
      corridor.query(["counters"], async () => {
        throw cause;
      }),
    ).rejects.toMatchObject({ code: "read-failed", cause });
  });

  it("fails as a whole when a whole key of an index cannot be read, however careless the command is", async () => {
    const { corridor, probed, stored } = await setUp({
      version: 1,
      tables: { counters: { key: ["id"], indexes: { byColour: ["colour"] } } },
    });
    const careless: Command<null, null, void> = {
      tables: ["counters"],
      load: async (reader) => {
        await reader.range("counters", { index: "byColour", prefix: ["red"] }).catch(() => undefined);
        return null;
      },
      decide: () => accept(undefined, [{ table: "counters", put: { v: 1, id: "a" } }]),
    };
    probed.hooks.read = () => {
      throw new HoldfastError("read-failed", "the read failed");
    };
    await expect(corridor.run(careless, null)).rejects.toMatchObject({ code: "read-failed" });
    probed.hooks = {};
    expect(await stored("counters")).toEqual([]);
  });

  it.each([
    ["a table", "nowhere", "byColour"],
    ["an index", "counters", "byTaste"],
    ["an index of a table that has none", "notes", "byColour"],
  ])("tells in the storage's own words that %s is not there", async (_, table, index) => {
    const { corridor, storage } = await setUp();
    const query = { index, prefix: ["red"] };
    const words = await storage.transact([table], "read", (tx) => tx.range(table, query)).catch((error: Error) => error);
    const ask: Command<null, Row[], number> = {
      tables: [table],
      load: (reader) => reader.range(table, query),
      decide: (rows) => accept(rows.length),
    };
    await expect(corridor.run(ask, null)).rejects.toEqual(words);
  });

  it("tells what a storage throws that is no HoldfastError as write-failed with its cause", async () => {
    const { corridor, probed } = await setUp();
    const cause = new Error("disk on fire");
    probed.hooks.open = () => {
      throw cause;
    };
    await expect(corridor.run(add, { id: "a" })).rejects.toMatchObject({ code: "write-failed", cause });
  });
});

describe("later", () => {
  it("prepares outside the transaction, writes nothing for that command, and runs it again", async () => {
    const { corridor, probed, writes } = await setUp();
    const preparing = gate();
    let ready = false;
    let prepared = 0;
    const slow: Command<string, Row | undefined, string> = {
      tables: ["counters"],
      load: (reader, id) => reader.get("counters", id),
      decide: (row) => {
        if (ready) return accept(`after ${row?.value ?? "nothing"}`, [{ table: "counters", put: { v: 1, id: "slow" } }]);
        return afterPreparing(async () => {
          prepared++;
          await preparing.promise;
          ready = true;
        });
      },
    };
    const waiting = corridor.run(slow, "a");
    const beside = corridor.run(add, { id: "a" });
    expect((await beside).value).toBe(1);
    expect(await corridor.run(add, { id: "a" })).toEqual({ id: "a", value: 2 });
    expect(prepared).toBe(1);
    expect(probed.puts("counters").every(({ id }) => id === "a")).toBe(true);
    preparing.open();
    expect(await waiting).toBe("after 2");
    expect(writes()).toHaveLength(3);
  });

  it("rejects with what the preparation throws", async () => {
    const { corridor } = await setUp();
    const broken: Command<null, void, void> = {
      tables: ["counters"],
      load: async () => undefined,
      decide: () => afterPreparing(() => Promise.reject(new HoldfastError("unavailable", "no such module"))),
    };
    await expect(corridor.run(broken, null)).rejects.toMatchObject({ code: "unavailable", message: "no such module" });
  });

  it("gives a command up that is never prepared", async () => {
    const { corridor } = await setUp();
    const never: Command<null, void, void> = {
      tables: ["counters"],
      load: async () => undefined,
      decide: () => afterPreparing(async () => {}),
    };
    await expect(corridor.run(never, null)).rejects.toMatchObject({ code: "internal" });
  });

  it("prepares a command three times, and no more", async () => {
    const { corridor } = await setUp();
    const after: Command<{ left: number }, void, string> = {
      tables: ["counters"],
      load: async () => undefined,
      decide: (_, asked) => {
        if (asked.left === 0) return accept("prepared");
        return afterPreparing(async () => {
          asked.left--;
        });
      },
    };
    expect(await corridor.run(after, { left: 3 })).toBe("prepared");
    await expect(corridor.run(after, { left: 4 })).rejects.toMatchObject({ code: "internal" });
  });
});

describe("notices", () => {
  it("sends one per commit, after it, naming each thing once", async () => {
    const { corridor, published, probed, writes } = await setUp();
    probed.hooks.end = () => expect(published).toHaveLength(0);
    await Promise.all([corridor.run(add, { id: "a" }), corridor.run(add, { id: "b" }), corridor.run(add, { id: "a" })]);
    expect(writes()).toHaveLength(1);
    expect(published).toEqual([
      [
        { about: "record", id: "a" },
        { about: "record", id: "b" },
      ],
    ]);
  });

  it("sends the newest sequence of a process that a group wrote to more than once", async () => {
    const { corridor, published } = await setUp(SCHEMA);
    const schemas = payloadSchemas();
    await processMethods(corridor, DEFAULT_LIMITS, schemas).registerProcess({
      id: "p",
      input: { type: "external", metadata: null },
      eventTypes: [{ name: "tick" }],
    });
    const { appendEvent } = eventMethods(corridor, DEFAULT_LIMITS, eventAppender(corridor, DEFAULT_LIMITS, schemas));
    await Promise.all([1, 2, 3].map((payload) => appendEvent("p", { eventType: "tick", payload })));
    expect(published.at(-1)).toEqual([{ about: "event", id: "p", sequence: 3 }]);
  });

  it("sends none for an abort, and none that holds what was refused", async () => {
    const { corridor, published, probed } = await setUp();
    probed.hooks.end = () => {
      throw new HoldfastError("write-failed", "no");
    };
    await corridor.run(add, { id: "a" }).catch(() => undefined);
    expect(published).toEqual([]);
    probed.hooks = {};
    await Promise.allSettled([corridor.run(add, { id: "a" }), corridor.run(add, { id: "b", fails: "refuse" })]);
    expect(published).toEqual([[{ about: "record", id: "a" }]]);
  });

  it("answers every caller of a group before it tells anything, whatever a listener throws, and goes on", async () => {
    const { corridor, notices } = await setUp();
    const thrown = new Error("a listener's own");
    const uncaught: unknown[] = [];
    const order: string[] = [];
    const heardAfter: (readonly Change[])[] = [];
    const listeners = process.listeners("uncaughtException");
    process.removeAllListeners("uncaughtException");
    process.on("uncaughtException", (error) => uncaught.push(error));
    try {
      notices.subscribe(() => {
        order.push("told");
        throw thrown;
      });
      notices.subscribe((changes) => heardAfter.push(changes));
      const run = (id: string) => corridor.run(add, { id }).then(() => order.push(`answered ${id}`));
      await Promise.all([run("a"), run("b")]);
      await run("c");
      await rounds();
    } finally {
      process.removeAllListeners("uncaughtException");
      for (const listener of listeners) process.on("uncaughtException", listener);
    }
    expect(order).toEqual(["told", "answered a", "answered b", "told", "answered c"]);
    expect(heardAfter.flat().map(({ id }) => id)).toEqual(["a", "b", "c"]);
    expect(uncaught).toEqual([thrown, thrown]);
  });

  it("sends none for a command that changes nothing", async () => {
    const { corridor, published } = await setUp();
    await corridor.run({ tables: ["counters"], load: async () => undefined, decide: () => accept(1) }, null);
    expect(published.flat()).toEqual([]);
  });

  it("names the members of one thing each, and what is about other things apart", async () => {
    const { corridor, published } = await setUp();
    const tell: Command<Change, void, void> = {
      tables: ["counters"],
      load: async () => undefined,
      decide: (_, change) => accept(undefined, [], [change]),
    };
    const changes: Change[] = [
      { about: "input", id: "r", member: "a" },
      { about: "input", id: "r", member: "b" },
      { about: "runtime", id: "r" },
      { about: "input", id: "r" },
    ];
    await Promise.all([...changes, ...changes].map((change) => corridor.run(tell, change)));
    expect(published.flat()).toEqual(changes);
  });
});

describe("now", () => {
  it("is read when the command decides, also after a long wait for the transaction", async () => {
    const { corridor, probed, clock } = await setUp();
    const nowOf: Command<null, unknown, number> = {
      tables: ["counters"],
      load: (reader) => reader.get("counters", "a"),
      decide: (_, __, nowMs) => accept(nowMs),
    };
    probed.hooks.begin = () => clock.advance(5_000);
    expect(await corridor.run(nowOf, null)).toBe(6_000);
    probed.hooks = { read: () => clock.advance(1_000) };
    expect(await corridor.run(nowOf, null)).toBe(7_000);
  });

  it("is one and the same for a whole group", async () => {
    const { storage, notices, clock } = await setUp();
    let tick = 1_000;
    const corridor = createCorridor({ storage, tables: COUNTERS.tables, notices, clock: { ...clock, now: () => tick++ } });
    const nowOf: Command<null, void, number> = {
      tables: ["counters"],
      load: async () => undefined,
      decide: (_, __, nowMs) => accept(nowMs),
    };
    expect(await Promise.all([1, 2, 3].map(() => corridor.run(nowOf, null)))).toEqual([1_000, 1_000, 1_000]);
  });

  it("comes to a query as a clock to be read, whatever the clock is made of", async () => {
    const { storage, notices } = await setUp();
    class Watch {
      #at = 42;
      now() {
        return this.#at;
      }
      monotonicMs() {
        return this.#at;
      }
      setTimer() {
        return () => {};
      }
    }
    const corridor = createCorridor({ storage, tables: COUNTERS.tables, notices, clock: new Watch() });
    expect(await corridor.query(["counters"], async (_, now) => now())).toBe(42);
  });
});

describe("a query", () => {
  it("reads in a transaction that only reads, over the tables that it names", async () => {
    const { corridor, probed } = await setUp();
    await corridor.run(add, { id: "a" });
    probed.seen.length = 0;
    expect(await corridor.query(["counters"], (reader) => reader.get("counters", "a"))).toMatchObject({ value: 1 });
    expect(probed.seen).toMatchObject([{ mode: "read", tables: ["counters"], writes: [] }]);
  });
});

describe("at once", () => {
  it("opens a transaction of its own beside the one that is open", async () => {
    const { corridor, probed, writes } = await setUp();
    const opened = gate();
    const go = gate();
    let first = true;
    probed.hooks.open = async () => {
      if (!first) return;
      first = false;
      opened.open();
      await go.promise;
    };
    const blocked = corridor.run(add, { id: "a" });
    await opened.promise;
    const waiting = corridor.run(add, { id: "a" });
    expect(await corridor.run(add, { id: "b" }, { atOnce: true })).toEqual({ id: "b", value: 1 });
    expect(writes()).toHaveLength(2);
    go.open();
    expect([(await blocked).value, (await waiting).value]).toEqual([1, 2]);
  });

  it("asks for the transaction before the caller goes on", async () => {
    const { corridor, writes } = await setUp();
    const promise = corridor.run(add, { id: "a" }, { atOnce: true });
    expect(writes()).toHaveLength(1);
    await promise;
  });
});

describe("close", () => {
  it("rejects later calls with closed and lets earlier ones finish", async () => {
    const { corridor, probed } = await setUp();
    const opened = gate();
    const go = gate();
    probed.hooks.begin = async () => {
      opened.open();
      await go.promise;
    };
    const first = corridor.run(add, { id: "a" });
    await opened.promise;
    const second = corridor.run(add, { id: "a" });
    const closing = corridor.close();
    let closed = false;
    void closing.then(() => {
      closed = true;
    });
    await expect(corridor.run(add, { id: "a" })).rejects.toMatchObject({ code: "closed" });
    await expect(corridor.run(add, { id: "a" }, { atOnce: true })).rejects.toMatchObject({ code: "closed" });
    await expect(corridor.query(["counters"], async () => 1)).rejects.toMatchObject({ code: "closed" });
    await rounds();
    expect(closed).toBe(false);
    go.open();
    expect([(await first).value, (await second).value]).toEqual([1, 2]);
    await closing;
  });

  it("closes the storage's connection after the last transaction", async () => {
    const { corridor, storage } = await setUp();
    await corridor.run(add, { id: "a" });
    await corridor.close();
    await expect(storage.transact(["counters"], "read", async () => 1)).rejects.toMatchObject({ code: "closed" });
  });
});
