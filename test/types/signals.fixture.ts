import { createKernel, defineProcess, type JsonValue, type ProcessHandle, type ReceivedSignal, typed } from "holdfast";
import { z } from "zod";
import { type Equal, same } from "./equal.js";

interface Verdict {
  by: string;
  note?: string | undefined;
}

const article = defineProcess({
  name: "article",
  signals: {
    decided: z.object({ by: z.string(), at: z.coerce.date() }),
    verdict: typed<Verdict>(),
    poked: typed<null>(),
    maybe: z.number().optional(),
  },
  async run({ waitForSignal, sleep, sleepUntil }) {
    await sleep("a", 1_000);
    await sleepUntil("b", Date.now());
    // @ts-expect-error: a time is a number of milliseconds
    await sleepUntil("b", new Date());
    // @ts-expect-error: the duration is missing
    await sleep("a");
    const decided = await waitForSignal("decided");
    same<Equal<typeof decided, ReceivedSignal<{ by: string; at: Date }>>>();
    const keyed = await waitForSignal("verdict", { key: "k" });
    same<Equal<typeof keyed.payload, Verdict>>();
    const timed = await waitForSignal("poked", { key: "k", timeoutMs: 1_000 });
    same<Equal<typeof timed, ReceivedSignal<null> | undefined>>();
    // @ts-expect-error: it may have timed out
    timed.signalId;
    // @ts-expect-error: no such signal
    await waitForSignal("unknown");
    // @ts-expect-error: no such option
    await waitForSignal("poked", { timeout: 1 });
    return decided.sequence;
  },
});
const silent = defineProcess({
  name: "silent",
  async run({ waitForSignal }) {
    // @ts-expect-error: it declares no signal
    await waitForSignal("any");
  },
});

const kernel = await createKernel({
  name: "signals",
  processes: [article, silent],
  handlers: {
    async free({ waitForSignal }) {
      const any = await waitForSignal("any", { timeoutMs: 5 });
      same<Equal<typeof any, ReceivedSignal<JsonValue> | undefined>>();
    },
  },
});

const started = await kernel.start(article);
await started.signal("decided", { by: "me", at: new Date() });
await started.signal("verdict", { by: "me" }, { signalId: "one" });
await started.signal("poked");
await started.signal("poked", null, { signalId: "two" });
await started.signal("maybe");
await started.signal("maybe", 1);
// @ts-expect-error: a number is no text
await started.signal("verdict", { by: 1 });
// @ts-expect-error: the payload is missing
await started.signal("verdict");
// @ts-expect-error: no such signal
await started.signal("unknown");
// @ts-expect-error: an id is a text
await started.signal("poked", null, { signalId: 1 });
// @ts-expect-error: it declares no signal
await (await kernel.start(silent)).signal("any");

const byId: ProcessHandle = kernel.process(started.id);
await byId.signal("any", new Map());
await byId.signal("any");
await kernel.processes.signal(started.id, "any", { a: 1 }, { signalId: "x" });
/** A typed handle is a handle: what takes any handle takes it. */
const untyped: ProcessHandle<unknown> = started;
await untyped.cancel();
