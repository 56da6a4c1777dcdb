import { openBare } from "../bare.js";
import { appendBare } from "../ways/bare-log.js";
import { holdfastLog } from "../ways/holdfast-log.js";
import type { Variant, Work } from "../work.js";

export const stored: Work = {
  name: "stored",
  title: "Append, against the events that are stored already",
  about:
    "The appends of `append`, to a process that has so many events. Nothing of those is to be touched, so it should cost the same " +
    "everywhere. The bare transaction appends to the kernel's own tables.",
  unit: "ms per append",
  axis: "events stored",
  goals: [],
  rounds: 7,
  async open(bench) {
    const per = bench.size(50, 1);
    const closes: (() => unknown)[] = [];
    const variants: Variant[] = [];
    for (const at of bench.quick ? [1, 10] : [1, 1_000, 100_000, 1_000_000]) {
      const log = await holdfastLog(`bench-stored-${at}`, ["p"], { loop: "off" });
      await log.fill("p", at);
      const database = await openBare(`bench-stored-${at}`);
      closes.push(() => database.close(), log.close);
      const repeated = (name: string, append: () => Promise<unknown>) =>
        variants.push({
          name,
          at,
          per,
          async run() {
            for (let count = 0; count < per; count++) await append();
          },
        });
      repeated("holdfast", () => log.append("p"));
      repeated("bare, same tables", () => appendBare(database, "p"));
    }
    return {
      variants,
      async close() {
        for (const close of closes) await close();
      },
    };
  },
};
