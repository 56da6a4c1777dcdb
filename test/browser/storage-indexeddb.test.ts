import { afterEach, expect, it, vi } from "vitest";
import { type IndexedDbOptions, indexedDbStorage } from "../../src/adapters/storage-indexeddb.js";
import { refusal } from "../../src/conformance/kit/fixture.js";
import type { OpenStorage, StorageOpening, StorageSchema, StorageState } from "../../src/ports/storage.js";

const SCHEMA: StorageSchema = { version: 1, tables: { notes: { key: ["id"] } } };
const NAME = "holdfast-storage-test";

const states: StorageState[] = [];

afterEach(async () => {
  vi.restoreAllMocks();
  states.length = 0;
  await answer(indexedDB.deleteDatabase(NAME));
});

function open(options: IndexedDbOptions = {}, opening: Partial<StorageOpening> = {}): Promise<OpenStorage> {
  return indexedDbStorage(options).open({
    name: NAME,
    schema: SCHEMA,
    durability: "strict",
    newDatabaseId: "first",
    onState: (state) => states.push(state),
    ...opening,
  });
}

/** Opens the database as another program does. */
function bare(version?: number, upgrade: (database: IDBDatabase) => void = () => undefined): Promise<IDBDatabase> {
  const request = indexedDB.open(NAME, version);
  request.onupgradeneeded = () => upgrade(request.result);
  return answer(request);
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

it("keeps plain rows and a guard, and no database of its own beside them", async () => {
  const storage = await open();
  await put(storage, "a");
  await storage.close();
  expect(await indexedDB.databases()).toEqual([{ name: NAME, version: 10 }]);
  const database = await bare();
  const tx = database.transaction(["meta", "notes"]);
  expect(await answer(tx.objectStore("meta").getAll())).toEqual([{ key: "guard", v: 1, schemaVersion: 1, databaseId: "first" }]);
  expect(await answer(tx.objectStore("notes").getAll())).toEqual([{ v: 1, id: "a" }]);
  database.close();
});

it("lets the database be deleted and refuses from then on", async () => {
  const storage = await open();
  await put(storage, "a");
  await answer(indexedDB.deleteDatabase(NAME));
  expect(await refusal(ids(storage))).toMatchObject({ code: "unavailable", details: { reason: "deleted" } });
  expect(states).toEqual(["ready", "lost"]);
  expect(await indexedDB.databases()).toEqual([]);
  await storage.close();
});

it("makes way for an upgrade, lets what runs end, and refuses from then on", async () => {
  const storage = await open();
  let upgraded: Promise<IDBDatabase> | undefined;
  await storage.transact(["notes"], "write", async (tx) => {
    upgraded = bare(999);
    for (let round = 0; round < 200; round++) await tx.get("notes", round);
    tx.write([{ table: "notes", put: { v: 1, id: "late" } }]);
  });
  const database = await (upgraded as Promise<IDBDatabase>);
  expect(await answer(database.transaction("notes").objectStore("notes").getAllKeys())).toEqual(["late"]);
  expect(await refusal(put(storage, "b"))).toMatchObject({ code: "version" });
  expect(states).toEqual(["ready", "upgrade-required"]);
  database.close();
  await storage.close();
});

it("refuses a database of a higher version and leaves it as it is", async () => {
  (await bare(999, (database) => database.createObjectStore("theirs"))).close();
  expect(await refusal(open())).toMatchObject({ code: "version" });
  const database = await bare();
  expect([database.version, ...database.objectStoreNames]).toEqual([999, "theirs"]);
  database.close();
});

it("refuses what another program made, of any version, and leaves it as it is", async () => {
  vi.spyOn(console, "warn").mockImplementation(() => undefined);
  for (const version of [1, 10]) {
    (await bare(version, (database) => database.createObjectStore("theirs"))).close();
    expect(await refusal(open())).toMatchObject({ code: "unavailable", details: { reason: "foreign" } });
    const database = await bare();
    expect([database.version, ...database.objectStoreNames]).toEqual([version, "theirs"]);
    database.close();
    await answer(indexedDB.deleteDatabase(NAME));
  }
});

it("waits for another connection only so long, and leaves nothing behind when it comes through late", async () => {
  await (await open()).close();
  const stubborn = await bare();
  states.length = 0;
  const waiting = open({ openTimeoutMs: 200 }, { schema: { ...SCHEMA, version: 2 } });
  expect(await refusal(waiting)).toMatchObject({ code: "unavailable", details: { reason: "open-timeout" } });
  expect(states).toEqual(["blocked"]);
  stubborn.close();
  const storage = await open();
  await put(storage, "a");
  await storage.close();
});

it("tells why a request failed, not that the body did", async () => {
  const storage = await open();
  await put(storage, "a");
  vi.spyOn(IDBObjectStore.prototype, "get").mockImplementationOnce(function (this: IDBObjectStore) {
    return this.add({ v: 1, id: "a" });
  });
  const failing = storage.transact(["notes"], "write", (tx) => tx.get("notes", "a"));
  expect(await refusal(failing)).toMatchObject({ code: "write-failed", cause: { name: "ConstraintError" } });
  await storage.close();
});

it("gives up the open writes of a page that is frozen", async () => {
  const storage = await open();
  const failing = storage.transact(["notes"], "write", async (tx) => {
    tx.write([{ table: "notes", put: { v: 1, id: "open" } }]);
    await tx.get("notes", "open");
    document.dispatchEvent(new Event("freeze"));
    setTimeout(() => document.dispatchEvent(new Event("resume")), 0);
    await tx.get("notes", "open");
  });
  expect(await refusal(failing)).toMatchObject({ code: "write-failed", details: { reason: "frozen" } });
  expect(await ids(storage)).toEqual([]);
  await storage.close();
});

it("connects again after the page was in the back-forward cache", async () => {
  const storage = await open();
  await put(storage, "a");
  dispatchEvent(new PageTransitionEvent("pagehide", { persisted: true }));
  expect(states).toEqual(["ready", "lost"]);
  dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true }));
  expect(await Promise.all([ids(storage), ids(storage)])).toEqual([["a"], ["a"]]);
  expect(states).toEqual(["ready", "lost", "ready"]);
  await storage.close();
});

it("waits for another connection's upgrade to its end, and tells of it", async () => {
  await (await open()).close();
  states.length = 0;
  const native = indexedDB.open.bind(indexedDB);
  let isOver = false;
  const begun = new Promise<void>((resolve) => {
    vi.spyOn(indexedDB, "open").mockImplementationOnce((...args) => {
      const request = native(...args);
      request.addEventListener("upgradeneeded", () => {
        const guards = request.transaction?.objectStore("meta") as IDBObjectStore;
        const again = () => {
          if (!isOver) guards.count().onsuccess = again;
        };
        again();
        resolve();
      });
      return request;
    });
  });
  const next = { schema: { ...SCHEMA, version: 2 } };
  const upgrading = open({ openTimeoutMs: 2_000 }, next);
  await begun;
  const others: StorageState[] = [];
  const waiting = open({ openTimeoutMs: 2_000 }, { ...next, onState: (state) => others.push(state) });
  await vi.waitFor(() => expect(others).toEqual(["upgrading"]), 20_000);
  await new Promise((resolve) => setTimeout(resolve, 2_500));
  isOver = true;
  await (await upgrading).close();
  await (await waiting).close();
  expect(states).toEqual(["upgrading", "ready"]);
  expect(others).toEqual(["upgrading", "ready"]);
  expect((await navigator.locks.query()).held).toEqual([]);
});
