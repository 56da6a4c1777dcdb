import { IDBDatabase, IDBFactory, IDBKeyRange } from "fake-indexeddb";
import { afterEach, describe, expect, it, vi } from "vitest";
import { indexedDbStorage } from "../../src/adapters/storage-indexeddb.js";
import { HoldfastError } from "../../src/domain/errors.js";
import { DEFAULT_TIMINGS } from "../../src/domain/time.js";
import type { Kernel } from "../../src/kernel/kernel.js";
import type { ProcessContext } from "../../src/kernel/process/context/context.js";
import type { ProcessRegistry } from "../../src/kernel/process/registry.js";
import type { Probe } from "../stores/probe-storage.js";
import { bench, closeBenches, ending, task } from "./hosts.js";
import { gate, rounds } from "./rounds.js";

afterEach(async () => {
  vi.restoreAllMocks();
  await closeBenches();
});

const { staleAfterMs, sweepMs } = DEFAULT_TIMINGS;
const SESSION = { sessionId: "s" };
const P = { id: "p", ...task("job"), eventTypes: [{ name: "note" }] };

describe("a commit", () => {
  it.each([
    [undefined, "strict"],
    ["strict", "strict"],
    ["relaxed", "relaxed"],
  ] as const)("of a kernel with the durability %s asks the browser for %s", async (durability, asked) => {
    const storage = indexedDbStorage({ indexedDB: new IDBFactory(), IDBKeyRange });
    const { kernel } = await bench({ storage, loop: "off", ...(durability && { durability }) });
    const begin = vi.spyOn(IDBDatabase.prototype, "transaction");
    await kernel.processes.registerProcess(P);
    await kernel.processes.appendEvent("p", { eventType: "note", payload: 1 });
    expect((await kernel.status()).durability).toBe(asked);
    const writes = begin.mock.calls.filter(([, mode]) => mode === "readwrite").map(([, , options]) => options);
    expect(writes).toEqual([{ durability: asked }, { durability: asked }]);
  });

  it("of progress, heartbeats and sweeps asks for no flush, and none else that a handler, an agent or a session makes", async () => {
    const stop = gate();
    const job = async ({ step, progress, emit }: ProcessContext) => {
      await step("a", () => 1);
      await emit("note", 1);
      await rounds();
      progress(1);
      await stop.promise;
    };
    const { kernel, probed, clock } = await bench({ handlers: { job } });
    const handle = await kernel.start(P);
    await kernel.agent("agent");
    await kernel.lifecycle.register("silent");
    const session = await kernel.session("s");
    session.onTurn(async (turn) => {
      turn.append({ role: "assistant", content: "done" });
    });
    await session.submit({ inputType: "prompt", text: "do" });
    await rounds(30);
    await clock.advance(staleAfterMs + sweepMs);
    stop.open();
    expect(await ending(handle)).toMatchObject({ type: "success" });
    expect(await session.messages()).toHaveLength(2);

    const relaxed = probed.seen.filter(({ mode, durability }) => mode === "write" && durability).flatMap(({ writes }) => writes);
    const putsInto = (table: string) => relaxed.flatMap((write) => ("put" in write && write.table === table ? [write.put] : []));
    const tables = new Set(relaxed.map(({ table }) => table));
    // A renewal of the tab's sessions is flushed with a renewal of leases in the same group.
    tables.delete("attachments");
    expect([...tables].sort()).toEqual(["agents", "hosts", "processes"]);
    expect(putsInto("processes")).toMatchObject([{ processId: "p", progress: { done: 1 }, state: "running" }]);
    expect(putsInto("agents")).toMatchObject([{ agentId: "silent" }]);
  });
});

describe("a commit whose outcome is unknown", () => {
  /** The next commit is stored, and its caller's connection is lost. */
  const hideNext = (probed: Probe) => {
    probed.hooks.done = ({ mode }) => {
      if (mode !== "write") return;
      probed.hooks = {};
      throw new HoldfastError("unavailable", "the connection was lost", { details: { outcome: "unknown" } });
    };
  };
  const claim = (processes: ProcessRegistry) => processes.claimProcessLease("p", "owner", 60_000);
  const note = { eventType: "note", payload: 1 };

  const again: Record<string, (kernel: Kernel) => Promise<() => Promise<unknown>>> = {
    "a registration":
      async ({ processes }) =>
      () =>
        processes.registerProcess({ ...P, id: "q" }),
    "an append with a replay key":
      async ({ processes }) =>
      () =>
        processes.appendEvent("p", { ...note, replayKey: "k" }),
    "an ending":
      async ({ processes }) =>
      () =>
        processes.completeProcess("p", { type: "success", value: 1 }),
    "an ending under a lease": async ({ processes }) => {
      const lease = await claim(processes);
      return () => processes.completeProcess("p", { type: "success", value: 1 }, { lease });
    },
    "a renewal": async ({ processes }) => {
      const lease = await claim(processes);
      return () => processes.renewProcessLease(lease, 90_000);
    },
    "a release": async ({ processes }) => {
      const { processId, leaseToken } = await claim(processes);
      return () => processes.completeProcessLease({ processId, leaseToken });
    },
    "a cancel request": async (kernel) => () => kernel.process("p").cancel("why"),
    "an acknowledgement":
      async ({ processes }) =>
      () =>
        processes.ackWake("p", 1),
    "a grant":
      async ({ processes }) =>
      () =>
        processes.grantHandle(SESSION, "p", {}),
    "a revocation":
      async ({ processes }) =>
      () =>
        processes.revokeHandle(SESSION, "p"),
    "an agent":
      async ({ lifecycle }) =>
      () =>
        lifecycle.register("agent"),
    "an input": async (kernel) => {
      const session = await kernel.session("s");
      return () => session.submit({ inputType: "prompt", text: "do" });
    },
  };
  it.each(Object.entries(again))(
    "is asked for again where that does no harm, and its caller hears nothing of it: %s",
    async (_, prepare) => {
      const { kernel, probed } = await bench({ loop: "off" });
      await kernel.processes.registerProcess(P);
      const call = await prepare(kernel);
      hideNext(probed);
      await call();
      expect(probed.hooks).toEqual({});
      const counts = async () => [
        (await kernel.processes.eventsAfter("p", 0)).length,
        await kernel.runtime.loadInputStates("rt:session:s").then((inputs) => inputs.length),
      ];
      expect(Math.max(...(await counts()))).toBeLessThanOrEqual(1);
    },
  );

  const once: Record<string, (kernel: Kernel) => Promise<unknown>> = {
    "an append without a replay key": ({ processes }) => processes.appendEvent("p", note),
    "a claim": ({ processes }) => claim(processes),
    "a transfer": ({ processes }) => processes.transferHandleGrants(SESSION, { sessionId: "t" }, ["p"]),
  };
  it.each(Object.entries(once))("is told to its caller where asking again might do it twice: %s", async (_, call) => {
    const { kernel, probed } = await bench({ loop: "off" });
    await kernel.processes.registerProcess(P);
    await kernel.processes.grantHandle(SESSION, "p", {});
    hideNext(probed);
    const before = probed.seen.length;
    await expect(call(kernel)).rejects.toMatchObject({ code: "unavailable", details: { outcome: "unknown" } });
    expect(probed.seen.slice(before).filter(({ mode }) => mode === "write")).toHaveLength(1);
  });
});
