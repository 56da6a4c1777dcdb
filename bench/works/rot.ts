import { createKernel } from "holdfast";
import { deleteBare } from "../bare.js";
import type { Fact, Variant, Work } from "../work.js";

const FRESH = "bench-rot-fresh";
const WORN = "bench-rot-worn";
const HANDLER = "held";
const RUNNING = 10;
const DAY_MS = 86_400_000;
/** Processes that run and end at the same time. */
const BATCH = 250;

export const rot: Work = {
  name: "rot",
  title: "Ten running processes, after 10,000 others have run",
  about:
    "Chromium leaves an entry of a row in an index when the row changes, and each later read passes it: what has left a range may cost as much as " +
    "what is in it. Ten processes run, and 10,000 others were started, claimed and ended by a kernel's own loop in the same database, each in " +
    "transactions of its own, so that they really were in every index that a running process is in. The floor is a database in which nothing " +
    "but the ten ever was. `listNonTerminal` and a sweep, from the call of `createKernel` to its first `sweep` event by a host that has the handler " +
    "of the ten, which another owner holds. Beforehand a host has swept the database five times; what the first read took before that is counted.",
  unit: "ms",
  goals: [
    // Reads still pass removed entries, faster than at first, until the browser compacts its files.
    { of: "listNonTerminal, after 10,000", over: "listNonTerminal, fresh", time: 4 },
    { of: "sweep, after 10,000", over: "sweep, fresh", time: 2 },
  ],
  async open(bench) {
    const facts: Fact[] = [];
    for (const name of [FRESH, WORN]) await hold(name);
    await runMany(WORN, bench.size(10_000, 20));
    const reader = await createKernel({ name: WORN, loop: "off" });
    const startedMs = performance.now();
    await reader.processes.listNonTerminal();
    facts.push({ name: "the first listNonTerminal, before any sweep", value: performance.now() - startedMs, unit: "ms" });
    await reader.close();
    for (const name of [FRESH, WORN]) await sweepOften(name);

    const kernels = await Promise.all([FRESH, WORN].map((name) => createKernel({ name, loop: "off" })));
    const times = bench.size(20, 1);
    const variants = kernels.flatMap((kernel): Variant[] => {
      const after = kernel.name === FRESH ? "fresh" : "after 10,000";
      return [
        {
          name: `listNonTerminal, ${after}`,
          per: times,
          async run() {
            for (let time = 0; time < times; time++) {
              const { length } = await kernel.processes.listNonTerminal();
              if (length !== RUNNING) throw new Error(`${length} are listed, not ${RUNNING}`);
            }
          },
        },
        {
          name: `sweep, ${after}`,
          async run() {
            const startedMs = performance.now();
            const sweeping = await createKernel({ name: kernel.name, loop: "inline", handlers: { [HANDLER]: () => {} } });
            const claimed = await new Promise<number>((resolve) =>
              sweeping.on("sweep", (swept) => resolve(swept.claimed.length)),
            );
            const ms = performance.now() - startedMs;
            await sweeping.close();
            if (claimed > 0) throw new Error("the sweep took what another owner holds");
            return ms;
          },
        },
      ];
    });
    return {
      variants,
      facts: async () => facts,
      async close() {
        for (const kernel of kernels) await kernel.close();
        for (const name of [FRESH, WORN]) await deleteBare(name);
      },
    };
  },
};

/** Makes ten running processes. Their owner is no host. */
async function hold(name: string): Promise<void> {
  const { processes, close } = await createKernel({ name, loop: "off" });
  for (let at = 0; at < RUNNING; at++) {
    const id = `running-${at}`;
    await processes.registerProcess({ id, input: { type: "task", name: HANDLER } });
    await processes.claimProcessLease(id, "bench", DAY_MS);
  }
  await close();
}

async function runMany(name: string, count: number): Promise<void> {
  // The loop sweeps at its start. The next sweep comes after the kernel closes, unless this takes very long.
  const kernel = await createKernel({
    name,
    loop: "inline",
    durability: "relaxed",
    concurrency: BATCH,
    timings: { sweepMs: 70_000 },
    handlers: { quick: () => {} },
  });
  for (let from = 0; from < count; from += BATCH) {
    const batch = Array.from({ length: Math.min(BATCH, count - from) }, async (_, at) => {
      // Ids that sort among the ten's, as ids made over time would.
      const process = await kernel.start({ id: `running-5-${from + at}`, input: { type: "task", name: "quick" } });
      await process.result();
    });
    await Promise.all(batch);
  }
  await kernel.close();
}

/** Makes as many sweeps as a host in two and a half minutes, in less time. */
async function sweepOften(name: string): Promise<void> {
  const kernel = await createKernel({ name, loop: "inline", timings: { sweepMs: 500 }, handlers: { [HANDLER]: () => {} } });
  for (let time = 0; time < 5; time++) await new Promise((resolve) => kernel.on("sweep", resolve));
  await kernel.close();
}
