import type { ProcessContext, ProcessHandler } from "../../../kernel/process/context/context.js";
import { comes } from "../../kit/comes.fixture.js";
import { casesOn, count, type OpenFixture, type Runner, refused, type Setup, success } from "../../kit/fixture.js";

/** `context.all`: many things at once, in bounds. */
export function stepAllCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise } = casesOn(open, runner);

  const outcomeOf = async (setup: Setup, job: ProcessHandler) => {
    const kernel = await setup.open({ loop: "inline", handlers: { job } });
    await kernel.start("job", { id: "p" });
    return await kernel.processes.awaitProcess("p");
  };
  const rounds = async (count: number) => {
    for (let round = 0; round < count; round++) await new Promise((resolve) => setTimeout(resolve, 0));
  };

  promise("all: results in the order of the items, never more at once than asked for, begun in order", async (setup) => {
    let now = 0;
    let most = 0;
    const begun: number[] = [];
    const output = await outcomeOf(setup, ({ all, step }) =>
      all(
        count(10),
        (item, at) =>
          step(`${item}`, async () => {
            begun.push(at);
            most = Math.max(most, ++now);
            await rounds(11 - item);
            now--;
            return item * 10;
          }),
        { concurrency: 3 },
      ),
    );
    expect(output).toEqual(success(count(10).map((item) => item * 10)));
    expect([most, begun]).toEqual([3, count(10).map((item) => item - 1)]);
  });

  promise("all: without a bound all are begun at once; no items give none", async (setup) => {
    let most = 0;
    const output = await outcomeOf(setup, async ({ all }) => {
      let now = 0;
      const run = async (item: number) => {
        most = Math.max(most, ++now);
        await rounds(2);
        return item;
      };
      return [await all(count(50), run), await all([], run)];
    });
    expect(output).toEqual(success([count(50), []]));
    expect(most).toBe(50);
  });

  promise("all: the first rejection stops new ones, and is thrown when those begun have ended", async (setup) => {
    const log: string[] = [];
    const first = new Error("the first");
    const output = await outcomeOf(setup, async ({ all }) => {
      const run = async (item: string) => {
        log.push(`begin ${item}`);
        await rounds(item === "b" ? 2 : item === "a" ? 4 : 6);
        log.push(`end ${item}`);
        if (item === "b") throw first;
        if (item === "a") throw new Error("the second");
      };
      await all(["a", "b", "c", "d", "e"], run, { concurrency: 3 }).catch((error) => log.push(`thrown ${error === first}`));
    });
    expect(output).toEqual(success(null));
    expect(log).toEqual(["begin a", "begin b", "begin c", "end b", "end a", "end c", "thrown true"]);
  });

  promise("all: a run that throws at once rejects it, and holes of a list are items", async (setup) => {
    const thrown = new Error("at once");
    const seen: unknown[] = [];
    const output = await outcomeOf(setup, async ({ all }) => {
      const sparse = new Array<number>(3);
      sparse[1] = 1;
      const took = await all(sparse, async (item, at) => [item ?? null, at]);
      const fails = (item: number): Promise<never> => {
        seen.push(item);
        throw thrown;
      };
      return [took, await all([1, 2], fails, { concurrency: 1 }).catch((error) => error === thrown)];
    });
    expect(output).toEqual(
      success([
        [
          [null, 0],
          [1, 1],
          [null, 2],
        ],
        true,
      ]),
    );
    expect(seen).toEqual([1]);
  });

  promise("all: what breaks a rule is refused by name, and nothing is begun", async (setup) => {
    let calls = 0;
    const run = async () => ++calls;
    const wrong: [args: unknown[], ...fragments: string[]][] = [
      [[undefined, run], "items"],
      [["abc", run], "items"],
      [[new Set([1]), run], "items"],
      [[{ length: 1, 0: 1 }, run], "items"],
      [[new Array(2 ** 32 - 1), run], "items", "1000000"],
      [[[1], undefined], "run"],
      [[[1], "run"], "run"],
      [[[1], run, null], "options"],
      [[[1], run, { concurency: 2 }], "concurency is no option of all", "concurrency"],
      ...[0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, "2", null].map((concurrency): [unknown[], string] => [
        [[1], run, { concurrency }],
        "options.concurrency",
      ]),
      [[[], run, { concurrency: 0 }], "options.concurrency"],
    ];
    const output = await outcomeOf(setup, async ({ all }) => {
      for (const [args, ...fragments] of wrong)
        await refused((all as (...given: unknown[]) => Promise<unknown>)(...args), "invalid", ...fragments);
      return [calls, await all([1], run, { concurrency: undefined } as never)];
    });
    expect(output).toEqual(success([0, [1]]));
  });

  promise("all: a later owner runs again only what is no stored step", async (setup) => {
    const ran: string[] = [];
    let isBroken = true;
    const job = ({ all, step }: ProcessContext) =>
      all(
        ["a", "b", "c"],
        (key) =>
          step(key, () => {
            ran.push(key);
            return isBroken && key === "c" ? new Promise<never>(() => {}) : key;
          }),
        { concurrency: 2 },
      );
    const first = await setup.open({ loop: "inline", handlers: { job } });
    await first.start("job", { id: "p" });
    await comes(() => ran.length === 3, "the last step");
    await first.close();
    isBroken = false;
    const second = await setup.open({ loop: "inline", handlers: { job } });
    expect(await second.processes.awaitProcess("p")).toEqual(success(["a", "b", "c"]));
    expect(ran).toEqual(["a", "b", "c", "c"]);
  });
}
