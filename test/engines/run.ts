// The conformance kit and the scenarios, in each browser that this machine has.
import { chromium } from "./chromium.js";
import { type Browser, bounded, type Engine } from "./engine.js";
import { firefox } from "./firefox.js";
import type { Report } from "./kit/kit.js";
import { scenarios } from "./scenarios.js";
import { type Site, serveSite } from "./server.js";
import { webkit } from "./webkit.js";
import { World } from "./world.js";

const engines: readonly Engine[] = [chromium, firefox, webkit];
export const engineNames = engines.map(({ name }) => name);

const SILENCE_MS = 120_000;
const SCENARIO_MS = 180_000;

export interface Counts {
  passed: number;
  failed: number;
  /** Engines that this machine lacks, and scenarios that an engine cannot run. */
  skipped: string[];
}

/** Runs the named engines. `only` limits the run to the scenarios whose name has that text. */
export async function testEngines(names: readonly string[], only?: string): Promise<Counts> {
  const counts: Counts = { passed: 0, failed: 0, skipped: [] };
  const site = await serveSite();
  try {
    for (const engine of engines.filter(({ name }) => names.includes(name))) {
      const missing = await engine.missing();
      if (missing === undefined) await testEngine(engine, site, counts, only);
      else {
        counts.skipped.push(engine.name);
        console.log(`\n== ${engine.name}: skipped; to run it, install ${missing}`);
      }
    }
  } finally {
    await site.close();
  }
  return counts;
}

async function testEngine(engine: Engine, site: Site, counts: Counts, only: string | undefined): Promise<void> {
  let browser: Browser;
  try {
    browser = await engine.launch();
  } catch (error) {
    console.log(`\n== ${engine.name}`);
    return tally(counts, "the browser starts", error);
  }
  console.log(`\n== ${engine.name}: ${browser.version}`);
  const begunMs = performance.now();
  const [passedBefore, failedBefore] = [counts.passed, counts.failed];
  if (only === undefined) await testKit(site, browser, counts);
  for (const { name, needsCrash, run } of scenarios) {
    if (only !== undefined && !name.includes(only)) continue;
    if (needsCrash && !browser.crash) {
      counts.skipped.push(`${engine.name}: ${name}`);
      console.log(`--      ${name}: not here, where nothing outlives the browser`);
      continue;
    }
    const world = new World(site, browser);
    const scenarioMs = performance.now();
    let failure: unknown;
    await bounded(name, run(world), SCENARIO_MS).catch((error) => {
      failure = error;
    });
    await world.end().catch((error) => {
      failure ??= error;
    });
    tally(counts, `${name} (${seconds(scenarioMs)})`, failure);
  }
  await browser.close();
  const [passed, failed] = [counts.passed - passedBefore, counts.failed - failedBefore];
  console.log(`${engine.name}: ${passed} passed, ${failed} failed, in ${seconds(begunMs)}`);
}

/** The output lists only failures: there are hundreds of cases. */
async function testKit(site: Site, browser: Browser, counts: Counts): Promise<void> {
  const begunMs = performance.now();
  let heardMs = begunMs;
  let ended = false;
  let [passed, failed] = [0, 0];
  site.hear("/report", (message) => {
    const report = message as Report;
    heardMs = performance.now();
    if (report.type === "end") ended = true;
    else if (report.error === undefined) passed += 1;
    else {
      failed += 1;
      tally(counts, `kit: ${report.name}`, report.error);
    }
  });
  try {
    const page = await browser.newTab();
    await page.load(`${site.origin}/kit/`);
    while (!ended) {
      if (performance.now() - heardMs > SILENCE_MS) throw new Error(`the kit said nothing for ${SILENCE_MS / 1000} s`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    await page.close();
    if (passed + failed === 0) throw new Error("the kit has no cases");
  } catch (error) {
    tally(counts, "kit", error);
  }
  counts.passed += passed;
  console.log(`kit: ${passed} cases passed, ${failed} failed, in ${seconds(begunMs)}`);
}

const seconds = (sinceMs: number) => `${((performance.now() - sinceMs) / 1_000).toFixed(1)} s`;

function tally(counts: Counts, name: string, failure: unknown): void {
  counts[failure === undefined ? "passed" : "failed"] += 1;
  console.log(`${failure === undefined ? "ok    " : "FAILED"}  ${name}`);
  if (failure === undefined) return;
  const text = failure instanceof Error ? (failure.stack ?? failure.message) : String(failure);
  console.log(text.replace(/^/gm, "        "));
}
