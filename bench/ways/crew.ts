// A crew: tabs with one kernel each on one database. The bench's tab gives them orders.
import { expose, type Remote, wrap } from "comlink";
import { createKernel, type SessionRuntime } from "holdfast";
import type { Bench, Tab } from "../work.js";
import { steadyTimer } from "./steady-timer.js";

/** The orders that a tab takes. Each tab has its own channel with the bench's tab: a shared one would wake all of them. */
export interface Member {
  /**
   * Starts processes at that pace. Resolves when all have ended, with the milliseconds of each from the call of `start` to its
   * result.
   */
  start(pace: Pace): Promise<number[]>;
  /** Count of processes that ran in this tab since the last call. */
  ran(): number;
  /** Opens the session, and runs turns of it from now on. */
  join(sessionId: string): Promise<void>;
  /** Submits inputs at that pace; resolves when all are stored. */
  submit(pace: Pace): Promise<void>;
  /** Count of the session's inputs that turns of this tab consumed. */
  consumed(): number;
  /** Ends the session for every tab, with its waiting inputs. */
  destroy(): Promise<void>;
  leave(): Promise<void>;
}

/** `count` calls, one each `everyMs`, the first after `afterMs`. */
export interface Pace {
  readonly count: number;
  readonly everyMs: number;
  readonly afterMs: number;
}

export interface Crew {
  readonly members: readonly Remote<Member>[];
  close(): Promise<void>;
}

/** Duration of a handler, of a process and of a turn. */
const HANDLER_MS = 10;

/** `part`: the name of `member` in the work's `tabs`. */
export async function openCrew(bench: Bench, part: string, database: string, size: number): Promise<Crew> {
  const names = Array.from({ length: size }, (_, at) => `${database}:${at}`);
  const channels = names.map((name) => new BroadcastChannel(name));
  const tabs: Tab[] = [];
  for (const channel of names) tabs.push(await bench.openTab(part, { database, channel }));
  return {
    members: channels.map((channel) => wrap<Member>(channel)),
    async close() {
      for (const tab of tabs) await tab.close();
      for (const channel of channels) channel.close();
    },
  };
}

export async function member({ database = "", channel = "" }: Record<string, string>): Promise<void> {
  const sleep = steadyTimer();
  let ran = 0;
  let consumed = 0;
  let session: SessionRuntime | undefined;
  const kernel = await createKernel({
    name: database,
    concurrency: 8,
    handlers: {
      async short() {
        ran++;
        await sleep(HANDLER_MS);
      },
    },
  });
  kernel.on("session", ({ code }) => {
    if (code === "input.consumed") consumed++;
  });

  async function paced<T>({ count, everyMs, afterMs }: Pace, once: () => Promise<T>): Promise<T[]> {
    const beginMs = performance.now() + afterMs;
    const all: Promise<T>[] = [];
    for (let at = 0; at < count; at++) {
      await sleep(Math.max(0, beginMs + at * everyMs - performance.now()));
      all.push(once());
    }
    return await Promise.all(all);
  }

  function joined(): SessionRuntime {
    if (!session) throw new Error("this tab has joined no session");
    return session;
  }

  const self: Member = {
    start: (pace) =>
      paced(pace, async () => {
        const startedMs = performance.now();
        await (await kernel.start({ input: { type: "task", name: "short" } })).result();
        return performance.now() - startedMs;
      }),
    ran() {
      const count = ran;
      ran = 0;
      return count;
    },
    async join(sessionId) {
      consumed = 0;
      session = await kernel.session(sessionId);
      session.onTurn(async (turn) => {
        await sleep(HANDLER_MS);
        turn.append({ role: "assistant", content: "Yes." });
      });
    },
    async submit(pace) {
      await paced(pace, () => joined().submit({ inputType: "prompt", text: "And now?" }));
    },
    consumed: () => consumed,
    async destroy() {
      await joined().destroy();
    },
    async leave() {
      await joined().close();
    },
  };
  expose(self, new BroadcastChannel(channel));
}
