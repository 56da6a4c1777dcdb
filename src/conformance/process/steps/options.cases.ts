import type { Kernel } from "../../../kernel/kernel.js";
import type { ProcessHandler } from "../../../kernel/process/context/context.js";
import type { StepRun } from "../../../kernel/process/context/step.js";
import { comes, quiet } from "../../kit/comes.fixture.js";
import { cancelled, casesOn, type OpenFixture, type Runner, refused, type Setup, success } from "../../kit/fixture.js";

/** The options of a step, and its time limit. */
export function stepOptionCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise } = casesOn(open, runner);

  const host = (setup: Setup, job: ProcessHandler) => setup.open({ loop: "inline", handlers: { job } });
  const eventsOf = async ({ processes }: Kernel) =>
    (await processes.eventsAfter("p", 0)).map(({ eventType, payload }) => [eventType, payload]);
  const timeoutOf = { code: "timeout", message: 'step "load" took longer than 500 ms' };

  promise("options that break a rule are refused by name, before `run` is called (F-1, F-4)", async (setup) => {
    const wrong: [options: unknown, ...fragments: string[]][] = [
      [null, "options"],
      [5, "options"],
      [[], "options"],
      [{ retries: 3 }, "retries is no option of step", "retry"],
      [{ retry: 3 }, "options.retry"],
      [{ retry: {} }, "options.retry.attempts"],
      [{ retry: { attempts: 0 } }, "options.retry.attempts", "1 to 1000"],
      [{ retry: { attempts: 1_001 } }, "options.retry.attempts", "1 to 1000"],
      [{ retry: { attempts: 1.5 } }, "options.retry.attempts"],
      [{ retry: { attempts: 2, backoffMs: -1 } }, "options.retry.backoffMs"],
      [{ retry: { attempts: 2, backoffMs: Number.NaN } }, "options.retry.backoffMs"],
      [{ retry: { attempts: 2, factor: 0.5 } }, "options.retry.factor"],
      [{ retry: { attempts: 2, maxBackoffMs: "1" } }, "options.retry.maxBackoffMs"],
      [{ retry: { attempts: 2, jitter: 1.1 } }, "options.retry.jitter"],
      [{ retry: { attempts: 2, retryIf: true } }, "options.retry.retryIf"],
      [{ retry: { attempts: 2, delay: 1 } }, "options.retry.delay"],
      ...[0, -1, 0.5, Number.POSITIVE_INFINITY, Number.NaN, "1", null].map((timeoutMs): [unknown, string] => [
        { timeoutMs },
        "options.timeoutMs",
      ]),
    ];
    let calls = 0;
    const kernel = await host(setup, async ({ step }) => {
      for (const [options, ...fragments] of wrong) {
        await refused(
          step("load", () => ++calls, options as never),
          "invalid",
          ...fragments,
        );
      }
      const none = { retry: undefined, timeoutMs: undefined } as never;
      return [calls, await step("load", () => "fine", none), await step("long", () => "fine", { timeoutMs: 2 ** 40 })];
    });
    await kernel.start("job", { id: "p" });
    expect(await kernel.processes.awaitProcess("p")).toEqual(success([0, "fine", "fine"]));
    expect((await eventsOf(kernel)).map(([type]) => type)).toEqual(["process.step", "process.step", "process.completed"]);
  });

  promise(
    "a step whose run never settles rejects `timeout` in time, its signal aborts with that, and nothing is stored (F-4)",
    async (setup) => {
      const { clock } = setup;
      const told: unknown[] = [];
      let isCalled = false;
      let isHandlersAborted: boolean | undefined;
      const kernel = await host(setup, async ({ step, signal }) => {
        const hang = (run: StepRun) => {
          isCalled = true;
          run.signal.addEventListener("abort", () => told.push(run.signal.reason), { once: true });
          return new Promise<never>(() => {});
        };
        await step("load", hang, { timeoutMs: 500 }).catch((error) => told.push(error));
        isHandlersAborted = signal.aborted;
      });
      await kernel.start("job", { id: "p" });
      await comes(() => isCalled, "the call");
      await clock.advance(499);
      await quiet();
      expect(told).toEqual([]);
      await clock.advance(1);
      expect(await kernel.processes.awaitProcess("p")).toEqual(success(null));
      const [reason, error] = told as { code: string; message: string }[];
      expect([reason?.code, reason?.message, error === reason]).toEqual([timeoutOf.code, timeoutOf.message, true]);
      expect(isHandlersAborted).toBe(false);
      expect((await eventsOf(kernel)).map(([type]) => type)).toEqual(["process.completed"]);
    },
  );

  promise(
    "a timeout is a failed try: the next one has its own time and signal, and what comes of the old one is dropped (F-1, F-4)",
    async (setup) => {
      const { clock } = setup;
      const runs: { signal: AbortSignal; resolve(value: string): void; reject(error: unknown): void }[] = [];
      const kernel = await host(setup, ({ step }) =>
        step("load", ({ signal }) => new Promise<string>((resolve, reject) => runs.push({ signal, resolve, reject })), {
          retry: { attempts: 3, backoffMs: 1_000, factor: 1, jitter: 0 },
          timeoutMs: 500,
        }),
      );
      const begunAt = clock.now();
      await kernel.start("job", { id: "p" });
      const pauses = (tries: number) =>
        comes(async () => (await eventsOf(kernel)).length === tries && runs.length === tries, `the end of try ${tries}`);
      for (const [n, late] of (["too late", new Error("an error that comes late")] as const).entries()) {
        await comes(() => runs.length === n + 1, `try ${n + 1}`);
        await clock.advance(500);
        await pauses(n + 1);
        if (typeof late === "string") runs[n]?.resolve(late);
        else runs[n]?.reject(late);
        await clock.advance(1_000);
      }
      await comes(() => runs.length === 3, "the last try");
      expect(runs.map(({ signal }) => signal.aborted)).toEqual([true, true, false]);
      await clock.advance(499);
      runs[2]?.resolve("in time");
      expect(await kernel.processes.awaitProcess("p")).toEqual(success("in time"));
      expect((await eventsOf(kernel)).slice(0, 3)).toEqual([
        ["process.step_failed", { key: "load", attempt: 1, ...timeoutOf, retryAtMs: begunAt + 1_500 }],
        ["process.step_failed", { key: "load", attempt: 2, ...timeoutOf, retryAtMs: begunAt + 3_000 }],
        ["process.step", { key: "load", result: "in time" }],
      ]);
      await clock.advance(60_000);
      expect(runs[2]?.signal.aborted).toBe(false);
    },
  );

  promise("the signal of a step with a time limit aborts with that of its run too, for the same reason (F-4)", async (setup) => {
    let isCalled = false;
    let reason: unknown;
    const kernel = await host(setup, ({ step }) =>
      step(
        "load",
        ({ signal }) =>
          new Promise<never>((_, reject) => {
            isCalled = true;
            signal.addEventListener("abort", () => {
              reason = signal.reason;
              reject(signal.reason);
            });
          }),
        { timeoutMs: 60_000, retry: { attempts: 9 } },
      ),
    );
    const handle = await kernel.start("job", { id: "p" });
    await comes(() => isCalled, "the call");
    await handle.cancel("enough");
    expect(await kernel.processes.awaitProcess("p")).toEqual(cancelled("enough"));
    expect([(reason as { code?: unknown }).code, (reason as Error).message]).toEqual(["aborted", "enough"]);
    expect((await eventsOf(kernel)).map(([type]) => type)).toEqual(["process.cancel_requested", "process.cancelled"]);
  });
}
