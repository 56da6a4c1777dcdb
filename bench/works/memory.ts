import { createHash } from "node:crypto";
import { createKernel } from "holdfast";
import { memoryStorage } from "holdfast/memory";
import { register } from "../ways/holdfast-log.js";
import { EVENT_TYPE, eventRow, PAYLOAD } from "../ways/log.js";
import type { Variant, Work } from "../work.js";

export const memory: Work = {
  name: "memory",
  title: "Append in memory, in Node",
  about:
    "Each append is awaited before the next one is called. The floor is a structuredClone of the event's record on its way in, one on " +
    "its way out, and a SHA-256 of its JSON text. `keyed` carries a replay key, which is looked for first and put into an index.",
  unit: "ms per append",
  goals: [
    { of: "holdfast", over: "clone, hash, clone", time: 3 },
    { of: "holdfast, keyed", over: "clone, hash, clone", time: "printed" },
    { of: "holdfast", over: "MemorySaver.put", speed: "printed" },
  ],
  async open(bench) {
    const kernel = await createKernel({ name: "bench-memory", storage: memoryStorage() });
    await register(kernel, "p");
    const per = bench.size(10_000, 50);
    const record = eventRow("p", 1);
    const request = { eventType: EVENT_TYPE, payload: PAYLOAD };
    let keys = 0;
    const repeated = (name: string, once: () => unknown): Variant => ({
      name,
      per,
      async run() {
        for (let at = 0; at < per; at++) await once();
      },
    });
    const peers = await bench.peers({
      "MemorySaver.put": async () => (await import("../peers/memory-saver.js")).memorySaver(),
    });
    return {
      variants: [
        repeated("clone, hash, clone", () => {
          const stored = structuredClone(record);
          createHash("sha256").update(JSON.stringify(stored)).digest("hex");
          return structuredClone(stored);
        }),
        repeated("holdfast", () => kernel.processes.appendEvent("p", request)),
        repeated("holdfast, keyed", () => kernel.processes.appendEvent("p", { ...request, replayKey: `key-${keys++}` })),
        ...Object.entries(peers).map(([name, put]) => repeated(name, put)),
      ],
      close: () => kernel.close(),
    };
  },
};
