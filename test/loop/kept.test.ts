import { queryObjects } from "node:v8";
import { afterEach, expect, it } from "vitest";
import { manualClock } from "../../src/adapters/clock-manual.js";
import { channelHub } from "../../src/conformance/kit/channel.fixture.js";
import { DEFAULT_TIMINGS } from "../../src/domain/time.js";
import { createKernel, type Kernel, type KernelOptions, type ProcessContext } from "../../src/index.js";
import { memoryStorage } from "../../src/memory.js";
import { SCHEMA } from "../../src/stores/schema.js";

const { leaseTtlMs, sweepMs } = DEFAULT_TIMINGS;

const kernels: Kernel[] = [];
afterEach(() => Promise.all(kernels.splice(0).map((kernel) => kernel.close())));

it("of any number of processes that ran and were removed nothing is kept, in no table and in no host's memory", async () => {
  const storage = memoryStorage();
  const clock = manualClock();
  const channel = channelHub();
  async function open(hostId: string, more: Partial<KernelOptions>): Promise<Kernel> {
    const kernel = await createKernel({ name: "n", hostId, storage, clock, channel, loop: "inline", locks: false, ...more });
    kernels.push(kernel);
    return kernel;
  }
  const job = async ({ step }: ProcessContext) => {
    for (let n = 0; n < 5; n++) await step(`step ${n}`, () => n);
    return "done";
  };
  const retention = { terminalProcessesMs: 1 };
  const a = await open("a", { handlers: { job }, concurrency: 16, retention });
  // This host sees them held, and has no handler for them.
  await open("b", { retention });

  async function runMany(count: number): Promise<void> {
    for (let done = 0; done < count; done += 50) {
      const handles = await Promise.all(Array.from({ length: 50 }, () => a.start({ input: { type: "task", name: "job" } })));
      const outcomes = Promise.all(handles.map((handle) => handle.outcome()));
      await clock.advance(1_000);
      for (const outcome of await outcomes) expect(outcome).toEqual({ type: "success", value: "done" });
    }
    await clock.advance(leaseTtlMs + 3 * sweepMs);
  }

  const kinds = [Map, Set, Promise, AbortController, Array, Object];
  const counts = () => kinds.map((kind) => queryObjects(kind, { format: "count" }));

  await runMany(100);
  const before = counts();
  await runMany(300);
  const more = counts().map((count, at) => count - (before[at] as number));
  // The bound is one object of a kind for two processes: what is compiled or cached meanwhile is not theirs.
  for (const [at, count] of more.entries()) expect([kinds[at]?.name, count < 150, count]).toEqual([kinds[at]?.name, true, count]);

  const rows = await storage.open({ name: "n", schema: SCHEMA, durability: "strict", newDatabaseId: "none", onState: () => {} });
  const tables = Object.keys(SCHEMA.tables);
  const stored = await rows.transact(tables, "read", (tx) => Promise.all(tables.map((table) => tx.range(table, {}))));
  const counted = tables.map((table, at) => [table, stored[at]?.length]).filter(([, length]) => length !== 0);
  expect(counted).toEqual([
    ["hosts", 2],
    ["floors", 1],
  ]);
});
