// One Chromium, one server and any number of tabs that run the shipped package under a strict policy.
import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";
import { afterAll, afterEach, beforeAll, expect } from "vitest";
import { type Chromium, launchChromium, type Target } from "./chromium.js";
import type { Fixture, FixtureOptions, StepsArgs, Told } from "./fixture/app.js";

export type { Fixture, FixtureOptions, Told } from "./fixture/app.js";

/** Timings quick enough to see leases run out. */
export const QUICK = { leaseTtlMs: 3_000, leaseRenewMs: 900, sweepMs: 1_000, pollMs: 500 };
/** Timings far too slow for a test: a change that is seen all the same came by a notice, a lock or a farewell, not by a timer. */
export const SLOW = { leaseTtlMs: 70_000, leaseRenewMs: 20_000, sweepMs: 70_000, pollMs: 70_000 };

const PATIENCE_MS = 30_000;
const policy = "default-src 'self'; script-src 'self'; worker-src 'self'; report-uri /violations";
/** The policy that a page with Trusted Types adds; "app" is the fixture's own policy. */
const trustedTypes = "; require-trusted-types-for 'script'; trusted-types app";
const types: Record<string, string> = { ".html": "text/html", ".js": "text/javascript" };
const file = (path: string) => fileURLToPath(new URL(path, import.meta.url));

let folder: string;
let origin: string;
let chromium: Chromium;
let tabs: Tab[] = [];
let databases = 0;
let told: (Told & { saidAtMs: number; toldAtMs: number })[] = [];
let violations: string[] = [];

const server = createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url ?? "/", "http://localhost");
  if (request.method !== "POST")
    return void serve(pathname, response, searchParams.has("trusted") ? policy + trustedTypes : policy);
  let body = "";
  request.on("data", (chunk) => {
    body += chunk;
  });
  request.on("end", () => {
    if (pathname === "/told") told.push({ ...JSON.parse(body), toldAtMs: Date.now() });
    else violations.push(body);
    response.writeHead(204).end();
  });
});

async function serve(pathname: string, response: ServerResponse, allowed: string): Promise<void> {
  if (pathname === "/favicon.ico") return void response.writeHead(204).end();
  const name = normalize(pathname === "/" ? "/index.html" : pathname);
  try {
    const content = pathname === "/elsewhere" ? "<!doctype html><title>elsewhere</title>" : await readFile(join(folder, name));
    response.writeHead(200, {
      "content-type": types[extname(name)] ?? "text/html",
      "cache-control": "no-cache",
      "content-security-policy": allowed,
    });
    response.end(content);
  } catch {
    response.writeHead(404, { "content-security-policy": policy }).end();
  }
}

/** Sets up the browser and the server once for a test file. */
export function useTabs(): void {
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "holdfast-fixture-"));
    await build({
      configFile: false,
      logLevel: "error",
      root: file("./fixture"),
      resolve: {
        alias: [
          { find: /^holdfast$/, replacement: file("../../dist/index.js") },
          { find: /^holdfast\/indexeddb$/, replacement: file("../../dist/indexeddb.js") },
          { find: /^holdfast\/worker$/, replacement: file("../../dist/worker.js") },
        ],
      },
      build: { outDir: folder, target: "es2022" },
    });
    await copyFile(file("../../dist/worker.js"), join(folder, "shipped-worker.js"));
    await copyFile(file("../../dist/service-worker.js"), join(folder, "shipped-service-worker.js"));
    await new Promise<void>((resolve) => server.listen(0, "localhost", resolve));
    origin = `http://localhost:${(server.address() as AddressInfo).port}`;
    chromium = await launchChromium();
  });

  afterEach(async () => {
    for (const tab of tabs) await tab.close();
    const broken = violations;
    tabs = [];
    told = [];
    violations = [];
    expect(broken, "the policy was violated").toEqual([]);
  });

  afterAll(async () => {
    await chromium?.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    await rm(folder, { recursive: true, force: true });
  });
}

/** Serves a file beside the fixture's own. */
export async function serveFile(name: string, text: string): Promise<void> {
  await writeFile(join(folder, name), text);
}

/** The browser's policy complaints since the last call. */
export function takeViolations(): string[] {
  return violations.splice(0);
}

/** The reports in the order in which the tab made them: requests of one moment overtake one another on the way. */
export function facts<T extends Told["type"]>(type: T): Extract<(typeof told)[number], { type: T }>[] {
  return told
    .filter((fact): fact is Extract<(typeof told)[number], { type: T }> => fact.type === type)
    .sort((a, b) => a.saidAtMs - b.saidAtMs);
}

/** Ends the whole browser as a machine's crash does, and starts it again on the same profile. All tabs are gone. */
export async function crashBrowser(): Promise<void> {
  tabs = [];
  chromium = await chromium.crash();
}

/** The steps of a process whose run began, in order. */
export const stepsBegun = (processId: string) => facts("step").filter((step) => step.processId === processId);

/** Waits until `read` gives the expected value, never for a time. */
export function eventually<T>(read: () => T | Promise<T>) {
  return expect.poll(read, { timeout: PATIENCE_MS, interval: 50 });
}

/** Waits until this step of the process began in this tab, and gives its fence. */
export async function stepIn(tab: Tab, processId: string, key: string, aboveFence = 0): Promise<number> {
  const found = () =>
    stepsBegun(processId).find((step) => step.tab === tab.name && step.key === key && step.fence > aboveFence)?.fence;
  await eventually(found).toBeDefined();
  return found() ?? 0;
}

export class Tab {
  readonly name: string;
  readonly #target: Target;
  #closed = false;

  constructor(name: string, target: Target) {
    this.name = name;
    this.#target = target;
  }

  async load(path = `/?tab=${this.name}`): Promise<void> {
    await this.#arrive("Page.navigate", { url: `${origin}${path}` });
  }

  async reload(): Promise<void> {
    await this.#arrive("Page.reload");
  }

  async #arrive(method: string, params?: Record<string, unknown>): Promise<void> {
    const loaded = this.#target.next("Page.loadEventFired");
    await this.#target.send(method, params);
    await loaded;
  }

  /** Goes back in the tab's history. Gives the browser's reasons if it did not keep the page and loads it again. */
  async back(): Promise<string[]> {
    const reasons: string[] = [];
    void this.#target.next("Page.backForwardCacheNotUsed").then(({ notRestoredExplanations }) => {
      for (const { reason } of notRestoredExplanations as { reason: string }[]) reasons.push(reason);
    });
    const { currentIndex, entries } = (await this.#target.send("Page.getNavigationHistory")) as {
      currentIndex: number;
      entries: { id: number }[];
    };
    await this.#target.send("Page.navigateToHistoryEntry", { entryId: entries[currentIndex - 1]?.id });
    return reasons;
  }

  /** Runs a function in the page; it sees its arguments and nothing else of the test. */
  async call<A extends unknown[], R>(run: (fixture: Fixture, ...args: A) => R, ...args: A): Promise<Awaited<R>> {
    const given = args.map((arg) => JSON.stringify(arg) ?? "undefined");
    const { result, exceptionDetails } = (await this.#target.send("Runtime.evaluate", {
      expression: `(${run})(${["window.fixture", ...given].join(", ")})`,
      awaitPromise: true,
      returnByValue: true,
      // The debugger would otherwise bypass the policy.
      allowUnsafeEvalBlockedByCSP: false,
    })) as { result: { value?: unknown }; exceptionDetails?: { text: string; exception?: { description?: string } } };
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value as Awaited<R>;
  }

  open(options: FixtureOptions): Promise<void> {
    return this.call((fixture, given) => fixture.open(given), options);
  }

  start(processId: string, args: StepsArgs): Promise<void> {
    return this.call(
      async (fixture, id, given) => {
        await fixture.kernel.start({ id, input: { type: "task", name: "steps", args: { ...given } } });
      },
      processId,
      args,
    );
  }

  openGate(processId: string): Promise<void> {
    return this.call((fixture, id) => fixture.openGate(id), processId);
  }

  state(processId: string): Promise<string | undefined> {
    return this.call(async (fixture, id) => (await fixture.kernel.processes.getProcess(id))?.status.state, processId);
  }

  ended(processId: string): Promise<unknown> {
    return eventually(() => this.state(processId)).not.toBe("running");
  }

  heard(event: string): Promise<unknown[]> {
    return this.call(
      (fixture, name) => fixture.heard.filter((heard) => heard.event === name).map(({ payload }) => payload),
      event,
    );
  }

  /** The place where the loop runs. */
  loop(): Promise<string> {
    return this.call(async (fixture) => (await fixture.kernel.status()).loop);
  }

  /** The codes with which the handler's calls were refused in this tab. */
  refusals(processId: string): string[] {
    return facts("refused").flatMap((fact) => (fact.tab === this.name && fact.processId === processId ? [fact.code] : []));
  }

  /** The codes of the reasons for which the handler was told to stop in this tab. */
  aborts(processId: string): string[] {
    return facts("aborted").flatMap((fact) => (fact.tab === this.name && fact.processId === processId ? [fact.code] : []));
  }

  async crash(): Promise<void> {
    const crashed = this.#target.next("Inspector.targetCrashed");
    this.#target.send("Page.crash").catch(() => undefined);
    await crashed;
  }

  /** Sets the bytes that the browser gives to this origin; without a number, the browser's own limit. */
  async setQuota(quotaSize?: number): Promise<void> {
    await this.#target.send("Storage.overrideQuotaForOrigin", { origin, ...(quotaSize !== undefined && { quotaSize }) });
  }

  /** Brings the tab to the front; every other tab is hidden then. */
  async activate(): Promise<void> {
    await this.#target.activate();
  }

  async setLifecycle(state: "frozen" | "active"): Promise<void> {
    await this.#target.send("Page.setWebLifecycleState", { state });
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#target.close();
  }
}

export async function newTab(name: string, without: readonly Missing[] = []): Promise<Tab> {
  const target = await chromium.newTarget();
  const tab = new Tab(name, target);
  tabs.push(tab);
  await target.send("Page.enable");
  await target.send("Inspector.enable");
  const source = without.map((what) => REMOVALS[what]).join("\n");
  if (source) await target.send("Page.addScriptToEvaluateOnNewDocument", { source });
  await tab.load();
  return tab;
}

const REMOVALS = {
  Worker: "delete window.Worker;",
  BroadcastChannel: "delete window.BroadcastChannel;",
  locks: "delete Navigator.prototype.locks;",
} as const;

export type Missing = keyof typeof REMOVALS;

/** Goes back, and proves that the page is the one that was left: it heard `pageshow` a second time. */
export async function goBack(tab: Tab): Promise<void> {
  const shows = () => facts("pageshow").filter((show) => show.tab === tab.name);
  const before = shows().length;
  const reasons = await tab.back();
  await eventually(() => shows().length).toBe(before + 1);
  expect({ persisted: shows().at(-1)?.persisted, reasons }, "the browser did not keep the page").toEqual({
    persisted: true,
    reasons: [],
  });
}

/** Freezes a hidden tab, and proves that neither its page nor a worker of it runs any more. */
export async function freeze(tab: Tab): Promise<void> {
  const ticks = (from: "page" | "worker") => facts("tick").filter((tick) => tick.tab === tab.name && tick.from === from).length;
  await eventually(() => Math.min(ticks("page"), ticks("worker"))).toBeGreaterThan(0);
  await tab.setLifecycle("frozen");
  // Messages under way may still arrive.
  await new Promise((resolve) => setTimeout(resolve, 500));
  const before = [ticks("page"), ticks("worker")];
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  expect([ticks("page"), ticks("worker")], "the tab did not freeze").toEqual(before);
}

/** A name that no other test uses. */
export function newName(): string {
  return `tabs-${++databases}`;
}

/** Opens tabs with a kernel each on the same database; `trusted` pages demand Trusted Types. */
export async function openTabs<const N extends readonly string[]>(
  names: N,
  { without = [], trusted = false, ...options }: FixtureOptions & { without?: readonly Missing[]; trusted?: boolean },
): Promise<{ -readonly [K in keyof N]: Tab }> {
  const opened: Tab[] = [];
  for (const name of names) {
    const tab = await newTab(name, without);
    if (trusted) await tab.load(`/?tab=${name}&trusted`);
    await tab.open({ timings: QUICK, ...options });
    opened.push(tab);
  }
  return opened as { -readonly [K in keyof N]: Tab };
}

interface StoredProcess {
  process: { state: string; lastSequence: number; awaitOutput?: { type: string; value?: unknown; code?: string } };
  events: {
    sequence: number;
    eventType: string;
    payload: unknown;
    replayKey?: string;
    fencingToken?: number;
    semantics?: object;
  }[];
  lease: { fencingToken: number; leaseToken?: string } | undefined;
}

/** The rows of a process, read in a tab that has no kernel. */
export async function readStored(name: string, processId: string): Promise<StoredProcess> {
  const reader = await newTab("auditor");
  const stored = await reader.call(
    async (_, databaseName, id) => {
      const result = <T>(request: IDBRequest<T>) =>
        new Promise<T>((resolve, reject) => {
          request.onsuccess = () => resolve(request.result);
          request.onerror = () => reject(request.error);
        });
      const database = await result(indexedDB.open(databaseName));
      const transaction = database.transaction(["processes", "events", "leases"]);
      const all = (table: string) => result(transaction.objectStore(table).getAll(IDBKeyRange.bound([id], [id, []])));
      const one = (table: string) => result(transaction.objectStore(table).get(id));
      const [process, events, lease] = await Promise.all([one("processes"), all("events"), one("leases")]);
      database.close();
      return { process, events, lease };
    },
    name,
    processId,
  );
  await reader.close();
  return stored;
}

/** The promises for a process, however its owners ended: nothing doubled, nothing lost, no late write of an earlier owner. */
export async function expectSound(
  name: string,
  processId: string,
  expected: { state: string; steps?: number },
): Promise<StoredProcess> {
  const stored = await readStored(name, processId);
  const { process, events, lease } = stored;
  expect(process.state).toBe(expected.state);
  expect(events.map(({ sequence }) => sequence)).toEqual(events.map((_, at) => at + 1));
  expect(process.lastSequence).toBe(events.length);

  const keys = events.flatMap(({ replayKey }) => (replayKey === undefined ? [] : [replayKey]));
  expect(new Set(keys).size).toBe(keys.length);

  const terminal = events.filter(({ semantics }) => semantics !== undefined && "terminal" in semantics);
  expect(terminal.map(({ eventType }) => eventType)).toEqual([`process.${expected.state}`]);

  const steps = events.filter(({ eventType }) => eventType === "process.step");
  if (expected.steps !== undefined) expect(steps).toHaveLength(expected.steps);
  const ran = steps.map(({ payload }) => (payload as { result: { fence?: number } }).result.fence ?? 0);
  const wrote = events.flatMap(({ fencingToken }) => (fencingToken === undefined ? [] : [fencingToken]));
  for (const fences of [ran, wrote]) expect(fences).toEqual([...fences].sort((a, b) => a - b));
  expect(lease?.leaseToken).toBeUndefined();
  expect(lease?.fencingToken ?? 0).toBeGreaterThanOrEqual(Math.max(0, ...wrote));
  return stored;
}
