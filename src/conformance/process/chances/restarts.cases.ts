import type { JsonValue } from "../../../domain/json.js";
import type { ProcessEvent } from "../../../domain/process/event.js";
import type { ProcessAwaitOutput } from "../../../domain/process/process.js";
import type { Kernel } from "../../../kernel/kernel.js";
import type { KernelOptions } from "../../../kernel/options.js";
import type { ProcessContext, ProcessHandler } from "../../../kernel/process/context/context.js";
import { cancelled, casesOn, failure, type OpenFixture, type Runner, refused, type Setup, success } from "../../kit/fixture.js";
import { never, typesOf } from "./chances.fixture.js";

/** A process that ended failed or cancelled runs again. */
export function restartCases(open: OpenFixture, runner: Runner): void {
  const { promise } = casesOn(open, runner);
  const { expect } = runner;

  const hostOf = (setup: Setup, job: KernelOptions["handlers"], more: Partial<KernelOptions> = {}) =>
    setup.open({ loop: "inline", handlers: { ...job }, ...more });
  const request = { id: "p", input: { type: "task" as const, name: "job" }, eventTypes: [{ name: "note" }] };
  const external = { id: "p", input: { type: "external" as const, metadata: null }, eventTypes: [{ name: "note" }] };
  const outcome = (kernel: Kernel) => kernel.processes.awaitProcess("p");
  const ended = async (kernel: Kernel, output: ProcessAwaitOutput) => {
    await kernel.processes.completeProcess("p", output);
    return kernel.process("p");
  };

  /** A handler with three steps that count how often they ran. It throws after them in its first runs. */
  function counting(failures: number): { job: ProcessHandler; ran: Record<string, number> } {
    const ran: Record<string, number> = { a: 0, b: 0, c: 0, runs: 0 };
    const count = (key: string) => {
      ran[key] = (ran[key] ?? 0) + 1;
      return ran[key];
    };
    return {
      ran,
      async job({ step, emit }) {
        const runs = count("runs");
        const a = await step("a", () => count("a"));
        const b = await step("b", () => count("b"));
        await emit("note", b, { replayKey: "noted" });
        const c = await step("c", () => count("c"));
        if (runs <= failures) throw new Error("no");
        return [a, b, c];
      },
    };
  }

  promise("a failed process runs again under its id, and its stored steps stay (F-9)", async (setup) => {
    const { job, ran } = counting(1);
    const kernel = await hostOf(setup, { job });
    const handle = await kernel.start(request);
    const before = await handle.outcome();
    expect(before.type).toBe("failure");
    await handle.restart();
    expect(await handle.outcome()).toEqual(success([1, 1, 1]));
    expect(ran).toEqual({ a: 1, b: 1, c: 1, runs: 2 });
    expect(await typesOf(kernel, "p")).toEqual([
      "process.step",
      "process.step",
      "note",
      "process.step",
      "process.failed",
      "process.restarted",
      "process.completed",
    ]);
    const events = await kernel.processes.eventsAfter("p", 0);
    expect([events[5]?.payload, events[5]?.semantics]).toEqual([{}, {}]);
    const keys = events.filter(({ semantics }) => semantics.terminal).map(({ invocation }) => invocation.replayKey);
    expect(keys).toEqual(["process:p:terminal:process.failed", "process:p:run:1:terminal:process.completed"]);
  });

  promise("with from, the step of that key and all that runs stored later are forgotten (F-9)", async (setup) => {
    const { job, ran } = counting(2);
    const kernel = await hostOf(setup, { job });
    const handle = await kernel.start(request);
    await handle.outcome();
    await kernel.processes.appendEvent("p", { eventType: "note", payload: "sent", replayKey: "from outside" });
    await handle.restart({ from: "b" });
    expect((await handle.outcome()).type).toBe("failure");
    expect(ran).toEqual({ a: 1, b: 2, c: 2, runs: 2 });
    const sent = { eventType: "note", payload: "sent", replayKey: "from outside" };
    expect((await kernel.processes.appendEvent("p", sent)).event.sequence).toBe(6);
    await handle.restart({ from: "c" });
    expect(await handle.outcome()).toEqual(success([1, 2, 3]));
    const events = await kernel.processes.eventsAfter("p", 0);
    const restarts = events.filter(({ eventType }) => eventType === "process.restarted").map(({ payload }) => payload);
    expect(restarts).toEqual([{ from: "b" }, { from: "c" }]);
    const noted = events.filter(({ invocation }) => invocation.replayKey === "noted").map(({ payload }) => payload);
    expect(noted).toEqual([1, 2]);
  });

  promise("what was forgotten stays so in a later owner, and after another restart without from (F-9)", async (setup) => {
    const { job, ran } = counting(3);
    const first = await hostOf(setup, { job });
    await first.start(request);
    await outcome(first);
    await first.process("p").restart({ from: "a" });
    await outcome(first);
    await first.process("p").restart();
    await outcome(first);
    expect(ran).toEqual({ a: 2, b: 2, c: 2, runs: 3 });
    await first.close();
    const second = await hostOf(setup, { job });
    await second.process("p").restart();
    expect(await outcome(second)).toEqual(success([2, 2, 2]));
  });

  promise(
    "only one that failed or was cancelled runs again: else conflict, and an unknown one is not found (F-9)",
    async (setup) => {
      const { kernel, processes } = setup;
      const handle = kernel.process("p");
      await refused(handle.restart(), "not-found");
      await kernel.start(external);
      await refused(handle.restart(), "conflict", "has not ended");
      await ended(kernel, success(1));
      await refused(handle.restart(), "conflict", "has completed");
      await processes.registerProcess({ id: "t", input: { type: "session_turn", sessionId: "s", input: "x" } });
      await processes.completeProcess("t", failure("no"));
      await refused(kernel.process("t").restart(), "conflict", "session");
      const steps = await kernel.start({ ...external, id: "q" });
      await processes.completeProcess("q", failure("no"));
      await refused(steps.restart({ from: "unknown" }), "not-found", 'step "unknown"');
      await refused(steps.restart({ from: "" }), "invalid", "options.from");
      await refused(steps.restart({ form: "a" } as never), "invalid", "form is no option of restart");
      expect(await typesOf(kernel, "q")).toEqual(["process.failed"]);
    },
  );

  promise("a restart from a step that failed begins that one anew and keeps those before it (F-9)", async (setup) => {
    const runs: string[] = [];
    const job = async ({ step }: ProcessContext) => {
      await step("first", () => void runs.push("first"));
      await step(
        "second",
        () => {
          runs.push("second");
          if (runs.length < 3) throw new Error("no");
        },
        { retry: { attempts: 1 } },
      );
    };
    const kernel = await hostOf(setup, { job });
    const handle = await kernel.start("job", { id: "p" });
    await outcome(kernel);
    await handle.restart({ from: "second" });
    expect(await outcome(kernel)).toEqual(success(null));
    expect(runs).toEqual(["first", "second", "second"]);
  });

  promise("a restart resets the end, the cancel request, the tries and the progress (F-9)", async (setup) => {
    let runs = 0;
    const job = {
      retry: { attempts: 2, backoffMs: 0 },
      timeoutMs: 60_000,
      run({ progress }: ProcessContext) {
        progress(1);
        if (++runs === 4) return never();
        throw new Error("no");
      },
    };
    const kernel = await hostOf(setup, { job });
    const handle = await kernel.start(request);
    await setup.clock.advance(0);
    expect((await handle.outcome()).type).toBe("failure");
    await setup.clock.advance(50_000);
    await handle.restart();
    await kernel.processes.waitEventAfter("p", "process.attempt_failed", 3);
    await setup.clock.advance(0);
    const types = ["process.attempt_failed", "process.failed", "process.restarted", "process.attempt_failed"];
    expect([runs, await typesOf(kernel, "p")]).toEqual([4, types]);
    const { attempts, status } = (await handle.record()) ?? {};
    expect([attempts?.failed, status]).toEqual([1, { state: "running" }]);
    // Its time is counted from the first claim after the restart.
    await setup.clock.advance(59_999);
    expect((await handle.record())?.status.state).toBe("running");
    await setup.clock.advance(1);
    expect(await handle.outcome()).toEqual({
      type: "failure",
      class: "timeout",
      code: "timeout",
      message: "the process did not end within its timeoutMs",
    });
  });

  promise(
    "a cancelled one runs again, and the same cancel request and the same end are new ones then (F-9)",
    async ({ kernel }) => {
      await kernel.start(external);
      const handle = kernel.process("p");
      for (let n = 0; n < 3; n++) {
        await handle.cancel("enough");
        await ended(kernel, cancelled("enough"));
        await handle.cancel("enough");
        await ended(kernel, cancelled("enough"));
        expect((await handle.record())?.status.state).toBe("cancelled");
        if (n < 2) await handle.restart();
      }
      const once = ["process.cancel_requested", "process.cancelled"];
      expect(await typesOf(kernel, "p")).toEqual([...once, "process.restarted", ...once, "process.restarted", ...once]);
    },
  );

  promise(
    "an app's own cancel request under holdfast's key is a new one after a restart, too (F-9)",
    async ({ kernel, processes }) => {
      await kernel.start(external);
      const replayKey = "process:p:cancel_requested:mine";
      const asked = { eventType: "process.cancel_requested", payload: { reason: "enough" }, replayKey };
      expect((await processes.appendEvent("p", asked)).event.sequence).toBe(1);
      await (await ended(kernel, cancelled("enough"))).restart();
      expect((await processes.appendEvent("p", asked)).event.sequence).toBe(4);
      expect((await processes.appendEvent("p", asked)).event.sequence).toBe(4);
    },
  );

  promise("whoever waited for its end has been answered, and who waits then gets the next end (F-9)", async ({ kernel }) => {
    await kernel.start(external);
    const first = outcome(kernel);
    const handle = await ended(kernel, failure("no"));
    expect(await first).toEqual(failure("no"));
    await handle.restart();
    let next: ProcessAwaitOutput | undefined;
    const second = outcome(kernel).then((output) => {
      next = output;
    });
    await handle.record();
    expect(next).toBe(undefined);
    await ended(kernel, success(2));
    await second;
    expect(next).toEqual(success(2));
  });

  promise("a new iteration of its events goes on past the former end (F-9)", async ({ kernel, processes }) => {
    await kernel.start(external);
    const handle = await ended(kernel, failure("no"));
    await handle.restart();
    const note = async (payload: JsonValue) => (await processes.appendEvent("p", { eventType: "note", payload })).event;
    await note(1);
    const seen: string[] = [];
    const all = (async () => {
      for await (const { eventType } of handle.events()) seen.push(eventType);
    })();
    await note(2);
    const waited: Promise<ProcessEvent> = processes.waitEventAfter("p", "note", 3);
    expect((await waited).payload).toBe(2);
    await ended(kernel, success(2));
    await all;
    expect(seen).toEqual(["process.failed", "process.restarted", "note", "note", "process.completed"]);
  });

  promise("a step whose last try failed begins anew (F-9) (F-2)", async (setup) => {
    let tries = 0;
    const job: ProcessHandler = ({ step }) =>
      step(
        "s",
        () => {
          if (++tries < 4) throw new Error(`no ${tries}`);
          return tries;
        },
        { retry: { attempts: 2, backoffMs: 0 } },
      );
    const kernel = await hostOf(setup, { job });
    const handle = await kernel.start(request);
    await setup.clock.advance(1_000);
    expect((await handle.outcome()).type).toBe("failure");
    expect(tries).toBe(2);
    await handle.restart();
    await setup.clock.advance(1_000);
    expect(await handle.outcome()).toEqual(success(4));
  });

  promise("a forgotten wait takes another signal and a forgotten timer begins anew; else they go on (F-9)", async (setup) => {
    let runs = 0;
    const job: ProcessHandler = async ({ step, sleep, waitForSignal }) => {
      await step("first", () => 1);
      const { payload } = await waitForSignal("go");
      if (++runs === 2) await sleep("nap", 60_000);
      else void sleep("nap", 60_000).catch(() => {});
      await step("behind the nap's beginning", () => 1);
      if (runs < 3) throw new Error("no");
      return payload;
    };
    const kernel = await hostOf(setup, { job });
    const handle = await kernel.start(request);
    await handle.signal("go", 1);
    await handle.outcome();
    const begunMs = setup.clock.now();
    await setup.clock.advance(10_000);
    await handle.restart();
    while (!(await handle.record())?.waiting) await setup.clock.advance(0);
    expect((await handle.record())?.waiting?.map(({ dueAtMs }) => dueAtMs)).toEqual([begunMs + 60_000]);
    await setup.clock.advance(60_000);
    expect((await handle.outcome()).type).toBe("failure");
    await handle.restart({ from: "first" });
    const waits = async () => (await handle.record())?.waiting?.map(({ kind }) => kind);
    while (!(await waits())) await setup.clock.advance(0);
    expect(await waits()).toEqual(["signal"]);
    await handle.signal("go", 2);
    expect(await handle.outcome()).toEqual(success(2));
    const all = await kernel.processes.eventsAfter("p", 0);
    const naps = all.filter(
      ({ eventType, payload }) => eventType === "process.waiting" && (payload as { key: string }).key === "nap",
    );
    expect(naps.map(({ occurredAtMs }) => occurredAtMs)).toEqual([begunMs, begunMs + 70_000]);
  });

  promise(
    "a wait that timed out is forgotten from its name on, and one that did not end begins anew with its time (F-9, F-15)",
    async (setup) => {
      const job: ProcessHandler = async ({ waitForSignal }) => {
        const decision = await waitForSignal("decided", { timeoutMs: 1_000 });
        if (!decision) throw new Error("too late");
        return decision.payload;
      };
      const kernel = await hostOf(setup, { job });
      const handle = await kernel.start(request);
      const dueAtMs = async () => (await handle.record())?.waiting?.map((wait) => wait.dueAtMs);
      while (!(await dueAtMs())) await setup.clock.advance(0);
      await handle.cancel("not yet");
      expect((await handle.outcome()).type).toBe("cancelled");
      await setup.clock.advance(60_000);
      await handle.restart();
      while (!(await dueAtMs())) await setup.clock.advance(0);
      expect(await dueAtMs()).toEqual([setup.clock.now() + 1_000]);
      await setup.clock.advance(1_000);
      expect((await handle.outcome()).type).toBe("failure");
      await handle.restart({ from: "decided" });
      await handle.signal("decided", "yes");
      expect(await handle.outcome()).toEqual(success("yes"));
    },
  );

  promise("children that ended with it stay as they are, and are found again (F-9)", async (setup) => {
    let runs = 0;
    const job: ProcessHandler = async (context) => {
      const kid = await context.start("kid", { input: external.input, endWith: "parent" });
      if (++runs === 1) throw new Error("no");
      return (await kid.record())?.status.state ?? null;
    };
    const kernel = await hostOf(setup, { job });
    const handle = await kernel.start(request);
    await handle.outcome();
    await handle.restart();
    expect(await handle.outcome()).toEqual(success("cancelled"));
  });

  promise("a run from before the end changes nothing after a restart, though its lease was live (F-9)", async (setup) => {
    const contexts: ProcessContext[] = [];
    const job: ProcessHandler = (context) => {
      contexts.push(context);
      return contexts.length === 1 ? never() : context.step("new", () => "by the new run");
    };
    const kernel = await hostOf(setup, { job });
    const handle = await kernel.start(request);
    while (contexts.length === 0) await setup.clock.advance(0);
    // Another tab's words, of which the run hears nothing.
    await (await ended(setup.kernel, failure("no"))).restart();
    await refused(contexts[0]?.step("old", () => 1) ?? never(), "lease-lost");
    await setup.clock.advance(60_000);
    expect(await handle.outcome()).toEqual(success("by the new run"));
    const types = ["process.failed", "process.restarted", "process.step", "process.completed"];
    expect(await typesOf(kernel, "p")).toEqual(types);
  });

  promise("a restart by a handle of a context is refused once its lease is lost (F-9)", async (setup) => {
    let context: ProcessContext | undefined;
    const job: ProcessHandler = (given) => {
      context = given;
      return never();
    };
    const kernel = await hostOf(setup, { job });
    await kernel.start({ ...request, id: "parent" });
    await kernel.start(external);
    await ended(kernel, failure("no"));
    while (!context) await setup.clock.advance(0);
    await context.process("p").restart();
    await ended(kernel, failure("no"));
    await setup.processes.completeProcess("parent", cancelled("over"));
    await setup.kernel.process("parent").restart();
    await refused(context.process("p").restart(), "lease-lost");
    expect((await setup.processes.getProcess("p"))?.status.state).toBe("failed");
  });
}
