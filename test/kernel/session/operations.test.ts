import { IDBFactory, IDBKeyRange } from "fake-indexeddb";
import { afterEach, describe, expect, it } from "vitest";
import { manualClock } from "../../../src/adapters/clock-manual.js";
import { indexedDbStorage } from "../../../src/adapters/storage-indexeddb.js";
import { memoryStorage } from "../../../src/adapters/storage-memory.js";
import { channelHub } from "../../../src/conformance/kit/channel.fixture.js";
import { broadcastNotices } from "../../../src/corridor/notices.js";
import { createCorridor } from "../../../src/corridor/run.js";
import { createWatch } from "../../../src/corridor/watch.js";
import { HoldfastError } from "../../../src/domain/errors.js";
import {
  OPERATION_STATUSES,
  type OperationOutcome,
  type OperationStatus,
  type PersistedOpsSnapshot,
} from "../../../src/domain/session/ops.js";
import { checkOpsOptions } from "../../../src/domain/session/ops-options.js";
import { DEFAULT_LIMITS } from "../../../src/domain/time.js";
import type { Fault } from "../../../src/kernel/host/loop-contract.js";
import { createOpsRegistry, type OpsRegistry, type OpsRegistryParts } from "../../../src/kernel/session/operations.js";
import type { KernelStorage, Row } from "../../../src/ports/storage.js";
import { SCHEMA, TABLES } from "../../../src/stores/schema.js";
import { opsStoreMethods } from "../../../src/stores/session/ops.js";
import { probe } from "../../stores/probe-storage.js";
import { gate, rounds } from "../rounds.js";

const RUNTIME = "rt:session:one";
const PLACES: Record<string, () => KernelStorage> = {
  "in memory": () => memoryStorage(),
  "on IndexedDB": () => indexedDbStorage({ indexedDB: new IDBFactory(), IDBKeyRange }),
};
const everywhere = describe.each(Object.entries(PLACES));

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  await Promise.all(closers.splice(0).map((close) => close()));
});

type TabOptions = Partial<OpsRegistryParts> & { deaf?: boolean };
type Tab = Awaited<ReturnType<ReturnType<typeof place>>>;

/** One database under one clock. Each call opens a tab on it, with a connection, notices and a registry of its own. */
function place(storage: KernelStorage = memoryStorage()) {
  const clock = manualClock();
  const hub = channelHub();
  let epochs = 0;
  return async ({ deaf, ...more }: TabOptions = {}) => {
    const probed = probe(storage);
    const opened = await probed.storage.open({
      name: "ops",
      schema: SCHEMA,
      durability: "strict",
      newDatabaseId: "db",
      onState: () => {},
    });
    const notices = broadcastNotices("ops", deaf ? undefined : hub);
    const corridor = createCorridor({ storage: opened, tables: TABLES, notices, clock });
    const watch = createWatch(notices, clock, 5_000, () => () => {});
    const faults: Fault[] = [];
    const parts: OpsRegistryParts = {
      runtimeId: RUNTIME,
      ownerSessionId: "one",
      corridor,
      watch,
      limits: DEFAULT_LIMITS,
      clock,
      newEpochId: () => `epoch-${++epochs}`,
      fault: (fault) => faults.push(fault),
      ...more,
    };
    const ops = createOpsRegistry(parts);
    closers.push(async () => {
      ops.close("the test is over");
      watch.close();
      await corridor.close();
      notices.close();
    });
    return {
      ops,
      store: opsStoreMethods(corridor, DEFAULT_LIMITS),
      another: (again: TabOptions = {}) => createOpsRegistry({ ...parts, ...again }),
      probed,
      faults,
      clock,
      watch,
      put: (table: string, put: Row) => opened.transact([table], "write", async (tx) => tx.write([{ table, put }])),
      stored: () => opened.transact(["ops"], "read", (tx) => tx.get("ops", RUNTIME)),
    };
  };
}

const specOf = (id: string, more: object = {}) => ({
  id,
  kind: "background_tool_op" as const,
  displayName: `the ${id}`,
  ...more,
});
const done = (result: string | number): OperationOutcome => ({ outcomeType: "completed", result });
const numbered = (count: number, from = 1) => Array.from({ length: count }, (_, at) => `op-${at + from}`);

async function start(ops: OpsRegistry, ...ids: string[]): Promise<void> {
  for (const id of ids) {
    await ops.register(specOf(id));
    await ops.provisioningSucceeded(id);
  }
}

async function finish(ops: OpsRegistry, ...ids: string[]): Promise<void> {
  for (const id of ids) {
    await start(ops, id);
    await ops.complete(id, id);
  }
}

const feed = async (ops: OpsRegistry, seq = 0) =>
  (await ops.listSince(seq)).entries.map((entry) => [entry.seq, entry.operationId]);
const refusedWith = (call: Promise<unknown>, code: string, details: object) =>
  expect(call).rejects.toMatchObject({ name: "HoldfastError", code, details });

/** The tab's storage refuses writes while `failing()` is true. */
function failWrites({ probed }: Tab, failing: () => boolean): void {
  probed.hooks.open = ({ mode }) => {
    if (mode === "write" && failing()) throw new HoldfastError("unavailable", "no storage today");
  };
}

/** The value of a promise, or `undefined` while it has none. */
function peek<T>(promise: Promise<T>): () => T | undefined {
  let value: T | undefined;
  promise.then(
    (found) => {
      value = found;
    },
    () => {},
  );
  return () => value;
}

everywhere("an operation %s", (_, storage) => {
  it("is shown with all that it was registered with, from its registration to its end", async () => {
    const { ops, clock } = await place(storage())();
    await ops.register(specOf("a"));
    const registered = {
      id: "a",
      kind: "background_tool_op",
      displayName: "the a",
      ownerSessionId: "one",
      sourceLabel: "",
      childSessionId: null,
      expectPeerChannel: false,
      status: "provisioning",
      peerReady: false,
      progressCount: 0,
      startedAtMs: clock.now(),
    };
    expect(await ops.get("a")).toEqual(registered);
    await ops.provisioningSucceeded("a");
    await clock.advance(7);
    await ops.reportProgress("a", { message: "half" });
    await ops.reportProgress("a", { message: "most", percent: 90 });
    const progressed = { ...registered, status: "running", progressCount: 2 };
    expect(await ops.get("a")).toEqual({ ...progressed, progress: { message: "most", percent: 90, atMs: clock.now() } });
    await ops.complete("a", { id: "call", content: [1] });
    const { startedAtMs: __, ...kept } = progressed;
    const terminalOutcome = { outcomeType: "completed", result: { id: "call", content: [1] } };
    expect(await ops.get("a")).toEqual({ ...kept, status: "completed", terminalOutcome });
    expect(await ops.get("b")).toBeUndefined();
  });

  it("keeps what its registration says instead of the defaults", async () => {
    const { ops } = await place(storage())();
    const spec = {
      id: "child",
      kind: "mob_member_child" as const,
      displayName: "",
      ownerSessionId: "other",
      sourceLabel: "tool",
      childSessionId: "two",
      expectPeerChannel: true,
    };
    await ops.register(spec);
    expect(await ops.get("child")).toMatchObject(spec);
    await ops.cancel("child");
    expect(await ops.get("child")).toMatchObject({ ...spec, terminalOutcome: { outcomeType: "cancelled" } });
  });

  it("is listed with the ended ones first, oldest first, then those that go on", async () => {
    const { ops } = await place(storage())();
    await start(ops, "9", "c", "10", "a");
    await ops.complete("c", 1);
    await ops.complete("9", 1);
    expect((await ops.list()).map(({ id, status }) => [id, status])).toEqual([
      ["c", "completed"],
      ["9", "completed"],
      ["10", "running"],
      ["a", "running"],
    ]);
  });

  it("ends in each of the six ways, with what the call said", async () => {
    const { ops } = await place(storage())();
    await start(ops, "completed", "failed", "cancelled", "retired", "quiet");
    for (const id of ["aborted", "unprovided"]) await ops.register(specOf(id));
    await ops.complete("completed", null);
    await ops.fail("failed", "why");
    await ops.cancel("cancelled", "why");
    await ops.cancel("quiet");
    await ops.requestRetire("retired");
    await ops.markRetired("retired");
    await ops.abortProvisioning("aborted", "why");
    await ops.provisioningFailed("unprovided", "why");
    await ops.register(specOf("terminated"));
    await ops.terminateOwner("why");
    expect(Object.fromEntries((await ops.list()).map(({ id, terminalOutcome }) => [id, terminalOutcome]))).toEqual({
      completed: { outcomeType: "completed", result: null },
      failed: { outcomeType: "failed", error: "why" },
      cancelled: { outcomeType: "cancelled", reason: "why" },
      quiet: { outcomeType: "cancelled" },
      retired: { outcomeType: "retired" },
      aborted: { outcomeType: "aborted", reason: "why" },
      unprovided: { outcomeType: "failed", error: "why" },
      terminated: { outcomeType: "terminated", reason: "why" },
    });
  });

  it("that ends while it is looked up is there, once, whatever the moment", async () => {
    for (const moment of ["open", "done"] as const) {
      const { ops, probed } = await place(storage())();
      const endsMeanwhile = async <T>(id: string, look: () => Promise<T>): Promise<T> => {
        await start(ops, id);
        let ending: Promise<void> | undefined;
        probed.hooks[moment] = async ({ mode }) => {
          if (mode !== "read" || ending) return;
          ending = ops.complete(id, 1);
          await ending;
        };
        const found = await look();
        probed.hooks = {};
        return found;
      };
      expect((await endsMeanwhile("a", () => ops.list())).map(({ id, status }) => [id, status])).toEqual([["a", "completed"]]);
      expect((await endsMeanwhile("b", () => ops.get("b")))?.terminalOutcome).toEqual(done(1));
      const again = endsMeanwhile("c", () => ops.register(specOf("c")));
      await refusedWith(again, "conflict", { reason: "AlreadyRegistered", id: "c" });
    }
  });

  it("shows the peer that is ready while it lives, and that it was ready afterwards", async () => {
    const { ops } = await place(storage())();
    await ops.register(specOf("child", { kind: "mob_member_child" }));
    await ops.provisioningSucceeded("child");
    await ops.peerReady("child", { address: "x" });
    expect(await ops.get("child")).toMatchObject({ peerReady: true, peer: { address: "x" }, status: "running" });
    await ops.complete("child", 1);
    expect(await ops.get("child")).toMatchObject({ peerReady: true, status: "completed" });
  });
});

describe("the call table", () => {
  const LIVE: readonly OperationStatus[] = ["provisioning", "running", "retiring"];
  const CALLS: Record<
    string,
    { call: (ops: OpsRegistry, id: string) => Promise<void>; from: readonly OperationStatus[]; to?: string }
  > = {
    provisioningSucceeded: { call: (ops, id) => ops.provisioningSucceeded(id), from: ["provisioning"], to: "running" },
    provisioningFailed: { call: (ops, id) => ops.provisioningFailed(id, "e"), from: LIVE, to: "failed" },
    fail: { call: (ops, id) => ops.fail(id, "e"), from: LIVE, to: "failed" },
    abortProvisioning: { call: (ops, id) => ops.abortProvisioning(id), from: ["provisioning"], to: "aborted" },
    complete: { call: (ops, id) => ops.complete(id, 1), from: ["running", "retiring"], to: "completed" },
    cancel: { call: (ops, id) => ops.cancel(id), from: LIVE, to: "cancelled" },
    requestRetire: { call: (ops, id) => ops.requestRetire(id), from: ["running"], to: "retiring" },
    markRetired: { call: (ops, id) => ops.markRetired(id), from: ["running", "retiring"], to: "retired" },
    peerReady: { call: (ops, id) => ops.peerReady(id, null), from: ["running", "retiring"] },
    reportProgress: { call: (ops, id) => ops.reportProgress(id, { message: "" }), from: ["running", "retiring"] },
  };
  const REACH: Record<OperationStatus, string[]> = {
    provisioning: [],
    running: ["provisioningSucceeded"],
    retiring: ["provisioningSucceeded", "requestRetire"],
    completed: ["provisioningSucceeded", "complete"],
    failed: ["fail"],
    aborted: ["abortProvisioning"],
    cancelled: ["cancel"],
    retired: ["provisioningSucceeded", "markRetired"],
    terminated: [],
  };

  it.each(Object.entries(CALLS))("holds for %s from every status (R-140)", async (action, { call, from, to }) => {
    const { ops } = await place()();
    for (const status of OPERATION_STATUSES) {
      const id = `${status} one`;
      await ops.register(specOf(id, { kind: "mob_member_child" }));
      for (const step of REACH[status]) await CALLS[step]?.call(ops, id);
      if (status === "terminated") await ops.terminateOwner("why");
      expect((await ops.get(id))?.status).toBe(status);
      const before = await ops.get(id);
      if (from.includes(status)) {
        await call(ops, id);
        expect((await ops.get(id))?.status).toBe(to ?? status);
      } else {
        const code = LIVE.includes(status) ? "conflict" : "terminal";
        await refusedWith(call(ops, id), code, { reason: "InvalidTransition", id, status, action });
        expect(await ops.get(id)).toEqual(before);
      }
      await refusedWith(call(ops, "nobody"), "not-found", { reason: "NotFound", id: "nobody" });
    }
  });

  it("ends all that go on in one write, and touches nothing that has ended", async () => {
    const { ops, probed } = await place()();
    await finish(ops, "done");
    await start(ops, "a", "b");
    await ops.register(specOf("c"));
    const writes = probed.puts("ops").length;
    await ops.terminateOwner("the owner is gone");
    expect(probed.puts("ops").length).toBe(writes + 1);
    expect((await ops.list()).map(({ id, status }) => [id, status])).toEqual([
      ["done", "completed"],
      ["a", "terminated"],
      ["b", "terminated"],
      ["c", "terminated"],
    ]);
    await ops.terminateOwner("again");
    expect(probed.puts("ops").length).toBe(writes + 1);
    await start(ops, "later");
    expect((await ops.get("later"))?.status).toBe("running");
  });
});

describe("refusals", () => {
  it("look at a peer's kind, then its readiness, then the status (R-140)", async () => {
    const { ops } = await place()();
    await ops.register(specOf("tool"));
    await ops.register(specOf("child", { kind: "mob_member_child" }));
    await refusedWith(ops.peerReady("tool", 1), "conflict", { reason: "PeerNotExpected", id: "tool" });
    await refusedWith(ops.peerReady("child", 1), "conflict", { reason: "InvalidTransition", status: "provisioning" });
    await ops.provisioningSucceeded("child");
    await ops.peerReady("child", 1);
    await refusedWith(ops.peerReady("child", 2), "conflict", { reason: "AlreadyPeerReady", id: "child" });
    await ops.complete("child", 1);
    await ops.cancel("tool");
    await refusedWith(ops.peerReady("child", 2), "conflict", { reason: "AlreadyPeerReady" });
    await refusedWith(ops.peerReady("tool", 2), "conflict", { reason: "PeerNotExpected" });
  });

  it("of a registration look at the id first, then at the room; only what goes on takes room (R-141)", async () => {
    const { ops } = await place()({ maxConcurrent: 2 });
    await start(ops, "a", "b");
    await refusedWith(ops.register(specOf("a")), "conflict", { reason: "AlreadyRegistered", id: "a" });
    await refusedWith(ops.register(specOf("c")), "conflict", { reason: "MaxConcurrentExceeded", limit: 2, active: 2 });
    await ops.complete("a", 1);
    await ops.register(specOf("c"));
    await refusedWith(ops.register(specOf("a")), "conflict", { reason: "AlreadyRegistered", id: "a" });
    await refusedWith(ops.register(specOf("d")), "conflict", { reason: "MaxConcurrentExceeded", limit: 2, active: 2 });
  });

  it("there are none for room where no limit was given (R-141)", async () => {
    const { ops, stored } = await place()();
    await Promise.all(numbered(300).map((id) => ops.register(specOf(id))));
    expect((await ops.list()).length).toBe(300);
    await ops.cancel("op-1");
    expect(await stored()).toMatchObject({ snapshot: { authorityState: { maxConcurrent: null } } });
  });

  it("let one of two registrations of an id through, and no more than fit", async () => {
    const { ops } = await place()({ maxConcurrent: 3 });
    const calls = ["a", "a", "b", "c", "d"].map((id) => ops.register(specOf(id)));
    const settled = await Promise.allSettled(calls);
    expect(settled.map((outcome) => (outcome.status === "rejected" ? outcome.reason.details.reason : "registered"))).toEqual([
      "registered",
      "AlreadyRegistered",
      "registered",
      "registered",
      "MaxConcurrentExceeded",
    ]);
  });

  it("let one of two ends at once through, also when both say the same", async () => {
    const { ops } = await place()();
    await start(ops, "a");
    const settled = await Promise.allSettled([ops.complete("a", 1), ops.complete("a", 1), ops.fail("a", "late")]);
    expect(settled.map((outcome) => (outcome.status === "rejected" ? outcome.reason.code : "ended"))).toEqual([
      "ended",
      "terminal",
      "terminal",
    ]);
    expect(await feed(ops)).toEqual([[1, "a"]]);
  });

  it("name a bad argument, and nothing changes", async () => {
    const { ops, probed } = await place()();
    await start(ops, "a");
    const bad: [field: string, call: () => Promise<unknown>][] = [
      ["spec", () => ops.register(null as never)],
      ["spec.id", () => ops.register(specOf(""))],
      ["spec.id", () => ops.register(specOf("__proto__"))],
      ["spec.id", () => ops.register(specOf("x".repeat(513)))],
      ["spec.kind", () => ops.register(specOf("b", { kind: "toString" }))],
      ["spec.displayName", () => ops.register({ id: "b", kind: "background_tool_op" } as never)],
      ["spec.ownerSessionId", () => ops.register(specOf("b", { ownerSessionId: "" }))],
      ["spec.sourceLabel", () => ops.register(specOf("b", { sourceLabel: 5 }))],
      ["spec.childSessionId", () => ops.register(specOf("b", { childSessionId: "" }))],
      ["spec.expectPeerChannel", () => ops.register(specOf("b", { expectPeerChannel: 1 }))],
      ["id", () => ops.complete("", 1)],
      ["id", () => ops.get(5 as never)],
      ["result", () => ops.complete("a", undefined as never)],
      ["result", () => ops.complete("a", { at: new Date() } as never)],
      ["error", () => ops.fail("a", new Error("e") as never)],
      ["error", () => ops.provisioningFailed("a", "\ud800")],
      ["reason", () => ops.cancel("a", null as never)],
      ["reason", () => ops.terminateOwner(undefined as never)],
      ["peer", () => ops.peerReady("a", (() => 1) as never)],
      ["update", () => ops.reportProgress("a", "half" as never)],
      ["update.message", () => ops.reportProgress("a", {} as never)],
      ["update.percent", () => ops.reportProgress("a", { message: "", percent: 101 })],
      ["update.percent", () => ops.reportProgress("a", { message: "", percent: Number.NaN })],
      ["ids", () => ops.waitAll("a" as never)],
      ["ids/1", () => ops.waitAll(["a", ""])],
      ["seq", () => ops.listSince(-1)],
      ["seq", () => ops.waitForAdvance(0.5)],
      ["options", () => ops.watch("a", null as never)],
      ["options.signal", () => ops.waitForAdvance(0, { signal: {} as never })],
    ];
    for (const [field, call] of bad) {
      await expect(call(), field).rejects.toMatchObject({ code: "invalid", message: expect.stringContaining(field) });
    }
    expect(probed.puts("ops")).toEqual([]);
    expect((await ops.list()).map(({ id, status, progressCount }) => [id, status, progressCount])).toEqual([["a", "running", 0]]);
  });

  it("name a bad option", () => {
    expect(checkOpsOptions("options.ops", undefined)).toEqual({});
    expect(checkOpsOptions("options.ops", { maxConcurrent: 1, maxCompleted: 2 })).toEqual({ maxConcurrent: 1, maxCompleted: 2 });
    expect(() => checkOpsOptions("options.ops", { maxCompleted: 0 })).toThrow("options.ops.maxCompleted");
    expect(() => checkOpsOptions("options.ops", { maxConcurrent: "2" })).toThrow("options.ops.maxConcurrent");
    expect(() => checkOpsOptions("options.ops", 5)).toThrow("options.ops");
  });
});

everywhere("watchers %s", (_, storage) => {
  it("each get the one outcome, as a copy, and at once when it has ended (R-142)", async () => {
    const { ops } = await place(storage())();
    await start(ops, "a");
    const watchers = Array.from({ length: 5 }, () => ops.watch("a"));
    const early = peek(watchers[0] as Promise<OperationOutcome>);
    await rounds();
    expect(early()).toBeUndefined();
    await ops.complete("a", { value: 1 });
    const outcomes = await Promise.all([...watchers, ops.watch("a")]);
    expect(outcomes).toEqual(Array(6).fill({ outcomeType: "completed", result: { value: 1 } }));
    expect(new Set(outcomes).size).toBe(6);
  });

  it("know nothing of an id that is not registered (R-142)", async () => {
    const { ops } = await place(storage())();
    await refusedWith(ops.watch("nobody"), "not-found", { reason: "NotFound", id: "nobody" });
  });

  it("are told that the owner is gone when the registry is closed, and nothing is stored of it (R-142)", async () => {
    const { ops, stored } = await place(storage())();
    await start(ops, "a", "b");
    const watcher = ops.watch("a");
    const all = ops.waitAll(["a", "b"]);
    const advance = ops.waitForAdvance(0);
    await rounds();
    ops.close("the session was closed");
    const outcome = { outcomeType: "terminated", reason: "the session was closed" };
    expect(await watcher).toEqual(outcome);
    expect(await all).toEqual([outcome, outcome]);
    await expect(advance).rejects.toMatchObject({ code: "closed" });
    expect(await stored()).toBeUndefined();
    for (const call of [ops.watch("a"), ops.get("a"), ops.register(specOf("c")), ops.complete("a", 1), ops.waitForAdvance(0)])
      await expect(call).rejects.toMatchObject({ code: "closed" });
    await expect(ops.collectCompleted()).rejects.toMatchObject({ code: "closed" });
  });

  it("are told so too when the kernel closes under it (R-142)", async () => {
    const { ops, watch } = await place(storage())();
    await start(ops, "a");
    const watcher = ops.watch("a");
    await rounds();
    watch.close();
    expect(await watcher).toMatchObject({ outcomeType: "terminated" });
  });

  it("that are aborted reject, and the others go on", async () => {
    const { ops } = await place(storage())();
    await start(ops, "a");
    const abort = new AbortController();
    const aborted = ops.watch("a", { signal: abort.signal });
    const other = ops.watch("a");
    await rounds();
    abort.abort("enough");
    await expect(aborted).rejects.toMatchObject({ code: "aborted", cause: "enough" });
    await ops.fail("a", "e");
    expect(await other).toEqual({ outcomeType: "failed", error: "e" });
    await expect(ops.watch("a", { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "aborted" });
    await start(ops, "b");
    const both = new AbortController();
    const late = ops.watch("b", { signal: both.signal });
    await rounds();
    both.abort("mine");
    ops.close("the session was closed");
    await expect(late).rejects.toMatchObject({ code: "aborted", cause: "mine" });
  });

  it("are counted in what is stored of the end", async () => {
    const { ops, stored } = await place(storage())();
    await start(ops, "a");
    const abort = new AbortController();
    const watchers = [ops.watch("a"), ops.watch("a"), ops.watch("a", { signal: abort.signal })];
    await rounds();
    abort.abort();
    await expect(watchers[2]).rejects.toMatchObject({ code: "aborted" });
    await ops.complete("a", 1);
    await Promise.all(watchers.slice(0, 2));
    expect(await stored()).toMatchObject({ snapshot: { authorityState: { operations: { a: { watcherCount: 2 } } } } });
  });
});

everywhere("what is kept %s", (_, storage) => {
  it("is 256 ended operations, and the oldest are unknown then; the feed has them still (R-143)", async () => {
    const { ops, stored } = await place(storage())();
    await Promise.all(numbered(258).map((id) => ops.register(specOf(id))));
    await ops.cancel("op-2");
    await ops.terminateOwner("over");
    expect((await ops.list()).map(({ id }) => id)).toEqual(numbered(256, 3));
    for (const id of ["op-1", "op-2"]) {
      expect(await ops.get(id)).toBeUndefined();
      await refusedWith(ops.complete(id, 1), "not-found", { reason: "NotFound" });
      await refusedWith(ops.watch(id), "not-found", { reason: "NotFound" });
    }
    expect((await feed(ops)).slice(0, 3)).toEqual([
      [1, "op-2"],
      [2, "op-1"],
      [3, "op-3"],
    ]);
    expect((await ops.listSince(0)).watermark).toBe(258);
    expect(await stored()).toMatchObject({ snapshot: { authorityState: { maxCompleted: 256 } } });
    await ops.register(specOf("op-1"));
    expect((await ops.get("op-1"))?.status).toBe("provisioning");
  });

  it("is as much as was asked for, and 1,024 lines of the feed at least (R-143)", async () => {
    const { ops } = await place(storage())({ maxCompleted: 2 });
    await Promise.all(numbered(1030).map((id) => ops.register(specOf(id))));
    await ops.terminateOwner("over");
    expect((await ops.list()).map(({ id }) => id)).toEqual(["op-1029", "op-1030"]);
    const { entries, watermark } = await ops.listSince(0);
    expect([entries.length, entries[0]?.seq, watermark]).toEqual([1024, 7, 1030]);
  });

  it("leaves a watcher its outcome, also when it is pushed out at once (R-142, R-143)", async () => {
    const { ops } = await place(storage())({ maxCompleted: 1 });
    await start(ops, "a", "b", "c");
    const all = ops.waitAll(["a", "b", "c"]);
    await rounds();
    await Promise.all(["a", "b", "c"].map((id) => ops.complete(id, id)));
    expect(await all).toEqual(["a", "b", "c"].map(done));
  });
});

everywhere("the feed %s", (_, storage) => {
  it("begins with 1, rises by one per end, and is read with the watermark of the same instant (R-144)", async () => {
    const { ops, clock } = await place(storage())();
    expect(await ops.listSince(0)).toEqual({ entries: [], watermark: 0 });
    await finish(ops, "a");
    await clock.advance(5);
    await finish(ops, "b", "c");
    expect(await ops.listSince(2)).toEqual({
      entries: [
        {
          seq: 3,
          operationId: "c",
          kind: "background_tool_op",
          displayName: "the c",
          terminalOutcome: done("c"),
          completedAtMs: clock.now(),
        },
      ],
      watermark: 3,
    });
    expect(await feed(ops)).toEqual([
      [1, "a"],
      [2, "b"],
      [3, "c"],
    ]);
    expect(await ops.listSince(3)).toEqual({ entries: [], watermark: 3 });
    expect(await ops.listSince(99)).toEqual({ entries: [], watermark: 3 });
  });

  it("gives ends that are stored at once a sequence each (R-144)", async () => {
    const { ops } = await place(storage())();
    await start(ops, ...numbered(40));
    await Promise.all(numbered(40).map((id) => ops.complete(id, 1)));
    expect((await feed(ops)).map(([seq]) => seq)).toEqual(Array.from({ length: 40 }, (__, at) => at + 1));
    expect(new Set((await feed(ops)).map(([, id]) => id)).size).toBe(40);
  });

  it("wakes waiters: at once above the sequence, else at the next end (R-144)", async () => {
    const { ops } = await place(storage())();
    await finish(ops, "a", "b");
    expect(await ops.waitForAdvance(0)).toBe(2);
    const next = ops.waitForAdvance(2);
    const waits = peek(next);
    await start(ops, "c");
    await rounds();
    expect(waits()).toBeUndefined();
    await ops.complete("c", 1);
    expect(await next).toBe(3);
  });

  it("wakes at the next end also a waiter that is ahead of it, from an earlier feed", async () => {
    const { ops } = await place(storage())();
    await finish(ops, "a");
    const ahead = ops.waitForAdvance(50);
    await rounds();
    await finish(ops, "b");
    expect(await ahead).toBe(2);
  });

  it("loses no wake-up, wherever the end falls (R-144)", async () => {
    for (const moment of ["open", "read", "done"] as const) {
      const { ops, probed } = await place(storage())();
      await start(ops, "a");
      let ending: Promise<void> | undefined;
      probed.hooks[moment] = async (...[first]: unknown[]) => {
        const { mode } = (moment === "read" ? { mode: "read" } : first) as { mode: string };
        if (mode !== "read" || ending) return;
        ending = ops.complete("a", 1);
        // A read transaction that awaits this write would wait for itself.
        if (moment !== "read") await ending;
      };
      expect(await ops.waitForAdvance(0)).toBe(1);
      await ending;
    }
  });

  it("may be aborted while one waits", async () => {
    const { ops } = await place(storage())();
    const abort = new AbortController();
    const wait = ops.waitForAdvance(0, { signal: abort.signal });
    await rounds();
    abort.abort("enough");
    await expect(wait).rejects.toMatchObject({ code: "aborted", cause: "enough" });
  });

  it("says a line again to a cursor that lags, and loses none (R-150)", async () => {
    const tab = await place(storage())();
    await finish(tab.ops, "a", "b", "c");
    const snapshot = (await tab.store.loadOpsLifecycle(RUNTIME)) as PersistedOpsSnapshot;
    const cursors = { agentAppliedCursor: 1, runtimeObservedSeq: 3, runtimeLastInjectedSeq: 2 };
    await tab.store.persistOpsLifecycle(RUNTIME, { ...snapshot, cursors });
    const later = tab.another();
    expect(await feed(later, cursors.agentAppliedCursor)).toEqual([
      [2, "b"],
      [3, "c"],
    ]);
    await finish(later, "d");
    expect((await tab.store.loadOpsLifecycle(RUNTIME))?.cursors).toEqual(cursors);
    expect(await feed(later, cursors.agentAppliedCursor)).toEqual([
      [2, "b"],
      [3, "c"],
      [4, "d"],
    ]);
  });
});

everywhere("waiting for all %s", (_, storage) => {
  it("ends with the last of them, in the order that was asked for (R-145)", async () => {
    const { ops } = await place(storage())();
    await start(ops, "a", "b", "c");
    await ops.complete("b", "b");
    const all = ops.waitAll(["c", "b", "a"]);
    const early = peek(all);
    await ops.fail("a", "e");
    await rounds();
    expect(early()).toBeUndefined();
    await ops.cancel("c");
    expect(await all).toEqual([{ outcomeType: "cancelled" }, done("b"), { outcomeType: "failed", error: "e" }]);
  });

  it("ends at once when all have ended, or there are none (R-145)", async () => {
    const { ops } = await place(storage())();
    await finish(ops, "a", "b");
    expect(await ops.waitAll(["b", "a"])).toEqual([done("b"), done("a")]);
    expect(await ops.waitAll([])).toEqual([]);
  });

  it("refuses an id twice, an unknown id and a second wait, and is free again after each end (R-145)", async () => {
    const { ops } = await place(storage())();
    await start(ops, "a", "b");
    await refusedWith(ops.waitAll(["a", "b", "a"]), "invalid", { reason: "DuplicateWaitOperation", id: "a" });
    await refusedWith(ops.waitAll(["a", "nobody"]), "not-found", { reason: "NotFound", id: "nobody" });
    const abort = new AbortController();
    const first = ops.waitAll(["a"], { signal: abort.signal });
    await refusedWith(ops.waitAll(["b"]), "conflict", { reason: "WaitAlreadyActive" });
    await rounds();
    await refusedWith(ops.waitAll(["b"]), "conflict", { reason: "WaitAlreadyActive" });
    abort.abort("enough");
    await expect(first).rejects.toMatchObject({ code: "aborted", cause: "enough" });
    const second = ops.waitAll(["b"]);
    await ops.complete("b", 1);
    expect(await second).toEqual([done(1)]);
    expect(await ops.waitAll(["b"])).toEqual([done(1)]);
  });
});

everywhere("collecting %s", (_, storage) => {
  it("takes what has ended out, oldest first, and leaves the feed (R-146)", async () => {
    const tab = await place(storage())();
    const { ops, probed } = tab;
    expect(await ops.collectCompleted()).toEqual([]);
    await finish(ops, "b", "a");
    await start(ops, "c");
    expect(await ops.collectCompleted()).toEqual([
      { id: "b", outcome: done("b") },
      { id: "a", outcome: done("a") },
    ]);
    const writes = probed.puts("ops").length;
    expect(await ops.collectCompleted()).toEqual([]);
    expect(probed.puts("ops").length).toBe(writes);
    expect((await ops.list()).map(({ id }) => id)).toEqual(["c"]);
    expect((await tab.another().list()).length).toBe(0);
    expect(await feed(ops)).toEqual([
      [1, "b"],
      [2, "a"],
    ]);
    await refusedWith(ops.complete("a", 1), "not-found", { reason: "NotFound" });
    await finish(ops, "a");
    expect(await feed(ops, 2)).toEqual([[3, "a"]]);
    expect((await ops.get("a"))?.status).toBe("completed");
  });

  it("hands each operation to one tab alone", async () => {
    const open = place(storage());
    const [here, there] = [await open(), await open()];
    await finish(here.ops, ...numbered(5));
    const taken = await Promise.all([here.ops.collectCompleted(), there.ops.collectCompleted()]);
    expect(taken.flat().map(({ id }) => id)).toEqual(numbered(5));
  });
});

everywhere("an end %s", (_, storage) => {
  it("is stored before any watcher is told, and a write that fails changes nothing and may be made again (R-147)", async () => {
    const tab = await place(storage())();
    const { ops } = tab;
    let failing = true;
    failWrites(tab, () => failing);
    await start(ops, "a", "b");
    await ops.reportProgress("a", { message: "half" });
    const before = await ops.list();
    const watcher = ops.watch("a");
    const told = [peek(watcher), peek(ops.waitForAdvance(0)), peek(ops.waitAll(["a"]))];
    const calls = [
      () => ops.complete("a", 1),
      () => ops.fail("a", "e"),
      () => ops.cancel("a"),
      () => ops.markRetired("a"),
      () => ops.terminateOwner("why"),
    ];
    for (const call of calls) {
      await expect(call()).rejects.toMatchObject({ code: "unavailable" });
      await rounds();
      expect(told.map((value) => value())).toEqual([undefined, undefined, undefined]);
      expect(await ops.list()).toEqual(before);
      expect(await ops.listSince(0)).toEqual({ entries: [], watermark: 0 });
      expect(await tab.stored()).toBeUndefined();
    }
    failing = false;
    await ops.complete("a", 1);
    expect(await watcher).toEqual(done(1));
    await rounds();
    expect(told.map((value) => value())).toEqual([done(1), 1, [done(1)]]);
    expect(await feed(ops)).toEqual([[1, "a"]]);
    expect((await ops.get("b"))?.status).toBe("running");
  });

  it("is told to no watcher while its write is under way, and other calls of it wait for that (R-147)", async () => {
    const tab = await place(storage())();
    const { ops, probed } = tab;
    await start(ops, "a", "b");
    const watcher = peek(ops.watch("a"));
    await rounds();
    const writing = gate();
    probed.hooks.open = ({ mode }) => (mode === "write" ? writing.promise : undefined);
    const completing = ops.complete("a", 1);
    const progress = ops.reportProgress("a", { message: "late" });
    const terminating = ops.terminateOwner("why");
    await ops.reportProgress("b", { message: "goes on" });
    await rounds();
    expect(watcher()).toBeUndefined();
    expect((await ops.get("a"))?.status).toBe("running");
    probed.hooks = {};
    writing.open();
    await completing;
    await refusedWith(progress, "terminal", { reason: "InvalidTransition", status: "completed", action: "reportProgress" });
    await terminating;
    expect((await ops.list()).map(({ id, status }) => [id, status])).toEqual([
      ["a", "completed"],
      ["b", "terminated"],
    ]);
  });

  it("whose write failed leaves the calls that waited for it what it was (R-147)", async () => {
    const tab = await place(storage())();
    await start(tab.ops, "a");
    let failures = 1;
    failWrites(tab, () => failures-- > 0);
    const first = tab.ops.complete("a", 1);
    const second = tab.ops.fail("a", "e");
    await expect(first).rejects.toMatchObject({ code: "unavailable" });
    await second;
    expect(await tab.ops.watch("a")).toEqual({ outcomeType: "failed", error: "e" });
  });

  it("is one, however often its fate was unknown (R-147)", async () => {
    const tab = await place(storage())();
    const { ops, probed } = tab;
    await start(ops, "a", "b");
    let unknown = 1;
    probed.hooks.done = ({ mode }) => {
      if (mode === "write" && unknown-- > 0)
        throw new HoldfastError("unavailable", "the connection was lost", { details: { outcome: "unknown" } });
    };
    await ops.complete("a", 1);
    unknown = 2;
    await expect(ops.complete("b", 1)).rejects.toMatchObject({ code: "unavailable", details: { outcome: "unknown" } });
    unknown = 0;
    await ops.collectCompleted();
    await refusedWith(ops.fail("b", "another end"), "terminal", { reason: "InvalidTransition", status: "completed" });
    expect(await feed(ops)).toEqual([
      [1, "a"],
      [2, "b"],
    ]);
  });

  it("whose fate was unknown may be asked for again (R-147)", async () => {
    const tab = await place(storage())();
    await start(tab.ops, "a");
    let unknown = 2;
    tab.probed.hooks.done = ({ mode }) => {
      if (mode === "write" && unknown-- > 0)
        throw new HoldfastError("unavailable", "the connection was lost", { details: { outcome: "unknown" } });
    };
    await expect(tab.ops.complete("a", 1)).rejects.toMatchObject({ code: "unavailable" });
    await tab.ops.complete("a", 1);
    expect(await feed(tab.ops)).toEqual([[1, "a"]]);
  });

  it("is the one thing that is written: what goes on is not stored (R-147)", async () => {
    const { ops, probed } = await place(storage())();
    await ops.register(specOf("a", { kind: "mob_member_child" }));
    await ops.provisioningSucceeded("a");
    await ops.reportProgress("a", { message: "half" });
    await ops.peerReady("a", 1);
    await ops.requestRetire("a");
    expect(probed.seen.filter(({ mode }) => mode === "write")).toEqual([]);
    await start(ops, "b");
    await ops.markRetired("a");
    expect(probed.puts("ops").length).toBe(1);
    expect(probed.puts("ops")).toMatchObject([
      { v: 1, runtimeId: RUNTIME, snapshot: { authorityState: { operations: { a: { progressCount: 1, peerReady: true } } } } },
    ]);
    expect(JSON.stringify(probed.puts("ops"))).not.toContain("the b");
  });

  it("of a burst shares its write with the others", async () => {
    const { ops, probed } = await place(storage())();
    await start(ops, ...numbered(50));
    await Promise.all(numbered(50).map((id) => ops.complete(id, 1)));
    expect(probed.puts("ops").length).toBe(1);
    expect((await ops.listSince(0)).watermark).toBe(50);
  });
});

everywhere("a later registry %s", (_, storage) => {
  it("finds what had ended, knows nothing of what had not, and goes on with the feed (R-148)", async () => {
    const open = place(storage());
    const before = await open();
    await finish(before.ops, "a", "b");
    await start(before.ops, "lost");
    const epochId = (await before.store.loadOpsLifecycle(RUNTIME))?.epochId;
    before.ops.close("the tab is gone");
    const { ops, store } = await open();
    expect((await ops.list()).map(({ id, status }) => [id, status])).toEqual([
      ["a", "completed"],
      ["b", "completed"],
    ]);
    await refusedWith(ops.complete("lost", 1), "not-found", { reason: "NotFound" });
    expect(await ops.waitForAdvance(1)).toBe(2);
    await finish(ops, "lost");
    expect(await feed(ops)).toEqual([
      [1, "a"],
      [2, "b"],
      [3, "lost"],
    ]);
    expect((await store.loadOpsLifecycle(RUNTIME))?.epochId).toBe(epochId);
  });

  it("takes a snapshot of other making for what it says of ended operations (R-148)", async () => {
    const { ops, store } = await place(storage())();
    await finish(ops, "gone", "old");
    const made = (await store.loadOpsLifecycle(RUNTIME)) as PersistedOpsSnapshot;
    const { operations } = made.authorityState;
    const { gone, old } = operations;
    if (!gone || !old) throw new Error("nothing was stored");
    made.authorityState.operations = { old, runs: { ...old, status: "running", terminalOutcome: null } };
    made.authorityState.activeCount = 1;
    made.authorityState.waitRequestId = "wait";
    made.authorityState.waitOperationIds = ["runs"];
    await store.persistOpsLifecycle(RUNTIME, made);
    expect((await ops.list()).map(({ id }) => id)).toEqual(["old"]);
    expect(await ops.get("runs")).toBeUndefined();
    expect((await ops.listSince(0)).watermark).toBe(2);
    await ops.register(specOf("runs"));
    await ops.cancel("runs");
    const stored = await store.loadOpsLifecycle(RUNTIME);
    expect(stored?.authorityState).toMatchObject({
      completedOrder: ["old", "runs"],
      activeCount: 0,
      waitRequestId: null,
      waitOperationIds: [],
    });
    expect(stored?.completionEntries.map(({ seq }) => seq)).toEqual([1, 2, 3]);
    expect(stored?.epochId).toBe(made.epochId);
  });

  it("begins a new epoch where nothing is stored (R-149)", async () => {
    const open = place(storage());
    const here = await open();
    await finish(here.ops, "a");
    const there = await open({ runtimeId: "rt:session:two" });
    await finish(there.ops, "a");
    const epochs = [await here.store.loadOpsLifecycle(RUNTIME), await here.store.loadOpsLifecycle("rt:session:two")].map(
      (snapshot) => snapshot?.epochId,
    );
    expect(new Set(epochs).size).toBe(2);
    expect(epochs).not.toContain(undefined);
    expect([here.faults, there.faults]).toEqual([[], []]);
  });

  it("begins again where the stored row does not decode: empty, another epoch, and a fault, once (R-149)", async () => {
    const tab = await place(storage())();
    const { ops, store, faults } = tab;
    await finish(ops, "a", "b");
    const epochId = (await store.loadOpsLifecycle(RUNTIME))?.epochId;
    await tab.put("ops", { v: 1, runtimeId: RUNTIME, snapshot: { epochId, operations: "none" } });
    await expect(store.loadOpsLifecycle(RUNTIME)).rejects.toMatchObject({
      code: "read-failed",
      details: { table: "ops", key: JSON.stringify([RUNTIME]) },
    });
    const told = [{ area: "ops", code: "read-failed", message: expect.stringContaining(RUNTIME) }];
    expect(await ops.list()).toEqual([]);
    expect(faults).toEqual(told);
    expect(await ops.listSince(0)).toEqual({ entries: [], watermark: 0 });
    expect(await ops.collectCompleted()).toEqual([]);
    expect(await tab.stored()).toMatchObject({ snapshot: { operations: "none" } });
    await finish(ops, "a");
    expect(faults).toEqual(told);
    expect(await feed(ops)).toEqual([[1, "a"]]);
    const after = (await store.loadOpsLifecycle(RUNTIME))?.epochId;
    expect(after).toBeDefined();
    expect(after).not.toBe(epochId);
  });

  it("leaves alone what a newer version wrote", async () => {
    const tab = await place(storage())();
    await start(tab.ops, "a");
    const newer = { v: 2, runtimeId: RUNTIME, snapshot: { shape: "new" } };
    await tab.put("ops", newer);
    for (const call of [() => tab.ops.complete("a", 1), () => tab.ops.list(), () => tab.ops.register(specOf("b"))])
      await expect(call()).rejects.toMatchObject({ code: "version" });
    expect(await tab.stored()).toEqual(newer);
    expect(tab.faults).toEqual([]);
  });

  it("does not take trouble of the storage for a broken row", async () => {
    const tab = await place(storage())();
    await finish(tab.ops, "a");
    await start(tab.ops, "b");
    tab.probed.hooks.read = (table) => {
      if (table === "ops") throw new HoldfastError("read-failed", "the disk is away");
    };
    for (const call of [() => tab.ops.complete("b", 1), () => tab.ops.list(), () => tab.ops.collectCompleted()])
      await expect(call()).rejects.toMatchObject({ code: "read-failed" });
    tab.probed.hooks = {};
    expect(tab.faults).toEqual([]);
    await tab.ops.complete("b", 1);
    expect(await feed(tab.ops)).toEqual([
      [1, "a"],
      [2, "b"],
    ]);
  });
});

everywhere("two tabs %s", (_, storage) => {
  const pair = async (more: TabOptions = {}) => {
    const open = place(storage());
    return { here: await open(more), there: await open(more) };
  };

  it("lose no end of each other, and share one sequence", async () => {
    const { here, there } = await pair();
    const [odd, even] = [numbered(20).map((id) => `${id} here`), numbered(20).map((id) => `${id} there`)];
    await start(here.ops, ...odd);
    await start(there.ops, ...even);
    await Promise.all([...odd.map((id) => here.ops.complete(id, 1)), ...even.map((id) => there.ops.complete(id, 2))]);
    for (const { ops } of [here, there]) {
      const entries = await feed(ops);
      expect(entries.map(([seq]) => seq)).toEqual(Array.from({ length: 40 }, (__, at) => at + 1));
      expect(entries.map(([, id]) => id).sort()).toEqual([...odd, ...even].sort());
      expect((await ops.list()).every(({ status }) => status === "completed")).toBe(true);
    }
  });

  it("know nothing of what goes on in the other, and all of what has ended there", async () => {
    const { here, there } = await pair();
    await start(here.ops, "a");
    expect(await there.ops.get("a")).toBeUndefined();
    await refusedWith(there.ops.watch("a"), "not-found", { reason: "NotFound" });
    const advance = there.ops.waitForAdvance(0);
    await rounds();
    await here.ops.complete("a", 1);
    expect(await advance).toBe(1);
    expect(await there.ops.watch("a")).toEqual(done(1));
    await refusedWith(there.ops.register(specOf("a")), "conflict", { reason: "AlreadyRegistered" });
    await refusedWith(there.ops.fail("a", "e"), "terminal", { reason: "InvalidTransition", status: "completed" });
  });

  it("that registered the same id end it once, in both", async () => {
    const { here, there } = await pair();
    for (const { ops } of [here, there]) await start(ops, "a");
    const watcher = here.ops.watch("a");
    await rounds();
    await there.ops.complete("a", "theirs");
    expect(await watcher).toEqual(done("theirs"));
    await refusedWith(here.ops.complete("a", "ours"), "terminal", { reason: "InvalidTransition", id: "a", status: "completed" });
    expect((await here.ops.list()).map(({ id, terminalOutcome }) => [id, terminalOutcome])).toEqual([["a", done("theirs")]]);
    expect(await feed(here.ops)).toEqual([[1, "a"]]);
  });

  it("that end the same id at once both know the one that was first", async () => {
    const { here, there } = await pair();
    for (const { ops } of [here, there]) await start(ops, "a", "b");
    const settled = await Promise.allSettled([here.ops.complete("a", "here"), there.ops.fail("a", "there")]);
    expect(settled.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    const winner = settled[0]?.status === "fulfilled" ? done("here") : { outcomeType: "failed", error: "there" };
    for (const { ops } of [here, there]) expect(await ops.watch("a")).toEqual(winner);
    await Promise.all([here.ops.terminateOwner("over"), there.ops.terminateOwner("over")]);
    expect((await feed(here.ops)).length).toBe(2);
  });

  it("that cannot hear each other find out by the poll", async () => {
    const { here, there } = await pair({ deaf: true });
    for (const { ops } of [here, there]) await start(ops, "a");
    const waits = [peek(here.ops.watch("a")), peek(here.ops.waitForAdvance(0))];
    await rounds();
    await there.ops.complete("a", 1);
    await here.clock.advance(4_999);
    expect(waits.map((value) => value())).toEqual([undefined, undefined]);
    await here.clock.advance(1);
    await rounds();
    expect(waits.map((value) => value())).toEqual([done(1), 1]);
  });

  it("each have a limit of their own for what goes on", async () => {
    const { here, there } = await pair({ maxConcurrent: 1 });
    await start(here.ops, "a");
    await start(there.ops, "b");
    await refusedWith(there.ops.register(specOf("c")), "conflict", { reason: "MaxConcurrentExceeded", limit: 1, active: 1 });
  });

  it("of different sessions know nothing of one another (R-1)", async () => {
    const open = place(storage());
    const [one, two] = [await open(), await open({ runtimeId: "rt:session:two" })];
    await finish(one.ops, "a");
    expect(await two.ops.list()).toEqual([]);
    expect(await two.ops.listSince(0)).toEqual({ entries: [], watermark: 0 });
    await finish(two.ops, "a");
    expect((await one.ops.listSince(0)).watermark).toBe(1);
  });
});

describe("a session that was deleted", () => {
  const runtimeRow = (incarnation: number): Row => ({
    v: 1,
    runtimeId: RUNTIME,
    incarnation,
    nextRank: 0,
    firstRank: 0,
    endedKeys: 0,
    messageCount: 0,
    digest: "",
    updatedAtMs: 0,
  });

  it("takes no end and shows nothing to a registry that held it, and nothing of it is written", async () => {
    const open = place();
    const tab = await open({ incarnation: 3 });
    await tab.put("runtimes", runtimeRow(3));
    await finish(tab.ops, "a");
    await start(tab.ops, "b");
    const before = await tab.stored();
    await tab.put("runtimes", runtimeRow(4));
    const calls = [
      () => tab.ops.complete("b", 1),
      () => tab.ops.terminateOwner("why"),
      () => tab.ops.register(specOf("c")),
      () => tab.ops.get("a"),
      () => tab.ops.list(),
      () => tab.ops.listSince(0),
      () => tab.ops.watch("b"),
      () => tab.ops.collectCompleted(),
    ];
    for (const call of calls) await expect(call()).rejects.toMatchObject({ code: "not-found", details: { runtimeId: RUNTIME } });
    expect(await tab.stored()).toEqual(before);
    const next = await open({ incarnation: 4 });
    await finish(next.ops, "d");
  });

  it("is told from one that never was: no row is incarnation 0, and a call that names none is let in", async () => {
    const open = place();
    const [first, later, any] = [await open({ incarnation: 0 }), await open({ incarnation: 1 }), await open()];
    await finish(first.ops, "a");
    await expect(later.ops.list()).rejects.toMatchObject({ code: "not-found" });
    await first.put("runtimes", runtimeRow(7));
    await finish(any.ops, "b");
  });
});
