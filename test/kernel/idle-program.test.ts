// Programs of Node's own, each one an operating system's process: whether it ends by itself is what is asked.
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const src = fileURLToPath(new URL("../../src/", import.meta.url));
let folder = "";

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-idle-"));
  writeFileSync(join(folder, "package.json"), JSON.stringify({ type: "module" }));
  const bundle = await rolldown({
    input: { index: `${src}index.ts`, memory: `${src}memory.ts` },
    platform: "node",
    resolve: { extensionAlias: { ".js": [".ts", ".js"] } },
    logLevel: "silent",
  });
  await bundle.write({ dir: folder, format: "esm" });
  await bundle.close();
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

const HEAD = `
import { createKernel } from "./index.js";
import { memoryStorage } from "./memory.js";
const storage = memoryStorage();
const say = (text) => console.log(text);
/** A time that keeps no program alive. */
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms).unref());
const slow = async () => { say("begun"); await pause(300); say("ended"); return "done"; };
const task = (name) => ({ id: "p", input: { type: "task", name } });
const open = (more) => createKernel({ name: "idle", storage, ...more });
process.on("exit", (code) => say("exit " + code));
`;

let programs = 0;

/** What a program printed, line by line. It is killed, and the test fails, if it does not end by itself. */
function run(body: string): Promise<string[]> {
  const file = join(folder, `program-${++programs}.mjs`);
  writeFileSync(file, HEAD + body);
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [file], { timeout: 40_000 }, (error, stdout, stderr) => {
      if (error?.killed) reject(new Error(`it did not end by itself; it printed: ${stdout}${stderr}`));
      else resolve(`${stdout}${stderr}`.trim().split("\n"));
    });
  });
}

describe("an idle kernel", () => {
  it("does not keep its program alive, with its channel, its loop, an agent and an open session (A-28)", async () => {
    const told = await run(`
      const kernel = await open({ handlers: { slow } });
      await kernel.agent("a");
      const session = await kernel.session("s");
      session.subscribe(() => {});
      session.onTurn(async () => {});
      kernel.on("fault", () => {});
      const { loop, channel } = await kernel.status();
      say(loop + " " + channel);`);
    expect(told).toEqual(["inline true", "exit 0"]);
  });

  it("does not keep it alive for a process that is suspended, and does for a run that waits in memory (A-28, F-18)", async () => {
    const told = await run(`
      const nap = async ({ sleep }) => { await sleep("s", 86_400_000); };
      const rest = async ({ sleep }) => { await sleep("s", 1_500); say("rested"); };
      const kernel = await open({ handlers: { nap: { run: nap, suspendAfterMs: 50 }, rest } });
      await kernel.start("nap");
      await kernel.start("rest");`);
    expect(told).toEqual(["rested", "exit 0"]);
  });

  it("does not keep it alive once its work is done, and its waits are over or were aborted (A-28)", async () => {
    const told = await run(`
      const kernel = await open({ handlers: { slow } });
      const handle = await kernel.start(task("slow"));
      await kernel.processes.awaitProcess("p");
      await kernel.start({ id: "waits", input: { type: "external", metadata: {} } });
      const abort = new AbortController();
      const wait = kernel.processes.awaitProcess("waits", { signal: abort.signal });
      abort.abort();
      await wait.catch(({ code }) => say(code));`);
    expect(told).toEqual(["begun", "ended", "aborted", "exit 0"]);
  });

  it("does not keep it alive with a process that only another kernel could run (A-28)", async () => {
    expect(await run(`await (await open()).start(task("elsewhere"));`)).toEqual(["exit 0"]);
  });
});

describe("a program stays alive (A-28)", () => {
  const WAITS = {
    awaitProcess: `kernel.processes.awaitProcess("p")`,
    waitEventAfter: `kernel.processes.waitEventAfter("p", "process.completed", 0)`,
    "a handle's outcome": `kernel.process("p").result()`,
    "an iteration of events": `(async () => { for await (const event of kernel.process("p").events()) say(event.eventType); })()`,
  };

  it.each(Object.entries(WAITS))("until the end of a wait for another kernel's work: %s", async (_, wait) => {
    const told = await run(`
      const kernel = await open();
      await kernel.start({ id: "p", input: { type: "external", metadata: {} } });
      // The other kernel ends it later, by a timer that keeps nothing alive.
      const other = await open();
      setTimeout(() => other.processes.completeProcess("p", { type: "success", value: 1 }), 300).unref();
      await ${wait};
      say("over");`);
    expect(told.slice(-2)).toEqual(["over", "exit 0"]);
  });

  it("until the end of a wait for an input that another kernel runs: a session's outcome", async () => {
    const told = await run(`
      const session = await (await open({ loop: "off" })).session("s");
      const submitted = await session.submit({ inputType: "prompt", text: "go" });
      const other = await open();
      // The other kernel begins it later, by a timer that keeps nothing alive.
      setTimeout(async () => (await other.session("s")).onTurn(slow), 300).unref();
      say((await session.outcome(submitted)).outcome);`);
    expect(told).toEqual(["begun", "ended", "completed", "exit 0"]);
  });

  it("while a handler of a process runs, though nothing waits for it", async () => {
    const told = await run(`await (await open({ handlers: { slow } })).start(task("slow"));`);
    expect(told).toEqual(["begun", "ended", "exit 0"]);
  });

  it("while a turn runs, though nothing waits for it", async () => {
    const told = await run(`
      const session = await (await open()).session("s");
      session.onTurn(slow);
      await session.submit({ inputType: "prompt", text: "go" });
      await new Promise((resolve) => session.subscribe(resolve));`);
    expect(told.slice(0, 2)).toEqual(["begun", "ended"]);
  });

  it("until its kernel is closed, and no longer", async () => {
    const told = await run(`
      const kernel = await open({ handlers: { forever: () => { say("begun"); return new Promise(() => {}); } } });
      await kernel.start(task("forever"));
      kernel.process("p").result().catch(({ code }) => say(code));
      setTimeout(() => kernel.close(), 300).unref();`);
    expect(told).toEqual(["begun", "closed", "exit 0"]);
  });
});
