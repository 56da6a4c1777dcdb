import { createKernel, type KernelOptions } from "holdfast";
import { tally } from "../tally.js";
import { sleepers, suspendedCrowd } from "../ways/sleepers.js";
import type { Variant, Work } from "../work.js";

export const ABOUT =
  "A kernel is opened, and its loop looks at everything: from the call of `createKernel` to its first `sweep` event. It has the handler of " +
  "the suspended processes, which are due in ten days. The floor is the same in a database that holds none.";
export const GOAL = { of: "beside the suspended", over: "alone", time: 1.3 } as const;
export const COUNT = 100_000;

export const suspended: Work = {
  name: "suspended",
  title: "Sweep beside 100,000 suspended processes, in IndexedDB",
  about: `${ABOUT} Counted beside it: the rows that the sweep reads because of them.`,
  unit: "ms",
  goals: [GOAL, { fact: "rows read because of the suspended", atMost: 10 }],
  rounds: 7,
  async open(bench) {
    const count = bench.size(COUNT, 100);
    const beside = await suspendedCrowd(count);
    const alone = await suspendedCrowd(0);
    return {
      variants: [sweepOf(GOAL.of, { name: beside }), sweepOf(GOAL.over, { name: alone })],
      async facts() {
        const value = (await rowsRead(beside)) - (await rowsRead(alone));
        return [
          { name: "suspended processes", value: count, unit: "" },
          { name: "rows read because of the suspended", value, unit: "" },
        ];
      },
      close: async () => {},
    };
  },
};

export function sweepOf(name: string, on: Pick<KernelOptions, "name" | "storage">): Variant {
  return {
    name,
    async run() {
      const startedMs = performance.now();
      const kernel = await createKernel({ ...on, loop: "inline", handlers: sleepers });
      await new Promise((resolve) => kernel.on("sweep", resolve));
      const ms = performance.now() - startedMs;
      await kernel.close();
      return ms;
    },
  };
}

async function rowsRead(name: string): Promise<number> {
  const { seen, stop } = tally();
  await sweepOf("", { name }).run();
  stop();
  return seen.reduce((sum, { reads }) => sum + reads, 0);
}
