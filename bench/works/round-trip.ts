import { createKernel } from "holdfast";
import { answered, deleteBare, fill, openBare } from "../bare.js";
import { processRow } from "../ways/log.js";
import type { Variant, Work } from "../work.js";

const NAME = "bench-round-trip";
const BARE = "bench-round-trip-bare";
/** Answered over the channel, and with an event. */
const TOLD = "told";
const STORED = "stored";

export const roundTrip: Work = {
  name: "round-trip",
  title: "Wait across tabs, as a round trip",
  about:
    "Tab A appends an event, tab B waits for it with `waitEventAfter` and answers over a BroadcastChannel; A has waited for the answer. It is " +
    "measured from the moment at which A's append is stored, which is the wait alone, and from its call, with the write in it. The floor " +
    "has no write in it: A posts over the channel, B gets one row, bare, and posts back. In the last variant B answers with an append, for " +
    "which A waits: two writes and two waits.",
  unit: "ms per round trip",
  goals: [
    { of: "holdfast, from the stored append, p95", over: "bare, p95", time: 2 },
    { of: "holdfast, from the call, p95", over: "bare, p95", time: 2 },
    { of: "holdfast, answered with an append, p95", over: "bare, p95", time: "printed" },
  ],
  tabs: {
    async answer() {
      const database = await openBare(BARE);
      const kernel = await createKernel({ name: NAME });
      const channel = new BroadcastChannel(NAME);
      channel.onmessage = async ({ data }) => {
        if (data !== "ask") return;
        await answered(database.transaction("processes").objectStore("processes").get("p"));
        channel.postMessage("answer");
      };
      const follow = async (processId: string, answer: () => unknown) => {
        for (let after = 0; ; ) {
          after = (await kernel.processes.waitEventAfter(processId, "question", after)).sequence;
          await answer();
        }
      };
      // Both end with the tab.
      void follow(TOLD, () => channel.postMessage("answer"));
      void follow(STORED, () => kernel.processes.appendEvent(STORED, { eventType: "answer", payload: null }));
    },
  },
  async open(bench) {
    const database = await openBare(BARE, { processes: { key: "processId" } });
    await fill(database, "processes", 1, () => processRow("p"));
    const kernel = await createKernel({ name: NAME });
    const { processes } = kernel;
    for (const id of [TOLD, STORED]) {
      const eventTypes = [{ name: "question" }, { name: "answer" }];
      await processes.registerProcess({ id, input: { type: "external", metadata: null }, eventTypes });
    }
    const channel = new BroadcastChannel(NAME);
    const tab = await bench.openTab("answer", {});
    const heard = () =>
      new Promise<number>((resolve) => {
        channel.onmessage = ({ data }) => data === "answer" && resolve(performance.now());
      });
    const ask = (processId: string) => processes.appendEvent(processId, { eventType: "question", payload: null });
    const times = bench.size(100, 3);
    const sampled = (name: string, once: () => Promise<number>): Variant => ({
      name,
      async run() {
        const samples: number[] = [];
        for (let at = 0; at < times; at++) {
          samples.push(await once());
          // Time for B to wait again before the next question.
          await new Promise((resolve) => setTimeout(resolve, 10));
        }
        return samples;
      },
    });
    const told = async () => {
      const calledMs = performance.now();
      const answer = heard();
      await ask(TOLD);
      return { calledMs, storedMs: performance.now(), heardMs: await answer };
    };
    return {
      variants: [
        sampled("bare", async () => {
          const startedMs = performance.now();
          const answer = heard();
          channel.postMessage("ask");
          return (await answer) - startedMs;
        }),
        sampled("holdfast, from the stored append", async () => {
          const { storedMs, heardMs } = await told();
          return Math.max(0, heardMs - storedMs);
        }),
        sampled("holdfast, from the call", async () => {
          const { calledMs, heardMs } = await told();
          return heardMs - calledMs;
        }),
        sampled("holdfast, answered with an append", async () => {
          const startedMs = performance.now();
          const { event } = await ask(STORED);
          await processes.waitEventAfter(STORED, "answer", event.sequence);
          return performance.now() - startedMs;
        }),
      ],
      async close() {
        await tab.close();
        channel.close();
        await kernel.close();
        database.close();
        await deleteBare(NAME);
        await deleteBare(BARE);
      },
    };
  },
};
