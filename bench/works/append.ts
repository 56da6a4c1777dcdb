import { bareLog } from "../ways/bare-log.js";
import { dexieLog } from "../ways/dexie-log.js";
import { holdfastLog } from "../ways/holdfast-log.js";
import { idbLog } from "../ways/idb-log.js";
import type { Log } from "../ways/log.js";
import type { Work } from "../work.js";

export const append: Work = {
  name: "append",
  title: "Append one event, awaited one at a time",
  about:
    "Each append is awaited before the next one is called. The floor is one bare transaction: read the process's row, decide, put the " +
    "row and the event, explicit commit, strict durability; no replay key, no lease, no index. `bare, same indexes` keeps the " +
    "indexes that the kernel's table of processes has. The event's type is a declared one. A kernel tells the other tabs of each append, and its " +
    "loop's worker hears it: what that costs shows beside a kernel without loop, and one without loop and channel.",
  unit: "ms per append",
  goals: [
    { of: "holdfast", over: "bare", speed: 0.9 },
    { of: "holdfast, no loop", over: "bare", speed: "printed" },
    { of: "holdfast, no loop, no channel", over: "bare", speed: "printed" },
    { of: "holdfast", over: "bare, same indexes", speed: "printed" },
    { of: "holdfast", over: "Dexie", speed: "printed" },
    { of: "holdfast", over: "PGlite", speed: "printed" },
  ],
  rounds: 15,
  leftOut: {
    RxDB: "its collections have no transaction in common: the row and the event cannot be stored together",
    "@coji/durably": "in a browser it needs SQLite on OPFS, which is no IndexedDB; it is measured in Node",
  },
  async open(bench) {
    const ids = ["p"];
    const logs: Record<string, Log> = {
      holdfast: await holdfastLog("bench-append", ids),
      "holdfast, no loop": await holdfastLog("bench-append-off", ids, { loop: "off" }),
      "holdfast, no loop, no channel": await holdfastLog("bench-append-deaf", ids, { loop: "off", channel: false }),
      bare: await bareLog("bench-append-bare", ids),
      "bare, same indexes": await bareLog("bench-append-indexed", ids, { indexed: true }),
      idb: await idbLog("bench-append-idb", ids),
      Dexie: await dexieLog("bench-append-dexie", ids),
      ...(await bench.peers({
        PGlite: async () => (await import("../peers/pglite-log.js")).pgliteLog("bench-append-pglite", ids),
      })),
    };
    return {
      variants: Object.entries(logs).map(([name, log]) => {
        // An append of PGlite takes a hundred times as long as the others.
        const per = name === "PGlite" ? bench.size(5, 1) : bench.size(100, 3);
        return {
          name,
          per,
          async run() {
            for (let at = 0; at < per; at++) await log.append("p");
          },
        };
      }),
      async close() {
        for (const log of Object.values(logs)) await log.close();
      },
    };
  },
};
