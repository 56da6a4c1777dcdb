import { createKernel } from "holdfast";
import { deleteBare } from "../bare.js";
import type { Variant, Work } from "../work.js";

const NAME = "bench-signal";
/** A handler in tab B waits for signals, and answers over the channel. */
const JOB = "job";
/** Tab B waits for its events with `waitEventAfter`, and answers over the channel. */
const LOG = "log";

export const signal: Work = {
  name: "signal",
  title: "Signal to a waiting handler in another tab",
  about:
    "Tab A calls `handle.signal`, and the handler in tab B that waits for it goes on and answers over a BroadcastChannel: two writes, since what " +
    "the wait came to is stored before the handler goes on. Beside it tab B waits for an event with `waitEventAfter` and answers: one " +
    "write. Both are measured from the call in A.",
  unit: "ms per signal",
  goals: [{ of: "signal, p95", over: "waitEventAfter, p95", time: 2.2 }],
  tabs: {
    async handle() {
      const channel = new BroadcastChannel(NAME);
      const kernel = await createKernel({
        name: NAME,
        handlers: {
          async job(context) {
            for (;;) {
              await context.waitForSignal("go");
              channel.postMessage("answer");
            }
          },
        },
      });
      // It ends with the tab.
      void (async () => {
        for (let after = 0; ; ) {
          after = (await kernel.processes.waitEventAfter(LOG, "question", after)).sequence;
          channel.postMessage("answer");
        }
      })();
    },
  },
  async open(bench) {
    const kernel = await createKernel({ name: NAME });
    const { processes } = kernel;
    const eventTypes = [{ name: "question" }];
    await processes.registerProcess({ id: LOG, input: { type: "external", metadata: null }, eventTypes });
    const job = await kernel.start("job", { id: JOB });
    const channel = new BroadcastChannel(NAME);
    const tab = await bench.openTab("handle", {});
    const heard = () =>
      new Promise<number>((resolve) => {
        channel.onmessage = ({ data }) => data === "answer" && resolve(performance.now());
      });
    const times = bench.size(100, 3);
    const sampled = (name: string, ask: () => Promise<unknown>): Variant => ({
      name,
      async run() {
        const samples: number[] = [];
        for (let at = 0; at < times; at++) {
          const startedMs = performance.now();
          const answer = heard();
          await ask();
          samples.push((await answer) - startedMs);
          // Time for B to wait again before the next one.
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
        return samples;
      },
    });
    return {
      variants: [
        sampled("signal", () => job.signal("go")),
        sampled("waitEventAfter", () => processes.appendEvent(LOG, { eventType: "question", payload: null })),
      ],
      async close() {
        await tab.close();
        channel.close();
        await kernel.close();
        await deleteBare(NAME);
      },
    };
  },
};
