import { IDBFactory, IDBKeyRange } from "fake-indexeddb";
import { afterEach, describe, expect, it, vi } from "vitest";
import { manualClock } from "../../../src/adapters/clock-manual.js";
import { refusal } from "../../../src/conformance/kit/fixture.js";
import { broadcastNotices } from "../../../src/corridor/notices.js";
import { createCorridor } from "../../../src/corridor/run.js";
import { HoldfastError } from "../../../src/domain/errors.js";
import { createKernel, type Kernel, type KernelOptions } from "../../../src/index.js";
import { indexedDbStorage } from "../../../src/indexeddb.js";
import { memoryStorage } from "../../../src/memory.js";
import { SCHEMA } from "../../../src/stores/schema.js";
import { dropSealed, putSealed, readSealed, SEALED_TABLES } from "../../../src/stores/vault/sealed.js";
import { lockService } from "../../loop/locks-double.js";
import { type Probe, probe, type Seen } from "../../stores/probe-storage.js";
import { secretsAtRest } from "./secrets-at-rest.js";

describe("on an IndexedDB in memory", () => secretsAtRest({ indexedDB: new IDBFactory(), IDBKeyRange }));

const target = { realm: "work", binding: "mail" };
const login = { target, provider: "google", redirectUri: "https://app/back", pkceVerifier: "verifier" };
const claimOf = (state: string) => ({ state, target, provider: login.provider, redirectUri: login.redirectUri });

const kernels: Kernel[] = [];

afterEach(async () => {
  vi.unstubAllGlobals();
  await Promise.all(kernels.splice(0).map((kernel) => kernel.close()));
});

async function open(options: Partial<KernelOptions>): Promise<Kernel> {
  const kernel = await createKernel({ name: "n", loop: "off", channel: false, locks: false, ...options });
  kernels.push(kernel);
  return kernel;
}

/** A kernel whose storage can be told to fail, and another kernel of the same database. */
async function two(storage = memoryStorage()): Promise<{ probed: Probe; kernel: Kernel; rival: Kernel }> {
  const probed = probe(storage);
  return { probed, kernel: await open({ storage: probed.storage }), rival: await open({ storage }) };
}

const isPut = ({ mode, tables }: Seen) => mode === "write" && tables.includes("sealed");
const bytesOf = (text: string) => new TextEncoder().encode(text);

describe("compare and set", () => {
  it("is tried again 16 times, with what is stored by then, and is refused after that (R-43)", async () => {
    const { probed, kernel, rival } = await two();
    let changes = 0;
    probed.hooks = {
      async open(seen) {
        if (isPut(seen)) await rival.runtime.persistAuthOAuthFlowSnapshot(Uint8Array.of(++changes));
      },
    };
    const saw: unknown[] = [];
    const update = kernel.runtime.updateAuthOAuthFlowSnapshot((current) => {
      saw.push(current?.[0] ?? 0);
      return Uint8Array.of(99);
    });
    expect(await refusal(update)).toMatchObject({ code: "write-failed", details: { name: "oauth", reason: "contended" } });
    expect(saw).toEqual(Array.from({ length: 17 }, (_, at) => at));
    expect(await rival.runtime.loadAuthOAuthFlowSnapshot()).toEqual(Uint8Array.of(17));
    probed.hooks = {};
    await kernel.runtime.updateAuthOAuthFlowSnapshot(() => Uint8Array.of(99));
    expect(await rival.runtime.loadAuthOAuthFlowSnapshot()).toEqual(Uint8Array.of(99));
  });

  it("stores the last result alone, and passes on at once what a later try throws (R-42, R-43)", async () => {
    const { probed, kernel, rival } = await two();
    probed.hooks = {
      async open(seen) {
        if (!isPut(seen)) return;
        probed.hooks = {};
        await rival.runtime.persistAuthOAuthFlowSnapshot(bytesOf("theirs"));
      },
    };
    const gone = new HoldfastError("not-found", "gone");
    const update = kernel.runtime.updateAuthOAuthFlowSnapshot((current) => {
      if (current) throw gone;
      return bytesOf("mine");
    });
    expect(await refusal(update)).toBe(gone);
    expect(await rival.runtime.loadAuthOAuthFlowSnapshot()).toEqual(bytesOf("theirs"));
  });

  it("writes nothing over a record that was deleted and made anew since it was read", async () => {
    const { probed, kernel, rival } = await two();
    await kernel.secrets.put("a", "read");
    probed.hooks = {
      async open(seen) {
        if (!isPut(seen)) return;
        probed.hooks = {};
        await rival.secrets.delete("a");
        await rival.secrets.put("a", "anew");
      },
    };
    const before = probed.seen.length;
    await kernel.secrets.put("a", "mine");
    expect(probed.seen.slice(before).filter(isPut)).toHaveLength(2);
    expect(await rival.secrets.get("a")).toBe("mine");
  });

  it("deletes a record whose row does not decode, and stores it again", async () => {
    const storage = memoryStorage();
    const kernel = await open({ storage });
    await kernel.secrets.put("a", "one");
    const rows = await storage.open({
      ...{ name: "n", schema: SCHEMA, durability: "strict", newDatabaseId: "none" },
      onState: () => {},
    });
    await rows.transact(["sealed"], "write", async (tx) =>
      tx.write([{ table: "sealed", put: { v: 99, name: "secret:a", revision: "what" } }]),
    );
    expect(await refusal(kernel.secrets.get("a"))).toMatchObject({ code: "version" });
    await kernel.secrets.delete("a");
    await kernel.secrets.put("a", "two");
    expect(await kernel.secrets.get("a")).toBe("two");
  });

  it("meets no other change under a Web Lock", async () => {
    const storage = memoryStorage();
    const service = lockService();
    const [one, other] = await Promise.all(["a", "b"].map((id) => open({ storage, locks: service.client(id) })));
    let calls = 0;
    const append = (kernel: Kernel | undefined) =>
      kernel?.runtime.updateAuthOAuthFlowSnapshot((current) => {
        calls++;
        return Uint8Array.of(...(current ?? []), 1);
      });
    await Promise.all(Array.from({ length: 20 }, (_, at) => append(at % 2 ? one : other)));
    expect([calls, (await one?.runtime.loadAuthOAuthFlowSnapshot())?.length]).toEqual([20, 20]);
  });

  it("goes on without a lock that is never released, and without a service that throws", async () => {
    const storage = memoryStorage();
    const clock = manualClock();
    const service = lockService();
    const kernel = await open({ storage, clock, locks: service.client("a") });
    await kernel.secrets.put("a", "1");
    const held = service.client("frozen");
    const { databaseId } = await opened(storage);
    void held.request(`holdfast:${databaseId}:sealed:secret:a`, () => new Promise(() => {}));
    const putting = kernel.secrets.put("a", "2");
    await clock.advance(1_999);
    expect(await kernel.secrets.get("a")).toBe("1");
    await clock.advance(1);
    await putting;
    expect(await kernel.secrets.get("a")).toBe("2");

    const fail = () => {
      throw new Error("no locks");
    };
    const without = await open({ storage, locks: { request: fail, query: fail } as never });
    await without.secrets.put("a", "3");
    expect(await kernel.secrets.get("a")).toBe("3");
    await without.auth.admitDevice({ target, provider: "p", deviceCode: "c", expiresInMs: 1_000 });
    await (await without.auth.pollDevice({ target, provider: "p", deviceCode: "c" })).consume();
  });
});

it("a poll that begins while its kernel closes ends with it, and another tab polls at once", async () => {
  const [storage, service] = [memoryStorage(), lockService()];
  const [kernel, other] = [
    await open({ storage, locks: service.client("a") }),
    await open({ storage, locks: service.client("b") }),
  ];
  const device = { target, provider: "p", deviceCode: "c", expiresInMs: 60_000 };
  await kernel.auth.admitDevice(device);
  for (let turns = 0; turns < 40; turns++) {
    const closing = await open({ storage, locks: service.client(`c${turns}`) });
    await closing.auth.verifyBrowser(claimOf("none")).catch(() => undefined);
    const polling = closing.auth.pollDevice(device).catch(() => undefined);
    for (let turn = 0; turn < turns; turn++) await Promise.resolve();
    await closing.close();
    await polling;
    await (await other.auth.pollDevice(device)).finish();
  }
});

async function opened(storage: ReturnType<typeof memoryStorage>): Promise<{ databaseId: string }> {
  return await storage.open({ name: "n", schema: SCHEMA, durability: "strict", newDatabaseId: "none", onState: () => {} });
}

describe("a storage that fails", () => {
  it.each(["quota-exceeded", "write-failed", "unavailable"] as const)(
    "with %s leaves every flow as it was, and the same call works later (R-161, R-164)",
    async (code) => {
      const { probed, kernel, rival } = await two();
      const { state } = await kernel.auth.beginBrowser(login);
      const cause = new HoldfastError(code, "no", { details: { outcome: "none" } });
      const failing = {
        open(seen: Seen) {
          if (isPut(seen)) throw cause;
        },
      };
      probed.hooks = failing;
      const calls = {
        beginBrowser: () => kernel.auth.beginBrowser(login),
        consumeBrowser: () => kernel.auth.consumeBrowser(claimOf(state)),
        release: () => kernel.auth.release(target),
      };
      const before = await rival.runtime.loadAuthOAuthFlowSnapshot();
      for (const [operation, call] of Object.entries(calls)) {
        const details = { reason: "PersistenceFailed", operation, outcome: "none" };
        expect(await refusal(call())).toMatchObject({ code, details, cause });
      }
      expect(await rival.runtime.loadAuthOAuthFlowSnapshot()).toEqual(before);
      await kernel.auth.verifyBrowser(claimOf(state));
      probed.hooks = {};
      expect(await kernel.auth.consumeBrowser(claimOf(state))).toEqual({ pkceVerifier: "verifier" });
    },
  );

  it("with what a poll consumes lets it be consumed later (R-164, R-168)", async () => {
    const { probed, kernel } = await two();
    const device = { target, provider: "p", deviceCode: "c", expiresInMs: 60_000 };
    await kernel.auth.admitDevice(device);
    const poll = await kernel.auth.pollDevice(device);
    probed.hooks = {
      open(seen) {
        if (isPut(seen)) throw new HoldfastError("quota-exceeded", "no");
      },
    };
    expect(await refusal(poll.consume())).toMatchObject({ code: "quota-exceeded" });
    expect(await refusal(kernel.auth.pollDevice(device))).toMatchObject({ details: { reason: "DevicePollInProgress" } });
    probed.hooks = {};
    await poll.consume();
  });

  it("to keep a key says that it cannot", async () => {
    const { probed, kernel } = await two(indexedDbStorage({ indexedDB: new IDBFactory(), IDBKeyRange }));
    probed.hooks = {
      open({ tables }) {
        if (tables.includes("sealingKeys") && !tables.includes("sealed")) throw new HoldfastError("invalid", "cannot be stored");
      },
    };
    expect(await refusal(kernel.secrets.put("a", "x"))).toMatchObject({ code: "unsupported" });
    expect(await kernel.secrets.get("a")).toBeUndefined();
  });
});

it("a release spares what another tab admitted after it was accepted (R-172)", async () => {
  const { probed, kernel, rival } = await two();
  await kernel.auth.beginBrowser(login);
  const consumed = await kernel.auth.beginBrowser(login);
  let late = "";
  probed.hooks = {
    async open(seen) {
      if (!isPut(seen)) return;
      probed.hooks = {};
      await rival.auth.consumeBrowser(claimOf(consumed.state));
      late = (await rival.auth.beginBrowser(login)).state;
    },
  };
  expect(await kernel.auth.release(target)).toBe(1);
  await kernel.auth.verifyBrowser(claimOf(late));
  expect(await kernel.auth.release(target)).toBe(1);
});

describe("without crypto.subtle", () => {
  const insecure = () => vi.stubGlobal("crypto", { getRandomValues: (into: Uint8Array) => into.fill(7) });

  it("what is secret never reaches the disk, and ends with its kernel", async () => {
    insecure();
    const probed = probe(indexedDbStorage({ indexedDB: new IDBFactory(), IDBKeyRange }));
    const kernel = await open({ storage: probed.storage });
    expect((await kernel.status()).secrets).toBe("memory-only");
    await kernel.secrets.put("a", "one");
    const { state } = await kernel.auth.beginBrowser(login);
    expect(await kernel.secrets.get("a")).toBe("one");
    (await kernel.runtime.loadAuthOAuthFlowSnapshot())?.fill(0);
    expect(await kernel.auth.consumeBrowser(claimOf(state))).toEqual({ pkceVerifier: "verifier" });
    expect(probed.seen.filter(({ tables }) => tables.some((table) => table.startsWith("seal")))).toEqual([]);
    await kernel.close();
    for (const call of [kernel.secrets.get("a"), kernel.secrets.put("a", "x"), kernel.secrets.delete("a")])
      expect(await refusal(call)).toMatchObject({ code: "closed" });
    expect(await (await open({ storage: probed.storage })).secrets.get("a")).toBeUndefined();
  });

  it("memory works as ever", async () => {
    insecure();
    const storage = memoryStorage();
    const [one, other] = [await open({ storage }), await open({ storage })];
    await one.secrets.put("a", "one");
    expect(await other.secrets.get("a")).toBe("one");
    expect((await one.status()).secrets).toBe("memory-only");
  });
});

describe("a sealed record", () => {
  it("that was deleted is not overwritten by a change made from what was read before", async () => {
    const storage = await memoryStorage().open({
      name: "sealed",
      schema: SCHEMA,
      durability: "strict",
      newDatabaseId: "sealed",
      onState: () => {},
    });
    const notices = broadcastNotices("sealed", undefined);
    const corridor = createCorridor({ storage, tables: SCHEMA.tables, notices, clock: manualClock() });
    const content = { plain: new Uint8Array([1]) };
    const put = async (revision: number) => await corridor.run(putSealed, { name: "a", revision, content });
    const read = async () => (await corridor.query(SEALED_TABLES, (reader) => readSealed(reader, "a"))).revision;
    expect(await put(await read())).toBe(true);
    const stale = await read();
    await corridor.run(dropSealed, { name: "a" });
    expect(await put(stale)).toBe(false);
    expect(await put(await read())).toBe(true);
    await corridor.close();
  });
});
