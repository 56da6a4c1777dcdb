import { NonRetryableError } from "../../../domain/errors.js";
import type { JsonValue } from "../../../domain/json.js";
import type { RetryPolicy } from "../../../domain/retry.rules.js";
import type { Kernel } from "../../../kernel/kernel.js";
import type { KernelOptions } from "../../../kernel/options.js";
import type { ProcessHandler } from "../../../kernel/process/context/context.js";
import { defineProcess, typed } from "../../../kernel/process/definition/define.js";
import { cancelled, casesOn, type OpenFixture, type Runner, refused, type Setup, success } from "../../kit/fixture.js";
import { typesOf } from "./chances.fixture.js";

const POLICY: RetryPolicy = { attempts: 3, backoffMs: 1_000, jitter: 0 };
const external = { input: { type: "external" as const, metadata: null } };

/** A process whose handler throws runs again. */
export function retryCases(open: OpenFixture, runner: Runner): void {
  const { promise } = casesOn(open, runner);
  const { expect } = runner;

  const hostOf = (setup: Setup, run: ProcessHandler, retry = POLICY, more: Partial<KernelOptions> = {}) =>
    setup.open({ loop: "inline", handlers: { job: { run, retry } }, ...more });
  const start = (kernel: Kernel) => kernel.start({ id: "p", input: { type: "task", name: "job" } });
  /** Resolves when that try has failed, with what is stored of it. */
  const failed = async (kernel: Kernel, attempt: number): Promise<JsonValue> => {
    let after = 0;
    for (let n = 1; ; n++) {
      const { sequence, payload } = await kernel.processes.waitEventAfter("p", "process.attempt_failed", after);
      if (n === attempt) return payload;
      after = sequence;
    }
  };

  promise("a handler that throws is run again after a pause, and its stored steps answer at once (F-6)", async (setup) => {
    const ran = { step: 0, handler: 0 };
    const kernel = await hostOf(setup, async ({ step, attempt }) => {
      ran.handler++;
      const value = await step("once", () => ++ran.step);
      if (ran.handler < 3) throw Object.assign(new Error(`no ${ran.handler}`), { code: "E_NO" });
      return [value, attempt > 2];
    });
    const startedMs = setup.clock.now();
    await start(kernel);
    expect(await failed(kernel, 1)).toEqual({ attempt: 1, message: "no 1", code: "E_NO", retryAtMs: startedMs + 1_000 });
    await setup.clock.advance(999);
    expect(ran.handler).toBe(1);
    await setup.clock.advance(1);
    expect(await failed(kernel, 2)).toEqual({ attempt: 2, message: "no 2", code: "E_NO", retryAtMs: startedMs + 3_000 });
    await setup.clock.advance(2_000);
    expect(await kernel.processes.awaitProcess("p")).toEqual(success([1, true]));
    expect(ran).toEqual({ step: 1, handler: 3 });
    const { attempts, waiting } = (await kernel.processes.getProcess("p")) ?? {};
    expect([attempts, waiting]).toEqual([{ failed: 2, lastError: { code: "E_NO", message: "no 2" } }, undefined]);
  });

  promise("in the pause its record shows it, nothing may claim it, and its slot is free (F-6)", async (setup) => {
    const fail = () => {
      throw new Error("no");
    };
    const handlers = { job: { run: fail, retry: POLICY }, other: () => "other" };
    const kernel = await setup.open({ loop: "inline", concurrency: 1, handlers });
    const handle = await start(kernel);
    await failed(kernel, 1);
    const sinceMs = setup.clock.now();
    const { status, waiting, suspended, attempts } = (await handle.record()) ?? {};
    const lastError = { code: "process_failed", message: "no" };
    expect(status).toEqual({ state: "running" });
    expect(waiting).toEqual([{ key: "process", kind: "retry", sinceMs, dueAtMs: sinceMs + 1_000 }]);
    expect([suspended, attempts]).toEqual([undefined, { failed: 1, lastError, retryAtMs: sinceMs + 1_000 }]);
    expect(await kernel.processes.getLease("p")).toBe(undefined);
    await refused(kernel.processes.claimProcessLease("p", "me", 1_000), "lease-held");
    const other = await kernel.start({ id: "o", input: { type: "task", name: "other" } });
    expect(await other.result()).toBe("other");
    await setup.clock.advance(999);
    await refused(setup.kernel.processes.claimProcessLease("p", "me", 1_000), "lease-held");
    await kernel.close();
    await setup.clock.advance(1);
    expect((await setup.kernel.processes.claimProcessLease("p", "me", 1_000)).fencingToken).toBe(2);
  });

  promise("after the last try it ends as before, with the last error (F-6)", async (setup) => {
    let tries = 0;
    const faults: string[] = [];
    const run = () => {
      throw Object.assign(new Error(`no ${++tries}`), { code: `E_${tries}` });
    };
    const kernel = await hostOf(setup, run, { attempts: 2, backoffMs: 0 });
    kernel.on("fault", ({ message }) => faults.push(message));
    await start(kernel);
    await failed(kernel, 1);
    await setup.clock.advance(0);
    const output = await kernel.processes.awaitProcess("p");
    expect(output).toEqual({ type: "failure", class: "execution", code: "E_2", message: "no 2" });
    expect(await typesOf(kernel, "p")).toEqual(["process.attempt_failed", "process.failed"]);
    expect((await kernel.processes.getProcess("p"))?.attempts?.failed).toBe(1);
    expect(faults).toEqual(['handler "job" threw: no 1', 'handler "job" threw: no 2']);
  });

  promise("what another try would not mend is tried once (F-6)", async (setup) => {
    const tries: string[] = [];
    const throws = (name: string, thrown: () => unknown): ProcessHandler => {
      return () => {
        tries.push(name);
        throw thrown();
      };
    };
    const retryIf = ({ message }: Error) => message === "again";
    const handlers: Record<string, ProcessHandler> = {
      never: throws("never", () => new NonRetryableError("never")),
      unlike: throws("unlike", () => new Error("other")),
      unstorable: () => {
        tries.push("unstorable");
        return new Map();
      },
      badStep: async ({ step }) => {
        tries.push("badStep");
        await step("s", () => new Map());
      },
    };
    const retry = { ...POLICY, retryIf: (error: unknown) => retryIf(error as Error) };
    const named = Object.entries(handlers).map(([name, run]) => [name, { run, retry }]);
    const misfit = defineProcess({
      name: "misfit",
      input: { "~standard": { version: 1, vendor: "kit", validate: () => ({ issues: [{ message: "no" }] }) } },
      retry: { ...POLICY, retryIf: () => true },
      run: () => void tries.push("misfit"),
    });
    const kernel = await setup.open({ loop: "inline", handlers: Object.fromEntries(named), processes: [misfit] });
    const codes: unknown[] = [];
    for (const name of [...Object.keys(handlers), "misfit"]) {
      await kernel.start({ id: name, input: { type: "task", name } });
      const output = await kernel.processes.awaitProcess(name);
      codes.push(output.type === "failure" && output.code);
    }
    expect(codes).toEqual(["process_failed", "process_failed", "invalid", "invalid", "invalid-input"]);
    expect(tries).toEqual(Object.keys(handlers));
  });

  promise("failed tries are no attempts of the budget (F-6)", async (setup) => {
    let tries = 0;
    const run = () => {
      if (++tries < 5) throw new Error("no");
      return "at last";
    };
    const kernel = await hostOf(setup, run, { attempts: 9, backoffMs: 0 }, { attemptBudget: 1 });
    await start(kernel);
    for (let n = 1; n < 5; n++) {
      await failed(kernel, n);
      await setup.clock.advance(0);
    }
    expect(await kernel.processes.awaitProcess("p")).toEqual(success("at last"));
  });

  promise("another host goes on counting (F-6)", async (setup) => {
    const run = () => {
      throw new Error("no");
    };
    const first = await hostOf(setup, run);
    await start(first);
    await failed(first, 1);
    await first.close();
    const second = await hostOf(setup, run);
    for (const n of [2, 3]) {
      await setup.clock.advance(2_000);
      if (n === 2) await failed(second, n);
    }
    expect((await second.processes.awaitProcess("p")).type).toBe("failure");
    expect(await typesOf(second, "p")).toEqual(["process.attempt_failed", "process.attempt_failed", "process.failed"]);
  });

  for (const way of ["cancel", "appendEvent"] as const)
    promise(`a cancel request in the pause ends it as cancelled in that very write: by ${way} (F-6)`, async (setup) => {
      const run: ProcessHandler = async (context) => {
        await context.start("kid", { ...external, endWith: "parent" });
        throw new Error("no");
      };
      const kernel = await hostOf(setup, run);
      const handle = await start(kernel);
      await failed(kernel, 1);
      const request = { eventType: "process.cancel_requested", payload: { reason: "enough" }, replayKey: "mine" };
      if (way === "cancel") await handle.cancel("enough");
      else await kernel.processes.appendEvent("p", request);
      const record = await handle.record();
      expect(record?.status).toEqual({ state: "cancelled", awaitOutput: cancelled("enough") });
      expect([record?.waiting, record?.attempts?.retryAtMs]).toEqual([undefined, undefined]);
      const types = ["process.attempt_failed", "process.cancel_requested", "process.cancelled"];
      expect(await typesOf(kernel, "p")).toEqual(types);
      expect((await kernel.processes.getProcess("p/kid"))?.status.state).toBe("cancelled");
      if (way === "cancel") await handle.cancel("enough");
      else await kernel.processes.appendEvent("p", request);
      expect(await typesOf(kernel, "p")).toEqual(types);
    });

  promise("a cancel request before startAtMs ends it as cancelled in that very write (F-6) (F-10)", async (setup) => {
    const kernel = await hostOf(setup, () => "ran");
    const handle = await kernel.start("job", { id: "p", startAtMs: setup.clock.now() + 60_000 });
    await handle.cancel("enough");
    expect((await handle.record())?.status).toEqual({ state: "cancelled", awaitOutput: cancelled("enough") });
    expect(await typesOf(kernel, "p")).toEqual(["process.cancel_requested", "process.cancelled"]);
  });

  promise("a cancel request before the handler throws is no reason to try again (F-6)", async (setup) => {
    let begun = () => {};
    const isRunning = new Promise<void>((resolve) => {
      begun = resolve;
    });
    const kernel = await hostOf(setup, async ({ signal }) => {
      begun();
      await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
      throw new Error("no");
    });
    const handle = await start(kernel);
    await isRunning;
    await handle.cancel("enough");
    expect((await handle.outcome()).type).toBe("failure");
    expect(await typesOf(kernel, "p")).toEqual(["process.cancel_requested", "process.failed"]);
  });

  promise("a definition's retry and timeout are checked by name (F-6)", async (setup) => {
    const run = () => {};
    const given: [object, string][] = [
      [{ retry: { attempts: 0 } }, "retry.attempts must be a whole number from 1 to 1000"],
      [{ retry: {} }, "retry.attempts must be"],
      [{ retry: 3 }, "retry must be"],
      [{ retry: { attempts: 2, pauseMs: 1 } }, "retry"],
      [{ timeoutMs: 0 }, "timeoutMs must be a whole number from 1 up"],
      [{ timeoutMs: 1.5 }, "timeoutMs must be a whole number from 1 up"],
    ];
    for (const [more, rule] of given) {
      await refused(setup.open({ handlers: { job: { run, ...more } } }), "invalid", `handlers.job.${rule}`);
      const bare = { name: "job", run, ...more };
      await refused(setup.open({ processes: [bare as never] }), "invalid", `processes/0.${rule}`);
      await refused((async () => defineProcess(bare as never))(), "invalid", `definition.${rule}`);
    }
    const definition = defineProcess({ name: "job", input: typed<string>(), retry: { attempts: 2 }, timeoutMs: 5, run });
    expect([definition.retry?.attempts, definition.timeoutMs]).toEqual([2, 5]);
    await (await setup.open({ processes: [definition] })).close();
  });
}
