import { bareSnapshots, longSession } from "../ways/long-session.js";
import type { Work } from "../work.js";

export const session: Work = {
  name: "session",
  title: "One more short turn in a session of 1 MB",
  about:
    "A session holds 2,700 messages, 1 MB of JSON. A prompt is submitted, a turn answers it with one line, and both are stored: for " +
    "holdfast from `submit` to the end of the run, with the input stored before it is acknowledged, the turn's lease and its receipt. The " +
    "floor knows nothing of that: it has all messages in memory, adds two, and writes the whole snapshot on bare IndexedDB, as an object " +
    "or as JSON text. What a turn takes at least, whatever is stored in it, are three transactions one after another, since the input, " +
    "the lease and the result must each be stored before the next thing happens: `bare, three small rows` is that.",
  unit: "ms per turn",
  goals: [
    { of: "holdfast", over: "bare, whole object", time: 0.25 },
    { of: "holdfast", over: "bare, JSON text", time: 0.25 },
    { of: "bare, three small rows", over: "bare, whole object", time: "printed" },
    { of: "holdfast", over: "bare, three small rows", time: "printed" },
    { of: "holdfast", over: "idb-keyval", time: "printed" },
    { of: "holdfast", over: "localForage", time: "printed" },
  ],
  leftOut: {
    "Dexie, RxDB, PGlite":
      "a snapshot is one row to them, and the floor writes that faster; message by message they have no turns",
  },
  async open(bench) {
    const holdfast = await longSession("bench-session", bench.size(2_700, 20));
    const bare = await bareSnapshots("bench-session-bare");
    const { messages } = holdfast;
    const turns = bench.size(10, 1);
    const repeated = (name: string, once: () => Promise<unknown>) => ({
      name,
      per: turns,
      async run() {
        for (let at = 0; at < turns; at++) await once();
      },
    });
    const peers = await bench.peers({
      "idb-keyval": async () => (await import("../peers/snapshots.js")).idbKeyval("bench-session-keyval"),
      localForage: async () => (await import("../peers/snapshots.js")).localForage("bench-session-forage"),
    });
    return {
      variants: [
        repeated("holdfast", holdfast.turn),
        repeated("bare, whole object", () => bare.rewrite(messages, (all) => ({ messages: all }))),
        repeated("bare, JSON text", () => bare.rewrite(messages, (all) => ({ text: JSON.stringify(all) }))),
        repeated("bare, three small rows", async () => {
          for (let at = 0; at < 3; at++) await bare.putSmall();
        }),
        ...Object.entries(peers).map(([name, { put }]) => repeated(name, () => put("long", messages))),
      ],
      facts: async () => [{ name: "the session as JSON text", value: JSON.stringify(messages).length / 1_000, unit: "kB" }],
      async close() {
        await holdfast.close();
        await bare.close();
        for (const { close } of Object.values(peers)) await close();
      },
    };
  },
};
