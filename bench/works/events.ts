import { bareLog } from "../ways/bare-log.js";
import { dexieLog } from "../ways/dexie-log.js";
import { holdfastLog } from "../ways/holdfast-log.js";
import { idbLog } from "../ways/idb-log.js";
import type { Log } from "../ways/log.js";
import type { Work } from "../work.js";

export const events: Work = {
  name: "events",
  title: "Read 1,000 of 100,000 events after a cursor",
  about: "The events behind a sequence in the middle of a process's log. The floor is one bare `getAll` on that range.",
  unit: "ms per read",
  goals: [
    { of: "holdfast", over: "bare", time: 1.15 },
    { of: "holdfast", over: "Dexie", speed: "printed" },
    { of: "holdfast", over: "RxDB", speed: "printed" },
    { of: "holdfast", over: "PGlite", speed: "printed" },
  ],
  async open(bench) {
    const count = bench.size(100_000, 100);
    const limit = bench.size(1_000, 10);
    const per = bench.size(10, 1);
    const logs: Record<string, Log> = {
      holdfast: await holdfastLog("bench-events", ["p"]),
      bare: await bareLog("bench-events-bare", []),
      idb: await idbLog("bench-events-idb", []),
      Dexie: await dexieLog("bench-events-dexie", []),
      ...(await bench.peers({
        PGlite: async () => (await import("../peers/pglite-log.js")).pgliteLog("bench-events-pglite", []),
      })),
    };
    for (const log of Object.values(logs)) await log.fill("p", count);
    const alone = await bench.peers({
      RxDB: async () => (await import("../peers/rxdb-log.js")).rxdbLog("bench-events-rxdb", "p", count),
    });
    const reads = {
      ...Object.fromEntries(
        Object.entries(logs).map(([name, log]) => [name, (after: number) => log.after("p", after, limit)] as const),
      ),
      ...Object.fromEntries(Object.entries(alone).map(([name, log]) => [name, (after: number) => log.after(after, limit)])),
    };
    // Each query differs from the last one: RxDB caches the answers.
    let begins = 0;
    return {
      variants: Object.entries(reads).map(([name, read]) => ({
        name,
        per,
        async run() {
          for (let at = 0; at < per; at++) {
            begins = (begins + 997) % (count - limit);
            const { length } = await read(begins);
            if (length !== limit) throw new Error(`${name} read ${length} events`);
          }
        },
      })),
      async close() {
        for (const log of [...Object.values(logs), ...Object.values(alone)]) await log.close();
      },
    };
  },
};
