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
    "one row of it; `createKernel` opens it and `getProcess` reads that process. `Dexie, same tables` is Dexie alone, which opens the database " +
    "for the kernel, too. Closing is not measured, and what it still does in the background has time to end.",
  unit: "ms",
  goals: [
    { of: "holdfast", over: "bare", time: 1.5 },
    { of: "holdfast, without loop", over: "bare", time: "printed" },
    { of: "Dexie, same tables", over: "bare", time: "printed" },
    { of: "holdfast", over: "Dexie, same tables", time: "printed" },
  ],
  rounds: 21,
  async open(bench) {
    const kernel = await createKernel({ name: NAME });
    await Promise.all(Array.from({ length: 100 }, (_, at) => register(kernel, `p-${at}`)));
    await kernel.close();
    const tables = await schemaOf(NAME);
    const dexie = () => {
      const database = new Dexie("bench-open-dexie");
      database.version(1).stores(tables);
      return database;
    };
    const first = dexie();
    await first.table("processes").put({ processId: "p-0", state: "running" });
    first.close();
    const peers = await bench.peers({
      PGlite: async () => (await import("../peers/pglite-open.js")).pgliteOpen("bench-open-pglite"),
      RxDB: async () => (await import("../peers/rxdb-open.js")).rxdbOpen("bench-open-rxdb"),
    });

    /** Times the way from no connection to the first read. `once` returns the function that closes it. */
    const opened = (name: string, once: () => Promise<() => unknown>): Variant => ({
      name,
      async run() {
        const startedMs = performance.now();
        const close = await once();
        const ms = performance.now() - startedMs;
        await close();
        await new Promise((resolve) => setTimeout(resolve, bench.size(150, 0)));
        return ms;
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
        opened("Dexie, same tables", async () => {
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

/** The tables of a database, in Dexie's notation. */
async function schemaOf(name: string): Promise<Record<string, string>> {
  const database = await openBare(name);
  const transaction = database.transaction([...database.objectStoreNames]);
  const word = (path: string | string[] | null) => (Array.isArray(path) ? `[${path.join("+")}]` : `${path}`);
  const tables = [...database.objectStoreNames].map((table) => {
    const store = transaction.objectStore(table);
    const indexes = [...store.indexNames].map((index) => word(store.index(index).keyPath));
    return [table, [word(store.keyPath), ...indexes].join(", ")] as const;
  });
  database.close();
  return Object.fromEntries(tables);
}
