import { createKernel, type Kernel, type Message } from "holdfast";
import { committed, deleteBare, openBare, STRICT } from "../bare.js";
import type { Work } from "../work.js";

const SESSION = "long";
const TEXT = "The quick brown fox jumps over the lazy dog. ".repeat(8);

export const session: Work = {
  name: "session",
  title: "One more short turn in a session of 1 MB",
  about:
    "A session holds 2,700 messages, 1 MB of JSON. A prompt is submitted, a turn answers it with one line, and both are stored: for " +
    "holdfast from `submit` to the end of the run, with the input stored before it is acknowledged, the turn's lease and its receipt. The " +
    "floor knows nothing of that: it has all messages in memory, adds two, and writes the whole snapshot on bare IndexedDB, as an object " +
    "or as JSON text.",
  unit: "ms per turn",
  goals: [
    { of: "holdfast", over: "bare, whole object", time: 0.25 },
    { of: "holdfast", over: "bare, JSON text", time: 0.25 },
    { of: "holdfast", over: "idb-keyval", time: "printed" },
    { of: "holdfast", over: "localForage", time: "printed" },
  ],
  leftOut: {
    "Dexie, RxDB, PGlite":
      "a snapshot is one row to them, and the floor writes that faster; message by message they have no turns",
  },
  async open(bench) {
    const count = bench.size(2_700, 20);
    const kernel = await createKernel({ name: "bench-session" });
    const runtime = await kernel.session(SESSION);
    let appended: Message[] = Array.from({ length: count }, (_, at) => ({
      role: at % 2 === 0 ? "user" : "assistant",
      content: TEXT,
    }));
    runtime.onTurn(async (turn) => {
      for (const message of appended) turn.append(message);
    });
    await turnOf(kernel, () => runtime.submit({ inputType: "prompt", text: "All of it" }));
    const messages = structuredClone(await runtime.messages()) as Message[];
    appended = [{ role: "assistant", content: "Yes." }];

    const bare = await openBare("bench-session-bare", { snapshots: { key: "id" } });
    const rewrite = async (body: (all: Message[]) => object) => {
      const all = [...messages, { role: "user", content: "And now?" }, { role: "assistant", content: "Yes." }] as Message[];
      const transaction = bare.transaction("snapshots", "readwrite", STRICT);
      transaction.objectStore("snapshots").put({ id: SESSION, ...body(all) });
      const done = committed(transaction);
      transaction.commit();
      await done;
    };
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
        repeated("holdfast", () => turnOf(kernel, () => runtime.submit({ inputType: "prompt", text: "And now?" }))),
        repeated("bare, whole object", () => rewrite((all) => ({ messages: all }))),
        repeated("bare, JSON text", () => rewrite((all) => ({ text: JSON.stringify(all) }))),
        ...Object.entries(peers).map(([name, { put }]) => repeated(name, () => put(SESSION, messages))),
      ],
      facts: async () => [{ name: "the session as JSON text", value: JSON.stringify(messages).length / 1_000, unit: "kB" }],
      async close() {
        await kernel.close();
        bare.close();
        for (const { close } of Object.values(peers)) await close();
        await deleteBare("bench-session");
        await deleteBare("bench-session-bare");
      },
    };
  },
};

/** Until the run that it brings about has ended. */
async function turnOf(kernel: Kernel, submit: () => Promise<unknown>): Promise<void> {
  const ended = new Promise<void>((resolve, reject) => {
    const stop = kernel.on("session", ({ code, error }) => {
      if (code !== "run.completed" && code !== "run.failed") return;
      stop();
      if (code === "run.completed") resolve();
      else reject(new Error(error));
    });
  });
  await submit();
  await ended;
}
