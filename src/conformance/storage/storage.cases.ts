import type { OpenStorage, Row, Transaction } from "../../ports/storage.js";
import { type OpenFixture, type Runner, refusal } from "../kit/fixture.js";
import { ALL, casesOver, get, put, range, SECOND, write } from "./storage.fixture.js";

/** The promises of `KernelStorage`, `OpenStorage` and `Transaction`, one case each. */
export function storageCases(open: OpenFixture, { describe, it, expect }: Runner): void {
  const promise = casesOver(open, it);

  describe("rows", () => {
    promise("a row that was put is got by its key, until it is dropped", async ({ connect }) => {
      const storage = await connect();
      const note = { v: 1, id: "a", text: "one", deep: { list: [1, "two", null, true] } };
      const event = { v: 1, stream: "s", at: 1, text: "begun" };
      await write(storage, [put("notes", note), put("events", event)]);
      expect(await get(storage, "notes", "a")).toEqual(note);
      expect(await get(storage, "events", ["s", 1])).toEqual(event);
      expect(await get(storage, "notes", "b")).toBe(undefined);
      expect(await get(storage, "events", ["s", 2])).toBe(undefined);
      await write(storage, [put("notes", { ...note, text: "two" })]);
      expect(await get(storage, "notes", "a")).toEqual({ ...note, text: "two" });
      await write(storage, [
        { table: "notes", drop: "a" },
        { table: "notes", drop: "never there" },
        { table: "events", drop: ["s", 1] },
      ]);
      expect(await get(storage, "notes", "a")).toBe(undefined);
      expect(await get(storage, "events", ["s", 1])).toBe(undefined);
    });

    promise("a dropped prefix takes the rows below it, and no others", async ({ connect }) => {
      const storage = await connect();
      const streams = ["a", "aa", "b", 1];
      await write(
        storage,
        streams.flatMap((stream) => [put("events", { v: 1, stream, at: 1 }), put("events", { v: 1, stream, at: "z" })]),
      );
      await write(storage, [{ table: "events", dropPrefix: ["a"] }]);
      expect((await range(storage, "events")).map(({ stream }) => stream)).toEqual([1, 1, "aa", "aa", "b", "b"]);
      await write(storage, [{ table: "events", dropPrefix: ["aa", "z"] }]);
      expect((await range(storage, "events", { prefix: ["aa"] })).map(({ at }) => at)).toEqual([1]);
      await write(storage, [{ table: "events", dropPrefix: [] }]);
      expect(await range(storage, "events")).toEqual([]);
      await write(storage, [put("notes", { v: 1, id: "a" }), put("notes", { v: 1, id: "ab" })]);
      await write(storage, [{ table: "notes", dropPrefix: ["a"] }]);
      expect(await range(storage, "notes")).toEqual([{ v: 1, id: "ab" }]);
    });

    promise("neither what was put nor what was got is tied to what is stored", async ({ connect }) => {
      const storage = await connect();
      const row = { v: 1, id: "a", list: ["kept"] };
      await storage.transact(ALL, "write", async (tx) => {
        tx.write([put("notes", row)]);
        row.list.push("changed before the commit");
        const seen = await tx.get("notes", "a");
        listOf(seen).push("changed in the transaction");
      });
      row.list.push("changed after the commit");
      const [first] = await range(storage, "notes");
      listOf(first).push("changed by a reader");
      expect(await get(storage, "notes", "a")).toEqual({ v: 1, id: "a", list: ["kept"] });
    });

    promise("bytes stay bytes", async ({ connect, reopen }) => {
      const storage = await connect();
      const bytes = Uint8Array.from({ length: 100_000 }, (_, at) => at % 251);
      await write(storage, [put("notes", { v: 1, id: "a", bytes }), put("notes", { v: 1, id: "b", bytes: new Uint8Array() })]);
      await storage.close();
      const again = await connect({}, await reopen());
      const stored = (await get(again, "notes", "a"))?.bytes;
      expect(stored instanceof Uint8Array).toBe(true);
      expect(Array.from(stored as Uint8Array)).toEqual(Array.from(bytes));
      expect((await get(again, "notes", "b"))?.bytes).toEqual(new Uint8Array());
    });

    promise("any string and any finite number is a key", async ({ connect }) => {
      const storage = await connect();
      const keys = [
        "",
        "__proto__",
        "constructor",
        "toString",
        "a,b",
        "[a]",
        "\u0000",
        "\uffff",
        "\u{1f600}",
        "ü".repeat(4000),
        -0.5,
        2 ** 53,
      ];
      await write(
        storage,
        keys.flatMap((key) => [put("notes", { v: 1, id: key, of: key }), put("events", { v: 1, stream: key, at: key, of: key })]),
      );
      for (const key of keys) {
        expect((await get(storage, "notes", key))?.of).toBe(key);
        expect((await range(storage, "events", { prefix: [key] })).map(({ of }) => of)).toEqual([key]);
      }
      expect((await range(storage, "notes")).length).toBe(keys.length);
    });

    promise("a thousand rows go in one transaction", async ({ connect }) => {
      const storage = await connect();
      const rows = Array.from({ length: 1000 }, (_, at) => ({ v: 1, stream: "s", at, text: `event ${at}` }));
      await write(
        storage,
        rows.map((row) => put("events", row)),
      );
      expect(await range(storage, "events", { prefix: ["s"] })).toEqual(rows);
    });
  });

  describe("transactions", () => {
    promise("a read sees the earlier writes of its transaction", async ({ connect }) => {
      const storage = await connect();
      await write(storage, [put("events", { v: 1, stream: "s", at: 1, mark: 1 }), put("events", { v: 1, stream: "t", at: 1 })]);
      const seen = await storage.transact(ALL, "write", async (tx) => {
        tx.write([put("events", { v: 1, stream: "s", at: 2, mark: 0 }), put("notes", { v: 1, id: "n" })]);
        const first = [
          await tx.get("events", ["s", 2]),
          await tx.range("events", { index: "byMark" }),
          await tx.get("notes", "n"),
        ];
        tx.write([{ table: "events", drop: ["s", 1] }, put("events", { v: 2, stream: "s", at: 2 })]);
        const second = [await tx.get("events", ["s", 1]), await tx.range("events", { prefix: ["s"] })];
        tx.write([{ table: "events", dropPrefix: ["s"] }]);
        return [...first, ...second, await tx.range("events", {})];
      });
      expect(seen).toEqual([
        { v: 1, stream: "s", at: 2, mark: 0 },
        [
          { v: 1, stream: "s", at: 2, mark: 0 },
          { v: 1, stream: "s", at: 1, mark: 1 },
        ],
        { v: 1, id: "n" },
        undefined,
        [{ v: 2, stream: "s", at: 2 }],
        [{ v: 1, stream: "t", at: 1 }],
      ]);
    });

    promise("the body's answer is the caller's", async ({ connect }) => {
      const storage = await connect();
      expect(await storage.transact(ALL, "write", async () => "from a write")).toBe("from a write");
      expect(await storage.transact(["notes"], "read", async () => "from a read")).toBe("from a read");
      expect(await storage.transact(ALL, "write", async () => undefined, "strict")).toBe(undefined);
    });

    promise("a body that rejects has written nothing and reports its own error", async ({ connect }) => {
      const storage = await connect();
      const before = [put("notes", { v: 1, id: "kept", text: "old" }), put("events", { v: 1, stream: "s", at: 1, mark: 1 })];
      await write(storage, before);
      const mine = new Error("mine");
      const change = (tx: Transaction) =>
        tx.write([
          put("notes", { v: 1, id: "kept", text: "new" }),
          put("notes", { v: 1, id: "new" }),
          { table: "events", dropPrefix: ["s"] },
        ]);
      const bodies: ((tx: Transaction) => Promise<void>)[] = [
        async (tx) => {
          change(tx);
          throw mine;
        },
        async (tx) => {
          change(tx);
          await tx.get("notes", "new");
          throw mine;
        },
        async (tx) => {
          await tx.range("events", {});
          change(tx);
          // Deliberately not awaited: the body fails before.
          void tx.get("notes", "kept");
          throw mine;
        },
      ];
      for (const body of bodies) {
        expect(await refusal(storage.transact(ALL, "write", body))).toBe(mine);
        expect(await range(storage, "notes")).toEqual([{ v: 1, id: "kept", text: "old" }]);
        expect(await range(storage, "events", { index: "byMark" })).toEqual([{ v: 1, stream: "s", at: 1, mark: 1 }]);
      }
      expect(await refusal(storage.transact(ALL, "read", () => Promise.reject(mine)))).toBe(mine);
    });

    promise("write transactions that share a table do not interleave", async ({ connect }) => {
      const storages = [await connect(), await connect()];
      const increment = async (tx: Transaction) => {
        const count = ((await tx.get("notes", "counter"))?.count ?? 0) as number;
        tx.write([put("notes", { v: 1, id: "counter", count: count + 1 })]);
        return count;
      };
      const counts = await Promise.all(
        Array.from({ length: 50 }, (_, at) => (storages[at % 2] as OpenStorage).transact(["notes"], "write", increment)),
      );
      expect(counts.sort((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, at) => at));
      expect(await get(storages[0] as OpenStorage, "notes", "counter")).toEqual({ v: 1, id: "counter", count: 50 });
    });

    promise("a failed transaction does not disturb the next", async ({ connect }) => {
      const storage = await connect();
      const failing = Array.from({ length: 5 }, (_, at) =>
        refusal(
          storage.transact(ALL, "write", async (tx) => {
            tx.write([put("notes", { v: 1, id: at })]);
            throw new Error(`no ${at}`);
          }),
        ),
      );
      await write(storage, [put("notes", { v: 1, id: "after" })]);
      expect((await Promise.all(failing)).map((error) => (error as Error).message)).toEqual([
        "no 0",
        "no 1",
        "no 2",
        "no 3",
        "no 4",
      ]);
      expect(await range(storage, "notes")).toEqual([{ v: 1, id: "after" }]);
    });
  });

  describe("places and connections", () => {
    promise("names do not see each other's rows", async ({ name, connect }) => {
      const [one, other] = [await connect({ newDatabaseId: "1" }), await connect({ name: `${name}.`, newDatabaseId: "2" })];
      await write(one, [put("notes", { v: 1, id: "a" })]);
      expect(await range(other, "notes")).toEqual([]);
      expect([one.databaseId, other.databaseId]).toEqual(["1", "2"]);
    });

    promise("two openings of one name share rows and the id of the database", async ({ connect }) => {
      const [one, other] = [await connect({ newDatabaseId: "first" }), await connect({ newDatabaseId: "second" })];
      expect([one.databaseId, other.databaseId]).toEqual(["first", "first"]);
      await write(one, [put("notes", { v: 1, id: "a" })]);
      expect(await get(other, "notes", "a")).toEqual({ v: 1, id: "a" });
      await one.close();
      expect(await get(other, "notes", "a")).toEqual({ v: 1, id: "a" });
    });

    promise("openings at once make one database", async ({ connect }) => {
      const all = await Promise.all(["1", "2", "3", "4"].map((newDatabaseId) => connect({ newDatabaseId })));
      expect(new Set(all.map(({ databaseId }) => databaseId)).size).toBe(1);
    });

    promise("rows outlive the connection", async ({ connect, reopen }) => {
      const storage = await connect({ newDatabaseId: "first" });
      await write(storage, [put("events", { v: 1, stream: "s", at: 1, mark: 1 })]);
      await storage.close();
      const again = await connect({ newDatabaseId: "second" }, await reopen());
      expect(again.databaseId).toBe("first");
      expect(await range(again, "events", { index: "byMark" })).toEqual([{ v: 1, stream: "s", at: 1, mark: 1 }]);
    });

    promise("an opening says that it is ready", async ({ connect }) => {
      const states: string[] = [];
      await connect({ onState: (state) => states.push(state) });
      expect(states).toEqual(["ready"]);
    });

    promise("closing waits for what runs and refuses what comes later", async ({ connect }) => {
      const storage = await connect();
      let ended = 0;
      const slow = (id: string) => async (tx: Transaction) => {
        for (let at = 0; at < 5; at++) await tx.get("notes", at);
        tx.write([put("notes", { v: 1, id })]);
        ended++;
      };
      const running = Promise.all(["first", "second"].map((id) => storage.transact(ALL, "write", slow(id))));
      await Promise.all([running, storage.close().then(() => expect(ended).toBe(2))]);
      for (const mode of ["read", "write"] as const) {
        expect(codeOf(await refusal(storage.transact(ALL, mode, async () => "ran")))).toBe("closed");
      }
      await storage.close();
      expect((await range(await connect(), "notes")).map(({ id }) => id)).toEqual(["first", "second"]);
    });
  });

  describe("schema versions", () => {
    promise("a database of a newer schema is refused and stays as it is", async ({ connect, reopen }) => {
      const newer = await connect({ schema: SECOND });
      await write(newer, [put("notes", { v: 1, id: "a", size: 3 }), put("extras", { v: 1, id: "x" })]);
      await newer.close();
      const states: string[] = [];
      const storage = await reopen();
      expect(codeOf(await refusal(connect({ onState: (state) => states.push(state) }, storage)))).toBe("version");
      expect(states.includes("ready")).toBe(false);
      const again = await connect({ schema: SECOND }, storage);
      expect(again.databaseId).toBe(newer.databaseId);
      expect(await range(again, "notes", { index: "bySize" })).toEqual([{ v: 1, id: "a", size: 3 }]);
      expect(await range(again, "extras")).toEqual([{ v: 1, id: "x" }]);
    });

    promise("an upgrade keeps the rows and adds tables and indexes", async ({ connect, reopen }) => {
      const older = await connect({ newDatabaseId: "first" });
      const notes = [
        { v: 1, id: "a", size: 3, colour: "red" },
        { v: 1, id: "b", size: 1 },
      ];
      await write(older, [...notes.map((note) => put("notes", note)), put("events", { v: 1, stream: "s", at: 1, mark: 7 })]);
      await older.close();
      const storage = await connect({ schema: SECOND, newDatabaseId: "second" }, await reopen());
      expect(storage.databaseId).toBe("first");
      expect(await range(storage, "notes")).toEqual(notes);
      expect((await range(storage, "notes", { index: "bySize" })).map(({ id }) => id)).toEqual(["b", "a"]);
      expect((await range(storage, "notes", { index: "byColour" })).map(({ id }) => id)).toEqual(["a"]);
      expect((await range(storage, "events", { index: "byMark" })).length).toBe(1);
      await write(storage, [put("extras", { v: 1, id: "x" })]);
      expect(await get(storage, "extras", "x")).toEqual({ v: 1, id: "x" });
    });

    promise("an upgrade lifts the rows of older databases, once, in all their indexes", async ({ connect, reopen }) => {
      const older = await connect();
      const events = ["s", "s", "t"].map((stream, at) => ({ v: 1, stream, at, mood: at }));
      await write(
        older,
        [...events, { v: 1, stream: "s", at: 3 }].map((event) => put("events", event)),
      );
      await older.close();
      const lift = (mark: number) => (row: Row) => ({ ...row, mark });
      const marked = { below: 2, table: "events", index: "byMood", prefix: ["s"], lift: lift(7) };
      const over = { ...marked, below: 1, lift: lift(8) };
      const storage = await connect({ schema: { ...SECOND, lifts: [marked, over] } }, await reopen());
      const found = (of: typeof storage) => range(of, "events", { index: "byMark" });
      const lifted = events.slice(0, 2).map((event) => ({ ...event, mark: 7 }));
      expect(await found(storage)).toEqual(lifted);
      expect(await get(storage, "events", ["t", 2])).toEqual(events[2]);
      await write(storage, [put("events", { v: 1, stream: "s", at: 4, mood: 4 })]);
      await storage.close();
      expect(await found(await connect({ schema: { ...SECOND, lifts: [marked] } }, await reopen()))).toEqual(lifted);
    });

    promise(
      "a lift without an index changes each row of its table, those that no index has, too",
      async ({ connect, reopen }) => {
        const older = await connect();
        const events = [
          { v: 1, stream: "s", at: 1, mood: 1 },
          { v: 1, stream: "t", at: 2 },
        ];
        await write(
          older,
          events.map((event) => put("events", event)),
        );
        await older.close();
        const lift = (row: Row) => (row.at === 2 ? { ...row, mark: 7 } : row);
        const schema = { ...SECOND, lifts: [{ below: 2, table: "events", lift }] };
        const storage = await connect({ schema }, await reopen());
        expect(await range(storage, "events", {})).toEqual([events[0], { ...events[1], mark: 7 }]);
        expect((await range(storage, "events", { index: "byMark" })).map(({ at }) => at)).toEqual([2]);
      },
    );

    promise("a connection is refused once a newer schema took the database", async ({ connect }) => {
      const older = await connect();
      await write(older, [put("notes", { v: 1, id: "a", size: 1 })]);
      const newer = await connect({ schema: SECOND });
      expect(codeOf(await refusal(write(older, [put("notes", { v: 1, id: "b" })])))).toBe("version");
      expect(codeOf(await refusal(range(older, "notes")))).toBe("version");
      expect(await range(newer, "notes", { index: "bySize" })).toEqual([{ v: 1, id: "a", size: 1 }]);
      await older.close();
      expect(codeOf(await refusal(range(older, "notes")))).toBe("closed");
    });
  });
}

function listOf(row: Row | undefined): unknown[] {
  return (row ?? { list: [] }).list as unknown[];
}

function codeOf(error: unknown): unknown {
  return (error as { code?: unknown }).code;
}
