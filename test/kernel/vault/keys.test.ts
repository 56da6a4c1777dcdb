import { IDBFactory, IDBKeyRange } from "fake-indexeddb";
import { afterEach, describe, expect, it, vi } from "vitest";
import { refusal } from "../../../src/conformance/kit/fixture.js";
import { createKernel, type Kernel, type KernelOptions, type KernelStorage, type KeyStore } from "../../../src/index.js";
import { indexedDbStorage } from "../../../src/indexeddb.js";
import { memoryStorage } from "../../../src/memory.js";
import { lockService } from "../../loop/locks-double.js";

const kernels: Kernel[] = [];
afterEach(async () => {
  vi.unstubAllGlobals();
  await Promise.all(kernels.splice(0).map((kernel) => kernel.close()));
});

async function open(options: Partial<KernelOptions>): Promise<Kernel> {
  const kernel = await createKernel({ name: "keys", loop: "off", channel: false, locks: false, ...options });
  kernels.push(kernel);
  return kernel;
}

/** A storage on disk, in name, that cannot keep a `CryptoKey`: as a file of rows is. */
function file(): KernelStorage {
  return { ...memoryStorage(), kind: "file" };
}

/** A key store that keeps what it is given, and counts. */
function keyStore(kept?: CryptoKey | Uint8Array) {
  const stored: unknown[] = [];
  const keys: KeyStore = {
    load: async () => kept,
    async store(key) {
      stored.push(key);
      kept = key;
    },
  };
  const lose = () => {
    kept = undefined;
  };
  return { keys, stored, lose };
}

const keyOf = (usages: KeyUsage[], name = "AES-GCM") =>
  crypto.subtle.generateKey({ name, length: 256 }, false, usages) as Promise<CryptoKey>;

const rowsOf = async (storage: KernelStorage) => {
  const { SCHEMA } = await import("../../../src/stores/schema.js");
  const opened = await storage.open({
    name: "keys",
    schema: SCHEMA,
    durability: "strict",
    newDatabaseId: "none",
    onState() {},
  });
  const all = await opened.transact(["sealed", "sealingKeys"], "read", async (tx) => [
    await tx.range("sealed", {}),
    await tx.range("sealingKeys", {}),
  ]);
  await opened.close();
  return all;
};

describe("what the status says of storage and secrets (A-30)", () => {
  const cases: [string, () => Promise<Partial<KernelOptions>>, { storage: string; secrets: string }][] = [
    ["memory", async () => ({ storage: memoryStorage() }), { storage: "memory", secrets: "memory-only" }],
    ["a storage that keeps no keys", async () => ({ storage: file() }), { storage: "file", secrets: "memory-only" }],
    [
      "a storage that keeps keys",
      async () => ({ storage: indexedDbStorage({ indexedDB: new IDBFactory(), IDBKeyRange }) }),
      { storage: "indexeddb", secrets: "sealed" },
    ],
    [
      "a storage that keeps none, with a key store",
      async () => ({ storage: file(), keys: keyStore().keys }),
      { storage: "file", secrets: "sealed" },
    ],
    [
      "memory with a key store",
      async () => ({ storage: memoryStorage(), keys: keyStore().keys }),
      { storage: "memory", secrets: "sealed" },
    ],
  ];

  it.each(cases)("is what works: %s", async (_, options, wanted) => {
    const kernel = await open(await options());
    expect(await kernel.status()).toMatchObject(wanted);
    await kernel.secrets.put("a", "mine");
    expect(await kernel.secrets.get("a")).toBe("mine");
  });

  it("is memory-only without a cipher, also with a key store, which is then not asked", async () => {
    vi.stubGlobal("crypto", { getRandomValues: crypto.getRandomValues.bind(crypto) });
    const { keys, stored } = keyStore();
    const kernel = await open({ storage: file(), keys });
    await kernel.secrets.put("a", "mine");
    expect([(await kernel.status()).secrets, await kernel.secrets.get("a"), stored]).toEqual(["memory-only", "mine", []]);
  });

  it("memory-only reaches no row of a storage that keeps no keys, and ends with its kernel", async () => {
    const storage = file();
    const kernel = await open({ storage });
    await kernel.secrets.put("a", "mine");
    expect(await rowsOf(storage)).toEqual([[], []]);
    await kernel.close();
    expect(await (await open({ storage })).secrets.get("a")).toBeUndefined();
  });
});

describe("a key store (A-30)", () => {
  it("gets a new key's 32 bytes once, and later kernels open what was sealed with it", async () => {
    const storage = file();
    const { keys, stored } = keyStore();
    const first = await open({ storage, keys });
    expect(await first.secrets.get("a")).toBeUndefined();
    expect(stored).toEqual([]);
    await first.secrets.put("a", "in-the-clear");
    await first.secrets.put("b", "other");
    expect(stored).toEqual([expect.any(Uint8Array)]);
    expect(stored[0]).toHaveLength(32);
    const [rows, kept] = await rowsOf(storage);
    expect(kept).toEqual([]);
    expect(Buffer.concat((rows as unknown as { sealed: Uint8Array }[]).map(({ sealed }) => sealed)).toString()).not.toContain(
      "in-the-clear",
    );
    await first.close();
    const later = await open({ storage, keys });
    expect([await later.secrets.get("a"), await later.secrets.get("b"), stored.length]).toEqual(["in-the-clear", "other", 1]);
  });

  it("may give a `CryptoKey`, and one key may serve many databases", async () => {
    const { keys, stored } = keyStore(await keyOf(["encrypt", "decrypt"]));
    for (const name of ["one", "two"]) {
      const kernel = await open({ name, storage: file(), keys });
      await kernel.secrets.put("a", name);
      expect(await kernel.secrets.get("a")).toBe(name);
    }
    expect(stored).toEqual([]);
  });

  it("is given one key by kernels that need it first in one moment, in one program or under one lock", async () => {
    const service = lockService();
    for (const locks of [() => false as const, (at: number) => service.client(String(at))]) {
      const storage = file();
      const inner = keyStore();
      // Each kernel has an object of its own, as each tab has; without locks it is the same one.
      const own = () => (locks(0) === false ? inner.keys : { load: inner.keys.load, store: inner.keys.store });
      const all = await Promise.all([1, 2, 3].map((at) => open({ storage, keys: own(), locks: locks(at) })));
      await Promise.all(all.map(({ secrets }, at) => secrets.put(`s${at}`, `v${at}`)));
      expect(inner.stored).toHaveLength(1);
      for (const { secrets } of all)
        expect(await Promise.all([0, 1, 2].map((at) => secrets.get(`s${at}`)))).toEqual(["v0", "v1", "v2"]);
    }
  });

  it("that lost its key leaves the rows as they are: they do not open, and can be replaced", async () => {
    const storage = file();
    const { keys, stored, lose } = keyStore();
    const kernel = await open({ storage, keys });
    await kernel.secrets.put("a", "old");
    lose();
    const before = await rowsOf(storage);
    expect(await refusal(kernel.secrets.get("a"))).toMatchObject({ code: "read-failed", details: { name: "secret:a" } });
    expect(await rowsOf(storage)).toEqual(before);
    await kernel.secrets.put("a", "new");
    expect([await kernel.secrets.get("a"), stored.length]).toEqual(["new", 2]);
  });

  it("that gives no key while others' records are sealed is given no other one", async () => {
    const storage = file();
    const { keys, stored, lose } = keyStore();
    const kernel = await open({ storage, keys });
    await kernel.secrets.put("a", "old");
    lose();
    const before = await rowsOf(storage);
    expect(await refusal(kernel.secrets.put("b", "new"))).toMatchObject({
      code: "unavailable",
      message: expect.stringContaining("keys.load gives no key"),
    });
    expect([await rowsOf(storage), stored.length]).toEqual([before, 1]);
    await kernel.secrets.delete("a");
    await kernel.secrets.put("b", "new");
    expect([await kernel.secrets.get("b"), stored.length]).toEqual(["new", 2]);
  });

  it("opens what it sealed, also where a kernel without it stored a key of its own since", async () => {
    const storage = indexedDbStorage({ indexedDB: new IDBFactory(), IDBKeyRange });
    const { keys } = keyStore();
    const first = await open({ storage, keys });
    await first.secrets.put("one", "1");
    await first.close();
    const without = await open({ storage });
    await without.secrets.put("two", "2");
    expect(await refusal(without.secrets.get("one"))).toMatchObject({ code: "read-failed" });
    await without.close();
    const later = await open({ storage, keys });
    expect([await later.secrets.get("one"), await later.secrets.get("two")]).toEqual(["1", "2"]);
  });

  it("that fails is named, its error is the cause, and nothing is stored", async () => {
    const storage = file();
    const cause = new Error("the keychain is locked: hunter2");
    const fails = () => Promise.reject(cause);
    const throws = () => {
      throw cause;
    };
    for (const failing of [fails, throws]) {
      const noLoad = await open({ storage, keys: { ...keyStore().keys, load: failing } });
      const noStore = await open({ storage, keys: { ...keyStore().keys, store: failing } });
      for (const [kernel, method] of [
        [noLoad, "keys.load"],
        [noStore, "keys.store"],
      ] as const) {
        const error = await refusal(kernel.secrets.put("a", "mine"));
        expect(error).toMatchObject({ code: "unavailable", message: expect.stringContaining(method), cause });
        expect((error as Error).message).not.toContain("hunter2");
      }
    }
    const forgets = await open({ storage, keys: { load: async () => undefined, store: async () => {} } });
    expect(await refusal(forgets.secrets.put("a", "mine"))).toMatchObject({
      code: "unavailable",
      message: expect.stringContaining("keys.store"),
    });
    expect(await rowsOf(storage)).toEqual([[], []]);
  });

  it("that gives anything but a key is told `invalid`, and nothing is stored", async () => {
    const storage = file();
    const wrong = [
      new Uint8Array(31),
      new Uint8Array(33),
      new Uint8Array(0),
      "0".repeat(32),
      null,
      {},
      await keyOf(["encrypt"]),
      await keyOf(["encrypt", "decrypt"], "AES-CBC"),
      { algorithm: { name: "AES-GCM" }, usages: ["encrypt", "decrypt"], type: "secret", extractable: false },
    ];
    for (const given of wrong) {
      const kernel = await open({ storage, keys: keyStore(given as never).keys });
      const error = await refusal(kernel.secrets.put("a", "mine"));
      expect(error).toMatchObject({ code: "invalid", message: expect.stringContaining("keys.load") });
    }
    expect(await rowsOf(storage)).toEqual([[], []]);
  });

  it("without one of its methods is refused before anything opens", async () => {
    for (const [keys, field] of [
      [{}, "keys.load"],
      [{ load: async () => undefined }, "keys.store"],
      [5, "keys"],
    ] as const)
      expect(await refusal(open({ storage: file(), keys: keys as never }))).toMatchObject({
        code: "invalid",
        message: expect.stringContaining(field),
      });
  });

  it("is not asked by a database that has its own key: that one goes on", async () => {
    const storage = indexedDbStorage({ indexedDB: new IDBFactory(), IDBKeyRange });
    await (await open({ storage })).secrets.put("a", "old");
    const { keys, stored } = keyStore();
    const kernel = await open({ storage, keys });
    await kernel.secrets.put("b", "new");
    expect([await kernel.secrets.get("a"), await kernel.secrets.get("b"), stored]).toEqual(["old", "new", []]);
  });

  it("keeps the key out of a database that has none yet, also where that could keep it", async () => {
    const storage = indexedDbStorage({ indexedDB: new IDBFactory(), IDBKeyRange });
    const { keys, stored } = keyStore();
    await (await open({ storage, keys })).secrets.put("a", "mine");
    expect(stored).toHaveLength(1);
    expect((await rowsOf(storage))[1]).toEqual([]);
    expect(await refusal((await open({ storage })).secrets.get("a"))).toMatchObject({ code: "read-failed" });
  });

  it("serves login flows as it serves secrets", async () => {
    const storage = file();
    const { keys } = keyStore();
    const target = { realm: "r", binding: "b" };
    const login = { target, provider: "p", redirectUri: "https://app/back" };
    const { state } = await (await open({ storage, keys })).auth.beginBrowser({ ...login, pkceVerifier: "verifier" });
    expect(await (await open({ storage, keys })).auth.consumeBrowser({ state, ...login })).toEqual({ pkceVerifier: "verifier" });
  });
});
