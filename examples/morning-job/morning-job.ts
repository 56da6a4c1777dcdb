import { defineProcess, type ScheduleSpec, typed } from "holdfast";

const DAY_MS = 24 * 60 * 60_000;

/** What the job does outside the database. Yours is a `fetch` and a call of your service. */
export interface Outside {
  fetchPage(url: string, signal: AbortSignal): Promise<string>;
  /** Publishes once per key, however often it is called. */
  publish(pages: readonly string[], idempotencyKey: string): Promise<void>;
}

/** Fetches pages, three at a time, waits two days for an approval, and publishes. */
export const morningJob = ({ fetchPage, publish }: Outside) =>
  defineProcess({
    name: "morning-job",
    input: typed<{ urls: string[] }>(),
    signals: { approved: typed<{ by: string }>() },
    async run({ args, all, step, waitForSignal }) {
      const fetched = (url: string) =>
        step(url, ({ signal }) => fetchPage(url, signal), { retry: { attempts: 5, backoffMs: 1_000 }, timeoutMs: 30_000 });
      const pages = await all(args.urls, fetched, { concurrency: 3 });

      const approval = await waitForSignal("approved", { timeoutMs: 2 * DAY_MS });
      if (!approval) return { isPublished: false };

      await step("publish", ({ idempotencyKey }) => publish(pages, idempotencyKey), { retry: { attempts: 5 } });
      return { isPublished: true, by: approval.payload.by };
    },
  });

/**
 * Every morning at seven. The last morning that a closed browser missed is made up for by the next tab. While one waits for its approval,
 * the next ones are left out.
 */
export const everyMorning = (urls: string[]): ScheduleSpec => ({
  id: "morning",
  when: { cron: "0 7 * * *", timeZone: "Europe/Paris" },
  start: { name: "morning-job", input: { urls } },
  catchUp: "last",
  overlap: "skip",
});
