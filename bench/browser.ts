// Runs works in one Chromium: each in one page, and in the tabs that it opens.
import { type Chromium, launchChromium, type Target } from "../test/tabs/chromium.js";
import { type Profile, profiled } from "./profile.js";
import { serveSite } from "./site.js";
import type { Measured } from "./work.js";

export interface Browser {
  readonly version: string;
  /** Each work has its own page, so that no work pays for what another left behind. */
  run(work: string, how: { quick: boolean; variant: string }): Promise<Measured>;
  profile(work: string, how: { quick: boolean; variant: string }): Promise<{ measured: Measured; profile: Profile }>;
  close(): Promise<void>;
}

/** `missing`: peers that are not installed. */
export async function openBrowser({ missing }: { missing: readonly string[] }): Promise<Browser> {
  const tabs = new Map<number, Target>();
  let main: Target | undefined;
  let lastId = 0;
  const site = await serveSite({ peers: missing }, async (what, args) => {
    const tab = tabs.get(args.id as number) as Target;
    if (what === "open") {
      const id = ++lastId;
      tabs.set(id, await newPage(`/?${args.query}`));
      // A hidden tab has slow timers.
      await main?.activate();
      return id;
    }
    if (what === "crash") {
      const crashed = tab.next("Inspector.targetCrashed");
      tab.send("Page.crash").catch(() => undefined);
      await crashed;
      return undefined;
    }
    if (what === "close") {
      tabs.delete(args.id as number);
      return await tab.close();
    }
    if (what === "heap") {
      if (args.collected) await main?.send("HeapProfiler.collectGarbage");
      return (await main?.send("Runtime.getHeapUsage"))?.usedSize;
    }
    throw new Error(`nobody knows how to ${what}`);
  });
  const chromium: Chromium = await launchChromium();

  async function newPage(path: string): Promise<Target> {
    const target = await chromium.newTarget();
    await target.send("Page.enable");
    await target.send("Inspector.enable");
    const loaded = target.next("Page.loadEventFired");
    await target.send("Page.navigate", { url: `${site.origin}${path}` });
    await loaded;
    await evaluate(target, "window.bench.ready");
    return target;
  }

  async function inPage<T>(work: (page: Target) => Promise<T>): Promise<T> {
    const page = await newPage("/");
    main = page;
    try {
      return await work(page);
    } finally {
      await page.close();
      for (const tab of tabs.values()) await tab.close().catch(() => undefined);
      tabs.clear();
    }
  }

  const run = (page: Target, work: string, how: { quick: boolean; variant: string }) =>
    evaluate(page, `window.bench.run(${JSON.stringify({ work, peers: missing.length === 0, ...how })})`) as Promise<Measured>;

  return {
    version: await inPage(async (page) => String((await page.send("Browser.getVersion")).product)),
    run: (work, how) => inPage((page) => run(page, work, how)),
    profile: (work, how) =>
      inPage(async (page) => {
        const { result, profile } = await profiled(page, () => run(page, work, how));
        return { measured: result, profile };
      }),
    async close() {
      await chromium.close();
      await site.close();
    },
  };
}

async function evaluate(target: Target, expression: string): Promise<unknown> {
  const { result, exceptionDetails } = (await target.send("Runtime.evaluate", {
    expression,
    awaitPromise: true,
    returnByValue: true,
  })) as { result: { value?: unknown }; exceptionDetails?: { text: string; exception?: { description?: string } } };
  if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
  return result.value;
}
