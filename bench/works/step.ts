import { createKernel } from "holdfast";
import { memoryStorage } from "holdfast/memory";
import { PAYLOAD } from "../ways/log.js";
import type { Variant, Work } from "../work.js";

export const step: Work = {
  name: "step",
  title: "Durable step in memory, in Node",
  about:
    "A handler runs steps one after another, and each step's result is stored before the next one begins. holdfast keeps them in its " +
    "memory storage, durably in SQLite (better-sqlite3) that is opened in memory, too.",
  unit: "ms per step",
  goals: [{ of: "holdfast", over: "durably", speed: "printed" }],
  async open(bench) {
    const count = bench.size(1_000, 10);
    const holdfast: Variant = {
      name: "holdfast",
      async run() {
        let ms = 0;
        const kernel = await createKernel({
          name: "bench-step",
          storage: memoryStorage(),
          handlers: {
            async steps(context) {
              const startedMs = performance.now();
              for (let at = 0; at < count; at++) await context.step(`step-${at}`, () => PAYLOAD);
              ms = performance.now() - startedMs;
              return null;
            },
          },
        });
        await (await kernel.start({ input: { type: "task", name: "steps" } })).result();
        await kernel.close();
        return ms / count;
      },
    };
    const peers = await bench.peers({
      durably: async () => (await import("../peers/durably.js")).durably(count),
    });
    return {
      variants: [holdfast, ...Object.entries(peers).map(([name, run]) => ({ name, run }))],
      close: async () => {},
    };
  },
};
