import { createKernel, NonRetryableError } from "holdfast";

let calls = 0;

/** A model that fails at its first call, and does not take every question. */
async function askModel(question: string): Promise<string> {
  if (question === "") throw new NonRetryableError("there is nothing to answer");
  calls += 1;
  if (calls === 1) throw new Error("the network is down");
  return `the answer to ${question}`;
}

const kernel = await createKernel({
  name: "guide-failures",
  turnRetry: { attempts: 5, backoffMs: 20 },
  log: false,
  async turns(turn) {
    const question = String(turn.messages.at(-1)?.content);
    turn.append({ role: "assistant", content: await turn.step("model", () => askModel(question)) });
  },
});
kernel.on("fault", ({ area, message, error }) => console.log(area, String(error ?? message)));

const session = await kernel.session("chat-1");

const good = await session.submit({ inputType: "prompt", text: "life" });
console.log((await session.outcome(good)).outcome);

const bad = await session.submit({ inputType: "prompt", text: "" });
const { outcome, error } = await session.outcome(bad);
console.log(outcome, error);

await kernel.close();
