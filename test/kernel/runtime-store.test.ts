import { afterEach, describe, expect, it } from "vitest";
import { manualClock } from "../../src/adapters/clock-manual.js";
import { memoryStorage } from "../../src/adapters/storage-memory.js";
import {
  bytesOf,
  fullInput,
  input,
  RUNTIME,
  readRuntimes,
  receipt,
  snapshot,
} from "../../src/conformance/session/runtime.fixture.js";
import { broadcastNotices } from "../../src/corridor/notices.js";
import { createCorridor } from "../../src/corridor/run.js";
import { HoldfastError, isHoldfastError } from "../../src/domain/errors.js";
import { mintLifecycleCommit } from "../../src/domain/session/lifecycle-commit.js";
import { DEFAULT_LIMITS } from "../../src/domain/time.js";
import type { RuntimeStore } from "../../src/kernel/runtime-store.js";
import type { Change } from "../../src/ports/notices.js";
import { SCHEMA, TABLES } from "../../src/stores/schema.js";
import { runtimeMethods } from "../../src/stores/session/runtime.js";
import type { Hooks, Probe } from "../stores/probe-storage.js";
import { bench, closeBenches } from "./hosts.js";

afterEach(closeBenches);

const CALLS: Record<string, (runtime: RuntimeStore) => Promise<void>> = {
  commitSessionSnapshot: (r) => r.commitSessionSnapshot(RUNTIME, snapshot({ id: "t" })),
  atomicApply: (r) => r.atomicApply(RUNTIME, snapshot({ id: "t" }), receipt({ sequence: 1 }), [input("a"), input("new")], "t"),
  persistInputState: (r) => r.persistInputState(RUNTIME, input("a", { attemptCount: 9 })),
  commitMachineLifecycle: (r) => r.commitMachineLifecycle(RUNTIME, mintLifecycleCommit("stopped"), [input("a"), input("new")]),
};

const FAILURES: [name: string, hooks: () => Hooks, code: string][] = [
  ["has no room left", () => ({ end: () => fail("quota-exceeded") }), "quota-exceeded"],
  ["aborts at the end", () => ({ end: () => fail("write-failed") }), "write-failed"],
  ["cannot be opened", () => ({ open: () => fail("unavailable") }), "unavailable"],
];

function fail(code: "quota-exceeded" | "write-failed" | "unavailable"): never {
  throw new HoldfastError(code, "not today");
}

const onWrites = (hooks: Hooks): Hooks => ({
  open: (seen) => (seen.mode === "write" ? hooks.open?.(seen) : undefined),
  end: (seen) => (seen.mode === "write" ? hooks.end?.(seen) : undefined),
  done: (seen) => (seen.mode === "write" ? hooks.done?.(seen) : undefined),
});

async function filled(): Promise<{ runtime: RuntimeStore; probed: Probe }> {
  const { kernel, probed } = await bench({ loop: "off" });
  await kernel.runtime.atomicApply(RUNTIME, snapshot({ id: "s" }), receipt(), [fullInput("a"), fullInput("b")], "s");
  await kernel.runtime.commitMachineLifecycle(RUNTIME, mintLifecycleCommit("running"), []);
  return { runtime: kernel.runtime, probed };
}

const codeOf = (error: unknown) => (isHoldfastError(error) ? error.code : String(error));

describe.each(Object.entries(CALLS))("%s", (name, call) => {
  it.each(FAILURES)(
    "leaves what was there when the storage %s, says why, and may be tried again (R-12, R-21, R-26)",
    async (_, hooks, code) => {
      const { runtime, probed } = await filled();
      const before = await readRuntimes(runtime);
      probed.hooks = onWrites(hooks());
      expect(await call(runtime).catch(codeOf)).toBe(code);
      probed.hooks = {};
      expect(await readRuntimes(runtime)).toEqual(before);
      await call(runtime);
      expect(await readRuntimes(runtime)).not.toEqual(before);
    },
  );

  it("is one write transaction", async () => {
    const { runtime, probed } = await filled();
    probed.seen.length = 0;
    await call(runtime);
    expect(probed.seen.map(({ mode, committed }) => [mode, committed])).toEqual([["write", true]]);
  });

  it("resolves only after its commit (R-22)", async () => {
    const { runtime, probed } = await filled();
    const order: string[] = [];
    probed.hooks = onWrites({ done: () => void order.push("committed") });
    await call(runtime).then(() => order.push("resolved"));
    expect(order).toEqual(["committed", "resolved"]);
  });

  it("is not repeated when nobody knows whether it was stored", async () => {
    const { runtime, probed } = await filled();
    let commits = 0;
    probed.hooks = onWrites({
      done: () => {
        commits++;
        throw new HoldfastError("unavailable", "gone", { details: { outcome: "unknown" } });
      },
    });
    expect(await call(runtime).catch((error) => [codeOf(error), error.details])).toEqual(["unavailable", { outcome: "unknown" }]);
    expect([name, commits]).toEqual([name, 1]);
  });
});

describe("a write of one runtime", () => {
  it("does not fail with another's of the same group", async () => {
    const { runtime } = await filled();
    const outcomes = await Promise.all([
      runtime.atomicApply(RUNTIME, undefined, receipt(), [input("lost")]).catch(codeOf),
      runtime.persistInputState(RUNTIME, input("kept")),
      runtime.atomicApply("other", snapshot({ id: "o" }), receipt(), []),
    ]);
    expect(outcomes).toEqual(["write-failed", undefined, undefined]);
    expect((await runtime.loadInputStates(RUNTIME)).map(({ inputId }) => inputId)).toEqual(["a", "b", "kept"]);
    expect(await runtime.loadBoundaryReceipt("other", "run", 0)).toEqual(receipt());
  });

  it("sees the key that another one of its group took, and the count stays right", async () => {
    const { kernel, probed } = await bench({ loop: "off" });
    const ended = (id: string) => fullInput(id, { idempotencyKey: "k" });
    await Promise.all(["a", "b", "c"].map((id) => kernel.runtime.persistInputState(RUNTIME, ended(id))));
    expect(probed.seen.filter(({ mode }) => mode === "write")).toHaveLength(1);
    expect(probed.puts("inputKeys").map(({ inputId }) => inputId)).toEqual(["a"]);
    expect(probed.puts("runtimes").map(({ endedKeys }) => endedKeys)).toEqual([1]);
  });

  it("reads the rows that it names and no list of others", async () => {
    const { runtime, probed } = await filled();
    probed.seen.length = 0;
    await runtime.persistInputState(RUNTIME, fullInput("a"));
    expect(probed.seen.map(({ gets, ranges }) => [[...gets].sort(), ranges])).toEqual([
      [[`inputKeys ["${RUNTIME}","key of a"]`, `inputs ["${RUNTIME}","a"]`, `runtimes "${RUNTIME}"`], []],
    ]);
  });
});

describe("a lifecycle commit", () => {
  it("is made by nothing that an entry exports (R-27)", async () => {
    const entries = await Promise.all([
      import("../../src/index.js"),
      import("../../src/memory.js"),
      import("../../src/indexeddb.js"),
      import("../../src/conformance.js"),
    ]);
    const names = entries.flatMap((entry) => Object.keys(entry));
    expect(names).toContain("createKernel");
    expect(names.filter((name) => /lifecycle|mint/i.test(name))).toEqual([]);
  });
});

describe("a notice", () => {
  async function setUp() {
    const storage = await memoryStorage().open({
      name: "n",
      schema: SCHEMA,
      durability: "strict",
      newDatabaseId: "db",
      onState: () => {},
    });
    const notices = broadcastNotices("n", undefined);
    const published: Change[] = [];
    notices.subscribe((changes) => published.push(...changes));
    const corridor = createCorridor({ storage, tables: TABLES, notices, clock: manualClock() });
    return { runtime: runtimeMethods(corridor, DEFAULT_LIMITS), published };
  }

  it("names the runtime and what of it changed, and nothing more", async () => {
    const { runtime, published } = await setUp();
    await runtime.commitSessionSnapshot("r", snapshot({ id: "s" }));
    await runtime.persistInputState("r", input("a"));
    await runtime.commitMachineLifecycle("r", mintLifecycleCommit("idle"), [input("b")]);
    await runtime.atomicApply("r", snapshot({ id: "s" }), receipt(), [input("a"), input("b"), input("a")]);
    await runtime.atomicApply("r", undefined, receipt({ sequence: 1 }), []);
    const about = (member: string) => ({ about: "input", id: "r", member });
    expect(published).toEqual([
      { about: "messages", id: "r" },
      about("a"),
      about("b"),
      { about: "runtime", id: "r" },
      // A runtime is there from here on, and its writes are counted.
      { ...about("a"), sequence: 1 },
      { ...about("b"), sequence: 1 },
      { about: "messages", id: "r" },
    ]);
  });

  it("is not sent for what was refused", async () => {
    const { runtime, published } = await setUp();
    await runtime.atomicApply("r", undefined, receipt(), []);
    await runtime.atomicApply("r", snapshot({ id: "s" }), receipt(), [input("a")]).catch(() => {});
    await runtime.commitSessionSnapshot("r", { sessionSnapshot: bytesOf("no") }).catch(() => {});
    expect(published).toEqual([]);
  });
});
