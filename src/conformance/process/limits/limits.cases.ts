import { isHoldfastError } from "../../../domain/errors.js";
import type { LimitSpec } from "../../../domain/process/limit.js";
import type { Kernel } from "../../../kernel/kernel.js";
import type { KernelOptions } from "../../../kernel/options.js";
import type { ProcessContext } from "../../../kernel/process/context/context.js";
import { defineProcess } from "../../../kernel/process/definition/define.js";
import { channelHub } from "../../kit/channel.fixture.js";
import { casesOn, count, type OpenFixture, type Runner, refused, type Setup } from "../../kit/fixture.js";

/** Longer than a place may stay free, and than a sweep takes to find what notices did not tell. */
const SECOND = 1_000;
const SWEEP = 60_000;

/** Handlers whose runs end when the case says so. */
function work() {
  const begun: string[] = [];
  const ends = new Map<string, () => void>();
  return {
    begun,
    run: ({ record: { id } }: ProcessContext) =>
      new Promise<null>((resolve) => {
        begun.push(id);
        ends.set(id, () => resolve(null));
      }),
    async end(setup: Setup, id: string) {
      ends.get(id)?.();
      await setup.clock.advance(SECOND);
    },
  };
}

/** Limits: how many runs of a key there are at a time, and begin in a time, over all kernels of the database. */
export function limitCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise } = casesOn(open, runner);
  const hosts = (setup: Setup, handlers: KernelOptions["handlers"], many = 2) => {
    const channel = channelHub();
    return Promise.all(count(many).map(() => setup.open({ loop: "inline", channel, handlers: handlers ?? {} })));
  };
  const start = async (setup: Setup, kernel: Kernel | undefined, id: string, name = "job", input?: string) => {
    await kernel?.start(name, { id, ...(input !== undefined && { input }) });
    await setup.clock.advance(1);
  };
  const waiting = async ({ processes }: Setup, id: string) => (await processes.getProcess(id))?.waiting;

  promise("no more runs of a key than its limit, over all kernels, and the oldest goes next (F-23, F-25)", async (setup) => {
    const { begun, run, end } = work();
    const kernels = await hosts(setup, { job: { run, limit: { concurrency: 2 } } });
    for (const [at, id] of ["e", "d", "c", "b", "a"].entries()) await start(setup, kernels[at % 2], id);
    await setup.clock.advance(SECOND);
    expect(begun).toEqual(["e", "d"]);
    await end(setup, "d");
    expect(begun).toEqual(["e", "d", "c"]);
    await end(setup, "e");
    await end(setup, "c");
    expect(begun).toEqual(["e", "d", "c", "b", "a"]);
  });

  promise("a process that a limit holds back waits for it, since one moment, while it does (F-17, F-25)", async (setup) => {
    const { run, end } = work();
    const [kernel] = await hosts(setup, { job: { run, limit: { key: "api", concurrency: 1 } } });
    await start(setup, kernel, "p");
    const sinceMs = setup.clock.now();
    await start(setup, kernel, "q");
    const held = [{ key: "api", kind: "limit", sinceMs }];
    expect([await waiting(setup, "p"), await waiting(setup, "q")]).toEqual([undefined, held]);
    await setup.clock.advance(SWEEP);
    expect(await waiting(setup, "q")).toEqual(held);
    await end(setup, "p");
    expect(await waiting(setup, "q")).toEqual(undefined);
  });

  promise("each key has its own places, and one that is full holds no other back (F-23, F-25)", async (setup) => {
    const { begun, run } = work();
    const limit: LimitSpec = { key: (args) => `tenant ${args}`, concurrency: 1 };
    const kernels = await hosts(setup, { job: { run, limit } });
    for (const [at, [id, tenant]] of [
      ["a1", "a"],
      ["a2", "a"],
      ["b1", "b"],
      ["b2", "b"],
    ].entries())
      await start(setup, kernels[at % 2], id ?? "", "job", tenant);
    await setup.clock.advance(SECOND);
    expect(begun).toEqual(["a1", "b1"]);
  });

  promise("what is held back is held back by the next kernels too, and goes on there (F-23, F-25)", async (setup) => {
    const { run } = work();
    const [kernel] = await hosts(setup, { job: { run, limit: { concurrency: 1 } } });
    await start(setup, kernel, "p");
    await start(setup, kernel, "q");
    await setup.reopen();
    const later = work();
    const [next] = await hosts(setup, { job: { run: later.run, limit: { concurrency: 1 } } }, 1);
    await setup.clock.advance(SWEEP);
    expect(later.begun).toEqual(["p"]);
    expect((await next?.processes.getProcess("q"))?.waiting?.map(({ kind }) => kind)).toEqual(["limit"]);
    await later.end(setup, "p");
    expect(later.begun).toEqual(["p", "q"]);
  });

  promise("no more runs of a key begin in a window than its rate, each as soon as it may (F-24)", async (setup) => {
    const begun: number[] = [];
    const rate = { count: 2, perMs: 10_000 };
    const run = () => void begun.push(setup.clock.now());
    const kernels = await hosts(setup, { job: { run, limit: { rate } } });
    for (const n of count(6)) await start(setup, kernels[n % 2], `p${n}`);
    await setup.clock.advance(25_000);
    expect(begun.length).toBe(6);
    const gaps = begun.slice(2).map((atMs, at) => atMs - (begun[at] ?? 0));
    expect(gaps.map((gapMs) => gapMs >= rate.perMs && gapMs <= rate.perMs + SECOND)).toEqual(gaps.map(() => true));
  });

  promise("each claim is judged by the limit of the kernel that claims (F-26)", async (setup) => {
    const { begun, run, end } = work();
    const [old] = await hosts(setup, { job: { run, limit: { concurrency: 1 } } }, 1);
    for (const id of ["p", "q", "r"]) await start(setup, old, id);
    expect(begun).toEqual(["p"]);
    await setup.open({ loop: "inline", handlers: { job: { run, limit: { concurrency: 2 } } } });
    await setup.clock.advance(SWEEP);
    expect(begun).toEqual(["p", "q"]);
    await end(setup, "p");
    await setup.clock.advance(SWEEP);
    expect(begun).toEqual(["p", "q", "r"]);
  });

  promise("a claim by hand takes no place and is not held back (F-23)", async (setup) => {
    const { begun, run } = work();
    const { processes } = setup;
    const [kernel] = await hosts(setup, { job: { run, limit: { concurrency: 1 } } }, 1);
    await start(setup, kernel, "p");
    await start(setup, kernel, "q");
    const { fencingToken } = await processes.claimProcessLease("q", "by hand", SWEEP);
    expect([fencingToken, await waiting(setup, "q"), begun]).toEqual([1, undefined, ["p"]]);
  });

  promise(
    "a process that waits for its next try takes no place, and its next try counts for the rate (F-23, F-24)",
    async (setup) => {
      const begun: string[] = [];
      const retry = { attempts: 3, backoffMs: 5_000, factor: 1, jitter: 0 };
      const run = ({ record }: ProcessContext) => {
        begun.push(record.id);
        if (record.id === "p") throw new Error("again");
      };
      const limit = { concurrency: 1, rate: { count: 3, perMs: 100_000 } };
      const [kernel] = await hosts(setup, { job: { run, retry, limit } }, 1);
      await start(setup, kernel, "p");
      await start(setup, kernel, "q");
      expect(begun).toEqual(["p", "q"]);
      await setup.clock.advance(5 * SECOND);
      expect(begun).toEqual(["p", "q", "p"]);
      await setup.clock.advance(6 * SECOND);
      expect([begun.length, (await waiting(setup, "p"))?.map(({ kind }) => kind)]).toEqual([3, ["limit"]]);
      await setup.clock.advance(90 * SECOND);
      expect(begun).toEqual(["p", "q", "p", "p"]);
    },
  );

  promise(
    "a suspended process takes no place, goes on with a free one alone, and does not count for the rate again (F-23, F-24)",
    async (setup) => {
      const { begun, run, end } = work();
      const nap = async ({ record, sleep }: ProcessContext) => {
        begun.push(record.id);
        await sleep("nap", 20_000);
        begun.push(`${record.id} is awake`);
      };
      const limit = { key: "k", concurrency: 1, rate: { count: 2, perMs: 1_000_000 } };
      const [kernel] = await hosts(setup, { nap: { run: nap, limit, suspendAfterMs: 1_000 }, job: { run, limit } }, 1);
      await start(setup, kernel, "p", "nap");
      await start(setup, kernel, "q");
      expect(begun).toEqual(["p"]);
      await setup.clock.advance(3 * SECOND);
      expect([begun, (await setup.processes.getProcess("p"))?.suspended]).toEqual([["p", "q"], true]);
      await setup.clock.advance(20 * SECOND);
      const record = await setup.processes.getProcess("p");
      expect([record?.suspended, record?.waiting?.map(({ kind }) => kind)]).toEqual([undefined, ["limit", "timer"]]);
      await end(setup, "q");
      expect(begun).toEqual(["p", "q", "p", "p is awake"]);
    },
  );

  promise("a cancel request ends what a limit holds back and no owner ever claimed, in that write (F-6)", async (setup) => {
    const { begun, run, end } = work();
    const [kernel] = await hosts(setup, { job: { run, limit: { concurrency: 1 } } }, 1);
    for (const id of ["p", "q"]) await start(setup, kernel, id);
    await setup.kernel.process("q").cancel("no");
    const record = await setup.processes.getProcess("q");
    expect([record?.status, record?.waiting]).toEqual([
      { state: "cancelled", awaitOutput: { type: "cancelled", message: "no" } },
      undefined,
    ]);
    await end(setup, "p");
    expect(begun).toEqual(["p"]);
  });

  promise("what a limit holds back after its first try ends when its time is up, without a place (F-7)", async (setup) => {
    const begun: string[] = [];
    const run = ({ record }: ProcessContext) => {
      begun.push(record.id);
      if (record.id !== "q") throw new Error("again");
      return new Promise<never>(() => {});
    };
    const retry = { attempts: 3, backoffMs: 5_000, factor: 1, jitter: 0 };
    const limit = { key: "k", concurrency: 1 };
    const [kernel] = await hosts(setup, { job: { run, retry, timeoutMs: 20_000, limit }, long: { run, limit } }, 1);
    await start(setup, kernel, "p");
    await start(setup, kernel, "q", "long");
    await setup.clock.advance(10 * SECOND);
    expect([begun, (await waiting(setup, "p"))?.map(({ kind }) => kind)]).toEqual([["p", "q"], ["limit"]]);
    await setup.clock.advance(SWEEP);
    const status = (await setup.processes.getProcess("p"))?.status;
    expect(status?.state === "failed" && status.awaitOutput.type === "failure" && status.awaitOutput.code).toBe("timeout");
    expect(begun).toEqual(["p", "q"]);
  });

  const broken: [limit: unknown, message: string][] = [
    [null, "limit must be an object"],
    [{}, "limit must have concurrency, rate or both"],
    [{ key: "k" }, "limit must have concurrency, rate or both"],
    [{ concurrency: 0 }, "limit.concurrency must be a whole number from 1 up"],
    [{ concurrency: 1.5 }, "limit.concurrency must be a whole number from 1 up"],
    [{ concurrency: Number.POSITIVE_INFINITY }, "limit.concurrency must be a whole number from 1 up"],
    [{ concurrency: 1, key: "" }, "limit.key must be a non-empty string"],
    [{ concurrency: 1, key: 7 }, "limit.key must be a string or a function"],
    [{ concurency: 1 }, "limit.concurency is not known; did you mean concurrency?"],
    [{ rate: 1 }, "limit.rate must be an object"],
    [{ rate: { count: 1 } }, "limit.rate.perMs must be a whole number from 1 up"],
    [{ rate: { count: 1_001, perMs: 1 } }, "limit.rate.count must be a whole number from 1 to 1000"],
    [{ rate: { count: 0, perMs: 1 } }, "limit.rate.count must be a whole number from 1 to 1000"],
    [{ rate: { count: 1, perMs: 0 } }, "limit.rate.perMs must be a whole number from 1 up"],
    [{ rate: { count: 1, perMs: 1, per: 1 } }, "limit.rate.per is not known; did you mean perMs?"],
  ];

  promise("a broken limit is invalid, in a definition and a handler, and names what is broken (F-23, F-24)", async (setup) => {
    for (const [given, message] of broken) {
      const limit = given as LimitSpec;
      let refusal: unknown;
      try {
        defineProcess({ name: "job", limit, run: () => {} });
      } catch (error) {
        refusal = error;
      }
      expect(isHoldfastError(refusal) && [refusal.code, refusal.message]).toEqual(["invalid", `definition.${message}`]);
      await refused(setup.open({ handlers: { job: { run: () => {}, limit } } }), "invalid", `handlers.job.${message}`);
    }
  });
}
