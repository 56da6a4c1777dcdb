import { createKernel } from "holdfast";
import { quantile } from "../measure.js";
import { crowd } from "../ways/crowd.js";
import type { Variant, Work } from "../work.js";

export const sweep: Work = {
  name: "sweep",
  title: "Recovery sweep: 1,000 live among 1,000,000 ended processes",
  about:
    "A kernel is opened on what another one left, and its loop looks at everything that is there to be gone on with: from the call of " +
    "`createKernel` to its first `sweep` event. 1,000 processes run, none of which this host has a handler for. The floor is the same in a " +
    "database that holds these 1,000 alone. Of an ended process there are the rows that a sweep could come upon, its own and its lease's: its " +
    "events would only make the database slow to fill. The heap is measured from before the opening, after a collection, to the sweep's end, without one.",
  unit: "ms",
  goals: [
    { of: "among the ended", over: "alone", time: 1.3 },
    { fact: "heap that it takes, to that of the sweep alone", atMost: 1.3 },
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
          const kernel = await createKernel({ name: database, loop: "inline" });
          const skipped = await new Promise<number>((resolve) => kernel.on("sweep", ({ skipped: ids }) => resolve(ids.length)));
          const ms = performance.now() - startedMs;
          grown.push((await bench.heap(false)) - before);
          await kernel.close();
          if (skipped !== live) throw new Error(`the sweep saw ${skipped} processes, not ${live}`);
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
        ];
      },
      close: async () => {},
    };
  },
};
