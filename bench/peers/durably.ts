import { createDurably, defineJob } from "@coji/durably";
import SQLite from "better-sqlite3";
import { SqliteDialect } from "kysely";
import { z } from "zod";
import { PAYLOAD } from "../ways/log.js";

/** Resolves with the time of one step, in milliseconds. */
export function durably(count: number): () => Promise<number> {
  return async () => {
    let ms = 0;
    const steps = defineJob({
      name: "steps",
      input: z.object({}),
      output: z.object({}),
      async run(step: { run(name: string, work: () => unknown): Promise<unknown> }) {
        const startedMs = performance.now();
        for (let at = 0; at < count; at++) await step.run(`step-${at}`, async () => PAYLOAD);
        ms = performance.now() - startedMs;
        return {};
      },
    });
    const database = new SQLite(":memory:");
    const made = createDurably({
      dialect: new SqliteDialect({ database }),
      pollingIntervalMs: 10,
      preserveSteps: true,
      jobs: { steps },
    });
    await made.init();
    await made.jobs.steps.triggerAndWait({});
    await made.stop();
    await made.db.destroy();
    return ms / count;
  };
}
