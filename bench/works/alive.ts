import { Dexie } from "dexie";
import { createKernel } from "holdfast";
import { answered, deleteBare } from "../bare.js";
import { tally } from "../tally.js";
import type { Work } from "../work.js";

export const alive: Work = {
  name: "alive",
  title: "Which of 10,000 agents are alive",
  about:
    "`isAliveBatch` of as many ids, all of which were seen. What people do without it is to read their rows: Dexie's `bulkGet` of the " +
    "same ids, and a bare `getAll` of the whole table.",
  unit: "ms per 10,000 ids",
  goals: [
    { of: "holdfast", over: "Dexie bulkGet", speed: 100 },
    { fact: "transactions of isAliveBatch", atMost: 0 },
    { of: "holdfast", over: "bare getAll", speed: "printed" },
  ],
  async open(bench) {
    const ids = Array.from({ length: bench.size(10_000, 100) }, (_, at) => `agent-${at}`);
    const kernel = await createKernel({ name: "bench-alive" });
    await Promise.all(ids.map((id) => kernel.liveness.touch(id, 3_600_000)));
    const database = new Dexie("bench-alive-dexie");
    database.version(1).stores({ agents: "agentId" });
    const table = database.table("agents");
    await table.bulkPut(ids.map((agentId) => ({ agentId, lastSeenAtMs: Date.now(), incarnation: 1 })));
    const ask = async () => {
      const answer = await kernel.liveness.isAliveBatch(ids);
      if (!answer.ok || answer.alive.get("agent-0") !== true) throw new Error("nobody knows");
    };
    const asked = bench.size(50, 1);
    return {
      variants: [
        {
          name: "holdfast",
          per: asked,
          async run() {
            for (let at = 0; at < asked; at++) await ask();
          },
        },
        { name: "Dexie bulkGet", run: async () => void (await table.bulkGet(ids)) },
        {
          name: "bare getAll",
          run: async () => void (await answered(database.backendDB().transaction("agents").objectStore("agents").getAll())),
        },
      ],
      async facts() {
        const { seen, stop } = tally();
        await ask();
        stop();
        return [{ name: "transactions of isAliveBatch", value: seen.length, unit: "" }];
      },
      async close() {
        await kernel.close();
        await database.delete();
        await deleteBare("bench-alive");
      },
    };
  },
};
