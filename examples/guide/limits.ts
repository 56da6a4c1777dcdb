import { createKernel, defineProcess, typed } from "holdfast";

const running = new Map<string, number>();
let most = 0;

/** A download that takes a moment, and counts how many of one site run beside it. */
async function download(site: string): Promise<void> {
  const now = (running.get(site) ?? 0) + 1;
  running.set(site, now);
  most = Math.max(most, now);
  await new Promise((resolve) => setTimeout(resolve, 20));
  running.set(site, now - 1);
}

const crawl = defineProcess({
  name: "crawl",
  input: typed<{ site: string; page: number }>(),
  // Two pages of a site at a time, and ten of them in a second, in all tabs together.
  limit: { key: ({ site }) => `crawl ${site}`, concurrency: 2, rate: { count: 10, perMs: 1_000 } },
  async run({ args, step }) {
    await step("download", () => download(args.site));
  },
});

const kernel = await createKernel({ name: "guide-limits", processes: [crawl] });
const pages = await Promise.all(
  ["a.example", "b.example"].flatMap((site) =>
    [1, 2, 3, 4].map((page) => kernel.start(crawl, { id: `${site}-${page}`, input: { site, page } })),
  ),
);
await Promise.all(pages.map((page) => page.result()));
console.log(`${pages.length} pages, never more than ${most} of a site at a time`);
await kernel.close();
