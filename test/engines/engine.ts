// The parts of a browser that the kit and the scenarios need, whatever drives it.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { delimiter } from "node:path";

export interface Engine {
  name: string;
  /** The packages to install before the engine can run here; undefined when it can. */
  missing(): Promise<string | undefined>;
  launch(): Promise<Browser>;
}

export interface Browser {
  /** The version as the browser itself reports it. */
  version: string;
  newTab(): Promise<Page>;
  /** Ends the whole browser without a farewell, and starts it again on its stored data. Absent where it stores nothing. */
  crash?(): Promise<void>;
  /** A closed tab may lose its last messages: its end then looks like a crash. */
  losesFarewells?: true;
  close(): Promise<void>;
}

export interface Page {
  load(url: string): Promise<void>;
  /** The text of the expression's value, awaited in the page. */
  evaluate(expression: string): Promise<string>;
  /** Ends the process of this page, and no other page's: the page gets no chance to say farewell. */
  kill(): Promise<void>;
  /** The process that runs this page, and no other page. */
  process(): Promise<number>;
  close(): Promise<void>;
}

export const CALL_MS = 60_000;

/** The first of these programs that this machine has. */
export function findProgram(...names: string[]): string | undefined {
  const folders = (process.env.PATH ?? "").split(delimiter);
  const paths = names.flatMap((name) => (name.startsWith("/") ? [name] : folders.map((folder) => `${folder}/${name}`)));
  return paths.find((path) => existsSync(path));
}

export interface Program {
  pid: number;
  /** The first line that the program wrote to pipe 3, if it was asked to write there. */
  firstLine: Promise<string>;
  kill(): Promise<void>;
  end(): Promise<void>;
}

/** Starts a program that ends with this process, so that callers need not end it. */
export function startProgram(path: string, args: readonly string[], env: Record<string, string> = {}): Program {
  const child = spawn(path, args, {
    stdio: ["ignore", "ignore", "ignore", "pipe"],
    env: { ...process.env, ...env },
  });
  const kill = () => child.kill("SIGKILL");
  process.once("exit", kill);
  const exited = new Promise<void>((resolve) => {
    child.once("exit", () => resolve());
    child.once("error", () => resolve());
  });
  const firstLine = new Promise<string>((resolve, reject) => {
    let text = "";
    child.stdio[3]?.on("data", (chunk) => {
      text += chunk;
      if (text.includes("\n")) resolve(text.trim());
    });
    void exited.then(() => reject(new Error(`${path} ended`)));
  });
  firstLine.catch(() => undefined);
  return {
    pid: child.pid ?? 0,
    firstLine,
    async kill() {
      kill();
      await exited;
    },
    async end() {
      child.kill("SIGTERM");
      const late = setTimeout(kill, 5_000);
      await exited;
      clearTimeout(late);
      process.off("exit", kill);
    },
  };
}

/** Tries again until the attempt gives a value. */
export async function retried<T>(what: string, attempt: () => Promise<T | undefined> | T | undefined): Promise<T> {
  for (const endMs = Date.now() + CALL_MS; Date.now() < endMs; await new Promise((resolve) => setTimeout(resolve, 100))) {
    const value = await attempt();
    if (value !== undefined) return value;
  }
  throw new Error(`${what}: not within ${CALL_MS / 1000} s`);
}

/** A promise that is limited to the time of a call. */
export function bounded<T>(what: string, work: Promise<T>, ms = CALL_MS): Promise<T> {
  let timer: ReturnType<typeof setTimeout>;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: no answer within ${ms / 1000} s`)), ms);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}

/** An expression that keeps its page busy long enough to be seen. */
const BUSY = "(() => { for (const endMs = Date.now() + 500; Date.now() < endMs; ); return ''; })()";

/**
 * Finds a page's process in a browser that does not name it: the process that works when the page does, twice in a row,
 * because another may work by chance. `read` gives the time that each has worked, in ms.
 */
export async function busiest(
  read: () => Promise<ReadonlyMap<number, number>>,
  evaluate: (expression: string) => Promise<unknown>,
): Promise<number> {
  let last: number | undefined;
  return await retried("the process of a page", async () => {
    const before = await read();
    await evaluate(BUSY);
    const worked = [...(await read())].map(([pid, ms]) => ({ pid, ms: ms - (before.get(pid) ?? 0) }));
    const [most, next] = worked.sort((a, b) => b.ms - a.ms);
    const found = most && most.ms > 100 && most.ms > 3 * (next?.ms ?? 0) ? most.pid : undefined;
    const isSure = found === last;
    last = found;
    return isSure ? found : undefined;
  });
}
