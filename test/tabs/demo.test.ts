// The built playground in real tabs of a real browser, under its own Content-Security-Policy.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer, type IncomingHttpHeaders, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
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
/** Every complaint of a console or of the policy, in any tab. */
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

/** Waits as long as it takes; the test's own limit ends the wait. */
const eventually = <T>(read: () => Promise<T>) => expect.poll(read, { timeout: 50_000 });

/** A drop as a person makes it: a DataTransfer with a file. */
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

/** Reads the sample files at full speed. */
async function readSamples(page: Page): Promise<void> {
  await setPause(page, "none");
  await page.getByRole("button", { name: "Try the sample files" }).click();
  await eventually(() => page.locator(".card[data-state=completed]").count()).toBe(5);
}

async function say(page: Page, text: string): Promise<void> {
  await page.getByRole("textbox", { name: "Message" }).fill(text);
  await page.getByRole("textbox", { name: "Message" }).press("Enter");
}

const nameOf = async (page: Page) => (await page.locator(".chip[data-self] .tab-name").textContent())?.split(" ")[0] ?? "";
const statusOf = (page: Page) => page.locator(".exchange .status > span").last();
const saidIn = (page: Page) => page.locator(".exchange .said").last().textContent();
const partsIn = (page: Page) => page.locator(".exchange .said").last().locator("span").count();
const answered = (page: Page, count = 1) => eventually(() => page.locator(".exchange[data-phase=answered]").count()).toBe(count);
const agentsIn = (page: Page, state: "online" | "deregistered" | "expired") => page.locator(`#agents .cell[data-state=${state}]`);

/** Whether a text is anywhere in the origin's storage, as text or as bytes. */
function isKept(page: Page, needle: string): Promise<boolean> {
  return page.evaluate(async (text) => {
    const result = <T>(request: IDBRequest<T>) =>
      new Promise<T>((resolve, reject) => {
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error);
      });
    const holds = (value: unknown): boolean => {
      if (typeof value === "string") return value.includes(text);
      if (value instanceof ArrayBuffer) return new TextDecoder("latin1").decode(value).includes(text);
      if (ArrayBuffer.isView(value)) return new TextDecoder("latin1").decode(value as Uint8Array).includes(text);
      return typeof value === "object" && value !== null && Object.entries(value).some((entry) => entry.some(holds));
    };
    if ([{ ...localStorage }, { ...sessionStorage }].some(holds)) return true;
    for (const { name = "" } of await indexedDB.databases()) {
      const database = await result(indexedDB.open(name));
      for (const table of database.objectStoreNames)
        if (holds(await result(database.transaction(table).objectStore(table).getAll()))) return true;
      database.close();
    }
    return false;
  }, needle);
}

/** The keys of the stored steps, read directly from the database. */
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
  // The call itself ends with the page, without an answer.
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
  // The opener's session storage is copied, and the first tab's name with it.
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
  await second.getByRole("button", { name: "Reload this tab" }).waitFor();
  for (const name of ["Choose files", "Try the sample files", "Send", "Start over"])
    expect(await second.getByRole("button", { name, exact: true }).isDisabled()).toBe(true);
  await drop(second, "late.txt", "Too late.");
  expect(await second.locator("#refused").textContent()).toBe("");

  await second.getByRole("button", { name: "Reload this tab" }).click();
  await second.getByRole("heading", { name: "Nothing here yet" }).waitFor();
  const third = await openTab();
  const names = await Promise.all([first, second, third].map(nameOf));
  expect(new Set(names).size).toBe(3);
  expect(complaints).toEqual([]);
});

it("takes the samples once, however often they are asked for", async () => {
  const page = await openTab();
  await readSamples(page);
  await page.getByRole("button", { name: "Try the sample files" }).click();
  await page.getByRole("button", { name: "Already here" }).waitFor();
  expect(await page.locator("#intake-note").textContent()).toBe("The sample files are already here.");
  expect(await page.locator("#refused").textContent()).toBe("");
  expect(await page.locator(".card").count()).toBe(5);
  expect(complaints).toEqual([]);
});

it("answers in a conversation with a quote and its place, the same in two tabs, and stores a message once", async () => {
  const first = await openTab();
  await readSamples(first);
  const second = await openTab();
  await first.getByRole("textbox", { name: "Message" }).fill("How much oil does the lamp drink in December?");
  await first.evaluate(() => {
    const form = document.querySelector<HTMLFormElement>("#say");
    form?.requestSubmit();
    form?.requestSubmit();
  });
  const runner = async () => (await statusOf(second).locator(".tab-name").textContent()) ?? "";
  await eventually(() => statusOf(second).textContent()).toMatch(/^running in .*, attempt 1$/);
  expect(await Promise.all([first, second].map(nameOf))).toContain(await runner());
  await answered(first);
  await answered(second);

  const text = (await saidIn(first)) ?? "";
  expect(text).toContain("On a long December night the lamp drinks eleven litres");
  expect(await first.locator(".exchange .sources").textContent()).toMatch(/\[\d\] keepers-handbook\.md, line \d+, The lamp/);
  expect(await saidIn(second)).toBe(text);
  expect(await second.locator(".exchange").count()).toBe(1);
  expect(await first.getByRole("textbox", { name: "Message" }).inputValue()).toBe("");
  expect(complaints).toEqual([]);
});

it("goes on with an answer after a reload, and says nothing twice", async () => {
  const page = await openTab();
  await readSamples(page);
  const question = "How was the lens turned by hand when the clockwork stopped?";
  await say(page, question);
  await eventually(() => partsIn(page)).toBeGreaterThan(1);
  await page.reload();
  await page.locator("#main").waitFor();
  await eventually(() => statusOf(page).textContent()).toMatch(/attempt 2, \d+ parts kept$/);
  await answered(page);
  const interrupted = await saidIn(page);
  expect(await page.locator(".exchange .stretches li").count()).toBe(2);

  await page.getByRole("button", { name: "New", exact: true }).click();
  await eventually(() => page.locator(".exchange").count()).toBe(0);
  await say(page, question);
  await answered(page);
  expect(await saidIn(page)).toBe(interrupted);
  expect(await page.locator(".exchange .stretches li").count()).toBe(1);
  expect(complaints).toEqual([]);
});

it("goes on with an answer in another tab when the one that writes it crashes", async () => {
  const first = await openTab();
  await readSamples(first);
  await say(first, "How was the lens turned by hand when the clockwork stopped?");
  await eventually(() => partsIn(first)).toBeGreaterThan(1);
  const second = await openTab();
  const [firstName, secondName] = await Promise.all([first, second].map(nameOf));
  const cdp = await context.newCDPSession(first);
  cdp.send("Page.crash").catch(() => {});

  await eventually(() => statusOf(second).textContent()).toMatch(
    new RegExp(`^running in ${secondName}, attempt 2, \\d+ parts kept$`),
  );
  await answered(second);
  expect(await statusOf(second).textContent()).toBe("answered at attempt 2");
  expect(await second.locator(".exchange .stretches .tab-name").allTextContents()).toEqual([firstName, secondName]);
  const sentences = await second.locator(".exchange .said span").allTextContents();
  expect(new Set(sentences).size).toBe(sentences.length);
  expect(complaints).toEqual([]);
});

it("hands a conversation out as a file, deletes it in all tabs, and takes it in again", async () => {
  const first = await openTab();
  const second = await openTab();
  await say(first, "Is anybody there?");
  await answered(second);
  const text = await saidIn(second);
  const [file] = await Promise.all([first.waitForEvent("download"), first.getByRole("button", { name: "Export" }).click()]);
  expect(file.suggestedFilename()).toBe("is-anybody-there.jsonl");
  const lines = (await readFile(await file.path(), "utf8")).trimEnd().split("\n");
  for (const line of lines) expect(() => JSON.parse(line)).not.toThrow();

  await first.getByRole("button", { name: "Delete", exact: true }).click();
  await first.getByRole("button", { name: "Delete it" }).click();
  await eventually(() => first.locator(".exchange").count()).toBe(0);
  await eventually(() => second.locator(".exchange").count()).toBe(0);

  const again = { name: "again.jsonl", mimeType: "application/jsonl", buffer: Buffer.from(`${lines.join("\n")}\n`) };
  await first.setInputFiles("#chat-file", again);
  await eventually(() => saidIn(first)).toBe(text);
  await eventually(() => saidIn(second)).toBe(text);
  await first.setInputFiles("#chat-file", again);
  await eventually(() => first.locator("#chat-note").textContent()).toContain("It could not be imported");
  expect(complaints).toEqual([]);
});

it("asks an endpoint with its key, tells its failures, and keeps the key out of everything", async () => {
  const key = "sk-0f-plain-text-nowhere";
  const calls: { headers: IncomingHttpHeaders; body: { model: string; stream: boolean; messages: { content: string }[] } }[] = [];
  const delta = (content: string) => `data: ${JSON.stringify({ choices: [{ delta: { content } }] })}\n\n`;
  const replies: ((response: ServerResponse) => void)[] = [
    (response) => response.writeHead(401).end(JSON.stringify({ error: { message: `Not with the key ${key}` } })),
    (response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write(delta("It was tuned"));
      // The pause is longer than the time for which words are gathered before they are stored.
      setTimeout(() => response.write(delta(" by Mr")), 600);
      setTimeout(() => response.destroy(), 900);
    },
    (response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.end(`${delta(` Brandt [1], not by ${key.slice(0, 8)}`)}${delta(`${key.slice(8)}.`)}data: [DONE]\n\n`);
    },
  ];
  const endpoint = createServer((request, response) => {
    response.setHeader("access-control-allow-origin", "*");
    response.setHeader("access-control-allow-headers", "authorization, content-type");
    let text = "";
    request.on("data", (data) => {
      text += data;
    });
    request.on("end", () => {
      if (request.method === "OPTIONS") return response.writeHead(204).end();
      calls.push({ headers: request.headers, body: JSON.parse(text) });
      replies[calls.length - 1]?.(response);
    });
  });
  await new Promise<void>((resolve) => endpoint.listen(0, "127.0.0.1", resolve));
  try {
    const page = await openTab();
    const logged: string[] = [];
    page.on("console", (message) => logged.push(message.text()));
    await readSamples(page);
    expect(await page.locator("#granted").textContent()).toContain("secrets sealed");
    await page.getByRole("button", { name: "Settings" }).click();
    await page.getByLabel("URL").fill(`http://127.0.0.1:${(endpoint.address() as AddressInfo).port}/v1`);
    await page.getByLabel("Model").fill("small-model");
    await page.getByLabel("Key", { exact: true }).fill(key);
    await page.getByRole("button", { name: "Use this endpoint" }).click();
    await eventually(() => page.locator("#agent-line").textContent()).toMatch(
      /^Answered by small-model at .*; its key is sealed\.$/,
    );

    await say(page, "Who tuned the fog horn?");
    const failure = page.locator(".exchange .failure");
    await eventually(() => statusOf(page).textContent()).toMatch(/^attempt 1 failed; waits, next try (in \d+ s|soon)$/);
    expect(await failure.textContent()).toMatch(
      /^Attempt 1 failed\. 127\.0\.0\.1:\d+: it answered 401: Not with the key \[key\]$/,
    );
    await eventually(() => failure.textContent()).toMatch(/^Attempt 2 failed\. .* cannot be reached/);
    await answered(page);
    expect(await failure.isVisible()).toBe(false);
    expect(calls).toHaveLength(3);
    for (const { headers } of calls) expect(headers.authorization).toBe(`Bearer ${key}`);
    expect(calls[0]?.body).toMatchObject({ model: "small-model", stream: true });
    expect(calls[0]?.body.messages[0]?.content).toContain("Tuned the fog horn");
    expect(calls[2]?.body.messages.map(({ content }) => content)).toContain("It was tuned by Mr");
    expect(await saidIn(page)).toBe("It was tuned by Mr Brandt [1], not by [key].");
    expect(await page.locator(".exchange .sources li").count()).toBe(1);

    const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Export" }).click()]);
    expect(await readFile(await file.path(), "utf8")).not.toContain(key);
    expect(await isKept(page, "Brandt [1]")).toBe(true);
    expect(await isKept(page, key)).toBe(false);
    expect(await page.content()).not.toContain(key);
    // The browser itself reports what it could not load.
    const told = complaints.filter((text) => !text.startsWith("Failed to load resource"));
    // The kernel tells a developer of each attempt that failed.
    expect(told).toEqual([401, "reached"].map((part) => expect.stringMatching(`^holdfast: session "conversation-1": .*${part}`)));
    expect([...complaints, ...logged].join()).not.toContain(key);

    await page.reload();
    await eventually(() => page.locator("#agent-line").textContent()).toContain("small-model");
  } finally {
    endpoint.closeAllConnections();
    endpoint.close();
  }
});

it("keeps a question that no attempt could answer, with the reason, and answers it once when told to try again", async () => {
  const page = await openTab();
  await page.getByRole("button", { name: "Settings" }).click();
  // No endpoint is there.
  await page.getByLabel("URL").fill("http://127.0.0.1:1/v1");
  await page.getByLabel("Model").fill("small-model");
  await page.getByRole("button", { name: "Use this endpoint" }).click();
  await eventually(() => page.locator("#agent-line").textContent()).toContain("small-model");
  await say(page, "Who tuned the fog horn?");
  const again = page.getByRole("button", { name: "Try again" });
  await again.waitFor({ timeout: 50_000 });
  await page.reload();
  await page.locator("#main").waitFor();
  await again.waitFor();
  expect(await page.locator(".exchange .question").allTextContents()).toEqual(["Who tuned the fog horn?"]);
  expect(await statusOf(page).textContent()).toBe("given up after 3 attempts");
  expect(await page.locator(".exchange .failure").textContent()).toMatch(
    /^Attempt 3 failed\. 127\.0\.0\.1:1: it cannot be reached/,
  );

  await page.getByRole("button", { name: "Settings" }).click();
  await page.getByRole("button", { name: "Use the built-in agent" }).click();
  await eventually(() => page.locator("#agent-line").textContent()).toContain("built-in agent");
  await again.click();
  await answered(page);
  expect(await page.locator(".exchange .question").allTextContents()).toEqual(["Who tuned the fog horn?"]);
  expect(await saidIn(page)).toContain("There is nothing to quote from yet");
  expect(complaints.filter((text) => text.startsWith("holdfast: session"))).toHaveLength(3);
  expect(complaints.filter((text) => !/^(Failed to load resource|holdfast: session)/.test(text))).toEqual([]);
});

it("shows who is alive in every tab, a thousand agents at one click, and takes them offline with their tab", async () => {
  const first = await openTab();
  const second = await openTab();
  const [firstName, secondName] = await Promise.all([first, second].map(nameOf));
  const hostOf = (page: Page, name = "") => page.locator("#hosts tr", { has: page.getByText(name) });
  const shown = (page: Page) => page.locator("#hosts tr").allTextContents();
  for (const page of [first, second]) await eventually(async () => (await shown(page)).length).toBe(2);
  for (const [page, other] of [
    [first, secondName],
    [second, firstName],
  ] as const)
    await eventually(() => hostOf(page, other).textContent()).toMatch(/^[A-Z][a-z]+alive, (just now|\d s ago)held00$/);
  expect(await hostOf(first, firstName).textContent()).toContain(`${firstName} (this tab)alive`);

  await first.getByRole("button", { name: "Add a thousand agents" }).click();
  await eventually(() => agentsIn(second, "online").count()).toBe(1_000);
  await second.getByRole("button", { name: "Add an agent" }).click();
  for (const page of [first, second]) {
    await eventually(() => page.locator("#agents .cell-detail").textContent()).toBe("1,001 agents online");
    await eventually(() => hostOf(page, firstName).locator(".count").allTextContents()).toEqual(["1,000", "0"]);
  }
  const hue = await first.locator("html").getAttribute("data-hue");
  expect(await second.locator(`#agents .cell[data-hue="${hue}"]`).count()).toBe(1_000);

  await first.reload();
  await first.locator(`#agents .cell[data-hue="${hue}"]`).first().hover();
  const looked = () => first.locator("#agents .cell-detail").textContent();
  await eventually(looked).toMatch(/^[a-z]+-\d{4}\/1: online, incarnation 2, seen /);
  await eventually(() => hostOf(second, firstName).locator(".count").allTextContents()).toEqual(["1,000", "0"]);

  await first.close();
  await eventually(() => agentsIn(second, "deregistered").count()).toBe(1_000);
  expect(await agentsIn(second, "online").count()).toBe(1);
  await eventually(async () => (await shown(second)).length).toBe(1);
  expect(complaints).toEqual([]);
});

it("ends a kernel in order, and a reload brings its agents back", async () => {
  const first = await openTab();
  const second = await openTab();
  for (const count of [1, 2, 3]) {
    await first.getByRole("button", { name: "Add an agent" }).click();
    await eventually(() => agentsIn(second, "online").count()).toBe(count);
  }
  await first.getByRole("button", { name: "Close this tab's kernel" }).click();
  await eventually(() => agentsIn(second, "deregistered").count()).toBe(3);
  for (const name of ["Add an agent", "Let them go", "Send"])
    expect(await first.getByRole("button", { name, exact: true }).isDisabled()).toBe(true);

  await first.getByRole("button", { name: "Reload this tab" }).click();
  await eventually(() => agentsIn(second, "online").count()).toBe(3);
  await first.getByRole("button", { name: "Let them go" }).click();
  await eventually(() => agentsIn(second, "deregistered").count()).toBe(3);
  await first.reload();
  await first.locator("#hosts tr[data-silent]").waitFor({ state: "detached" });
  await eventually(() => first.locator("#agents .cell-detail").textContent()).toBe("0 agents online, 3 deregistered");
  expect(complaints).toEqual([]);
});

it("keeps a catalogue that waits for an approval, and a schedule, over the end of every tab", async () => {
  const first = await openTab();
  await setPause(first, "none");
  await drop(first, "note.txt", "A note about herrings.");
  await first.locator(".card[data-state=completed]").waitFor();
  const repeated = (page: Page) => page.locator("#repeated").textContent();
  await first.getByRole("button", { name: "Make a catalogue" }).click();
  await first.getByLabel("Count the shelf again").selectOption("every 5 seconds");
  const scheduledAtMs = Date.now();
  await eventually(() => repeated(first)).toMatch(/^The next time is in \d s\./);
  // It is suspended: its tab has let it go.
  await first.locator("#catalogues li[data-suspended]").waitFor();
  expect(await first.locator("#catalogues li").textContent()).toMatch(/waits for your decision, 1 d 23 h left; no tab keeps it/);
  const before = (await repeated(first))?.match(/At [\d:]+/)?.[0] ?? "none";
  await first.close();
  // Until a time that came while no tab was open is more than a second ago: sooner it would count as in time.
  const openMs = Date.now() - scheduledAtMs;
  await new Promise((resolve) => setTimeout(resolve, 6_500 - (openMs % 5_000)));

  const second = await openTab();
  await second.getByRole("button", { name: "Approve" }).click();
  const name = await nameOf(second);
  // The one that was missed is made up for, or the next one stands for it.
  await eventually(() => repeated(second)).toMatch(/s\.At [\d:]+: 1 file, 1 passage\.\d times? missed/);
  expect(await repeated(second)).not.toContain(before);
  const end = `approved in ${name}, printed in ${name}: 1 file, 1 passage`;
  await eventually(() => second.locator("#catalogues li p").textContent()).toBe(end);
  expect(complaints).toEqual([]);
});
