import { createKernel, type Kernel } from "holdfast";
import { crowd } from "../ways/crowd.js";
import type { Variant, Work } from "../work.js";

export const list: Work = {
  name: "list",
  title: "List what runs, against live and ended processes",
  about:
    "`listNonTerminal()` of a kernel: what it costs with more ended processes (beside 1,000 that run), and with more that run (beside 1,000 " +
    "that have ended). Of an ended process there are its own row and its lease's, as the kernel wrote them.",
  unit: "ms",
  axis: "processes",
  goals: [],
  rounds: 7,
  async open(bench) {
    const kernels: Kernel[] = [];
    const variantOf = async (name: string, at: number, live: number, ended: number): Promise<Variant> => {
      const kernel = await createKernel({ name: await crowd(live, ended), loop: "off" });
      kernels.push(kernel);
      return {
        name,
        at,
        async run() {
          const { length } = await kernel.processes.listNonTerminal();
          if (length !== live) throw new Error(`${length} are listed, not ${live}`);
        },
      };
    };
    const thousand = bench.size(1_000, 10);
    const variants: Variant[] = [];
    for (const ended of bench.quick ? [10, 100] : [1_000, 10_000, 100_000, 1_000_000])
      variants.push(await variantOf("ended, beside 1,000 that run", ended, thousand, ended));
    for (const live of bench.quick ? [1, 10] : [1, 10, 100, 1_000, 10_000])
      variants.push(await variantOf("running, beside 1,000 that have ended", live, live, thousand));
    return {
      variants,
      async close() {
        for (const kernel of kernels) await kernel.close();
      },
    };
  },
};
