import { createKernel } from "holdfast";

/** The model. Yours is somewhere else, and slower. */
async function answer(question: string): Promise<string> {
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  return `I heard: ${question}`;
}

export const kernel = await createKernel({
  name: "example-svelte",
  async turns(turn) {
    const question = String(turn.messages.at(-1)?.content);
    turn.append({ role: "assistant", content: await turn.step("model", () => answer(question)) });
  },
});

// The dev server replaces this module: the kernel with the old handler ends.
if (import.meta.hot) import.meta.hot.dispose(() => kernel.close());
