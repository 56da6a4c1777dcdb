import type { Key, Query, Row } from "../../ports/storage.js";
import type { OpenFixture, Runner } from "../kit/fixture.js";
import { ALL, casesOver, put, range, write } from "./storage.fixture.js";

/** Results of `get` and `range`, and their order. */
export function queryCases(open: OpenFixture, { describe, it, expect }: Runner): void {
  const promise = casesOver(open, it);

  describe("order and queries", () => {
    promise("numbers come before strings, strings go by UTF-16 unit, tuples member by member", async ({ connect }) => {
      const storage = await connect();
      // Order of code units: by code point the emoji would be last; in a dictionary "B" would follow "a", and "é" precede "z".
      const ordered = [-10, -0.5, 0, 2, 10, "", "10", "9", "B", "a", "aa", "b", "z", "é", "\u{1f600}", "\uff5e"];
      const pairs = ordered.flatMap((stream) => ordered.map((at) => ({ v: 1, stream, at })));
      await write(storage, [
        ...shuffled(ordered).map((id) => put("notes", { v: 1, id })),
        ...shuffled(pairs).map((row) => put("events", row)),
      ]);
      expect((await range(storage, "notes")).map(({ id }) => id)).toEqual(ordered);
      expect(await range(storage, "events")).toEqual(pairs);
      expect(await range(storage, "events", { reverse: true })).toEqual([...pairs].reverse());
    });

    promise("a row without a column of an index is not in that index", async ({ connect }) => {
      const storage = await connect();
      const row = { v: 1, stream: "s", at: 1 };
      await write(storage, [
        put("events", { ...row, mark: 5 }),
        put("events", { ...row, at: 2 }),
        put("events", { ...row, at: 3, mark: 4 }),
      ]);
      const marked = async () => (await range(storage, "events", { index: "byMark" })).map(({ at }) => at);
      expect(await marked()).toEqual([3, 1]);
      await write(storage, [put("events", row), put("events", { ...row, at: 2, mark: 9 })]);
      expect(await marked()).toEqual([3, 2]);
      await write(storage, [{ table: "events", drop: ["s", 3] }]);
      expect(await marked()).toEqual([2]);
    });

    promise("rows of one index key come in the order of their own keys", async ({ connect }) => {
      const storage = await connect();
      await write(
        storage,
        shuffled(["a", "b", "c", "d", "e"]).map((id) => put("notes", { v: 1, id, colour: id === "c" ? "blue" : "red" })),
      );
      const ids = async (query: Query) => (await range(storage, "notes", { index: "byColour", ...query })).map(({ id }) => id);
      expect(await ids({})).toEqual(["c", "a", "b", "d", "e"]);
      expect(await ids({ prefix: ["red"], limit: 2 })).toEqual(["a", "b"]);
      expect(await ids({ prefix: ["red"], limit: 2, reverse: true })).toEqual(["e", "d"]);
      expect(await ids({ after: "blue", limit: 1 })).toEqual(["a"]);
      expect(await ids({ upTo: "blue" })).toEqual(["c"]);
    });

    promise("a prefix stops where its columns change, whatever follows them", async ({ connect }) => {
      const storage = await connect();
      await write(
        storage,
        [1, "a", "a\u0000", "aa", "b"].flatMap((stream) =>
          [-1, 0, "", "\uffff\uffff"].map((at) => put("events", { v: 1, stream, at })),
        ),
      );
      expect((await range(storage, "events", { prefix: ["a"] })).map(({ at }) => at)).toEqual([-1, 0, "", "\uffff\uffff"]);
      expect((await range(storage, "events", { prefix: ["a"], after: ["a", 0] })).map(({ at }) => at)).toEqual([
        "",
        "\uffff\uffff",
      ]);
      expect((await range(storage, "events", { prefix: ["a"], upTo: ["b", 0] })).length).toBe(4);
      expect((await range(storage, "events", { prefix: ["a"], from: ["aa", 0] })).length).toBe(0);
      expect((await range(storage, "events", { prefix: ["missing"] })).length).toBe(0);
    });

    const prefixes: Query["prefix"][] = [undefined, [], [2], ["b"], ["b", 2], ["missing"]];
    const bounds: (Key | undefined)[] = [undefined, [2, "x"], ["b", 2], ["b", "missing"]];
    const sources: [name: string, columns: string[], query: Query][] = [
      ["the table", ["stream", "at"], {}],
      ["an index", ["stream", "mood"], { index: "byMood" }],
    ];
    for (const [source, columns, index] of sources) {
      promise(`every field of a query narrows ${source}, alone and together`, async ({ connect }) => {
        const storage = await connect();
        const rows = [1, 2, "a", "b", "c"].flatMap((stream) =>
          [1, 2, "x", "y"].map((at): Row => ({ v: 1, stream, at, ...(at === 1 ? {} : { mood: at }) })),
        );
        await write(
          storage,
          shuffled(rows).map((row) => put("events", row)),
        );
        const queries = bounds.flatMap((from) =>
          bounds.flatMap((after) =>
            bounds.flatMap((upTo) =>
              prefixes.flatMap((prefix) =>
                [undefined, 0, 1, 3, 100].flatMap((limit) =>
                  [false, true].map((reverse) => present({ from, after, upTo, prefix, limit, reverse })),
                ),
              ),
            ),
          ),
        );
        const answers = await storage.transact(ALL, "read", (tx) =>
          Promise.all(queries.map((query) => tx.range("events", { ...index, ...query }))),
        );
        const wrong = queries.flatMap((query, at) => {
          const expected = queried(rows, columns, query);
          return JSON.stringify(answers[at]) === JSON.stringify(expected) ? [] : [{ query, got: answers[at], expected }];
        });
        expect(wrong.slice(0, 3)).toEqual([]);
      });
    }
  });
}

/** The same order in every run. */
function shuffled<T>(items: readonly T[]): T[] {
  const places = items.map((item, at) => ({ item, place: (at * 7919) % 1009 }));
  return places.sort((a, b) => a.place - b.place).map(({ item }) => item);
}

function present(query: { [Field in keyof Query]: Query[Field] | undefined }): Query {
  return Object.fromEntries(Object.entries(query).filter(([, value]) => value !== undefined));
}

/** A query as a plain filter: the expected result. `rows` are in key order. */
function queried(rows: readonly Row[], columns: readonly string[], query: Query): Row[] {
  const keyOf = (row: Row) => columns.map((column) => row[column] as string | number);
  const fits = (row: Row) => {
    const key = keyOf(row);
    if (key.includes(undefined as never)) return false;
    if (query.prefix?.some((part, at) => key[at] !== part)) return false;
    if (query.from !== undefined && compare(key, query.from) < 0) return false;
    if (query.after !== undefined && compare(key, query.after) <= 0) return false;
    return query.upTo === undefined || compare(key, query.upTo) <= 0;
  };
  const fitting = rows.filter(fits);
  return (query.reverse ? fitting.reverse() : fitting).slice(0, query.limit);
}

function compare(key: readonly (string | number)[], other: Key): number {
  const parts = other as readonly (string | number)[];
  for (const [at, part] of key.entries()) {
    const against = parts[at] as string | number;
    if (part === against) continue;
    if (typeof part !== typeof against) return typeof part === "number" ? -1 : 1;
    return part < against ? -1 : 1;
  }
  return 0;
}
