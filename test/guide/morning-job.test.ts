import { createKernel, type Kernel } from "holdfast";
import { memoryStorage } from "holdfast/memory";
import { manualClock } from "holdfast/simulation";
import { afterEach, expect, it } from "vitest";
import { everyMorning, morningJob } from "../../examples/morning-job/morning-job.js";

const SECOND_MS = 1_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** Seven in the morning in Paris. */
const SEVEN_MS = Date.UTC(2026, 5, 1, 5);
const JOB = `morning@${SEVEN_MS}`;
const URLS = Array.from({ length: 50 }, (_, at) => `https://example.com/${at}`);

const opened: Kernel[] = [];
afterEach(async () => {
  await closeAll();
});

async function closeAll() {
  await Promise.all(opened.splice(0).map((kernel) => kernel.close()));
}

/** A site of which every page fails up to twice, and whose answers take a moment; and a place that counts what is published. */
function createOutside(clock: ReturnType<typeof manualClock>) {
  const failures = new Map(URLS.map((url, at) => [url, at % 3]));
  const fetched: string[] = [];
  const published: string[] = [];
  let running = 0;
  let most = 0;
  return {
    fetched,
    published,
    most: () => most,
    async fetchPage(url: string, signal: AbortSignal) {
      most = Math.max(most, ++running);
      try {
        await new Promise<void>((resolve, reject) => {
          clock.setTimer(resolve, 100);
          signal.addEventListener("abort", () => reject(signal.reason));
        });
      } finally {
        running -= 1;
      }
      const left = failures.get(url) ?? 0;
      failures.set(url, left - 1);
      if (left > 0) throw new Error("the site is busy");
      fetched.push(url);
      return `the page at ${url}`;
    },
    async publish(pages: readonly string[], idempotencyKey: string) {
      expect(pages).toEqual(URLS.map((url) => `the page at ${url}`));
      published.push(idempotencyKey);
    },
  };
}

/** The database of an app that is opened anew each time, and nothing else of it stays. */
function createApp() {
  const clock = manualClock(SEVEN_MS - 5 * SECOND_MS);
  const storage = memoryStorage();
  const outside = createOutside(clock);
  const open = async (processes = [morningJob(outside)]) => {
    const kernel = await createKernel({ name: "morning", processes, storage, clock, loop: "inline", log: false });
    opened.push(kernel);
    return kernel;
  };
  const until = async (isSo: () => boolean | Promise<boolean>) => {
    for (let second = 0; !(await isSo()); second++) {
      expect(second).toBeLessThan(120);
      await clock.advance(SECOND_MS);
    }
  };
  const suspended = async (kernel: Kernel) => (await kernel.process(JOB).record())?.suspended === true;
  const ended = async (kernel: Kernel) => (await kernel.process(JOB).record())?.status.state !== "running";
  return { clock, outside, open, until, suspended, ended };
}

it("every morning 50 pages, three at a time and retried; two days for an approval; published once (F-31)", async () => {
  const { clock, outside, open, until, suspended, ended } = createApp();

  // The tab of the morning puts the schedule, and is closed in the middle of the pages.
  const first = await open();
  await first.schedules.put(everyMorning(URLS));
  await until(() => outside.fetched.length > 20);
  await closeAll();
  expect(outside.fetched.length).toBeLessThan(URLS.length);

  const second = await open();
  await until(() => suspended(second));
  expect([...outside.fetched].sort()).toEqual([...URLS].sort());
  expect(outside.most()).toBe(3);
  await closeAll();

  // The tab of the one who approves has the pages not.
  await clock.advance(2 * DAY_MS - HOUR_MS);
  const third = await open([]);
  // It finds that a morning was missed, and lets it go: the one before still waits.
  await until(async () => (await third.schedules.get("morning"))?.missed === 1);
  await third.process(JOB).signal("approved", { by: "Ada" });
  await closeAll();
  expect(outside.published).toEqual([]);

  const fourth = await open();
  await until(() => ended(fourth));
  expect(await fourth.process(JOB).result()).toEqual({ isPublished: true, by: "Ada" });
  expect(outside.published).toHaveLength(1);
  expect(outside.fetched).toHaveLength(URLS.length);
  expect((await fourth.processes.list()).map(({ id }) => id)).toEqual([JOB]);
  expect(await fourth.schedules.get("morning")).toMatchObject({ lastProcessId: JOB, nextAtMs: SEVEN_MS + 2 * DAY_MS, missed: 1 });
});

it("without an approval nothing is published, and the tab that comes after the two days ends it (F-31)", async () => {
  const { clock, outside, open, until, suspended, ended } = createApp();
  const first = await open();
  await first.schedules.put(everyMorning(URLS.slice(0, 3)));
  await until(() => suspended(first));
  await closeAll();

  await clock.advance(3 * DAY_MS);
  const second = await open();
  await until(() => ended(second));
  expect(await second.process(JOB).result()).toEqual({ isPublished: false });
  expect(outside.published).toEqual([]);
});
