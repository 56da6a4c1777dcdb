// The examples as a reader runs them, in real tabs: in the dev server, and built.
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright";
import { build, createServer, preview } from "vite";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { chromiumArgs, findChromium } from "../../scripts/chromium.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));
const example = (path: string) => join(root, "examples", path);

let browser: Browser;
let context: BrowserContext;
let complaints: string[];
let undo: (() => Promise<unknown>)[];

beforeAll(async () => {
  browser = await chromium.launch({ executablePath: await findChromium(), args: chromiumArgs });
});

afterAll(() => browser?.close());

beforeEach(async () => {
  complaints = [];
  undo = [];
  context = await browser.newContext();
  context.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") complaints.push(message.text());
  });
  context.on("weberror", (error) => complaints.push(String(error.error())));
});

afterEach(async () => {
  await context.close();
  for (const work of undo) await work();
});

/** Builds an example and serves it. */
async function serveBuilt(name: string, configFile = example("vite.config.ts")): Promise<string> {
  const outDir = await mkdtemp(join(tmpdir(), "holdfast-example-"));
  undo.push(() => rm(outDir, { recursive: true, force: true }));
  const config = { configFile, root: example(name), logLevel: "error" as const, build: { outDir } };
  await build(config);
  const server = await preview({ ...config, preview: { port: 0 } });
  undo.push(() => server.close());
  return server.resolvedUrls?.local[0] ?? "";
}

/** Serves a copy of an example from the dev server, so that its files can be edited. */
async function serveCopy(name: string): Promise<{ url: string; edit(file: string, from: string, to: string): Promise<void> }> {
  const home = join(root, ".examples");
  await mkdir(home, { recursive: true });
  const folder = await mkdtemp(join(home, "copy-"));
  undo.push(() => rm(folder, { recursive: true, force: true }));
  await cp(example(name), folder, { recursive: true });
  const server = await createServer({
    configFile: example("vite.config.ts"),
    root: folder,
    logLevel: "error",
    cacheDir: join(folder, ".vite"),
    optimizeDeps: { include: ["react", "react-dom/client", "react/jsx-dev-runtime", "dexie", "idb", "comlink"] },
    server: { port: 0 },
  });
  await server.listen();
  undo.push(() => server.close());
  return {
    url: server.resolvedUrls?.local[0] ?? "",
    async edit(file, from, to) {
      const path = join(folder, file);
      const text = await readFile(path, "utf8");
      expect(text).toContain(from);
      await writeFile(path, text.replace(from, to));
    },
  };
}

async function openTab(url: string): Promise<Page> {
  const page = await context.newPage();
  await page.goto(url);
  return page;
}

async function send(page: Page, text: string): Promise<void> {
  await page.getByLabel("Message").fill(text);
  await page.getByRole("button", { name: "Send" }).click();
}

const eventually = <T>(read: () => Promise<T>) => expect.poll(read, { timeout: 20_000 });
const chatOf = (page: Page) => page.locator("li").allInnerTexts();

it("React: a chat in StrictMode, in two tabs, goes on in the other one when its tab is closed (X-1)", async () => {
  const { url } = await serveCopy("react");
  const [one, two] = [await openTab(url), await openTab(url)];
  await send(one, "hello");
  for (const page of [one, two]) await eventually(() => chatOf(page)).toEqual(["hello", "I heard: hello"]);
  await send(two, "again");
  await eventually(() => two.getByRole("status").count()).toBe(1);
  await one.close();
  await eventually(() => chatOf(two)).toEqual(["hello", "I heard: hello", "again", "I heard: again"]);
  expect(complaints).toEqual([]);
});

it("React: a module that is replaced in the middle of a turn ends its kernel, and the turn goes on with the new code", async () => {
  const { url, edit } = await serveCopy("react");
  const page = await openTab(url);
  await page.evaluate(() => Object.assign(window, { isSamePage: true }));
  await send(page, "hello");
  await eventually(() => page.getByRole("status").count()).toBe(1);
  await edit("kernel.ts", "I heard", "I understood");
  await eventually(() => chatOf(page)).toEqual(["hello", "I understood: hello"]);
  // A component is replaced, and its kernel stays.
  await edit("chat.tsx", "Send", "Tell");
  await eventually(() => page.getByRole("button", { name: "Tell" }).count()).toBe(1);
  expect(await chatOf(page)).toEqual(["hello", "I understood: hello"]);
  expect(await page.evaluate(() => "isSamePage" in window)).toBe(true);
  expect(complaints).toEqual([]);
});

it.each(["vue", "svelte"])("%s: a chat over the same views, in two tabs (X-3)", async (name) => {
  const url = await serveBuilt(name);
  const [one, two] = [await openTab(url), await openTab(url)];
  await send(one, "hello");
  for (const page of [one, two]) await eventually(() => chatOf(page)).toEqual(["hello", "I heard: hello"]);
  expect(complaints).toEqual([]);
});

it("a job that a page starts runs in its service worker (A-32)", async () => {
  const page = await openTab(await serveBuilt("service-worker", example("service-worker/vite.config.ts")));
  await page.getByRole("button", { name: "Import" }).click();
  await eventually(() => page.getByRole("status").innerText()).toBe("The sum is 6.");
  expect(complaints).toEqual([]);
});
