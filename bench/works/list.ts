import { createKernel, type Kernel } from "holdfast";
import { answered, openBare } from "../bare.js";
import { crowd } from "../ways/crowd.js";
import type { Variant, Work } from "../work.js";

const RUNNING = "running, beside 1,000 that have ended";
const FILTERED = "the same, by `list`";
const BARE = "bare, two `getAll`";

export const list: Work = {
  name: "list",
  title: "List what runs, against live and ended processes",
  about:
    "`listNonTerminal()` of a kernel: what it costs with more ended processes (beside 1,000 that run), and with more that run (beside 1,000 " +
    "that have ended). Of an ended process there are its own row and its lease's, as the kernel wrote them. The floor reads what runs by the " +
    "same index, and all registrations, in one bare transaction: two `getAll`.",
  unit: "ms",
  axis: "processes",
  goals: [
    { of: RUNNING, over: BARE, time: 2, at: 1_000 },
    { of: FILTERED, over: BARE, time: 2, at: 1_000 },
  ],
  rounds: 7,
  async open(bench) {
    const kernels: Kernel[] = [];
    const databases: IDBDatabase[] = [];
    const counted = (name: string, at: number, live: number, read: () => Promise<number>): Variant => ({
      name,
      at,
      async run() {
        const length = await read();
        if (length !== live) throw new Error(`${length} are listed, not ${live}`);
      },
    });
    async function open(live: number, ended: number) {
      const name = await crowd(live, ended);
      const kernel = await createKernel({ name, loop: "off" });
      const database = await openBare(name);
      kernels.push(kernel);
      databases.push(database);
      return { processes: kernel.processes, database };
    }
    const thousand = bench.size(1_000, 10);
    const variants: Variant[] = [];
    for (const ended of bench.quick ? [10, 100] : [1_000, 10_000, 100_000, 1_000_000]) {
      const { processes } = await open(thousand, ended);
      const read = async () => (await processes.listNonTerminal()).length;
      variants.push(counted("ended, beside 1,000 that run", ended, thousand, read));
    }
    for (const live of bench.quick ? [1, 10] : [1, 10, 100, 1_000, 10_000]) {
      const { processes, database } = await open(live, thousand);
      variants.push(
        counted(RUNNING, live, live, async () => (await processes.listNonTerminal()).length),
        counted(FILTERED, live, live, async () => (await processes.list({ state: "running" })).length),
        counted(BARE, live, live, () => bareList(database)),
      );
    }
    return {
      variants,
      async close() {
        for (const kernel of kernels) await kernel.close();
        for (const database of databases) database.close();
      },
    };
  },
};

async function bareList(database: IDBDatabase): Promise<number> {
  const transaction = database.transaction(["processes", "registrations"]);
  const running = IDBKeyRange.bound(["running"], ["running", []]);
  const [processes] = await Promise.all([
    answered(transaction.objectStore("processes").index("[state+processId]").getAll(running)),
    answered(transaction.objectStore("registrations").getAll()),
  ]);
  return processes.length;
}
