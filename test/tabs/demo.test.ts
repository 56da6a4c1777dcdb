// The built playground in real tabs of a real browser, under its own Content-Security-Policy.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright";
import { build, type PreviewServer, preview } from "vite";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { chromiumArgs, findChromium } from "../../scripts/chromium.mjs";

const configFile = fileURLToPath(new URL("../../vite.config.ts", import.meta.url));

let outDir: string;
let server: PreviewServer;
let browser: Browser;
let context: BrowserContext;
/** Everything that a console or the policy complained about, in any tab. */
let complaints: string[];

beforeAll(async () => {
  outDir = await mkdtemp(join(tmpdir(), "holdfast-demo-"));
  await build({ configFile, logLevel: "error", build: { outDir } });
  server = await preview({ configFile, logLevel: "error", build: { outDir }, preview: { port: 0 } });
  browser = await chromium.launch({ executablePath: await findChromium(), args: chromiumArgs });
});

afterAll(async () => {
  await browser?.close();
  await server?.close();
  await rm(outDir, { recursive: true, force: true });
});

beforeEach(async () => {
  complaints = [];
  context = await browser.newContext();
  context.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") complaints.push(message.text());
  });
  context.on("weberror", (error) => complaints.push(String(error.error())));
  await context.exposeFunction("complain", (text: string) => void complaints.push(text));
  await context.addInitScript(() => {
    const { complain } = window as unknown as { complain(text: string): void };
    addEventListener("securitypolicyviolation", (event) => complain(`${event.violatedDirective}: ${event.blockedURI}`));
  });
});

afterEach(async () => {
  await context.close();
});

async function openTab(): Promise<Page> {
  const page = await context.newPage();
  await page.goto(server.resolvedUrls?.local[0] ?? "");
  await page.locator("#main").waitFor();
  return page;
}

const textFile = (name: string, text: string) => ({ name, mimeType: "text/plain", buffer: Buffer.from(text) });
const paragraphs = (count: number, about: string) =>
  Array.from({ length: count }, (_, at) => `${about} number ${at + 1} is told here.`).join("\n\n");
const cardOf = (page: Page, fileName: string) =>
  page.locator(".card", { has: page.getByRole("heading", { name: fileName, exact: true }) });
const readCells = (page: Page, fileName: string) => cardOf(page, fileName).locator(".cell[data-hue]");
const setPause = (page: Page, pause: "400 ms" | "120 ms" | "none") => page.locator("#pace label", { hasText: pause }).click();

/** Waits as long as it takes; the test's own limit is the end of it. */
const eventually = <T>(read: () => Promise<T>) => expect.poll(read, { timeout: 50_000 });

/** A drop as a person makes it: a DataTransfer with a file in it. */
async function drop(page: Page, name: string, text: string): Promise<void> {
  const transfer = await page.evaluateHandle(
    (file) => {
      const data = new DataTransfer();
      data.items.add(new File([file.text], file.name));
      return data;
    },
    { name, text },
  );
  await page.dispatchEvent("#drop", "drop", { dataTransfer: transfer });
}

async function ask(page: Page, question: string): Promise<void> {
  await page.getByRole("searchbox", { name: "Question" }).fill(question);
  await page.getByRole("button", { name: "Ask", exact: true }).click();
}

/** The keys of the stored steps, straight from the database. */
function storedSteps(page: Page): Promise<string[]> {
  return page.evaluate(async () => {
    const result = <T>(request: IDBRequest<T>) =>
      new Promise<T>((resolve, reject) => {
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error);
      });
    const [found] = (await indexedDB.databases()).filter(({ name }) => name?.includes("holdfast-playground"));
    const database = await result(indexedDB.open(found?.name ?? ""));
    const rows = await result(database.transaction("events").objectStore("events").getAll());
    database.close();
    return rows
      .filter(({ eventType }) => eventType === "process.step")
      .map(({ processId, payload }) => `${processId} ${payload.key}`);
  });
}

it("goes on in another tab when the one at work crashes, and answers from what both have read", async () => {
  const first = await openTab();
  await setPause(first, "400 ms");
  await first.setInputFiles("#picker", [
    textFile("harbour.txt", `${paragraphs(20, "Harbour")}\n\nThe pilot's parrot was called Admiral Biscuit.`),
  ]);
  await drop(first, "weather.md", `# Weather\n\n${paragraphs(9, "Storm")}`);
  await eventually(() => readCells(first, "weather.md").count()).toBeGreaterThan(1);
  const firstName = (await first.locator(".chip[data-self] .tab-name").textContent()) ?? "";

  const second = await openTab();
  await eventually(() => readCells(second, "harbour.txt").count()).toBeGreaterThan(1);
  await eventually(() => second.locator(".chip").count()).toBe(2);
  expect(await second.locator("#granted").textContent()).toContain(
    "stored in IndexedDB, strict durability; leases renewed from a Web Worker",
  );
  const cdp = await context.newCDPSession(first);
  // The call itself dies with the page.
  cdp.send("Page.crash").catch(() => {});

  await eventually(() => second.locator(".card[data-state=completed]").count()).toBe(2);
  const steps = await storedSteps(second);
  expect(steps).toHaveLength(21 + 9);
  expect(new Set(steps).size).toBe(21 + 9);

  const stretches = await cardOf(second, "harbour.txt").locator(".stretches li").allTextContents();
  expect(stretches.length).toBeGreaterThan(1);
  expect(firstName).toContain(stretches[0]?.match(/^[A-Z][a-z]+?(?=\d)/)?.[0] ?? "nobody");
  const fences = stretches.map((text) => Number(/fence (\d+)/.exec(text)?.[1]));
  expect(fences).toEqual([...fences].sort((a, b) => a - b));
  expect(new Set(fences).size).toBe(fences.length);
  await eventually(() => second.locator("#story").textContent()).toContain("took over harbour.txt");

  await first.close();
  await context.setOffline(true);
  await ask(second, "What was the parrot called?");
  await expect
    .poll(() => second.locator("blockquote").first().textContent())
    .toBe("The pilot's parrot was called Admiral Biscuit.");
  expect(await second.locator("figcaption").first().textContent()).toContain("harbour.txtline 41");
  await ask(second, "zeppelin");
  await eventually(() => second.locator("#answer").textContent()).toBe("No passage says anything about “zeppelin”.");
  await context.setOffline(false);

  await second.reload();
  await second.locator("#main").waitFor();
  await ask(second, "parrot");
  await eventually(() => second.locator("blockquote mark").first().textContent()).toBe("parrot");
  expect(complaints).toEqual([]);
});

it("crashes for real when told to, and gives every tab a name of its own", async () => {
  const first = await openTab();
  // An opener's session storage is copied, and with it the first tab's name.
  const [second] = await Promise.all([context.waitForEvent("page"), first.evaluate(() => void window.open(location.href))]);
  await second.locator("#main").waitFor();
  await eventually(() => second.locator(".chip").count()).toBe(2);
  const names = await second.locator(".chip .tab-name").allTextContents();
  expect(new Set(names.map((name) => name.replace(" (this tab)", ""))).size).toBe(2);
  await second.close();

  const third = await openTab();
  const crashed = first.waitForEvent("crash");
  first
    .getByRole("button", { name: "Crash this tab" })
    .click({ noWaitAfter: true })
    .catch(() => {});
  await crashed;
  await eventually(() => third.locator(".chip").count()).toBe(1);
  await eventually(() => third.locator("#story").textContent()).toContain("is gone");
  expect(complaints).toEqual([]);
});

it("shows the samples read, and every stored event", async () => {
  const page = await openTab();
  await setPause(page, "none");
  await page.getByRole("button", { name: "Try the sample files" }).click();
  await eventually(() => page.locator(".card[data-state=completed]").count()).toBe(5);
  const card = cardOf(page, "birds-of-the-rock.md");
  const cells = await card.locator(".cell").count();
  expect(await card.locator(".cell[data-hue]").count()).toBe(cells);
  await card.locator("summary").click();
  await eventually(() => card.locator(".events code", { hasText: "process.step" }).count()).toBe(cells);
  await card.getByRole("listbox").press("ArrowRight");
  expect(await card.locator(".cell-detail").textContent()).toMatch(/^Passage 2: .*, fence 1$/);
  await page.getByRole("button", { name: "Who tuned the fog horn?" }).click();
  await eventually(() => page.locator("blockquote").first().textContent()).toContain("Tuned the fog horn");
  expect(complaints).toEqual([]);
});

it("cancels one file and says why another is not taken", async () => {
  const page = await openTab();
  await setPause(page, "400 ms");
  await drop(page, "photo.png", "x");
  await eventually(() => page.locator("#refused").textContent()).toContain("photo.png.png files are not read here");
  await drop(page, "long.txt", paragraphs(50, "Tide"));
  await eventually(() => readCells(page, "long.txt").count()).toBeGreaterThan(0);
  await drop(page, "long.txt", paragraphs(50, "Tide"));
  await eventually(() => page.locator("#refused").textContent()).toContain("This file is already here.");
  await page.getByRole("button", { name: "Cancel long.txt" }).click();
  await eventually(() => cardOf(page, "long.txt").getAttribute("data-state")).toBe("cancelled");
  expect(await readCells(page, "long.txt").count()).toBeLessThan(50);
  expect(complaints).toEqual([]);
});

it("deletes everything on demand, and the other tab says so", async () => {
  const first = await openTab();
  await drop(first, "note.txt", "A note about herrings.");
  await eventually(() => first.locator(".card[data-state=completed]").count()).toBe(1);
  const second = await openTab();
  await eventually(() => second.locator(".card[data-state=completed]").count()).toBe(1);

  await first.getByRole("button", { name: "Start over" }).click();
  await first.getByRole("button", { name: "Delete and start over" }).click();
  await first.getByRole("heading", { name: "Nothing here yet" }).waitFor();
  expect(await first.locator(".card").count()).toBe(0);
  await second.getByRole("button", { name: "Reload this tab" }).click();
  await second.getByRole("heading", { name: "Nothing here yet" }).waitFor();
  expect(complaints).toEqual([]);
});
