import { type HoldfastError, isHoldfastError } from "../../../domain/errors.js";
import type { Kernel } from "../../../kernel/kernel.js";
import type { ProcessContext, ProcessHandler } from "../../../kernel/process/context/context.js";
import { cancelled, casesOn, type OpenFixture, type Runner, type Setup } from "../../kit/fixture.js";
import { never, typesOf } from "./chances.fixture.js";

const TTL_MS = 30_000;
const timedOut = { type: "failure", class: "timeout", code: "timeout", message: "the process did not end within its timeoutMs" };

/** A run that ends although its handler does not. */
export function runEndCases(open: OpenFixture, runner: Runner): void {
  const { promise } = casesOn(open, runner);
  const { expect } = runner;

  const start = (kernel: Kernel, id = "p", name = "job") => kernel.start({ id, input: { type: "task", name } });
  const codeOf = (error: unknown) => (isHoldfastError(error) ? error.code : String(error));

  /** A handler that never ends, and its context once it has begun. */
  function stubborn(): { run: ProcessHandler; begun: Promise<ProcessContext>; runs(): number } {
    let count = 0;
    let begin = (_: ProcessContext) => {};
    const begun = new Promise<ProcessContext>((resolve) => {
      begin = resolve;
    });
    const run: ProcessHandler = (context) => {
      count++;
      begin(context);
      return never();
    };
    return { run, begun, runs: () => count };
  }

  promise("a process ends as failed when its time is up, though its handler does not listen (F-7) (F-8)", async (setup) => {
    const { run, begun } = stubborn();
    const handlers = { job: { run, timeoutMs: 60_000 }, other: () => "other" };
    const kernel = await setup.open({ loop: "inline", concurrency: 1, handlers });
    const handle = await start(kernel);
    const { signal, step, emit } = await begun;
    await setup.clock.advance(59_999);
    expect([signal.aborted, (await handle.record())?.status.state]).toEqual([false, "running"]);
    await setup.clock.advance(1);
    expect(await handle.outcome()).toEqual(timedOut);
    expect(codeOf(signal.reason)).toBe("timeout");
    expect(await kernel.processes.getLease("p")).toBe(undefined);
    const calls = [step("late", () => 1), emit("process.late", 1)];
    const codes = (await Promise.allSettled(calls)).map((call) => call.status === "rejected" && codeOf(call.reason));
    expect(codes).toEqual(["timeout", "timeout"]);
    expect(await typesOf(kernel, "p")).toEqual(["process.failed"]);
    expect(await (await start(kernel, "o", "other")).result()).toBe("other");
  });

  promise("a process's time is counted over all its tries and pauses (F-7)", async (setup) => {
    let runs = 0;
    const run = () => {
      runs++;
      throw new Error("no");
    };
    const retry = { attempts: 9, backoffMs: 10_000, factor: 1, jitter: 0 };
    const kernel = await setup.open({ loop: "inline", handlers: { job: { run, retry, timeoutMs: 15_000 } } });
    const startedMs = setup.clock.now();
    const handle = await start(kernel);
    await kernel.processes.waitEventAfter("p", "process.attempt_failed", 0);
    await setup.clock.advance(10_000);
    await kernel.processes.waitEventAfter("p", "process.attempt_failed", 1);
    expect((await handle.record())?.waiting?.[0]?.dueAtMs).toBe(startedMs + 15_000);
    await setup.clock.advance(5_000);
    expect(await handle.outcome()).toEqual(timedOut);
    expect(runs).toBe(2);
  });

  promise("a process whose time was up while no host was there ends at the next claim, and runs no more (F-7)", async (setup) => {
    const { run, begun, runs } = stubborn();
    const handlers = { job: { run, timeoutMs: 60_000 } };
    const first = await setup.open({ loop: "inline", handlers });
    await start(first);
    await begun;
    await first.close();
    await setup.clock.advance(60_000);
    const second = await setup.open({ loop: "inline", handlers });
    await setup.clock.advance(0);
    expect(await second.processes.awaitProcess("p")).toEqual(timedOut);
    expect(runs()).toBe(1);
  });

  promise(
    "a handler may go on for the time of a lease after a cancel request, anew with each step and event (F-8)",
    async (setup) => {
      const { run, begun } = stubborn();
      const kernel = await setup.open({ loop: "inline", concurrency: 1, handlers: { job: run, other: () => "other" } });
      const handle = await kernel.start({ id: "p", input: { type: "task", name: "job" }, eventTypes: [{ name: "note" }] });
      const { signal, step, emit, progress } = await begun;
      await handle.cancel("enough");
      await setup.clock.advance(TTL_MS - 1);
      expect(codeOf(signal.reason)).toBe("aborted");
      await step("clean up", () => 1);
      await setup.clock.advance(TTL_MS - 1);
      await emit("note", 1);
      await setup.clock.advance(TTL_MS - 1);
      progress(1);
      expect((await handle.record())?.status.state).toBe("running");
      await setup.clock.advance(1);
      expect(await handle.outcome()).toEqual(cancelled("enough"));
      const late = await step("late", () => 1).catch((error: HoldfastError) => error);
      expect(codeOf(late)).toBe("aborted");
      expect(await typesOf(kernel, "p")).toEqual(["process.cancel_requested", "process.step", "note", "process.cancelled"]);
      expect(await (await start(kernel, "o", "other")).result()).toBe("other");
    },
  );

  promise("until then the handler's own output counts (F-8)", async (setup) => {
    const kernel = await setup.open({
      loop: "inline",
      handlers: {
        async job({ signal }) {
          await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
          return "done all the same";
        },
      },
    });
    const handle = await start(kernel);
    await setup.clock.advance(0);
    await handle.cancel("enough");
    expect(await handle.result()).toBe("done all the same");
    await setup.clock.advance(2 * TTL_MS);
    expect(await typesOf(kernel, "p")).toEqual(["process.cancel_requested", "process.completed"]);
  });

  promise("a run is over when its process has ended: its slot is free and its calls are refused (F-8)", async (setup: Setup) => {
    const { run, begun } = stubborn();
    const kernel = await setup.open({ loop: "inline", concurrency: 1, handlers: { job: run, other: () => "other" } });
    await start(kernel);
    const { step } = await begun;
    await kernel.processes.completeProcess("p", cancelled("by another's word"));
    const late = async () => codeOf(await step("late", () => 1).catch((error: HoldfastError) => error));
    expect(await (await start(kernel, "o", "other")).result()).toBe("other");
    expect(await late()).toBe("terminal");
  });
}
