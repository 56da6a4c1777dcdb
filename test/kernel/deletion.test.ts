import { IDBFactory, IDBKeyRange } from "fake-indexeddb";
import { afterEach, describe, expect, it } from "vitest";
import { refusal } from "../../src/conformance/kit/fixture.js";
import { createKernel, deleteKernelData, type Kernel, type KernelStorage } from "../../src/index.js";
import { type IndexedDbOptions, indexedDbStorage } from "../../src/indexeddb.js";
import { memoryStorage } from "../../src/memory.js";
import { rounds } from "./rounds.js";

const kernels: Kernel[] = [];
afterEach(async () => {
  await Promise.all(kernels.splice(0).map((kernel) => kernel.close()));
});

async function open(storage: KernelStorage, name = "data"): Promise<Kernel> {
  const kernel = await createKernel({ name, storage, loop: "off", locks: false });
  kernels.push(kernel);
  return kernel;
}

const external = (id: string) => ({ id, input: { type: "external" as const, metadata: {} } });
const inMemory = (more: IndexedDbOptions = {}) => indexedDbStorage({ indexedDB: new IDBFactory(), IDBKeyRange, ...more });

function answer<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

describe.each([
  ["memory", memoryStorage],
  ["IndexedDB in memory", inMemory],
])("the deletion of a kernel's data, on %s (A-29)", (_, makeStorage) => {
  it("tells every kernel that has it open, whose later calls are unavailable, and the next kernel is empty", async () => {
    const storage = makeStorage();
    const [one, two] = [await open(storage), await open(storage)];
    const told: unknown[] = [];
    for (const kernel of [one, two]) kernel.on("storage", (event) => told.push(event));
    await one.start(external("p"));
    await one.session("s");
    expect(await deleteKernelData("data", { storage })).toBeUndefined();
    await rounds();
    expect(told).toEqual([{ state: "lost" }, { state: "lost" }]);
    for (const kernel of [one, two]) {
      const calls = [
        kernel.processes.getProcess("p"),
        kernel.start(external("q")),
        kernel.processes.awaitProcess("p"),
        kernel.session("s"),
        kernel.sessions.list(),
      ];
      for (const call of calls) expect(await refusal(call)).toMatchObject({ code: "unavailable" });
      expect(kernel.liveness.available()).toBe(false);
    }
    const later = await open(storage);
    expect([await later.processes.list(), await later.sessions.list()]).toEqual([[], []]);
    expect(await refusal(one.processes.getProcess("p"))).toMatchObject({ code: "unavailable" });
  });

  it("ends what runs there, and what it does afterwards is stored nowhere", async () => {
    const storage = makeStorage();
    let reason: unknown;
    let goOn = () => {};
    const waits = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    const handlers = {
      async work({ signal, step }: { signal: AbortSignal; step(key: string, run: () => number): Promise<unknown> }) {
        signal.addEventListener("abort", () => {
          reason = signal.reason;
        });
        await waits;
        await step("late", () => 1);
        return null;
      },
    };
    const kernel = await createKernel({ name: "data", storage, handlers, locks: false });
    kernels.push(kernel);
    const claimed = new Promise((resolve) => kernel.on("leaseClaimed", resolve));
    await kernel.start({ id: "p", input: { type: "task", name: "work" } });
    await claimed;
    await rounds();
    await deleteKernelData("data", { storage });
    expect(reason).toMatchObject({ code: "unavailable" });
    const later = await open(storage);
    goOn();
    await rounds();
    expect(await later.processes.list()).toEqual([]);
  });

  it("touches no other database, and is no trouble where there is none", async () => {
    const storage = makeStorage();
    const other = await open(storage, "other");
    await other.start(external("p"));
    await deleteKernelData("never-there", { storage });
    await (await open(storage)).close();
    await deleteKernelData("data", { storage });
    await deleteKernelData("data", { storage });
    expect((await other.processes.list()).map(({ id }) => id)).toEqual(["p"]);
  });
});

describe("a deletion is refused (A-29)", () => {
  it("for a broken argument, named, with nothing deleted", async () => {
    const storage = memoryStorage();
    const kernel = await open(storage);
    await kernel.start(external("p"));
    const message = (part: string) => expect.objectContaining({ code: "invalid", message: expect.stringContaining(part) });
    for (const name of ["", "a/b", "x".repeat(65), 5, undefined, null])
      expect(await refusal(deleteKernelData(name as string, { storage }))).toEqual(message("name must be"));
    expect(await refusal(deleteKernelData("data", 5 as never))).toEqual(message("options must be"));
    const misspelt = { store: storage } as never;
    expect(await refusal(deleteKernelData("data", misspelt))).toEqual(message("store is no option of deleteKernelData"));
    expect(await refusal(deleteKernelData("data", { storage: {} as never }))).toEqual(message("options.storage.open"));
    const odd = { ...storage, remove: 5 } as never;
    expect(await refusal(deleteKernelData("data", { storage: odd }))).toEqual(message("options.storage.remove"));
    expect((await kernel.processes.list()).map(({ id }) => id)).toEqual(["p"]);
  });

  it("where the storage cannot delete", async () => {
    const { open: opens } = memoryStorage();
    const bare = { kind: "bare", open: opens };
    expect(await refusal(deleteKernelData("data", { storage: bare }))).toMatchObject({ code: "unsupported" });
  });

  it("with what the storage says, or `unavailable` and its error as the cause", async () => {
    const cause = new Error("a broken disk");
    const storage = { ...memoryStorage(), remove: () => Promise.reject(cause) };
    expect(await refusal(deleteKernelData("data", { storage }))).toMatchObject({ code: "unavailable", cause });
  });

  it("for a database of another program, which stays", async () => {
    const indexedDB = new IDBFactory();
    const request = indexedDB.open("data", 3);
    request.onupgradeneeded = () => request.result.createObjectStore("theirs").put("kept", "a");
    (await answer(request)).close();
    const storage = inMemory({ indexedDB });
    expect(await refusal(deleteKernelData("data", { storage }))).toMatchObject({
      code: "unavailable",
      details: { reason: "foreign" },
    });
    const database = await answer(indexedDB.open("data"));
    expect(await answer(database.transaction("theirs").objectStore("theirs").get("a"))).toBe("kept");
  });

  it("after `openTimeoutMs` where a connection is not let go, with an unknown outcome", async () => {
    const indexedDB = new IDBFactory();
    const storage = inMemory({ indexedDB, openTimeoutMs: 50 });
    await (await open(storage)).close();
    const blocking = await answer(indexedDB.open("data"));
    expect(await refusal(deleteKernelData("data", { storage }))).toMatchObject({
      code: "unavailable",
      details: { reason: "remove-timeout", outcome: "unknown" },
    });
    // It was only late: it goes on once it can.
    blocking.close();
    await expect.poll(() => indexedDB.databases()).toEqual([]);
  });
});

describe("the deletion by default, without IndexedDB (A-29)", () => {
  it("has nothing to delete and resolves: the memory of a kernel ends with it", async () => {
    const kernel = await createKernel({ name: "default", loop: "off", locks: false });
    kernels.push(kernel);
    await kernel.start(external("p"));
    await deleteKernelData("default");
    await deleteKernelData("never-there");
    expect(await kernel.processes.getProcess("p")).toMatchObject({ id: "p" });
  });
});
