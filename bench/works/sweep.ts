import { createKernel } from "holdfast";
import { quantile } from "../measure.js";
import { tally } from "../tally.js";
import { CROWD_HANDLER, crowd } from "../ways/crowd.js";
import type { Variant, Work } from "../work.js";

export const sweep: Work = {
  name: "sweep",
  title: "Recovery sweep: 1,000 live among 1,000,000 ended processes",
  about:
    "A kernel is opened on what another one left, and its loop looks at everything that is there to be gone on with: from the call of " +
    "`createKernel` to its first `sweep` event. 1,000 processes run, which this host has a handler for and another owner holds. The floor is the " +
    "same in a database that holds these 1,000 alone. Of an ended process there are the rows that a sweep could come upon, its own and its lease's: its " +
    "events would only make the database slow to fill. The heap is measured from before the opening, after a collection, to the sweep's end, without one. " +
    "Counted beside it: the rows that a host reads until then because 2,000 processes run that it has no handler for.",
  unit: "ms",
  goals: [
    { of: "among the ended", over: "alone", time: 1.3 },
    { fact: "heap that it takes, to that of the sweep alone", atMost: 1.3 },
    { fact: "rows read because 2,000 run that only others have a handler for", atMost: 10 },
  ],
  rounds: 7,
  async open(bench) {
    const live = bench.size(1_000, 10);
    const heaps = new Map<string, number[]>();
    const variantOf = (name: string, database: string): Variant => {
      const grown: number[] = [];
      heaps.set(name, grown);
      return {
        name,
        async run() {
          const before = await bench.heap(true);
          const startedMs = performance.now();
          const handlers = { [CROWD_HANDLER]: () => {} };
          const kernel = await createKernel({ name: database, loop: "inline", handlers });
          const claimed = await new Promise<number>((resolve) => kernel.on("sweep", (swept) => resolve(swept.claimed.length)));
          const ms = performance.now() - startedMs;
          grown.push((await bench.heap(false)) - before);
          await kernel.close();
          if (claimed > 0) throw new Error("the sweep took what another owner holds");
          return ms;
        },
      };
    };
    const alone = await crowd(live, 0);
    const among = await crowd(live, bench.size(1_000_000, 100));
    return {
      variants: [variantOf("among the ended", among), variantOf("alone", alone)],
      async facts() {
        const [most = Number.NaN, least = Number.NaN] = ["among the ended", "alone"].map((name) =>
          quantile(heaps.get(name) ?? [], 0.5),
        );
        return [
          { name: "ended processes", value: bench.size(1_000_000, 100), unit: "" },
          { name: "heap that a sweep among them takes", value: most / 1e6, unit: "MB" },
          { name: "heap that a sweep alone takes", value: least / 1e6, unit: "MB" },
          { name: "heap that it takes, to that of the sweep alone", value: most / least, unit: "x" },
          {
            name: "rows read because 2,000 run that only others have a handler for",
            value: (await rowsRead(bench.size(2_000, 20))) - (await rowsRead(0)),
            unit: "",
          },
        ];
      },
      close: async () => {},
    };
  },
};

/** Rows read from the call of `createKernel` to the first `sweep` event, by a host without a handler for any of the processes. */
async function rowsRead(live: number): Promise<number> {
  const name = await crowd(live, 0);
  const { seen, stop } = tally();
  const kernel = await createKernel({ name, loop: "inline", handlers: { other: () => {} } });
  await new Promise((resolve) => kernel.on("sweep", resolve));
  stop();
  await kernel.close();
  return seen.reduce((sum, { reads }) => sum + reads, 0);
}
