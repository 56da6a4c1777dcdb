// Checks the package as its users get it: packed, installed elsewhere, imported in Node and bundled for a browser.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright";
import * as vite from "vite";
import { chromiumArgs, ensureChromium } from "./chromium.mjs";
import { mitLicence, packagesOf } from "./licenses.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const temp = mkdtempSync(join(tmpdir(), "holdfast-package-"));
const counts = { passed: 0, failed: 0 };

/** @param {string} name @param {() => unknown} run */
async function check(name, run) {
  try {
    await run();
    counts.passed += 1;
    console.log(`ok      ${name}`);
  } catch (error) {
    counts.failed += 1;
    console.log(`FAILED  ${name}`);
    console.log(error instanceof Error ? error.message : error);
  }
}

/** Runs a command; its output is shown only when it fails. @param {string} cwd @param {string} command @param {string[]} args */
function run(cwd, command, ...args) {
  try {
    execFileSync(command, args, { cwd, stdio: "pipe", encoding: "utf8", timeout: 120_000, shell: process.platform === "win32" });
  } catch (error) {
    const { stdout = "", stderr = "" } = /** @type {{ stdout?: string, stderr?: string }} */ (error);
    throw new Error([`${command} ${args.join(" ")} failed`, stdout, stderr].filter(Boolean).join("\n"));
  }
}

/**
 * A project that has the packed package installed, with the optional peers that it names.
 * @param {string} name @param {Record<string, string>} files @param {string[]} peers
 */
function project(name, files, ...peers) {
  const folder = join(temp, name);
  mkdirSync(folder);
  writeFileSync(join(folder, "package.json"), JSON.stringify({ name, private: true, type: "module" }));
  for (const [file, content] of Object.entries(files)) writeFileSync(join(folder, file), content);
  run(folder, "npm", "install", "--prefer-offline", "--no-audit", "--no-fund", "--no-save", tarball, ...peers);
  return folder;
}

const importEach = `
import assert from "node:assert/strict";
const before = Reflect.ownKeys(globalThis);
const added = () => Reflect.ownKeys(globalThis).filter((key) => !before.includes(key));
for (const entry of ["holdfast", "holdfast/memory", "holdfast/indexeddb", "holdfast/worker", "holdfast/service-worker", "holdfast/conformance", "holdfast/simulation", "holdfast/react"]) {
  await import(entry);
  assert.deepEqual(added(), [], "globals added by importing " + entry);
}
await import("holdfast/package.json", { with: { type: "json" } });
`;

/** Uses every part that is loaded at its first use. */
const useLazyParts = `
async function useLazyParts(kernel) {
  const eventTypes = [{ name: "said", payloadSchema: { type: "string" } }];
  await kernel.start({ id: "other", input: { type: "external", metadata: {} }, eventTypes });
  await kernel.processes.appendEvent("other", { eventType: "said", payload: "hello" });
  await kernel.agent("a");
  await kernel.secrets.put("s", "v");
  const session = await kernel.session("s");
  const done = new Promise((resolve) => kernel.on("session", ({ code }) => code === "run.completed" && resolve()));
  session.onTurn(async (turn) => turn.append({ role: "assistant", content: "done" }));
  const { inputId } = await session.submit({ inputType: "prompt", text: "go" });
  await done;
  const kept = await kernel.runtime.loadInputState(session.runtimeId, inputId);
  return [kept.currentState, await session.ops.list(), (await kernel.sessions.list()).length];
}
`;
const lazyPartsUsed = ["consumed", [], 1];

const runOne = `
import assert from "node:assert/strict";
import { createKernel } from "holdfast";
import { memoryStorage } from "holdfast/memory";
${useLazyParts}
const kernel = await createKernel({ name: "x", storage: memoryStorage(), handlers: { hello: async () => "hi" } });
const process = await kernel.start({ input: { type: "task", name: "hello" } });
assert.equal(await process.result(), "hi");
assert.deepEqual(await useLazyParts(kernel), ${JSON.stringify(lazyPartsUsed)});
await kernel.close();
const another = await createKernel({ name: "y" });
assert.equal((await another.status()).storage, "memory");
await another.close();
`;

const simulateOne = `
import assert from "node:assert/strict";
import { simulate } from "holdfast/simulation";
const { failure, commits } = await simulate({ seed: 1, steps: 10 });
assert.equal(failure, undefined);
assert.ok(commits > 0);
`;

const page = `<!doctype html><title>app</title><link rel="icon" href="data:,"><script type="module" src="/main.js"></script>`;

const main = `
import { createKernel } from "holdfast";
${useLazyParts}
/** A worker file of the app's own, which has nothing in it but the import. */
const ownWorker = () => new Worker(new URL("./own-worker.js", import.meta.url), { type: "module" });
async function runWith(worker) {
  const kernel = await createKernel({ name: "own", worker, handlers: { hello: async () => "hi" } });
  const faults = [];
  kernel.on("fault", ({ message }) => faults.push(message));
  const process = await kernel.start({ input: { type: "task", name: "hello" } });
  const result = await process.result();
  const { loop } = await kernel.status();
  await kernel.close();
  return { result, loop, faults };
}
async function use() {
  const own = await runWith(ownWorker);
  const kernel = await createKernel({ name: "x", handlers: { hello: async () => "hi" } });
  const process = await kernel.start({ input: { type: "task", name: "hello" } });
  const result = await process.result();
  const { loop } = await kernel.status();
  const missing = await kernel.sessions.list().catch(({ code, message }) => code + ": " + message);
  await window.deliver();
  const lazyParts = await useLazyParts(kernel);
  await kernel.close();
  return { own, result, loop, missing, lazyParts };
}
use().then(
  (outcome) => { window.outcome = outcome; },
  (error) => { window.outcome = { error: String(error?.stack ?? error) }; },
);
`;

const ownWorker = `import "holdfast/worker";`;

const missing = "unavailable: the code of session archives could not be loaded";

/** Vite configs that applications may have; with the package excluded, dexie (CommonJS inside) must be included. */
const devConfigs = {
  "no configuration": {},
  "holdfast excluded": { exclude: ["holdfast"], include: ["holdfast > dexie"] },
};

/** @param {string} url */
async function outcomeOf(url) {
  const browser = await chromium.launch({ executablePath: await ensureChromium(), args: chromiumArgs });
  try {
    const tab = await browser.newPage();
    /** @type {string[]} */
    const errors = [];
    tab.on("pageerror", (error) => errors.push(String(error)));
    tab.on("console", (message) => message.type() === "error" && errors.push(message.text()));
    let isThere = false;
    await tab.route(/\/archive[-.]/, (route) => (isThere ? route.continue() : route.abort()));
    await tab.exposeFunction("deliver", () => {
      isThere = true;
    });
    await tab.goto(url);
    const outcome = await tab
      .waitForFunction("window.outcome", undefined, { timeout: 30_000 })
      .then((handle) => handle.jsonValue())
      .catch((error) => ({ error: String(error) }));
    const result = "hi";
    const wanted = { own: { result, loop: "worker", faults: [] }, result, loop: "worker", missing, lazyParts: lazyPartsUsed };
    if (JSON.stringify(outcome) !== JSON.stringify(wanted)) {
      throw new Error([JSON.stringify(outcome, null, 2), ...errors].join("\n"));
    }
  } finally {
    await browser.close();
  }
}

/** @param {vite.ViteDevServer | vite.PreviewServer} server */
async function checkServed(server) {
  try {
    await outcomeOf(server.resolvedUrls?.local[0] ?? "");
  } finally {
    await server.close();
  }
}

let tarball = "";
try {
  await check("npm pack", () => {
    run(root, "npm", "pack", "--pack-destination", temp);
    tarball = join(temp, readdirSync(temp).find((file) => file.endsWith(".tgz")) ?? "");
  });
  await check("the public types are those of docs/api", () => run(root, process.execPath, "scripts/api.mjs"));
  await check("the API reference is made, and no public name lacks a comment", () =>
    run(root, process.execPath, "scripts/docs.mjs"),
  );
  await check("publint", () => run(root, process.execPath, "node_modules/publint/src/cli.js", tarball, "--strict"));
  await check("attw", () => {
    run(root, process.execPath, "node_modules/@arethetypeswrong/cli/dist/index.js", tarball, "--profile", "esm-only");
  });

  await check("the licence of every package that is bundled is shipped", () => {
    const shipped = join(temp, "shipped", "package", "dist");
    mkdirSync(join(temp, "shipped"));
    run(temp, "tar", "-xf", tarball, "-C", join(temp, "shipped"));
    const text = readFileSync(join(shipped, "THIRD-PARTY-LICENSES.txt"), "utf8");
    // The shipped map names the bundled packages; the build's own list could be wrong.
    const sources = ["worker", "service-worker"].flatMap(
      (file) => JSON.parse(readFileSync(join(shipped, `${file}.js.map`), "utf8")).sources,
    );
    const bundled = [...packagesOf(sources).keys()];
    if (!bundled.includes("dexie")) throw new Error(`the maps of the bundled files name no package but: ${bundled}`);
    for (const name of bundled) {
      const folder = join(root, "node_modules", name);
      const file = readdirSync(folder).find((found) => /^licen[cs]e/i.test(found));
      const { author } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
      const licence = file ? readFileSync(join(folder, file), "utf8").trim() : mitLicence(author);
      if (!text.includes(licence)) throw new Error(`no licence of ${name}`);
    }
  });

  const node = project("node", { "import.mjs": importEach, "run.mjs": runOne, "simulate.mjs": simulateOne }, "react@19");
  await check("every entry point imports in Node and adds no global", () => run(node, process.execPath, "import.mjs"));
  await check("a process runs to its end in Node, and all that is loaded later is there", () =>
    run(node, process.execPath, "run.mjs"),
  );
  await check("a world is simulated in Node", () => run(node, process.execPath, "simulate.mjs"));

  const app = project("app", { "index.html": page, "main.js": main, "own-worker.js": ownWorker });
  const options = /** @type {vite.InlineConfig} */ ({ root: app, configFile: false, logLevel: "error" });
  for (const [name, optimizeDeps] of Object.entries(devConfigs)) {
    await check(`vite dev, ${name}: the loop runs in a worker, and all that is loaded later is there`, async () => {
      const server = await vite.createServer({ ...options, optimizeDeps, server: { host: "localhost", hmr: false } });
      await checkServed(await server.listen());
    });
  }
  await check("vite build and preview: the loop runs in a worker, and all that is loaded later is there", async () => {
    await vite.build(options);
    await checkServed(await vite.preview({ ...options, preview: { host: "localhost" } }));
  });
} finally {
  rmSync(temp, { recursive: true, force: true });
}

console.log(`package checks: ${counts.passed} passed, ${counts.failed} failed`);
process.exitCode = counts.failed === 0 ? 0 : 1;
