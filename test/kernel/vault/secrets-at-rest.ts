// The stored bytes, read as any program reads them. The same tests run in Node, over an IndexedDB in memory, and in a browser.
import { afterEach, expect, it } from "vitest";
import { refusal } from "../../../src/conformance/kit/fixture.js";
import { createKernel, type Kernel } from "../../../src/index.js";
import { indexedDbStorage } from "../../../src/indexeddb.js";

const target = { realm: "work", binding: "mail" };
const login = { target, provider: "google", redirectUri: "https://app/back", pkceVerifier: "verifier-in-the-clear" };
const device = { target, provider: "github", deviceCode: "device-code-in-the-clear", expiresInMs: 60_000 };
const secret = "hunter2-in-the-clear";

type Row = { name: string; revision: number; iv: Uint8Array; sealed: Uint8Array; key?: CryptoKey };

export function secretsAtRest(place: { indexedDB: IDBFactory; IDBKeyRange: typeof IDBKeyRange }): void {
  const names: string[] = [];
  const kernels: Kernel[] = [];

  async function open(name = newName()): Promise<Kernel> {
    const kernel = await createKernel({ name, storage: indexedDbStorage(place), loop: "off", channel: false, locks: false });
    kernels.push(kernel);
    return kernel;
  }

  function newName(): string {
    const name = `at-rest-${Math.random().toString(36).slice(2)}`;
    names.push(name);
    return name;
  }

  afterEach(async () => {
    await Promise.all(kernels.splice(0).map((kernel) => kernel.close()));
    for (const name of names.splice(0)) await answer(place.indexedDB.deleteDatabase(name));
  });

  async function inDatabase<T>(name: string, mode: IDBTransactionMode, use: (tx: IDBTransaction) => Promise<T>): Promise<T> {
    const database = await answer(place.indexedDB.open(name));
    const result = await use(database.transaction([...database.objectStoreNames], mode));
    database.close();
    return result;
  }

  const rowsOf = (name: string, table: string) =>
    inDatabase(name, "readonly", (tx) => answer<Row[]>(tx.objectStore(table).getAll()));
  const rowOf = async (name: string, record: string) => (await rowsOf(name, "sealed")).find((row) => row.name === record) as Row;
  const put = (name: string, table: string, row: object) =>
    inDatabase(name, "readwrite", (tx) => answer(tx.objectStore(table).put(row)));

  async function fill(kernel: Kernel): Promise<string> {
    const { state } = await kernel.auth.beginBrowser(login);
    await kernel.auth.admitDevice(device);
    await kernel.secrets.put("password", secret);
    return state;
  }

  it("nothing secret is in any row of any table (R-174)", async () => {
    const kernel = await open();
    const state = await fill(kernel);
    const text = await inDatabase(kernel.name, "readonly", async (tx) => {
      const all = await Promise.all([...tx.objectStoreNames].map((table) => answer<unknown[]>(tx.objectStore(table).getAll())));
      return everyText(all);
    });
    expect(text).toContain("secret:password");
    for (const word of ["in-the-clear", login.redirectUri, state]) expect(text).not.toContain(word);
    expect((await kernel.status()).secrets).toBe("sealed");
  });

  it("the key is kept and cannot be exported, and every write has an iv of its own", async () => {
    const kernel = await open();
    const ivs = new Set<string>();
    for (let round = 0; round < 5; round++) {
      await kernel.secrets.put("a", "the same");
      const { iv, revision } = await rowOf(kernel.name, "secret:a");
      ivs.add(String(iv));
      expect([iv.length, revision]).toEqual([12, round + 1]);
    }
    expect(ivs.size).toBe(5);
    const [{ key }, ...more] = (await rowsOf(kernel.name, "sealingKeys")) as [Row];
    expect(more).toEqual([]);
    expect(key).toMatchObject({ extractable: false, algorithm: { name: "AES-GCM", length: 256 } });
    await expect(crypto.subtle.exportKey("raw", key as CryptoKey)).rejects.toThrow();
  });

  it("it all opens again in a later kernel", async () => {
    const kernel = await open();
    const state = await fill(kernel);
    await kernel.close();
    const later = await open(kernel.name);
    expect(await later.secrets.get("password")).toBe(secret);
    const { redirectUri, provider } = login;
    expect(await later.auth.consumeBrowser({ state, target, redirectUri, provider })).toEqual({
      pkceVerifier: login.pkceVerifier,
    });
    await (await later.auth.pollDevice(device)).consume();
  });

  const damages: [string, (name: string, row: Row) => Promise<unknown>][] = [
    [
      "one bit of it changed",
      (name, row) => put(name, "sealed", { ...row, sealed: row.sealed.map((byte, at) => (at === 0 ? byte ^ 1 : byte)) }),
    ],
    ["its end cut off", (name, row) => put(name, "sealed", { ...row, sealed: row.sealed.slice(0, -1) })],
    ["another iv", (name, row) => put(name, "sealed", { ...row, iv: new Uint8Array(12) })],
    ["an iv that is none", (name, row) => put(name, "sealed", { ...row, iv: new Uint8Array(0) })],
    ["nothing sealed in it", (name, { sealed: _, ...row }) => put(name, "sealed", row)],
    [
      "plain bytes in place of sealed ones",
      (name, { iv: _, sealed: __, ...row }) => put(name, "sealed", { ...row, plain: Uint8Array.of(1) }),
    ],
    ["another revision", (name, row) => put(name, "sealed", { ...row, revision: row.revision + 1 })],
    [
      "another record's bytes",
      async (name, row) => put(name, "sealed", { ...(await rowOf(name, "secret:other")), name: row.name }),
    ],
    ["no key", (name) => inDatabase(name, "readwrite", (tx) => answer(tx.objectStore("sealingKeys").clear()))],
  ];

  it.each(damages)("a record with %s does not open, is told by its name, and stays until it is replaced", async (_, damage) => {
    const kernel = await open();
    await kernel.secrets.put("other", secret);
    await fill(kernel);
    for (const record of ["secret:password", "oauth"]) await damage(kernel.name, await rowOf(kernel.name, record));
    const before = await rowsOf(kernel.name, "sealed");
    const { auth, runtime, secrets } = kernel;

    expect(await refusal(secrets.get("password"))).toMatchObject({ code: "read-failed", details: { name: "secret:password" } });
    expect(await refusal(runtime.loadAuthOAuthFlowSnapshot())).toMatchObject({ code: "read-failed", details: { name: "oauth" } });
    expect(await refusal(runtime.updateAuthOAuthFlowSnapshot(() => Uint8Array.of(1)))).toMatchObject({ code: "read-failed" });
    expect(await refusal(auth.beginBrowser(login))).toMatchObject({
      code: "read-failed",
      details: { name: "oauth", reason: "PersistenceFailed", operation: "beginBrowser" },
    });
    expect(await rowsOf(kernel.name, "sealed")).toEqual(before);

    await secrets.put("password", "new");
    await runtime.persistAuthOAuthFlowSnapshot(new TextEncoder().encode("{}"));
    expect(await secrets.get("password")).toBe("new");
    expect(await auth.release(target)).toBe(0);
  });

  it("what was sealed before a deletion does not open in the row that was made after it", async () => {
    const kernel = await open();
    await kernel.secrets.put("a", secret);
    const { iv, sealed } = await rowOf(kernel.name, "secret:a");
    await kernel.secrets.delete("a");
    await kernel.secrets.put("a", "new");
    const row = await rowOf(kernel.name, "secret:a");
    expect(row.revision).toBe(3);
    await put(kernel.name, "sealed", { ...row, iv, sealed });
    expect(await refusal(kernel.secrets.get("a"))).toMatchObject({ code: "read-failed", details: { name: "secret:a" } });
  });

  it("a record does not open in another database, not even beside its own key", async () => {
    const [from, to] = [await open(), await open()];
    await from.secrets.put("a", secret);
    await to.secrets.put("a", "mine");
    await put(to.name, "sealed", await rowOf(from.name, "secret:a"));
    for (const row of await rowsOf(from.name, "sealingKeys")) await put(to.name, "sealingKeys", row);
    expect(await refusal(to.secrets.get("a"))).toMatchObject({ code: "read-failed", details: { name: "secret:a" } });
    expect(await from.secrets.get("a")).toBe(secret);
  });
}

function answer<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** Every text in a value, also in its bytes. */
function everyText(value: unknown): string {
  if (typeof value === "string") return value;
  if (ArrayBuffer.isView(value)) return String.fromCharCode(...new Uint8Array(value.buffer));
  if (typeof value !== "object" || value === null) return "";
  return Object.entries(value)
    .map(([name, item]) => `${name} ${everyText(item)}`)
    .join("\n");
}
