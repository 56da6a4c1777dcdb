import { createKernel, defineProcess, typed } from "holdfast";

const chapters = ["The tab", "The crash", "The takeover"];

const summarise = defineProcess({
  name: "summarise",
  input: typed<{ book: string }>(),
  async run(context) {
    const summaries: string[] = [];
    for (const chapter of chapters) {
      // The step's result is stored once. A tab that takes over later gets it without another call.
      summaries.push(await context.step(chapter, async () => `${chapter} of "${context.args.book}", in short`));
      context.progress(summaries.length, chapters.length);
    }
    return summaries;
  },
});

const kernel = await createKernel({ name: "guide-start", processes: [summarise] });
const job = await kernel.start(summarise, { id: "summary-1", input: { book: "Tabs" } });
console.log(await job.result());
await kernel.close();
