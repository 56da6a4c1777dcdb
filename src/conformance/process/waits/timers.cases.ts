import type { Kernel } from "../../../kernel/kernel.js";
import type { ProcessContext, ProcessHandler } from "../../../kernel/process/context/context.js";
import { casesOn, type OpenFixture, type Runner, refusal, refused, type Setup, success } from "../../kit/fixture.js";
import { writeRows } from "../../kit/rows.fixture.js";

const SECOND = 1_000;
const YEAR = 365 * 24 * 60 * 60 * SECOND;

/** Timers of handlers: `sleep` and `sleepUntil`. */
export function timerCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise } = casesOn(open, runner);

  const host = (setup: Setup, job: ProcessHandler) => setup.open({ loop: "inline", handlers: { job } });
  const eventsOf = async ({ processes }: Kernel, id = "p") =>
    (await processes.eventsAfter(id, 0)).map(({ eventType, payload }) => [eventType, payload]);
  const waitingOf = async ({ processes }: Kernel, id = "p") => (await processes.getProcess(id))?.waiting ?? [];
  const result = (key: string) => ["process.step", { key, result: null }];

  promise(
    "a sleep stores its due time when it begins, and ends no earlier and within a second after it (F-11, F-12)",
    async (setup) => {
      const { clock } = setup;
      const woken: number[] = [];
      const kernel = await host(setup, async ({ sleep }) => {
        await sleep("a", 5_000);
        woken.push(clock.now());
      });
      const begunAt = clock.now();
      await kernel.start("job", { id: "p" });
      await clock.advance(0);
      const dueAtMs = begunAt + 5_000;
      const begun = ["process.waiting", { key: "a", kind: "timer", dueAtMs }];
      expect(await eventsOf(kernel)).toEqual([begun]);
      expect(await waitingOf(kernel)).toEqual([{ key: "a", kind: "timer", sinceMs: begunAt, dueAtMs }]);
      await clock.advance(4_999);
      expect(woken).toEqual([]);
      await clock.advance(1_001);
      expect(woken.map((at) => at >= dueAtMs && at <= dueAtMs + SECOND)).toEqual([true]);
      expect(await kernel.processes.awaitProcess("p")).toEqual(success(null));
      expect((await eventsOf(kernel)).slice(0, 2)).toEqual([begun, result("a")]);
      expect(await waitingOf(kernel)).toEqual([]);
    },
  );

  promise("a due time that has passed stores the result alone (F-11)", async (setup) => {
    const { clock } = setup;
    const kernel = await host(setup, async ({ sleep, sleepUntil }) => {
      await sleep("none", 0);
      await sleepUntil("now", clock.now());
      await sleepUntil("long ago", 0);
    });
    await kernel.start("job", { id: "p" });
    expect(await kernel.processes.awaitProcess("p")).toEqual(success(null));
    expect((await eventsOf(kernel)).slice(0, -1)).toEqual(["none", "now", "long ago"].map(result));
  });

  promise("the same key answers at once, and a key of a step is another (F-11)", async (setup) => {
    const { clock } = setup;
    const times: number[] = [];
    const kernel = await host(setup, async ({ sleep, sleepUntil, step }) => {
      const both = [sleep("a", 2_000), sleep("a", 9_000)];
      const answer = await step("a", () => "of the step");
      await Promise.all(both);
      await sleep("a", 8_000);
      await sleepUntil("a", clock.now() + 7_000);
      times.push(clock.now());
      return answer;
    });
    const begunAt = clock.now();
    await kernel.start("job", { id: "p" });
    await clock.advance(2_000);
    expect(await kernel.processes.awaitProcess("p")).toEqual(success("of the step"));
    expect(times).toEqual([begunAt + 2_000]);
    const steps = (await kernel.processes.eventsAfter("p", 0)).filter(({ eventType }) => eventType === "process.step");
    expect(steps.map(({ payload, invocation }) => [payload, invocation.replayKey])).toEqual([
      [{ key: "a", result: "of the step" }, "process:p:step:a"],
      [{ key: "a", result: null }, "process:p:sleep:a"],
    ]);
  });

  promise(
    "a later owner waits for the rest, also of more than 2^31 ms, and its own duration counts for nothing (F-11)",
    async (setup) => {
      const { clock } = setup;
      const long = 2 ** 31 + 60 * SECOND;
      let durationMs = long;
      const sleeping: ProcessHandler = async ({ sleep }) => {
        await sleep("long", durationMs);
        return clock.now();
      };
      const first = await host(setup, sleeping);
      const dueAtMs = clock.now() + long;
      await first.start("job", { id: "p" });
      await clock.advance(0);
      expect((await waitingOf(first)).map((wait) => wait.dueAtMs)).toEqual([dueAtMs]);
      await first.close();
      await clock.advance(long - 10 * SECOND);
      durationMs = 1;
      const second = await host(setup, sleeping);
      await clock.advance(9 * SECOND);
      expect((await second.processes.getProcess("p"))?.status.state).toBe("running");
      expect((await waitingOf(second)).map((wait) => wait.dueAtMs)).toEqual([dueAtMs]);
      await clock.advance(2 * SECOND);
      const output = await second.processes.awaitProcess("p");
      expect(output.type === "success" && (output.value as number) >= dueAtMs).toBe(true);
      const types = (await second.processes.eventsAfter("p", 0)).map(({ eventType }) => eventType);
      expect(types).toEqual(["process.waiting", "process.step", "process.completed"]);
    },
  );

  promise(
    "what is no key, no whole number, or longer than ten years is refused by its name, and nothing is stored (F-11)",
    async (setup) => {
      const { clock } = setup;
      const calls: [field: string, call: (context: ProcessContext) => Promise<void>][] = [
        ["key", ({ sleep }) => sleep("", 1)],
        ["key", ({ sleep }) => sleep("\ud800", 1)],
        ["key", ({ sleepUntil }) => sleepUntil("x".repeat(513), 1)],
        ...[-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, "1", 11 * YEAR, undefined, 1n].map(
          (value): [string, (context: ProcessContext) => Promise<void>] => [
            "durationMs",
            ({ sleep }) => sleep("a", value as number),
          ],
        ),
        ...[-1, 0.5, Number.NaN, "1", clock.now() + 11 * YEAR, undefined, new Date(0)].map(
          (value): [string, (context: ProcessContext) => Promise<void>] => [
            "atMs",
            ({ sleepUntil }) => sleepUntil("a", value as number),
          ],
        ),
      ];
      const told: unknown[] = [];
      const kernel = await host(setup, async (context) => {
        for (const [field, call] of calls) await refused(call(context), "invalid", field).catch((wrong) => told.push(wrong));
      });
      await kernel.start("job", { id: "p" });
      expect(await kernel.processes.awaitProcess("p")).toEqual(success(null));
      expect(told).toEqual([]);
      expect((await kernel.processes.eventsAfter("p", 0)).length).toBe(1);
    },
  );

  promise("a process that knows the beginning of a sleep and has no row of it waits for the rest (F-11)", async (setup) => {
    const { clock } = setup;
    const job: ProcessHandler = async ({ sleep }) => await sleep("a", 20_000);
    const first = await host(setup, job);
    const dueAtMs = clock.now() + 20_000;
    await first.start("job", { id: "p" });
    await clock.advance(0);
    const waiting = await waitingOf(first);
    await first.close();
    await writeRows(setup, { table: "waits", drop: ["p", "timer", "a"] });
    await clock.advance(10_000);
    const second = await host(setup, job);
    await clock.advance(1_000);
    expect(await waitingOf(second)).toEqual(waiting);
    expect(waiting.map((wait) => wait.dueAtMs)).toEqual([dueAtMs]);
    await clock.advance(10_000);
    expect(await second.processes.awaitProcess("p")).toEqual(success(null));
    const types = (await second.processes.eventsAfter("p", 0)).map(({ eventType }) => eventType);
    expect(types).toEqual(["process.waiting", "process.step", "process.completed"]);
  });

  promise("ten years are no longer than ten years (F-11)", async (setup) => {
    const { clock } = setup;
    const kernel = await host(setup, async ({ sleep, sleepUntil }) => {
      await Promise.all([sleep("a", 10 * YEAR), sleepUntil("b", clock.now() + 10 * YEAR)]);
    });
    await kernel.start("job", { id: "p" });
    await clock.advance(0);
    expect((await waitingOf(kernel)).map(({ key, dueAtMs }) => [key, dueAtMs])).toEqual(
      ["a", "b"].map((key) => [key, clock.now() + 10 * YEAR]),
    );
  });

  promise("what a run waits for is listed by key, whatever the keys are (F-17)", async (setup) => {
    const { clock } = setup;
    const keys = ["__proto__", "a:b%", "\u0000", "timer", "🙂".repeat(100), ":1:a"].sort();
    const kernel = await host(setup, async ({ sleep }) => {
      await Promise.all(keys.map((key, at) => sleep(key, (at + 1) * SECOND)));
    });
    await kernel.start("job", { id: "p" });
    for (const at of keys.keys()) {
      await clock.advance(at === 0 ? 0 : SECOND);
      expect((await waitingOf(kernel)).map(({ key }) => key)).toEqual(keys.slice(at));
    }
    await clock.advance(SECOND);
    expect(await kernel.processes.awaitProcess("p")).toEqual(success(null));
    expect(await waitingOf(kernel)).toEqual([]);
  });

  promise("a sleep of a run that has ended is refused, and a wait that no handler awaits ends with it (F-11)", async (setup) => {
    const { clock } = setup;
    let late: ProcessContext | undefined;
    const left: Promise<unknown>[] = [];
    const kernel = await host(setup, async (context) => {
      late = context;
      left.push(refusal(context.sleep("left", 5_000)));
    });
    await kernel.start("job", { id: "p" });
    expect(await kernel.processes.awaitProcess("p")).toEqual(success(null));
    await clock.advance(10_000);
    await Promise.all(left);
    expect(((await refusal((late as ProcessContext).sleep("b", 1))) as { code: string }).code).toBe("lease-lost");
    expect(await waitingOf(kernel)).toEqual([]);
    const types = (await kernel.processes.eventsAfter("p", 0)).map(({ eventType }) => eventType);
    expect(types.filter((type) => type === "process.step")).toEqual([]);
  });
}
