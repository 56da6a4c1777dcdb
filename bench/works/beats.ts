import { Dexie } from "dexie";
import { createKernel } from "holdfast";
import { committed, deleteBare } from "../bare.js";
import { type SeenTransaction, tally } from "../tally.js";
import { until } from "../until.js";
import type { Work } from "../work.js";

/** Short intervals, so that every beat is written. */
const TIMINGS = { heartbeatMs: 200, heartbeatFlushMs: 1, livenessTtlMs: 60_000, staleAfterMs: 120_000, sweepMs: 60_000 };

export const beats: Work = {
  name: "beats",
  title: "Heartbeats of 10,000 agents in one tab",
  about:
    "One beat of all agents that a tab has: what the kernel's loop asks of IndexedDB for it, from the opening of each transaction to its " +
    "end. What people do without it is to put a row per agent: Dexie's `bulkPut`, and bare puts in one transaction. A beat is written with " +
    "relaxed durability, and so is what stands beside it.",
  unit: "ms per beat",
  goals: [
    { of: "holdfast", over: "Dexie bulkPut", speed: 50 },
    { of: "holdfast", over: "bare puts", speed: "printed" },
    { of: "holdfast", over: "RxDB bulkUpsert", speed: "printed" },
    { fact: "transactions that write, per beat", atMost: 1 },
    { fact: "rows that are written, per beat", atMost: 1 },
  ],
  async open(bench) {
    const ids = Array.from({ length: bench.size(10_000, 100) }, (_, at) => `agent-${at}`);
    const kernel = await createKernel({ name: "bench-beats", loop: "inline", timings: TIMINGS });
    const { seen, stop } = tally();
    await Promise.all(ids.map((id) => kernel.agent(id)));
    const database = new Dexie("bench-beats-dexie", { chromeTransactionDurability: "relaxed" });
    database.version(1).stores({ agents: "agentId" });
    await database.open();
    const rows = () => ids.map((agentId) => ({ agentId, lastSeenAtMs: Date.now(), incarnation: 1 }));
    const beatsPerRound = bench.size(10, 1);
    const isBeat = ({ puts, ms }: SeenTransaction) => (puts.hosts ?? 0) > 0 && ms !== undefined;
    // A sweep also reads the hosts, with the leases that they hold.
    const ofBeats = ({ tables }: SeenTransaction) => tables.includes("hosts") && !tables.includes("leases");
    const peers = await bench.peers({
      "RxDB bulkUpsert": async () => (await import("../peers/rxdb-rows.js")).rxdbRows("bench-beats-rxdb"),
    });
    let counted: readonly SeenTransaction[] = [];
    return {
      variants: [
        {
          name: "holdfast",
          async run() {
            seen.length = 0;
            await until("enough beats", () => seen.filter(isBeat).length >= beatsPerRound);
            counted = seen.filter((one) => ofBeats(one) && one.ms !== undefined);
            return counted.reduce((sum, { ms = 0 }) => sum + ms, 0) / counted.filter(isBeat).length;
          },
        },
        { name: "Dexie bulkPut", run: async () => void (await database.table("agents").bulkPut(rows())) },
        {
          name: "bare puts",
          async run() {
            const transaction = database.backendDB().transaction("agents", "readwrite", { durability: "relaxed" });
            for (const row of rows()) transaction.objectStore("agents").put(row);
            const done = committed(transaction);
            transaction.commit();
            await done;
          },
        },
        ...Object.entries(peers).map(([name, { upsert }]) => ({ name, run: () => upsert(rows()) })),
      ],
      async facts() {
        const written = counted.filter(isBeat);
        const puts = written.reduce((sum, one) => sum + Object.values(one.puts).reduce((a, b) => a + b, 0), 0);
        const writes = counted.filter(({ mode }) => mode === "readwrite").length;
        return [
          { name: "agents", value: ids.length, unit: "" },
          { name: "transactions that write, per beat", value: writes / written.length, unit: "" },
          { name: "rows that are written, per beat", value: puts / written.length, unit: "" },
        ];
      },
      async close() {
        stop();
        for (const { close } of Object.values(peers)) await close();
        await kernel.close();
        await database.delete();
        await deleteBare("bench-beats");
      },
    };
  },
};
