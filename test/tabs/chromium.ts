// Chromium over its debugging pipe, without a driver: a driver's own page handling keeps every tab visible, and a visible tab
// can be neither throttled nor frozen. The newest tab is in front here; the others are as hidden as a person's would be.
import { type ChildProcess, spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { chromiumArgs, findChromium } from "../../scripts/chromium.mjs";

interface Message {
  id?: number;
  sessionId?: string;
  method?: string;
  params?: Record<string, unknown>;
  result?: Record<string, unknown>;
  error?: { message: string };
}

type Listener = (method: string, params: Record<string, unknown>) => void;

export interface Target {
  send(method: string, params?: Record<string, unknown>): Promise<Record<string, unknown>>;
  /** Resolves at the next event of that name. */
  next(method: string): Promise<Record<string, unknown>>;
  activate(): Promise<void>;
  close(): Promise<void>;
}

export interface Chromium {
  /** Sends a command to the browser, not to a page. */
  send(method: string, params?: Record<string, unknown>): Promise<Record<string, unknown>>;
  newTarget(): Promise<Target>;
  /** Ends all its processes at once, without a farewell. The profile stays. Gives a new browser on that profile. */
  crash(): Promise<Chromium>;
  close(): Promise<void>;
}

export async function launchChromium(known?: string): Promise<Chromium> {
  const executable = await findChromium();
  if (!executable) throw new Error("Chromium not found");
  const profile = known ?? (await mkdtemp(join(tmpdir(), "holdfast-tabs-")));
  const args = [
    ...chromiumArgs,
    "--headless=new",
    "--remote-debugging-pipe",
    `--user-data-dir=${profile}`,
    "--no-default-browser-check",
    "--disable-breakpad",
    // Each tab gets a process of its own, as far as a test goes: one that crashes or blocks must not take another with it.
    "--renderer-process-limit=100",
    "--enable-features=BackForwardCache",
    "about:blank",
  ];
  // The child leads a process group of its own, which holds all its processes.
  const child = spawn(executable, args, { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"], detached: true });
  const connection = connect(child);
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));

  return {
    send: (method, params) => connection.send(undefined, method, params),
    async newTarget() {
      const { targetId } = await connection.send(undefined, "Target.createTarget", { url: "about:blank" });
      const { sessionId } = await connection.send(undefined, "Target.attachToTarget", { targetId, flatten: true });
      const session = sessionId as string;
      return {
        send: (method, params) => connection.send(session, method, params),
        next: (method) =>
          new Promise((resolve) => {
            const stop = connection.listen(session, (name, params) => {
              if (name !== method) return;
              stop();
              resolve(params);
            });
          }),
        activate: async () => void (await connection.send(undefined, "Target.activateTarget", { targetId })),
        async close() {
          const gone = new Promise<void>((resolve) => {
            const stop = connection.listen(undefined, (name, params) => {
              if (name !== "Target.detachedFromTarget" || params.sessionId !== session) return;
              stop();
              resolve();
            });
          });
          await connection.send(undefined, "Target.closeTarget", { targetId });
          await gone;
        },
      };
    },
    async crash() {
      const group = child.pid as number;
      process.kill(-group, "SIGKILL");
      await exited;
      while (isAlive(group)) await new Promise((resolve) => setTimeout(resolve, 20));
      return await launchChromium(profile);
    },
    async close() {
      connection.send(undefined, "Browser.close").catch(() => undefined);
      const late = setTimeout(() => child.kill("SIGKILL"), 5_000);
      await exited;
      clearTimeout(late);
      await rm(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
    },
  };
}

/** Whether a process of the group is left. Zombies do not count: not every machine has an init process that reaps them. */
function isAlive(group: number): boolean {
  try {
    process.kill(-group, 0);
  } catch {
    return false;
  }
  if (process.platform !== "linux") return true;
  return readdirSync("/proc").some((id) => {
    if (!/^\d+$/.test(id)) return false;
    try {
      const [, state, , pgid] = readFileSync(`/proc/${id}/stat`, "utf8").split(")").at(-1)?.split(" ") ?? [];
      return Number(pgid) === group && state !== "Z";
    } catch {
      return false;
    }
  });
}

function connect(child: ChildProcess) {
  const [, , , input, output] = child.stdio as unknown as [null, null, null, Writable, Readable];
  const pending = new Map<
    number,
    { session: string | undefined; resolve(result: Record<string, unknown>): void; reject(error: Error): void }
  >();
  const listeners = new Set<{ session: string | undefined; hear: Listener }>();
  let lastId = 0;
  let rest = "";

  output.setEncoding("utf8");
  output.on("data", (text: string) => {
    const messages = (rest + text).split("\0");
    rest = messages.pop() ?? "";
    for (const message of messages) receive(JSON.parse(message));
  });
  input.on("error", () => {});
  const failAll = (why: string, session?: string) => {
    for (const [id, call] of pending) {
      if (session !== undefined && call.session !== session) continue;
      pending.delete(id);
      call.reject(new Error(why));
    }
  };
  child.once("exit", () => failAll("Chromium ended"));
  child.once("error", (error) => failAll(`Chromium did not start: ${error.message}`));

  function receive({ id, sessionId, method, params = {}, result = {}, error }: Message): void {
    if (id !== undefined) {
      const call = pending.get(id);
      pending.delete(id);
      if (error) call?.reject(new Error(error.message));
      else call?.resolve(result);
    }
    if (method === undefined) return;
    if (method === "Inspector.targetCrashed") failAll("the tab crashed", sessionId);
    if (method === "Target.detachedFromTarget") failAll("the tab is closed", params.sessionId as string);
    for (const { session, hear } of [...listeners]) if (session === sessionId) hear(method, params);
  }

  return {
    send(session: string | undefined, method: string, params: Record<string, unknown> = {}): Promise<Record<string, unknown>> {
      const id = ++lastId;
      return new Promise((resolve, reject) => {
        if (child.exitCode !== null) return reject(new Error("Chromium ended"));
        pending.set(id, { session, resolve, reject });
        input.write(`${JSON.stringify({ id, method, params, ...(session !== undefined && { sessionId: session }) })}\0`);
      });
    },
    listen(session: string | undefined, hear: Listener): () => void {
      const listener = { session, hear };
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}
