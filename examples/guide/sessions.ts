import { createKernel } from "holdfast";

const kernel = await createKernel({
  name: "guide-sessions",
  async turns(turn, { sessionId }) {
    const prompt = turn.messages.at(-1);
    const answer = await turn.step("model", async () => `You said "${prompt?.content}" in ${sessionId}.`);
    turn.append({ role: "assistant", content: answer });
  },
});

const session = await kernel.session("chat-1");
const prompt = await session.submit({ inputType: "prompt", text: "Hello", idempotencyKey: "click-1" });
const { outcome } = await session.outcome(prompt);
console.log(outcome);

for (const { role, content } of await session.messages()) console.log(`${role}: ${content}`);

await session.close();
await kernel.close();
