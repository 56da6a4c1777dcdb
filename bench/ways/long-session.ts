import { createKernel, type Kernel, type Message } from "holdfast";
import { committed, deleteBare, openBare, STRICT } from "../bare.js";

const SESSION = "long";
const TEXT = "The quick brown fox jumps over the lazy dog. ".repeat(8);
const ADDED: Message[] = [
  { role: "user", content: "And now?" },
  { role: "assistant", content: "Yes." },
];

/** A session with many messages, each of about 390 characters of JSON. */
export interface LongSession {
  readonly messages: readonly Message[];
  /** Submits a prompt; the turn answers with one line, and both are stored. */
  turn(): Promise<void>;
  close(): Promise<void>;
}

export async function longSession(name: string, count: number): Promise<LongSession> {
  const kernel = await createKernel({ name });
  const runtime = await kernel.session(SESSION);
  let appended: Message[] = Array.from({ length: count }, (_, at) => ({
    role: at % 2 === 0 ? "user" : "assistant",
    content: TEXT,
  }));
  runtime.onTurn(async (turn) => {
    for (const message of appended) turn.append(message);
  });
  const turn = (text: string) => turnOf(kernel, () => runtime.submit({ inputType: "prompt", text }));
  await turn("All of it");
  const messages = structuredClone(await runtime.messages()) as Message[];
  appended = ADDED.slice(1);
  return {
    messages,
    turn: () => turn("And now?"),
    async close() {
      await kernel.close();
      await deleteBare(name);
    },
  };
}

/** Resolves when the run of the submission has ended. */
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

/** A snapshot without turns: it has all messages in memory, adds two, and writes the whole snapshot. */
export interface BareSnapshots {
  rewrite(messages: readonly Message[], body: (all: readonly Message[]) => object): Promise<void>;
  /** Puts one row of a few bytes, in its own transaction. */
  putSmall(): Promise<void>;
  close(): Promise<void>;
}

export async function bareSnapshots(name: string): Promise<BareSnapshots> {
  const database = await openBare(name, { snapshots: { key: "id" } });
  const put = async (row: object) => {
    const transaction = database.transaction("snapshots", "readwrite", STRICT);
    transaction.objectStore("snapshots").put(row);
    const done = committed(transaction);
    transaction.commit();
    await done;
  };
  return {
    rewrite: (messages, body) => put({ id: SESSION, ...body([...messages, ...ADDED]) }),
    putSmall: () => put({ id: "small", state: "running" }),
    async close() {
      database.close();
      await deleteBare(name);
    },
  };
}
