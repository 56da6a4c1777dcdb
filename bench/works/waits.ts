import { answered, openBare } from "../bare.js";
import { tally } from "../tally.js";
import { bareLog } from "../ways/bare-log.js";
import { holdfastLog } from "../ways/holdfast-log.js";
import { EVENT_TYPE } from "../ways/log.js";
import type { Fact, Variant, Work } from "../work.js";

const ONE = "one waits for it, the others for other processes";
const ALL = "all wait for it";
const BARE = "bare, an append and as many gets";
const POLL_MS = 200;

export const waits: Work = {
  name: "waits",
  title: "Wait for an event, against the number of waits",
  about:
    "From the call of an append until everybody who waits for it has it. Either one waits for it and the others for events of other " +
    "processes, which it should not cost anything, or all of them wait for it. The floor is a bare append and then, in one transaction, a bare " +
    `\`get\` for each wait. Counted beside it: the transactions in which 500 waits read while nothing happens, at a poll of ${POLL_MS} ms.`,
  unit: "ms",
  axis: "waits",
  goals: [
    { of: ALL, over: BARE, time: 0.5, at: 1_000 },
    // A poll of 200 ms is five a second.
    { fact: "reads a second of 500 waits for one process", atMost: 6 },
  ],
  async open(bench) {
    const sizes = bench.quick ? [1, 5] : [1, 10, 100, 1_000];
    const others = Array.from({ length: Math.max(...sizes) - 1 }, (_, at) => `other-${at}`);
    const log = await holdfastLog("bench-waits", ["p", ...others]);
    const bare = await bareLog("bench-waits-bare", ["p"]);
    const database = await openBare("bench-waits-bare");
    const { processes } = log.kernel;
    let sequence = 0;
    const wait = (processId: string, after: number, signal: AbortSignal) =>
      processes.waitEventAfter(processId, EVENT_TYPE, after, { signal });
    const times = bench.size(10, 1);
    const variantOf = (name: string, at: number, isForAll: boolean): Variant => ({
      name,
      at,
      async run() {
        const ending = new AbortController();
        const idle = isForAll ? [] : others.slice(0, at - 1).map((id) => wait(id, 0, ending.signal).catch(() => undefined));
        let ms = 0;
        for (let time = 0; time < times; time++) {
          const woken = Array.from({ length: isForAll ? at : 1 }, () => wait("p", sequence, ending.signal));
          // Time for all waits to look once and find nothing.
          await new Promise((resolve) => setTimeout(resolve, bench.size(50, 10) + at / 4));
          const startedMs = performance.now();
          await Promise.all([log.append("p"), ...woken]);
          ms += performance.now() - startedMs;
          sequence++;
        }
        ending.abort();
        await Promise.all(idle);
        return ms / times;
      },
    });
    const floorOf = (at: number): Variant => ({
      name: BARE,
      at,
      per: times,
      async run() {
        for (let time = 0; time < times; time++) {
          await bare.append("p");
          const table = database.transaction("processes").objectStore("processes");
          await Promise.all(Array.from({ length: at }, () => answered(table.get("p"))));
        }
      },
    });
    return {
      variants: sizes.flatMap((at) => [variantOf(ONE, at, false), variantOf(ALL, at, true), floorOf(at)]),
      async facts() {
        const count = bench.size(500, 5);
        const forMs = bench.size(5_000, 2 * POLL_MS);
        return [
          await idleReads("reads a second of 500 waits for one process", new Array(count).fill("p"), forMs),
          await idleReads("reads a second of 500 waits for 500 processes", ["p", ...others].slice(0, count), forMs),
        ];
      },
      async close() {
        await log.close();
        database.close();
        await bare.close();
      },
    };
  },
};

/** Counts the reads of a separate kernel that only waits. */
async function idleReads(name: string, processIds: readonly string[], forMs: number): Promise<Fact> {
  const log = await holdfastLog("bench-waits-idle", [...new Set(processIds)], { loop: "off", timings: { pollMs: POLL_MS } });
  const ending = new AbortController();
  const { signal } = ending;
  const waits = processIds.map((id) => log.kernel.processes.waitEventAfter(id, EVENT_TYPE, 0, { signal }).catch(() => undefined));
  // Time for all waits to look once, even with work left over from the opening.
  await new Promise((resolve) => setTimeout(resolve, 5 * POLL_MS));
  const { seen, stop } = tally();
  const startedMs = performance.now();
  await new Promise((resolve) => setTimeout(resolve, forMs));
  stop();
  const seconds = (performance.now() - startedMs) / 1_000;
  ending.abort();
  await Promise.all(waits);
  await log.close();
  return { name, value: seen.length / seconds, unit: "" };
}
