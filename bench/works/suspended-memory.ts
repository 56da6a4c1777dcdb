import { createKernel } from "holdfast";
import { memoryStorage } from "holdfast/memory";
import { sleepers, suspend } from "../ways/sleepers.js";
import type { Work } from "../work.js";
import { ABOUT, COUNT, GOAL, sweepOf } from "./suspended.js";

export const suspendedInMemory: Work = {
  name: "suspended-memory",
  title: "Sweep beside 100,000 suspended processes, in memory, in Node",
  about: ABOUT,
  unit: "ms",
  goals: [GOAL],
  rounds: 7,
  async open(bench) {
    const count = bench.size(COUNT, 100);
    const storage = memoryStorage();
    const kernel = await createKernel({ name: "bench-suspended", storage, handlers: sleepers });
    for (let from = 0; from < count; from += 1_000)
      await suspend(
        kernel,
        Array.from({ length: Math.min(1_000, count - from) }, (_, at) => `sleeper-${from + at}`),
      );
    await kernel.close();
    return {
      variants: [
        sweepOf(GOAL.of, { name: "bench-suspended", storage }),
        sweepOf(GOAL.over, { name: "bench-alone", storage: memoryStorage() }),
      ],
      facts: async () => [{ name: "suspended processes", value: count, unit: "" }],
      close: async () => {},
    };
  },
};
