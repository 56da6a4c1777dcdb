import { afterEach, describe, expect, it } from "vitest";
import { createKernel, type Kernel, type KernelOptions, type ScheduleSpec } from "../../../src/index.js";
import { memoryStorage } from "../../../src/memory.js";
import { manualClock } from "../../../src/simulation.js";

const opened: Kernel[] = [];
afterEach(async () => {
  await Promise.all(opened.splice(0).map((kernel) => kernel.close()));
});

/** Kernels on one storage under one manual clock. */
function place() {
  const [storage, clock] = [memoryStorage(), manualClock()];
  const open = async (options: Partial<KernelOptions> = {}) => {
    const alone = { loop: "inline", channel: false, locks: false, log: false } as const;
    const kernel = await createKernel({ name: "place", storage, clock, ...alone, ...options });
    opened.push(kernel);
    return kernel;
  };
  return { clock, open };
}

const never = () => new Promise<never>(() => {});
const stateOf = async (kernel: Kernel, id: string) => (await kernel.process(id).record())?.status.state;
const typesOf = async (kernel: Kernel, id: string) =>
  (await kernel.processes.eventsAfter(id, 0)).map(({ eventType }) => eventType);

describe("A second chance", () => {
  it("is no way around timeoutMs: what a handler throws when its time is up is not tried again (F-6, F-7)", async () => {
    const { clock, open } = place();
    const attempts: number[] = [];
    const run: KernelOptions["handlers"] = {
      job: {
        timeoutMs: 3_000,
        retry: { attempts: 5 },
        run: ({ attempt, signal }) => {
          attempts.push(attempt);
          return new Promise((_, reject) => signal.addEventListener("abort", () => reject(new Error("stopped"))));
        },
      },
    };
    const kernel = await open({ handlers: run });
    await kernel.start("job", { id: "p" });
    await clock.advance(60_000);
    expect(attempts).toEqual([1]);
    expect(await kernel.process("p").outcome()).toMatchObject({ type: "failure", class: "timeout", code: "timeout" });
    expect(await typesOf(kernel, "p")).toEqual(["process.failed"]);
  });

  it("is given for a step that took too long, which is the handler's error and not the process's timeout (F-4, F-6)", async () => {
    const { clock, open } = place();
    const kernel = await open({
      handlers: {
        job: {
          retry: { attempts: 2, backoffMs: 1_000, jitter: 0 },
          run: async ({ step }) => void (await step("slow", never, { timeoutMs: 500 })),
        },
      },
    });
    await kernel.start("job", { id: "p" });
    await clock.advance(5_000);
    const outcome = { type: "failure", class: "execution", code: "timeout" };
    expect(await kernel.process("p").outcome()).toMatchObject(outcome);
    expect(await typesOf(kernel, "p")).toEqual(["process.attempt_failed", "process.failed"]);
  });

  it("is given up by a kernel that runs nothing itself, also when the pause is over and no host has claimed it (F-6, F-10)", async () => {
    const { clock, open } = place();
    const fails = () => {
      throw new Error("no");
    };
    const job = { run: fails, retry: { attempts: 2, backoffMs: 1_000, jitter: 0 } };
    const first = await open({ handlers: { job } });
    await first.start("job", { id: "failed" });
    await clock.advance(1);
    await first.close();
    const second = await open({ loop: "off" });
    await second.start("job", { id: "later", startAtMs: clock.now() + 1_000 });
    await clock.advance(2_000);
    for (const id of ["failed", "later"]) {
      await second.process(id).cancel("enough");
      expect(await stateOf(second, id)).toBe("cancelled");
    }
  });

  it("by restart counts in the rate of its limit as a first claim does (F-9, F-24)", async () => {
    const { clock, open } = place();
    const begun: number[] = [];
    const run = () => {
      begun.push(clock.now());
      throw new Error("no");
    };
    const kernel = await open({ handlers: { job: { run, limit: { rate: { count: 1, perMs: 20_000 } } } } });
    const job = await kernel.start("job", { id: "p" });
    await clock.advance(10);
    await job.restart();
    await clock.advance(10_000);
    expect(begun).toHaveLength(1);
    await clock.advance(11_000);
    expect(begun).toHaveLength(2);
    expect(Number(begun[1]) - Number(begun[0])).toBeGreaterThanOrEqual(20_000);
  });

  it("by restart from a step forgets that and later ones, each time anew (F-9)", async () => {
    const { clock, open } = place();
    const ran: string[] = [];
    const kernel = await open({
      handlers: {
        job: async ({ step }) => {
          for (const key of ["a", "b", "c"]) await step(key, () => void ran.push(key));
          throw new Error("no");
        },
      },
    });
    const job = await kernel.start("job", { id: "p" });
    await clock.advance(10);
    const runs: string[] = [];
    for (const from of ["c", "b", "c", "a", undefined]) {
      ran.length = 0;
      await job.restart(from === undefined ? {} : { from });
      await clock.advance(10);
      runs.push(ran.join(""));
    }
    expect(runs).toEqual(["c", "bc", "c", "abc", ""]);
    expect(await stateOf(kernel, "p")).toBe("failed");
  });
});

it("A schedule that is put again with a default named is the same, and goes on (F-29)", async () => {
  const { clock, open } = place();
  const kernel = await open();
  const spec: ScheduleSpec = { id: "s", when: { everyMs: 60_000 }, start: { name: "job" } };
  const first = await kernel.schedules.put(spec);
  await clock.advance(1_000);
  expect(await kernel.schedules.put({ ...spec, catchUp: "last", overlap: "skip" })).toEqual(first);
  expect((await kernel.schedules.put({ ...spec, catchUp: "all" })).catchUp).toBe("all");
});
