import { forceCloseDatabase, IDBDatabase, IDBFactory, IDBKeyRange, IDBTransaction } from "fake-indexeddb";
import { afterEach, describe, expect, it, vi } from "vitest";
import { type IndexedDbOptions, indexedDbStorage } from "../../src/adapters/storage-indexeddb.js";
import { refusal } from "../../src/conformance/kit/fixture.js";
import type { OpenStorage, StorageOpening, StorageSchema, StorageState, Transaction } from "../../src/ports/storage.js";
import { lockService } from "../loop/locks-double.js";

const SCHEMA: StorageSchema = {
  version: 1,
  tables: { notes: { key: ["id"] }, events: { key: ["stream", "at"], indexes: { byMark: ["mark", "at"] } } },
};
const NEXT: StorageSchema = { version: 2, tables: { ...SCHEMA.tables, extras: { key: ["id"] } } };

afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

function place(more: IndexedDbOptions = {}) {
  const indexedDB = new IDBFactory();
  const states: StorageState[] = [];
  const open = (opening: Partial<StorageOpening> = {}) =>
    indexedDbStorage({ indexedDB, IDBKeyRange, ...more }).open({
      name: "place",
      schema: SCHEMA,
      durability: "relaxed",
      newDatabaseId: "first",
      onState: (state) => states.push(state),
      ...opening,
    });
  return { indexedDB, states, open };
}

it("an option that is not known is refused by its name (A-5)", () => {
  expect(() => indexedDbStorage({ openTimeout: 1 } as never)).toThrow(
    expect.objectContaining({
      code: "invalid",
      message: "openTimeout is no option of indexedDbStorage; did you mean openTimeoutMs?",
    }),
  );
  expect(indexedDbStorage({ openTimeout: undefined } as never).kind).toBe("indexeddb");
});

/** Opens the database as another program does. */
function bare(
  indexedDB: globalThis.IDBFactory,
  version?: number,
  upgrade: (database: globalThis.IDBDatabase) => void = () => undefined,
) {
  return new Promise<globalThis.IDBDatabase>((resolve, reject) => {
    const request = indexedDB.open("place", version);
    request.onupgradeneeded = () => upgrade(request.result);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function answer<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function put(storage: OpenStorage, id: string): Promise<void> {
  return storage.transact(["notes"], "write", async (tx) => tx.write([{ table: "notes", put: { v: 1, id } }]));
}

function ids(storage: OpenStorage): Promise<unknown[]> {
  return storage.transact(["notes"], "read", async (tx) => (await tx.range("notes", {})).map(({ id }) => id));
}

/** Records the native transactions from here on, oldest first. */
function recorded(): globalThis.IDBTransaction[] {
  const seen: globalThis.IDBTransaction[] = [];
  const begin = IDBDatabase.prototype.transaction;
  vi.spyOn(IDBDatabase.prototype, "transaction").mockImplementation(function (this: globalThis.IDBDatabase, ...args) {
    const native = begin.apply(this, args);
    seen.push(native);
    return native;
  });
  return seen;
}

/** Closes the connection as a browser does when the storage is cleared under a page. */
function closeByForce(native: globalThis.IDBTransaction | undefined): void {
  forceCloseDatabase(native?.db as unknown as typeof IDBDatabase);
}

/** Aborts as a browser does for its own reasons; without a reason as it does when it closes the connection. */
function abortByBrowser(native: globalThis.IDBTransaction | undefined, reason?: Error): void {
  if (reason) Object.defineProperty(native, "error", { value: reason });
  native?.abort();
}

/** Makes reads fail as a disk error does. */
function breakReads(native: globalThis.IDBTransaction | undefined, reason: Error): void {
  type Disk = { _rawDatabase?: { rawObjectStores: Map<string, { getValue: () => never }> } };
  const store = (native?.db as Disk | undefined)?._rawDatabase?.rawObjectStores.get("notes");
  if (!store) throw new Error("fake-indexeddb keeps its tables elsewhere");
  store.getValue = () => {
    throw reason;
  };
}

describe("on disk", () => {
  it("is plain IndexedDB with a guard row, under the kernel's own name", async () => {
    const { indexedDB, open } = place();
    const storage = await open();
    await storage.transact(["events"], "write", async (tx) =>
      tx.write([{ table: "events", put: { v: 1, stream: "s", at: 1, mark: 3 } }]),
    );
    await storage.close();
    expect(await indexedDB.databases()).toEqual([{ name: "place", version: 10 }]);
    const database = await bare(indexedDB);
    expect([...database.objectStoreNames]).toEqual(["events", "meta", "notes"]);
    const tx = database.transaction(["events", "meta"]);
    expect(await answer(tx.objectStore("meta").getAll())).toEqual([
      { key: "guard", v: 1, schemaVersion: 1, databaseId: "first" },
    ]);
    expect(tx.objectStore("events").keyPath).toEqual(["stream", "at"]);
    expect(await answer(tx.objectStore("events").index("[mark+at]").get([3, 1]))).toEqual({ v: 1, stream: "s", at: 1, mark: 3 });
  });

  it("says in the guard row which schema it has after an upgrade", async () => {
    const { indexedDB, open } = place();
    await (await open()).close();
    await (await open({ schema: NEXT })).close();
    const database = await bare(indexedDB);
    expect(database.version).toBe(20);
    expect(await answer(database.transaction("meta").objectStore("meta").get("guard"))).toMatchObject({
      schemaVersion: 2,
      databaseId: "first",
    });
  });

  it("asks for the durability of the opening, or of the call", async () => {
    const begin = vi.spyOn(IDBDatabase.prototype, "transaction");
    const { open } = place();
    const storage = await open({ durability: "strict" });
    expect(storage.durability).toBe("strict");
    begin.mockClear();
    await put(storage, "a");
    await storage.transact(["notes"], "write", async () => undefined, "relaxed");
    expect(begin.mock.calls.map(([, mode, options]) => [mode, options])).toEqual([
      ["readwrite", { durability: "strict" }],
      ["readwrite", { durability: "relaxed" }],
    ]);
  });
});

describe("another program's database", () => {
  const FOREIGN = { code: "unavailable", details: { reason: "foreign" } };

  async function untouched(version: number, make: (database: globalThis.IDBDatabase) => void, code: object): Promise<void> {
    vi.spyOn(console, "warn").mockImplementation(() => undefined);
    const { indexedDB, open } = place();
    (await bare(indexedDB, version, make)).close();
    expect(await refusal(open())).toMatchObject(code);
    const database = await bare(indexedDB);
    expect(database.version).toBe(version);
    const before = await bareStores(version, make);
    expect([...database.objectStoreNames]).toEqual(before);
  }

  async function bareStores(version: number, make: (database: globalThis.IDBDatabase) => void): Promise<string[]> {
    return [...(await bare(new IDBFactory(), version, make)).objectStoreNames];
  }

  it("is refused and stays as it is, whatever its version", async () => {
    await untouched(1, (database) => database.createObjectStore("theirs"), FOREIGN);
    await untouched(10, (database) => database.createObjectStore("theirs"), FOREIGN);
    await untouched(10, () => undefined, FOREIGN);
    await untouched(999, (database) => database.createObjectStore("theirs"), { code: "version" });
    await untouched(999, () => undefined, { code: "version" });
  });

  it("is refused too when it has a table of the guard's name, or all tables and no guard", async () => {
    await untouched(3, (database) => database.createObjectStore("meta"), { code: "unavailable" });
    await untouched(3, (database) => database.createObjectStore("meta", { keyPath: "key" }), FOREIGN);
    await untouched(
      10,
      (database) => {
        database.createObjectStore("meta", { keyPath: "key" });
        database.createObjectStore("notes", { keyPath: "id" });
        database.createObjectStore("events", { keyPath: ["stream", "at"] }).createIndex("[mark+at]", ["mark", "at"]);
      },
      FOREIGN,
    );
  });

  it("is refused when it lacks a table of its version, and does not get it", async () => {
    vi.spyOn(console, "warn").mockImplementation(() => undefined);
    const { indexedDB, open } = place();
    await (await open()).close();
    expect(await refusal(open({ schema: { ...NEXT, version: 1 } }))).toMatchObject(FOREIGN);
    const database = await bare(indexedDB);
    expect([database.version, ...database.objectStoreNames]).toEqual([10, "events", "meta", "notes"]);
  });

  it("is refused when its guard says that its schema is newer than its version", async () => {
    const { indexedDB, open } = place();
    await (await open()).close();
    const database = await bare(indexedDB);
    const guard = { key: "guard", v: 1, schemaVersion: 3, databaseId: "first" };
    await answer(database.transaction("meta", "readwrite").objectStore("meta").put(guard));
    database.close();
    expect(await refusal(open())).toMatchObject({ code: "version" });
    expect(await refusal(open({ schema: NEXT }))).toMatchObject({ code: "version" });
    expect((await bare(indexedDB)).version).toBe(10);
  });
});

describe("opening", () => {
  it("needs IndexedDB", async () => {
    const opening: StorageOpening = {
      name: "n",
      schema: SCHEMA,
      durability: "strict",
      newDatabaseId: "i",
      onState: () => undefined,
    };
    expect(await refusal(indexedDbStorage().open(opening))).toMatchObject({ code: "unavailable" });
    vi.stubGlobal("indexedDB", new IDBFactory());
    vi.stubGlobal("IDBKeyRange", IDBKeyRange);
    const storage = await indexedDbStorage().open(opening);
    await put(storage, "a");
    expect(await ids(storage)).toEqual(["a"]);
    await storage.close();
  });

  it("waits for another connection only so long, and leaves nothing behind when it comes through late", async () => {
    const { indexedDB, states, open } = place({ openTimeoutMs: 60 });
    await (await open()).close();
    const stubborn = await bare(indexedDB);
    states.length = 0;
    const error = await refusal(open({ schema: NEXT }));
    expect(error).toMatchObject({ code: "unavailable", details: { reason: "open-timeout" } });
    expect(states).toEqual(["blocked"]);
    stubborn.close();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(await indexedDB.databases()).toEqual([{ name: "place", version: 10 }]);
    expect(states).toEqual(["blocked"]);
    // The deletion would wait for a connection that the late success had left open.
    await answer(indexedDB.deleteDatabase("place"));
  });

  it("goes on when the other connection lets go in time", async () => {
    const { indexedDB, open } = place();
    await (await open()).close();
    const stubborn = await bare(indexedDB);
    const opened = open({ schema: NEXT, onState: (state) => state === "blocked" && stubborn.close() });
    await (await opened).close();
    expect((await bare(indexedDB)).version).toBe(20);
  });

  it("is bounded where the browser does not answer, and closes what comes late", async () => {
    const { indexedDB, open } = place({ openTimeoutMs: 20 });
    const request = Object.assign(new EventTarget(), { result: { close: vi.fn() } });
    vi.spyOn(indexedDB, "open").mockReturnValue(request as unknown as IDBOpenDBRequest);
    expect(await refusal(open())).toMatchObject({ code: "unavailable", details: { reason: "open-timeout" } });
    request.dispatchEvent(new Event("success"));
    expect(request.result.close).toHaveBeenCalledOnce();
  });

  it("that fails leaves no listener behind in its page", async () => {
    const page = new EventTarget();
    vi.stubGlobal("document", page);
    const [put, taken] = [vi.spyOn(page, "addEventListener"), vi.spyOn(page, "removeEventListener")];
    const { indexedDB, open } = place();
    (await bare(indexedDB, 999)).close();
    expect(await refusal(open())).toMatchObject({ code: "version" });
    expect(put).toHaveBeenCalled();
    expect(taken.mock.calls).toEqual(put.mock.calls);
  });

  it("tells what the browser said, once", async () => {
    const { indexedDB, open } = place();
    const cause = new DOMException("not in this window", "InvalidStateError");
    const request = Object.assign(new EventTarget(), { error: cause, onerror: (_: Event) => undefined });
    request.addEventListener("error", (event) => request.onerror(event));
    vi.spyOn(indexedDB, "open").mockImplementation(() => {
      setTimeout(() => request.dispatchEvent(new Event("error")));
      return request as unknown as IDBOpenDBRequest;
    });
    const message = "the database place cannot be opened: not in this window";
    expect(await refusal(open())).toMatchObject({ code: "unavailable", message, cause });
  });
});

describe("an upgrade", () => {
  /** Keeps the transaction of the next upgrade alive until the test lets it go or undoes it. */
  function slowUpgrade(indexedDB: globalThis.IDBFactory): { begun: Promise<void>; end(): void; undo(): void } {
    let isOver = false;
    let undone: globalThis.IDBTransaction | null = null;
    const native = indexedDB.open.bind(indexedDB);
    const begun = new Promise<void>((resolve) => {
      vi.spyOn(indexedDB, "open").mockImplementation((...args) => {
        const request = native(...args);
        request.addEventListener("upgradeneeded", () => {
          undone = request.transaction;
          const guards = request.transaction?.objectStore("meta") as globalThis.IDBObjectStore;
          const again = () => {
            if (!isOver) guards.count().onsuccess = again;
          };
          again();
          resolve();
        });
        return request;
      });
    });
    const end = () => {
      isOver = true;
    };
    const undo = () => {
      end();
      undone?.abort();
    };
    return { begun, end, undo };
  }

  const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
  const withLocks = () => vi.stubGlobal("navigator", { locks: lockService().client("a") });

  it("is told and not cut off, however much longer it takes than opening may wait", async () => {
    const { indexedDB, states, open } = place({ openTimeoutMs: 1_000 });
    await (await open()).close();
    states.length = 0;
    const upgrade = slowUpgrade(indexedDB);
    const opened = open({ schema: NEXT });
    await upgrade.begun;
    expect(states).toEqual(["upgrading"]);
    await pause(1_500);
    upgrade.end();
    await (await opened).close();
    expect(states).toEqual(["upgrading", "ready"]);
    expect((await bare(indexedDB)).version).toBe(20);
  });

  it("is not told of a database that is made", async () => {
    const { states, open } = place();
    await (await open()).close();
    expect(states).toEqual(["ready"]);
  });

  it("of another tab is told and waited for to its end, where there are Web Locks", async () => {
    withLocks();
    const { indexedDB, states, open } = place({ openTimeoutMs: 1_000 });
    await (await open()).close();
    states.length = 0;
    const upgrade = slowUpgrade(indexedDB);
    const others: StorageState[] = [];
    const first = open({ schema: NEXT });
    await upgrade.begun;
    const second = open({ schema: NEXT, onState: (state) => others.push(state) });
    await vi.waitFor(() => expect(others).toEqual(["upgrading"]), 5_000);
    await pause(1_500);
    upgrade.end();
    await (await first).close();
    await (await second).close();
    expect(others).toEqual(["upgrading", "ready"]);
    expect(await navigator.locks.query()).toEqual({ held: [], pending: [] });
  });

  it("of another tab is waited for like any other tab where there are none", async () => {
    vi.stubGlobal("navigator", {});
    const { indexedDB, open } = place({ openTimeoutMs: 1_000 });
    await (await open()).close();
    const upgrade = slowUpgrade(indexedDB);
    const first = open({ schema: NEXT });
    await upgrade.begun;
    expect(await refusal(open({ schema: NEXT }))).toMatchObject({ code: "unavailable", details: { reason: "open-timeout" } });
    upgrade.end();
    await (await first).close();
  });

  it("of another tab is waited for no longer where the lock service does not answer", async () => {
    vi.stubGlobal("navigator", { locks: { request: () => new Promise(() => {}), query: () => new Promise(() => {}) } });
    const { indexedDB, open } = place({ openTimeoutMs: 20 });
    vi.spyOn(indexedDB, "open").mockReturnValue(new EventTarget() as IDBOpenDBRequest);
    expect(await refusal(open())).toMatchObject({ code: "unavailable", details: { reason: "open-timeout" } });
  });

  it("that is undone is told by no lock any more, and the next opening makes it", async () => {
    withLocks();
    const { indexedDB, states, open } = place();
    await (await open()).close();
    states.length = 0;
    const upgrade = slowUpgrade(indexedDB);
    const opened = refusal(open({ schema: NEXT }));
    await upgrade.begun;
    upgrade.undo();
    const message = "the database place cannot be opened: it was aborted";
    expect(await opened).toMatchObject({ name: "HoldfastError", code: "unavailable", message });
    expect(await navigator.locks.query()).toEqual({ held: [], pending: [] });
    await (await open({ schema: NEXT })).close();
    expect(states).toEqual(["upgrading", "upgrading", "ready"]);
  });
});

describe("what others do to the database", () => {
  it("lets it be deleted and refuses from then on", async () => {
    const { indexedDB, states, open } = place();
    const storage = await open();
    await put(storage, "a");
    await answer(indexedDB.deleteDatabase("place"));
    expect(states).toEqual(["ready", "lost"]);
    expect(await refusal(ids(storage))).toMatchObject({ code: "unavailable", details: { reason: "deleted" } });
    expect(await refusal(put(storage, "b"))).toMatchObject({ code: "unavailable", details: { reason: "deleted" } });
    expect(await indexedDB.databases()).toEqual([]);
    await storage.close();
    expect(await refusal(put(storage, "b"))).toMatchObject({ code: "closed" });
  });

  it("makes way for an upgrade, lets what runs end, and refuses from then on", async () => {
    const { indexedDB, states, open } = place();
    const storage = await open();
    let upgraded: Promise<globalThis.IDBDatabase> | undefined;
    const running = storage.transact(["notes"], "write", async (tx) => {
      upgraded = bare(indexedDB, 999);
      for (let round = 0; round < 20; round++) await tx.get("notes", round);
      tx.write([{ table: "notes", put: { v: 1, id: "late" } }]);
    });
    await running;
    const database = await upgraded;
    expect(states).toEqual(["ready", "upgrade-required"]);
    expect(await refusal(ids(storage))).toMatchObject({ code: "version" });
    expect(await answer((database as globalThis.IDBDatabase).transaction("notes").objectStore("notes").getAllKeys())).toEqual([
      "late",
    ]);
  });
});

describe("a lost connection", () => {
  it("is made again by the next call, over the same data", async () => {
    const seen = recorded();
    const { states, open } = place();
    const storage = await open();
    await put(storage, "a");
    closeByForce(seen[0]);
    await vi.waitFor(() => expect(states).toEqual(["ready", "lost"]));
    expect(await Promise.all([ids(storage), ids(storage), put(storage, "b")])).toEqual([["a"], ["a"], undefined]);
    expect(states).toEqual(["ready", "lost", "ready"]);
    expect(new Set(seen.map(({ db }) => db)).size).toBe(2);
    await storage.close();
  });

  it("runs the body again when it was lost before the commit was asked for", async () => {
    const seen = recorded();
    const { states, open } = place();
    const storage = await open();
    let runs = 0;
    await storage.transact(["notes"], "write", async (tx) => {
      runs++;
      tx.write([{ table: "notes", put: { v: 1, id: `run ${runs}` } }]);
      if (runs === 1) {
        seen.at(-1)?.db.close();
        abortByBrowser(seen.at(-1));
      }
      await tx.get("notes", "any");
    });
    expect(runs).toBe(2);
    expect(await ids(storage)).toEqual(["run 2"]);
    expect(states).toEqual(["ready", "lost", "ready"]);
    await storage.close();
  });

  it("runs the body twice and not for ever", async () => {
    const seen = recorded();
    const { open } = place();
    const storage = await open();
    let runs = 0;
    const failing = storage.transact(["notes"], "read", async (tx) => {
      runs++;
      const lost = tx.get("notes", "a");
      abortByBrowser(seen.at(-1), new DOMException("Connection to Indexed Database server lost", "UnknownError"));
      return await lost;
    });
    expect(await refusal(failing)).toMatchObject({ code: "unavailable", details: { reason: "interrupted" } });
    expect(runs).toBe(2);
    expect(await ids(storage)).toEqual([]);
    await storage.close();
  });

  it("is an unknown outcome after the commit was asked for, and the body does not run again", async () => {
    const { open } = place();
    const storage = await open();
    vi.spyOn(IDBTransaction.prototype, "commit").mockImplementationOnce(function (this: globalThis.IDBTransaction) {
      abortByBrowser(this, new DOMException("Connection to Indexed Database server lost", "UnknownError"));
    });
    let runs = 0;
    const failing = storage.transact(["notes"], "write", async (tx) => {
      runs++;
      tx.write([{ table: "notes", put: { v: 1, id: "a" } }]);
    });
    expect(await refusal(failing)).toMatchObject({ code: "unavailable", details: { outcome: "unknown" } });
    expect(runs).toBe(1);
    await put(storage, "b");
    await storage.close();
  });

  it("refuses when the database is gone, and does not make it anew", async () => {
    const seen = recorded();
    const { indexedDB, open } = place();
    const told: unknown[] = [];
    const storage = await open({ onState: (state, ended) => told.push([state, ended?.code]) });
    closeByForce(seen[0]);
    await answer(indexedDB.deleteDatabase("place"));
    for (let call = 0; call < 2; call++) {
      expect(await refusal(ids(storage))).toMatchObject({ code: "unavailable", details: { reason: "deleted" } });
    }
    expect(await indexedDB.databases()).toEqual([]);
    expect(told).toEqual([
      ["ready", undefined],
      ["lost", undefined],
      ["lost", "unavailable"],
    ]);
  });

  it("refuses when the database is another one", async () => {
    const seen = recorded();
    const { indexedDB, open } = place();
    const storage = await open();
    closeByForce(seen[0]);
    await answer(indexedDB.deleteDatabase("place"));
    const other = await open({ newDatabaseId: "second" });
    await put(other, "theirs");
    for (let call = 0; call < 2; call++) {
      expect(await refusal(ids(storage))).toMatchObject({ code: "unavailable", details: { reason: "replaced" } });
    }
    expect(await ids(other)).toEqual(["theirs"]);
    await other.close();
  });

  it("refuses when the database was upgraded meanwhile, without asking again", async () => {
    const seen = recorded();
    const { indexedDB, states, open } = place();
    const storage = await open();
    closeByForce(seen[0]);
    await (await open({ schema: NEXT, onState: () => undefined })).close();
    const asked = vi.spyOn(indexedDB, "open");
    for (let call = 0; call < 2; call++) expect(await refusal(ids(storage))).toMatchObject({ code: "version" });
    expect(asked).toHaveBeenCalledOnce();
    expect(states).toEqual(["ready", "lost", "upgrade-required"]);
  });

  it("leaves no connection behind when the storage is closed while it is made again", async () => {
    const seen = recorded();
    const { indexedDB, states, open } = place();
    const storage = await open();
    closeByForce(seen[0]);
    await vi.waitFor(() => expect(states).toEqual(["ready", "lost"]));
    const waiting = refusal(ids(storage));
    await storage.close();
    expect(await waiting).toMatchObject({ code: "closed" });
    await answer(indexedDB.deleteDatabase("place"));
    expect(states).toEqual(["ready", "lost"]);
  });

  it("tries to connect again at every call while the browser refuses", async () => {
    const seen = recorded();
    const { indexedDB, open } = place({ openTimeoutMs: 500 });
    const storage = await open();
    closeByForce(seen[0]);
    const never = vi.spyOn(indexedDB, "open").mockReturnValue(new EventTarget() as IDBOpenDBRequest);
    expect(await refusal(ids(storage))).toMatchObject({ code: "unavailable", details: { reason: "open-timeout" } });
    never.mockRestore();
    expect(await ids(storage)).toEqual([]);
    await storage.close();
  });
});

describe("an aborted transaction", () => {
  class QuotaExceededError extends Error {
    override readonly name = "QuotaExceededError";
  }

  async function aborted(mode: "read" | "write", reason: Error, after: "write" | "read"): Promise<unknown> {
    const { states, open } = place();
    const storage = await open();
    const seen = recorded();
    const failing = storage.transact(["notes"], mode, async (tx) => {
      if (mode === "write") tx.write([{ table: "notes", put: { v: 1, id: "a" } }]);
      const row = after === "read" ? tx.get("notes", "a") : undefined;
      abortByBrowser(seen.at(-1), reason);
      return await row;
    });
    const error = await refusal(failing);
    expect(await ids(storage)).toEqual([]);
    expect(states).toEqual(["ready"]);
    await storage.close();
    vi.restoreAllMocks();
    return error;
  }

  it("tells a full disk, in both of its shapes", async () => {
    for (const quota of [new DOMException("full", "QuotaExceededError"), new QuotaExceededError("full")]) {
      for (const after of ["write", "read"] as const) {
        expect(await aborted("write", quota, after)).toMatchObject({ code: "quota-exceeded", cause: { message: "full" } });
      }
    }
  });

  it("is a failed write or a failed read otherwise", async () => {
    for (const name of ["TimeoutError", "AbortError", "DataError"]) {
      for (const after of ["write", "read"] as const) {
        expect(await aborted("write", new DOMException("why", name), after)).toMatchObject({
          code: "write-failed",
          cause: { name },
        });
      }
    }
    const unreadable = new DOMException("why", "NotReadableError");
    expect(await aborted("read", unreadable, "read")).toMatchObject({ code: "read-failed", cause: { name: "NotReadableError" } });
  });

  it("has the reason of the read that failed", async () => {
    const seen = recorded();
    const { open } = place();
    const storage = await open();
    const failing = (mode: "read" | "write") =>
      storage.transact(["notes"], mode, async (tx) => {
        breakReads(seen.at(-1), new DOMException("a broken block", "NotReadableError"));
        await tx.get("notes", "a");
      });
    for (const mode of ["read", "write"] as const) {
      expect(await refusal(failing(mode))).toMatchObject({ code: `${mode}-failed`, cause: { name: "NotReadableError" } });
    }
    await storage.close();
  });
});

describe("a body that breaks the rules", () => {
  it("is told what a key and a row may hold", async () => {
    const { open } = place();
    const storage = await open();
    const write = (row: object) =>
      storage.transact(["notes"], "write", async (tx) => tx.write([{ table: "notes", put: { v: 1, ...row } }]));
    expect(await refusal(write({}))).toMatchObject({ code: "invalid" });
    expect(await refusal(write({ id: Number.NaN }))).toMatchObject({ code: "invalid" });
    expect(await refusal(write({ id: "a", text: () => "a function" }))).toMatchObject({ code: "invalid" });
    expect(await refusal(storage.transact(["notes"], "read", (tx) => tx.get("notes", Number.NaN)))).toMatchObject({
      code: "invalid",
    });
    await storage.close();
  });

  it("is an internal error where it leaves its tables, its mode or its time", async () => {
    const { open } = place();
    const storage = await open();
    const tries: [mode: "read" | "write", body: (tx: Transaction) => Promise<unknown>][] = [
      ["read", (tx) => tx.get("events", ["s", 1])],
      ["read", (tx) => tx.range("notes", { index: "none" })],
      ["read", async (tx) => tx.write([{ table: "notes", put: { v: 1, id: "a" } }])],
      [
        "write",
        async (tx) => {
          await new Promise((resolve) => setTimeout(resolve, 20));
          await tx.get("notes", "a");
        },
      ],
    ];
    for (const [mode, body] of tries)
      expect(await refusal(storage.transact(["notes"], mode, body))).toMatchObject({ code: "internal" });
    expect(await refusal(storage.transact(["nowhere"], "read", async () => 1))).toMatchObject({ code: "internal" });
    await storage.close();
  });

  it("keeps its own error where it only read", async () => {
    const { open } = place();
    const storage = await open();
    const mine = new Error("mine");
    const late = storage.transact(["notes"], "read", async (tx) => {
      await tx.get("notes", "a");
      await new Promise((resolve) => setTimeout(resolve, 20));
      throw mine;
    });
    expect(await refusal(late)).toBe(mine);
    await storage.close();
  });
});

describe("a page that is frozen", () => {
  it("gives up the open writes, keeps the asked-for commits and reads again", async () => {
    const page = new EventTarget();
    vi.stubGlobal("document", page);
    const { open } = place();
    const storage = await open();
    const freeze = () => {
      page.dispatchEvent(new Event("freeze"));
      setTimeout(() => page.dispatchEvent(new Event("resume")), 0);
    };
    let runs = 0;
    const [open1, read, asked] = await Promise.allSettled([
      storage.transact(["notes"], "write", async (tx) => {
        tx.write([{ table: "notes", put: { v: 1, id: "open" } }]);
        await tx.get("notes", "open");
        freeze();
        await tx.get("notes", "open");
      }),
      storage.transact(["events"], "read", async (tx) => {
        const rows = await tx.range("events", {});
        if (++runs === 1) freeze();
        await tx.get("events", ["s", 1]);
        return rows;
      }),
      storage.transact(["notes"], "write", async (tx) => tx.write([{ table: "notes", put: { v: 1, id: "asked" } }])),
    ]);
    expect(open1).toMatchObject({ status: "rejected", reason: { code: "write-failed", details: { reason: "frozen" } } });
    expect(read).toEqual({ status: "fulfilled", value: [] });
    expect(runs).toBe(2);
    expect(asked.status).toBe("fulfilled");
    expect(await ids(storage)).toEqual(["asked"]);
    const remove = vi.spyOn(page, "removeEventListener");
    await storage.close();
    expect(remove).toHaveBeenCalledWith("freeze", expect.any(Function));
  });

  it("begins nothing new until it wakes", async () => {
    const page = new EventTarget();
    vi.stubGlobal("document", page);
    const { open } = place();
    const storage = await open();
    page.dispatchEvent(new Event("freeze"));
    let begun = false;
    const written = storage.transact(["notes"], "write", async (tx) => {
      begun = true;
      tx.write([{ table: "notes", put: { v: 1, id: "a" } }]);
    });
    for (let round = 0; round < 5; round++) await new Promise((resolve) => setTimeout(resolve, 0));
    expect(begun).toBe(false);
    page.dispatchEvent(new Event("resume"));
    await written;
    expect(await ids(storage)).toEqual(["a"]);
    await storage.close();
  });
});
