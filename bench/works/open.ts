import { Dexie } from "dexie";
import { createKernel, type KernelOptions } from "holdfast";
import { answered, deleteBare, openBare } from "../bare.js";
import { register } from "../ways/holdfast-log.js";
import type { Variant, Work } from "../work.js";

const NAME = "bench-open";

export const open: Work = {
  name: "open",
  title: "Open an existing database, to the first read",
  about:
    "The modules are loaded and the database exists, with 100 processes. The floor opens that same database, with all its tables, and gets " +
    "one row of it; `createKernel` opens it and `getProcess` reads that process. Closing is not measured.",
  unit: "ms",
  goals: [
    { of: "holdfast", over: "bare", time: 1.5 },
    { of: "holdfast, without loop", over: "bare", time: "printed" },
    { of: "holdfast", over: "Dexie", time: "printed" },
  ],
  async open(bench) {
    const kernel = await createKernel({ name: NAME });
    await Promise.all(Array.from({ length: 100 }, (_, at) => register(kernel, `p-${at}`)));
    await kernel.close();
    const dexie = () => {
      const database = new Dexie("bench-open-dexie");
      database.version(1).stores({ processes: "processId, [state+processId]", events: "[processId+sequence]" });
      return database;
    };
    const first = dexie();
    await first.table("processes").put({ processId: "p-0", state: "running" });
    first.close();
    const peers = await bench.peers({
      PGlite: async () => (await import("../peers/pglite-open.js")).pgliteOpen("bench-open-pglite"),
      RxDB: async () => (await import("../peers/rxdb-open.js")).rxdbOpen("bench-open-rxdb"),
    });

    const times = bench.size(5, 1);
    /** Every time from nothing to a read; `once` gives what closes it. */
    const opened = (name: string, once: () => Promise<() => unknown>): Variant => ({
      name,
      async run() {
        let ms = 0;
        for (let at = 0; at < times; at++) {
          const startedMs = performance.now();
          const close = await once();
          ms += performance.now() - startedMs;
          await close();
        }
        return ms / times;
      },
    });
    const withKernel = (options: Partial<KernelOptions>) => async () => {
      const made = await createKernel({ name: NAME, ...options });
      if (!(await made.processes.getProcess("p-0"))) throw new Error("the process is not there");
      return () => made.close();
    };
    return {
      variants: [
        opened("holdfast", withKernel({})),
        opened("holdfast, without loop", withKernel({ loop: "off" })),
        opened("bare", async () => {
          const database = await openBare(NAME);
          await answered(database.transaction("processes").objectStore("processes").get("p-0"));
          return () => database.close();
        }),
        opened("Dexie", async () => {
          const database = dexie();
          await database.table("processes").get("p-0");
          return () => database.close();
        }),
        ...Object.entries(peers).map(([name, peer]) => opened(name, peer.open)),
      ],
      async close() {
        for (const { drop } of Object.values(peers)) await drop();
        await deleteBare("bench-open-dexie");
        await deleteBare(NAME);
      },
    };
  },
};
