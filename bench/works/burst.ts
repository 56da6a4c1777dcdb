import type { ProcessLease } from "holdfast";
import { bareLog } from "../ways/bare-log.js";
import { dexieLog } from "../ways/dexie-log.js";
import { holdfastLog } from "../ways/holdfast-log.js";
import { idbLog } from "../ways/idb-log.js";
import type { Work } from "../work.js";

const LEASE_MS = 3_600_000;

export const burst: Work = {
  name: "burst",
  title: "1,000 appends called at once",
  about:
    "All appends of a round are called before the first one is awaited: on one process, and on 100 processes, ten each. The floor is the " +
    "bare transaction of `append`, awaited one at a time; what it does when it is called 1,000 times at once, a transaction each, is " +
    "printed beside it. `keyed`: every append carries a replay key of its own and the process's lease, so that four rows are read and " +
    "three written, not two and two.",
  unit: "ms per append",
  goals: [
    { of: "holdfast, one process", over: "bare, one at a time", speed: 12 },
    { of: "holdfast, 100 processes", over: "bare, one at a time", speed: 5 },
    { of: "holdfast, one process, keyed", over: "holdfast, one process", speed: 0.5 },
    { of: "holdfast, 100 processes, keyed", over: "holdfast, 100 processes", speed: 0.5 },
    { of: "holdfast, one process", over: "bare, at once", speed: "printed" },
    { of: "holdfast, one process", over: "Dexie, at once", speed: "printed" },
  ],
  leftOut: {
    RxDB: "its collections have no transaction in common: the row and the event cannot be stored together",
    PGlite: "it runs one transaction after another: called at once it is no other than awaited, see `append`",
  },
  async open(bench) {
    const count = bench.size(1_000, 20);
    const many = Array.from({ length: bench.size(100, 4) }, (_, at) => `p-${at}`);
    const ids = ["p", ...many];
    const holdfast = await holdfastLog("bench-burst", ids);
    const { processes } = holdfast.kernel;
    const leases = new Map<string, ProcessLease>();
    for (const id of ids) leases.set(id, await processes.claimProcessLease(id, "bench", LEASE_MS));
    const bare = await bareLog("bench-burst-bare", ids);
    const idb = await idbLog("bench-burst-idb", ids);
    const dexie = await dexieLog("bench-burst-dexie", ids);
    let keys = 0;

    const atOnce = (name: string, among: readonly string[], append: (processId: string) => Promise<unknown>) => ({
      name,
      per: count,
      run: async () =>
        void (await Promise.all(Array.from({ length: count }, (_, at) => append(among[at % among.length] as string)))),
    });
    const keyed = (processId: string) =>
      processes.appendEvent(processId, {
        ...holdfast.request,
        replayKey: `key-${keys++}`,
        lease: leases.get(processId) as ProcessLease,
      });
    const oneByOne = bench.size(200, 3);
    return {
      variants: [
        {
          name: "bare, one at a time",
          per: oneByOne,
          async run() {
            for (let at = 0; at < oneByOne; at++) await bare.append("p");
          },
        },
        atOnce("bare, at once", ["p"], bare.append),
        atOnce("holdfast, one process", ["p"], holdfast.append),
        atOnce("holdfast, one process, keyed", ["p"], keyed),
        atOnce("holdfast, 100 processes", many, holdfast.append),
        atOnce("holdfast, 100 processes, keyed", many, keyed),
        atOnce("idb, at once", ["p"], idb.append),
        atOnce("Dexie, at once", ["p"], dexie.append),
      ],
      async close() {
        for (const log of [holdfast, bare, idb, dexie]) await log.close();
      },
    };
  },
};
