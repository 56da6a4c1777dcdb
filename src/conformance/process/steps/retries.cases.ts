import { NonRetryableError } from "../../../domain/errors.js";
import type { RetryPolicy } from "../../../domain/retry.rules.js";
import type { Kernel } from "../../../kernel/kernel.js";
import type { ProcessContext, ProcessHandler } from "../../../kernel/process/context/context.js";
import { comes, quiet } from "../../kit/comes.fixture.js";
import { cancelled, casesOn, type OpenFixture, type Runner, type Setup, success } from "../../kit/fixture.js";
import { readRows } from "../../kit/rows.fixture.js";

/** Without chance: a pause of one second, then of four, then of five. */
const POLICY: RetryPolicy = { attempts: 4, backoffMs: 1_000, factor: 4, maxBackoffMs: 5_000, jitter: 0 };

/** Steps that throw are tried again. */
export function stepRetryCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise } = casesOn(open, runner);

  const host = (setup: Setup, job: ProcessHandler) => setup.open({ loop: "inline", handlers: { job } });
  const eventsOf = async ({ processes }: Kernel) =>
    (await processes.eventsAfter("p", 0)).map(({ eventType, payload }) => [eventType, payload]);
  const waitingOf = async ({ processes }: Kernel) => (await processes.getProcess("p"))?.waiting ?? [];
  const failed = (attempt: number, message: string, more: object = {}) => [
    "process.step_failed",
    { key: "load", attempt, message, ...more },
  ];
  /** Waits for the pause behind try number `attempt`; resolves with what the record shows. */
  const pauseOf = async (kernel: Kernel, attempt = 1) => {
    await comes(async () => {
      const { length } = (await eventsOf(kernel)).filter(([type]) => type === "process.step_failed");
      return length === attempt && (await waitingOf(kernel)).length > 0;
    }, `the pause behind try ${attempt}`);
    return await waitingOf(kernel);
  };
  const unending = () => new Promise<never>(() => {});

  promise(
    "a step that throws is tried again after a pause that grows to the longest, and each try is stored before it (F-1)",
    async (setup) => {
      const { clock } = setup;
      const at: number[] = [];
      const flaky = () => {
        if (at.push(clock.now()) < 4) throw Object.assign(new Error(`no ${at.length}`), at.length === 2 && { code: "E_OIL" });
        return "oil";
      };
      const kernel = await host(setup, ({ step }) => step("load", flaky, { retry: POLICY }));
      const begunAt = clock.now();
      await kernel.start("job", { id: "p" });
      await pauseOf(kernel, 1);
      expect(await eventsOf(kernel)).toEqual([failed(1, "no 1", { retryAtMs: begunAt + 1_000 })]);
      await clock.advance(999);
      await quiet();
      expect(at.length).toBe(1);
      await clock.advance(1);
      await pauseOf(kernel, 2);
      await clock.advance(4_000);
      await pauseOf(kernel, 3);
      await clock.advance(5_000);
      expect(await kernel.processes.awaitProcess("p")).toEqual(success("oil"));
      expect(at.map((one) => one - begunAt)).toEqual([0, 1_000, 5_000, 10_000]);
      expect(await eventsOf(kernel)).toEqual([
        failed(1, "no 1", { retryAtMs: begunAt + 1_000 }),
        failed(2, "no 2", { code: "E_OIL", retryAtMs: begunAt + 5_000 }),
        failed(3, "no 3", { retryAtMs: begunAt + 10_000 }),
        ["process.step", { key: "load", result: "oil" }],
        ["process.completed", { awaitOutput: success("oil") }],
      ]);
    },
  );

  promise("a pause is longer or shorter by chance, within its jitter (F-1)", async (setup) => {
    const { clock } = setup;
    const retry = { attempts: 2, backoffMs: 1_000, jitter: 0.5 };
    const kernel = await host(setup, async ({ step }) => {
      const keys = Array.from({ length: 20 }, (_, n) => `${n}`);
      await Promise.all(keys.map((key) => step(key, () => Promise.reject(new Error("no")), { retry }))).catch(() => {});
      await unending();
    });
    const begunAt = clock.now();
    await kernel.start("job", { id: "p" });
    await comes(async () => (await waitingOf(kernel)).length === 20, "all pauses");
    const pauses = (await waitingOf(kernel)).map(({ dueAtMs = 0 }) => dueAtMs - begunAt);
    expect(pauses.length).toBe(20);
    expect(pauses.filter((ms) => !Number.isInteger(ms) || ms < 500 || ms > 1_500)).toEqual([]);
    expect(new Set(pauses).size > 10).toBe(true);
  });

  promise("a later owner goes on counting, and waits only for the rest of the pause (F-1)", async (setup) => {
    const { clock } = setup;
    const tried: string[] = [];
    const owner = (name: string) =>
      host(setup, ({ step }) =>
        step(
          "load",
          () => {
            tried.push(name);
            if (tried.length < 3) throw new Error(`no ${name}`);
            return tried.length;
          },
          { retry: POLICY },
        ),
      );
    const first = await owner("first");
    const begunAt = clock.now();
    await first.start("job", { id: "p" });
    await pauseOf(first);
    await clock.advance(600);
    await first.close();
    const second = await owner("second");
    await clock.advance(399);
    await quiet();
    expect(tried).toEqual(["first"]);
    expect(await waitingOf(second)).toEqual([{ key: "load", kind: "retry", sinceMs: begunAt, dueAtMs: begunAt + 1_000 }]);
    await clock.advance(1);
    await pauseOf(second, 2);
    await second.close();
    const third = await owner("third");
    await clock.advance(3_999);
    await quiet();
    expect(tried).toEqual(["first", "second"]);
    await clock.advance(1);
    expect(await third.processes.awaitProcess("p")).toEqual(success(3));
    expect((await eventsOf(third)).slice(0, 2)).toEqual([
      failed(1, "no first", { retryAtMs: begunAt + 1_000 }),
      failed(2, "no second", { retryAtMs: begunAt + 5_000 }),
    ]);
  });

  promise("a pause that ended while no owner was there costs the next one no wait (F-1)", async (setup) => {
    const { clock } = setup;
    let calls = 0;
    const job = ({ step }: ProcessContext) =>
      step("load", () => (++calls === 1 ? Promise.reject(new Error("no")) : Promise.resolve(calls)), { retry: POLICY });
    const first = await host(setup, job);
    await first.start("job", { id: "p" });
    await pauseOf(first);
    await first.close();
    await clock.advance(3_600_000);
    const second = await host(setup, job);
    expect(await second.processes.awaitProcess("p")).toEqual(success(2));
  });

  promise("after the last try the very error is thrown, and that is stored without another time (F-2)", async (setup) => {
    const thrown: Error[] = [];
    const caught: unknown[] = [];
    const kernel = await host(setup, async ({ step }) => {
      const fails = () => {
        thrown.push(new Error(`no ${thrown.length + 1}`));
        throw thrown.at(-1);
      };
      await step("load", fails, { retry: { attempts: 2, backoffMs: 0 } }).catch((error) => caught.push(error));
    });
    const begunAt = setup.clock.now();
    await kernel.start("job", { id: "p" });
    expect(await kernel.processes.awaitProcess("p")).toEqual(success(null));
    expect([thrown.length, caught.length, caught[0] === thrown[1]]).toEqual([2, 1, true]);
    expect((await eventsOf(kernel)).slice(0, 2)).toEqual([failed(1, "no 1", { retryAtMs: begunAt }), failed(2, "no 2")]);
  });

  promise(
    "a failed step that is asked for again, in its run or a later one, rejects `failed` with its message, and calls nothing (F-2)",
    async (setup) => {
      let calls = 0;
      const told: unknown[] = [];
      const job = async ({ step }: ProcessContext) => {
        const ask = () =>
          step(
            "load",
            () => {
              calls++;
              throw Object.assign(new Error("out of oil"), { code: "E_OIL" });
            },
            { retry: { attempts: 1 } },
          );
        await ask().catch((error) => told.push([error.code, error.message]));
        await ask().catch((error) => told.push([error.code, error.message]));
        await unending();
      };
      const first = await host(setup, job);
      await first.start("job", { id: "p" });
      await comes(() => told.length === 2, "both answers");
      await first.close();
      const second = await host(setup, job);
      await comes(() => told.length === 4, "the answers of the later run");
      const failure = ["failed", "out of oil"];
      expect(told).toEqual([["E_OIL", "out of oil"], failure, failure, failure]);
      expect(calls).toBe(1);
      expect(await eventsOf(second)).toEqual([failed(1, "out of oil", { code: "E_OIL" })]);
      expect(await waitingOf(second)).toEqual([]);
    },
  );

  promise("without `retry` a step that throws stores nothing, and may be called again (F-3)", async (setup) => {
    let calls = 0;
    const kernel = await host(setup, async ({ step }) => {
      const flaky = () => (++calls < 3 ? Promise.reject(new Error(`no ${calls}`)) : Promise.resolve(calls));
      const told = [];
      for (let n = 0; n < 2; n++) told.push(await step("load", flaky).catch((error) => error.message));
      return [...told, await step("load", flaky, { timeoutMs: 1_000 })];
    });
    await kernel.start("job", { id: "p" });
    expect(await kernel.processes.awaitProcess("p")).toEqual(success(["no 1", "no 2", 3]));
    expect((await eventsOf(kernel)).map(([type]) => type)).toEqual(["process.step", "process.completed"]);
  });

  promise("a NonRetryableError, and what `retryIf` refuses or throws at, is the last try (F-3)", async (setup) => {
    const no = new Error("no");
    const asked: unknown[] = [];
    const policies: [thrown: Error, retryIf?: (error: unknown) => boolean][] = [
      [new NonRetryableError("never")],
      [no, (error) => asked.push(error) < 0],
      [
        no,
        () => {
          throw new Error("of retryIf");
        },
      ],
    ];
    let calls = 0;
    const kernel = await host(setup, async ({ step }) => {
      const told: boolean[] = [];
      for (const [n, [thrown, retryIf]] of policies.entries()) {
        const run = () => {
          calls++;
          throw thrown;
        };
        const retry = { attempts: 9, backoffMs: 0, ...(retryIf && { retryIf }) };
        await step(`${n}`, run, { retry }).catch((error) => told.push(error === thrown));
      }
      return told;
    });
    await kernel.start("job", { id: "p" });
    expect(await kernel.processes.awaitProcess("p")).toEqual(success([true, true, true]));
    expect([calls, asked.length, asked[0] === no]).toEqual([3, 1, true]);
    expect((await eventsOf(kernel)).slice(0, 3)).toEqual(
      ["never", "no", "no"].map((message, n) => ["process.step_failed", { key: `${n}`, attempt: 1, message }]),
    );
  });

  promise("a result that cannot be stored is not tried again (F-3, A-4)", async (setup) => {
    let calls = 0;
    const told: unknown[] = [];
    const job = async ({ step }: ProcessContext) => {
      const bad = () => {
        calls++;
        return new Date(0) as never;
      };
      await step("load", bad, { retry: POLICY }).catch((error) => told.push(error.code));
      await unending();
    };
    const first = await host(setup, job);
    await first.start("job", { id: "p" });
    await comes(() => told.length === 1, "the refusal");
    await first.close();
    const second = await host(setup, job);
    await comes(() => told.length === 2, "the answer of the later run");
    expect([calls, told]).toEqual([1, ["invalid", "failed"]]);
    expect(await eventsOf(second)).toEqual([
      failed(1, 'the result of step "load" is a Date; a JSON value is expected', { code: "invalid" }),
    ]);
  });

  promise("a pause gives the handler's slot back, and the next try takes it again (F-5)", async (setup) => {
    const { clock } = setup;
    const order: string[] = [];
    const kernel = await setup.open({
      loop: "inline",
      concurrency: 1,
      handlers: {
        job: async ({ step }) => {
          const run = () => {
            order.push("try");
            if (order.length < 3) throw new Error("no");
          };
          await step("load", run, { retry: POLICY });
        },
        other: () => void order.push("other"),
      },
    });
    await kernel.start("job", { id: "p" });
    await pauseOf(kernel);
    await kernel.start("other", { id: "q" });
    expect(await kernel.processes.awaitProcess("q")).toEqual(success(null));
    expect(order).toEqual(["try", "other"]);
    await clock.advance(1_000);
    expect(await kernel.processes.awaitProcess("p")).toEqual(success(null));
    expect(order).toEqual(["try", "other", "try"]);
  });

  promise(
    "the record shows the pause while it lasts, and the result takes what was stored of the tries along (F-1, F-17)",
    async (setup) => {
      const { clock } = setup;
      let calls = 0;
      let succeed = () => {};
      const kernel = await host(setup, async ({ step }) => {
        const run = () => (++calls === 1 ? Promise.reject(new Error("no")) : new Promise<void>((resolve) => (succeed = resolve)));
        await step("load", run, { retry: POLICY });
        await unending();
      });
      const begunAt = clock.now();
      await kernel.start("job", { id: "p" });
      expect(await pauseOf(kernel)).toEqual([{ key: "load", kind: "retry", sinceMs: begunAt, dueAtMs: begunAt + 1_000 }]);
      expect((await readRows(setup, "waits")).length).toBe(1);
      await clock.advance(1_000);
      await comes(() => calls === 2, "the second try");
      expect(await waitingOf(kernel)).toEqual([]);
      expect((await readRows(setup, "waits")).length).toBe(1);
      succeed();
      await comes(async () => (await eventsOf(kernel)).length === 2, "the result");
      expect(await readRows(setup, "waits")).toEqual([]);
    },
  );

  promise("a cancel request ends a pause, and a cleanup after it is tried again as any step (F-1)", async (setup) => {
    const { clock } = setup;
    let cleanups = 0;
    const kernel = await host(setup, async ({ step }) => {
      try {
        await step("load", () => Promise.reject(new Error("no")), { retry: { attempts: 9, backoffMs: 3_600_000 } });
      } finally {
        const clean = () => (++cleanups < 2 ? Promise.reject(new Error("not yet")) : Promise.resolve(cleanups));
        await step("clean", clean, { retry: POLICY });
      }
    });
    const handle = await kernel.start("job", { id: "p" });
    await pauseOf(kernel);
    await handle.cancel("enough");
    await pauseOf(kernel, 2);
    await clock.advance(1_000);
    expect(await kernel.processes.awaitProcess("p")).toEqual(cancelled("enough"));
    expect(cleanups).toBe(2);
  });
}
