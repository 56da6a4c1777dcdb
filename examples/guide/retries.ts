import { createKernel, defineProcess, NonRetryableError } from "holdfast";

let calls = 0;
let isPaid = false;

/** A service that is down at its first two calls, and answers only who has paid. */
async function translate(text: string, signal: AbortSignal): Promise<string> {
  signal.throwIfAborted();
  calls += 1;
  if (calls < 3) throw new Error("the service is down");
  if (!isPaid) throw new NonRetryableError("the bill is not paid");
  return text.toUpperCase();
}

const translation = defineProcess({
  name: "translation",
  async run({ step }) {
    const text = await step("load", () => {
      console.log("load");
      return "hello";
    });
    return await step("translate", ({ signal }) => translate(text, signal), {
      retry: { attempts: 5, backoffMs: 20 },
      timeoutMs: 10_000,
    });
  },
});

const kernel = await createKernel({ name: "guide-retries", processes: [translation], log: false });
const job = await kernel.start(translation, { id: "translation-1" });

const outcome = await job.outcome();
console.log(outcome.type === "failure" && outcome.message, `after ${calls} calls`);

isPaid = true;
await job.restart();
console.log(await job.result(), `after ${calls} calls`);
await kernel.close();
