import { createKernel, defineProcess, typed } from "holdfast";
import { z } from "zod";

interface Page {
  url: string;
  title: string;
  fetchedAt?: string;
}

const fetchPages = defineProcess({
  name: "fetch-pages",
  // Checked at the start and again before each run. What the schema makes of it is `context.args`.
  input: z.object({ urls: z.array(z.string().url()), limit: z.coerce.number().default(2) }),
  events: { fetched: typed<{ url: string }>() },
  async run(context) {
    const { urls, limit } = context.args;
    const pages: Page[] = [];
    for (const url of urls.slice(0, limit)) {
      // An interface is stored like any object of JSON; the step gives what is read back.
      const page = await context.step(url, async (): Promise<Page> => ({ url, title: `The page at ${url}` }));
      await context.emit("fetched", { url });
      pages.push(page);
    }
    return pages;
  },
});

const kernel = await createKernel({ name: "guide-types", processes: [fetchPages] });
const job = await kernel.start(fetchPages, { input: { urls: ["https://a.example", "https://b.example", "https://c.example"] } });
const pages = await job.result();
console.log(pages.map(({ title }) => title));

for await (const { eventType, payload } of job.events()) if (eventType === "fetched") console.log(payload);
await kernel.close();
