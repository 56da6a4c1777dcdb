import { holdfastLog } from "../ways/holdfast-log.js";
import { EVENT_TYPE } from "../ways/log.js";
import type { Variant, Work } from "../work.js";

export const waits: Work = {
  name: "waits",
  title: "Wait for an event, against the number of waits",
  about:
    "From the call of an append until everybody who waits for it has it. Either one waits for it and the others for events of other " +
    "processes, which it should not cost anything, or all of them wait for it.",
  unit: "ms",
  axis: "waits",
  goals: [],
  async open(bench) {
    const sizes = bench.quick ? [1, 5] : [1, 10, 100, 1_000];
    const others = Array.from({ length: Math.max(...sizes) - 1 }, (_, at) => `other-${at}`);
    const log = await holdfastLog("bench-waits", ["p", ...others]);
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
          // Until all have looked and found nothing.
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
    return {
      variants: sizes.flatMap((at) => [
        variantOf("one waits for it, the others for other processes", at, false),
        variantOf("all wait for it", at, true),
      ]),
      close: log.close,
    };
  },
};
