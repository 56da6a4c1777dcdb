import { afterEach, describe, expect, it } from "vitest";
import { manualClock } from "../../../src/adapters/clock-manual.js";
import { memoryStorage } from "../../../src/adapters/storage-memory.js";
import { HoldfastError } from "../../../src/domain/errors.js";
import type { ProcessContext } from "../../../src/kernel/process/context/context.js";
import { nextLookMs, overdue } from "../../../src/kernel/process/run/run-end.rules.js";
import { afterCancel } from "../../../src/stores/process/runs/claimable.rules.js";
import { countingEvent, keyedSince } from "../../../src/stores/process/runs/restarts.rules.js";
import type { EventRow, ProcessRow } from "../../../src/stores/process/tables.js";
import { bench, closeBenches, task } from "../../kernel/hosts.js";
import { probe } from "../probe-storage.js";

afterEach(closeBenches);

describe("when a run ends although its handler does not (F-7) (F-8)", () => {
  const now = { wallMs: 1_000, monotonicMs: 50 };
  it.each([
    [{}, undefined, undefined],
    [{ deadlineAtMs: 1_000 }, "timeout", 0],
    [{ deadlineAtMs: 1_001 }, undefined, 1],
    [{ deadlineAtMs: 2 ** 50 }, undefined, 1_000],
    [{ cancelUntilMs: 50 }, "cancelled", 0],
    [{ cancelUntilMs: 30_050 }, undefined, 30_000],
    [{ deadlineAtMs: 9_000, cancelUntilMs: 60 }, undefined, 10],
    [{ deadlineAtMs: 900, cancelUntilMs: 40 }, "timeout", 0],
  ])("%j: %s, and looks again in %s ms", (time, why, lookMs) => {
    expect([overdue(time, now), nextLookMs(time, now)]).toEqual([why, lookMs]);
  });
});

describe("what a cancel request does at once (F-6)", () => {
  it.each([
    [{ runnable: "handler:a" }, "asked"],
    [{}, "asked"],
    [{ parked: "handler:a", dueAtMs: 5 }, "ended"],
    [{ parked: "handler:a", suspended: 1 }, "claimable"],
  ])("%j: %s", (row, what) => {
    expect(afterCancel(row as ProcessRow)).toBe(what);
  });
});

describe("replay keys after a restart (F-9)", () => {
  const process = { restarts: { count: 2, sequence: 20, nonce: "n", forgotten: [[3, 9] as const, [15, 20] as const] } };
  it.each([
    ["process:p:terminal:process.failed", "process:p:run:2:terminal:process.failed"],
    ["process:p:cancel_requested:x", "process:p:run:2:cancel_requested:x"],
    ["process:p:attempt_failed:1", "process:p:run:2:attempt_failed:1"],
    ["process:p:step_failed:1:a", "process:p:run:2:step_failed:1:a"],
    ["process:p:step:terminal:x", "process:p:step:terminal:x"],
    ["process:p:sleep:a", "process:p:sleep:a"],
    ["process:p:signal:terminal:x", "process:p:signal:terminal:x"],
    ["terminal:x", "terminal:x"],
    ["process:q:terminal:x", "process:q:terminal:x"],
  ])("%s is %s", (replayKey, since) => {
    const request = { processId: "p", replayKey };
    expect(keyedSince(request, process).replayKey).toBe(since);
    expect(keyedSince(request, {})).toBe(request);
  });

  it("the newest event counts that is not forgotten; what no run stored is not forgotten", () => {
    const row = (sequence: number, fencingToken?: number) => ({ sequence, ...(fencingToken && { fencingToken }) }) as EventRow;
    expect(countingEvent([row(2, 1), row(10, 1), row(15, 1)], process)?.sequence).toBe(10);
    expect(countingEvent([row(3, 1), row(9, 1)], process)).toBeUndefined();
    expect(countingEvent([row(4)], process)?.sequence).toBe(4);
    expect(countingEvent([row(3, 1)], {})?.sequence).toBe(3);
  });
});

describe("a write whose reply is lost", () => {
  /** A storage that commits the next write of that table, and then answers as if the connection had been lost. */
  function losing() {
    const state = { table: "", lost: 0 };
    const probed = probe(memoryStorage());
    probed.hooks.done = ({ mode, tables }) => {
      if (mode !== "write" || !tables.includes(state.table)) return;
      state.table = "";
      state.lost++;
      throw new HoldfastError("unavailable", "the connection is gone", { details: { outcome: "unknown" } });
    };
    return { probed, state };
  }
  const typesOf = async (kernel: Awaited<ReturnType<typeof bench>>["kernel"]) =>
    (await kernel.processes.eventsAfter("p", 0)).map(({ eventType }) => eventType);

  it("of a failed try is made once: one pause, one count (F-6)", async () => {
    const { probed, state } = losing();
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const run = async ({ attempt }: ProcessContext) => {
      if (attempt > 1) return "done";
      await held;
      throw new Error("no");
    };
    const { kernel, clock } = await bench({ handlers: { job: { run, retry: { attempts: 3, jitter: 0 } } } }, { probed });
    const handle = await kernel.start({ ...task("job"), id: "p" });
    await clock.advance(0);
    state.table = "events";
    release();
    await kernel.processes.waitEventAfter("p", "process.attempt_failed", 0);
    expect([state.lost, (await handle.record())?.attempts?.failed, await typesOf(kernel)]).toEqual([
      1,
      1,
      ["process.attempt_failed"],
    ]);
    await clock.advance(10_000);
    expect(await handle.result()).toBe("done");
  });

  it("of a restart is made once (F-9)", async () => {
    const { probed, state } = losing();
    const { kernel } = await bench({ loop: "off" }, { probed });
    const handle = await kernel.start({ id: "p", input: { type: "external", metadata: null } });
    await kernel.processes.completeProcess("p", { type: "cancelled", message: "no" });
    state.table = "events";
    await handle.restart();
    expect([state.lost, await typesOf(kernel)]).toEqual([1, ["process.cancelled", "process.restarted"]]);
    await expect(handle.restart()).rejects.toMatchObject({ code: "conflict" });
  });

  it("of a cancel request in a pause is made once: both events, one end (F-6)", async () => {
    const { probed, state } = losing();
    const fail = () => {
      throw new Error("no");
    };
    const { kernel } = await bench(
      { handlers: { job: { run: fail, retry: { attempts: 3 } } } },
      { probed, clock: manualClock() },
    );
    const handle = await kernel.start({ ...task("job"), id: "p" });
    await kernel.processes.waitEventAfter("p", "process.attempt_failed", 0);
    state.table = "events";
    await handle.cancel("enough");
    expect(state.lost).toBe(1);
    expect(await typesOf(kernel)).toEqual(["process.attempt_failed", "process.cancel_requested", "process.cancelled"]);
    expect((await handle.record())?.status.state).toBe("cancelled");
  });
});
