// `context.all` of a run that is over, and of a handler that does not await it.
import { afterEach, describe, expect, it } from "vitest";
import { bench, closeBenches, ending, task } from "../../hosts.js";
import { gate, rounds } from "../../rounds.js";

afterEach(closeBenches);

describe("all of a run that is over", () => {
  it("begins no further item, and is refused from then on", async () => {
    const item = gate();
    const begun: number[] = [];
    const told: unknown[] = [];
    const { kernel } = await bench({
      handlers: {
        job: async ({ all }) => {
          const run = async (n: number) => {
            begun.push(n);
            await item.promise;
          };
          await all([1, 2, 3], run, { concurrency: 1 }).catch((error) => told.push(error.code));
          await all([4], run).catch((error) => told.push(error.code));
          await all([], run).catch((error) => told.push(error.code));
        },
      },
    });
    await kernel.start(task("job"));
    await rounds();
    await kernel.close();
    item.open();
    await rounds();
    expect(begun).toEqual([1]);
    expect(told).toEqual(["closed", "closed", "closed"]);
  });
});

describe("all that is not awaited", () => {
  it("is told when its handler ends, and begins no further item then", async () => {
    const item = gate();
    const begun: number[] = [];
    const host = await bench({
      handlers: {
        job: ({ all }) => {
          const run = async (n: number) => {
            begun.push(n);
            await item.promise;
          };
          void all([1, 2], run, { concurrency: 1 });
        },
      },
    });
    const handle = await host.kernel.start(task("job"));
    expect(await ending(handle)).toEqual({ type: "success", value: null });
    item.open();
    await rounds();
    expect(begun).toEqual([1]);
    expect(host.faults).toMatchObject([{ area: "steps", message: "all was not awaited: its handler ended first" }]);
  });
});
