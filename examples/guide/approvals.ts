import { createKernel, defineProcess, typed } from "holdfast";

const TWO_DAYS_MS = 2 * 24 * 60 * 60_000;

const article = defineProcess({
  name: "article",
  input: typed<{ title: string }>(),
  signals: { decided: typed<{ isApproved: boolean; by: string }>() },
  async run({ args, step, waitForSignal }) {
    const draft = await step("draft", () => `A draft of "${args.title}"`);
    const decision = await waitForSignal("decided", { timeoutMs: TWO_DAYS_MS });
    if (!decision?.payload.isApproved) return { isPublished: false };
    const url = await step("publish", () => `https://example.com/${draft.length}`);
    return { isPublished: true, by: decision.payload.by, url };
  },
});

const kernel = await createKernel({ name: "guide-approvals", processes: [article] });
const job = await kernel.start(article, { id: "article-1", input: { title: "Tabs" } });
await kernel.processes.waitEventAfter(job.id, "process.waiting", 0);

// What a page of open decisions shows.
for (const { id, waiting = [] } of await kernel.processes.listNonTerminal())
  for (const { kind, name } of waiting) if (kind === "signal") console.log(id, "waits for", name);

// The buttons: a second click changes nothing, and a second person is told that the decision is made.
const decide = (isApproved: boolean, by: string) => job.signal("decided", { isApproved, by }, { signalId: "decision" });
await decide(true, "Ada");
await decide(true, "Ada");
await decide(false, "Bob").catch((error) => console.log(error.code));
console.log(await job.result());
await kernel.close();
