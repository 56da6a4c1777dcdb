import { findChromium } from "../../scripts/chromium.mjs";
import { type Chromium, launchChromium, type Target } from "../tabs/chromium.js";
import { bounded, busiest, type Engine, type Page } from "./engine.js";

interface Evaluated {
  result: { value: string };
  exceptionDetails?: { text: string; exception?: { description?: string } };
}

export const chromium: Engine = {
  name: "chromium",
  missing: async () =>
    (await findChromium())
      ? undefined
      : "Chromium or Chrome (apt-get install --no-install-recommends chromium), or name it by HOLDFAST_CHROMIUM",

  async launch() {
    let browser = await launchChromium();
    const { product } = (await browser.send("Browser.getVersion")) as { product: string };
    return {
      version: product.replace(/^Headless/, "").replace("/", " "),
      newTab: async () => pageOf(browser, await browser.newTarget()),
      async crash() {
        browser = await browser.crash();
      },
      close: () => browser.close(),
    };
  },
};

async function pageOf(browser: Chromium, target: Target): Promise<Page> {
  await target.send("Page.enable");
  await target.send("Inspector.enable");
  const evaluate: Page["evaluate"] = async (expression) => {
    const call = target.send("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
    const { result, exceptionDetails } = (await bounded("a call", call)) as unknown as Evaluated;
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  };
  return {
    async load(url) {
      const loaded = target.next("Page.loadEventFired");
      await target.send("Page.navigate", { url });
      await bounded(`loading ${url}`, loaded);
    },
    evaluate,
    async kill() {
      const crashed = target.next("Inspector.targetCrashed");
      target.send("Page.crash").catch(() => undefined);
      await bounded("a kill", crashed);
    },
    process: () => busiest(() => renderers(browser), evaluate),
    close: () => bounded("closing", target.close()),
  };
}

/** The processes that run pages, and the processor time that each has used. */
async function renderers(browser: Chromium): Promise<Map<number, number>> {
  const { processInfo } = (await browser.send("SystemInfo.getProcessInfo")) as {
    processInfo: { type: string; id: number; cpuTime: number }[];
  };
  return new Map(processInfo.flatMap(({ type, id, cpuTime }) => (type === "renderer" ? [[id, cpuTime * 1_000]] : [])));
}
