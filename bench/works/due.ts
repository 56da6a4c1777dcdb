import { createKernel } from "holdfast";
import { memoryStorage } from "holdfast/memory";
import { quantile } from "../measure.js";
import type { Variant, Work } from "../work.js";

export const due: Work = {
  name: "due",
  title: "How late a timer goes on, in memory, in Node",
  about:
    "Handlers sleep until times that lie within the next second, and note how many milliseconds after it they go on. One kind waits in memory; " +
    "the other was suspended meanwhile, so its process is found, claimed and run again. The floor is the platform's own timer.",
  unit: "ms after its time",
  goals: [
    { of: "in memory", over: "setTimeout", beyondMs: 20 },
    { fact: "suspended, 95th percentile", atMost: 300 },
  ],
  async open(bench) {
    const count = bench.size(100, 5);
    const all: number[] = [];
    const variantOf = (name: string, suspendAfterMs: number, keep: number[]): Variant => ({
      name,
      async run() {
        const late: number[] = [];
        const kernel = await createKernel({
          name: "bench-due",
          storage: memoryStorage(),
          timings: { suspendAfterMs },
          handlers: {
            async timer({ args, sleepUntil }) {
              await sleepUntil("s", args as number);
              late.push(Date.now() - (args as number));
            },
          },
        });
        const atMs = Date.now() + 200;
        const starts = Array.from({ length: count }, (_, at) =>
          kernel.start("timer", { input: atMs + Math.round((at * 800) / count) }),
        );
        for (const handle of await Promise.all(starts)) await handle.result();
        await kernel.close();
        keep.push(...late);
        return late;
      },
    });
    const platform: Variant = {
      name: "setTimeout",
      async run() {
        const timers = Array.from({ length: count }, (_, at) => {
          const atMs = Date.now() + 200 + Math.round((at * 800) / count);
          return new Promise<number>((resolve) => setTimeout(() => resolve(Date.now() - atMs), atMs - Date.now()));
        });
        return await Promise.all(timers);
      },
    };
    return {
      variants: [variantOf("suspended", 0, all), variantOf("in memory", Number.POSITIVE_INFINITY, []), platform],
      facts: async () => [{ name: "suspended, 95th percentile", value: quantile(all, 0.95), unit: "ms" }],
      close: async () => {},
    };
  },
};
