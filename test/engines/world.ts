// Tabs of one browser on one origin, and the facts that they reported.
import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";
import type { Fixture, FixtureOptions, StepsArgs, Told, TurnArgs } from "../tabs/fixture/app.js";
import type { Browser, Page } from "./engine.js";
import type { Site } from "./server.js";

/** Timings quick enough to see leases run out. */
export const QUICK = { leaseTtlMs: 3_000, leaseRenewMs: 900, sweepMs: 1_000, pollMs: 500 };
/** Timings too slow for a scenario: a change that is seen all the same came by a notice, a lock or a farewell, not by a timer. */
export const SLOW = { leaseTtlMs: 70_000, leaseRenewMs: 20_000, sweepMs: 70_000, pollMs: 70_000 };

const PATIENCE_MS = 30_000;
export const SESSION = "s";

/** Waits until `read` gives `wanted`. */
export async function eventually<T>(read: () => T | Promise<T>, wanted: T): Promise<void> {
  await until(read, (value) => isDeepStrictEqual(value, wanted)).catch(async () => assert.deepEqual(await read(), wanted));
}

/** Waits until the value is right, never for a time. */
export async function until<T>(read: () => T | Promise<T>, right: (value: T) => boolean): Promise<T> {
  for (const endMs = Date.now() + PATIENCE_MS; ; await new Promise((resolve) => setTimeout(resolve, 50))) {
    const value = await read();
    if (right(value)) return value;
    if (Date.now() > endMs) throw new Error(`still ${JSON.stringify(value)} after ${PATIENCE_MS / 1000} s`);
  }
}

export class Tab {
  readonly name: string;
  readonly #page: Page;
  readonly #world: World;
  #gone = false;

  constructor(name: string, page: Page, world: World) {
    this.name = name;
    this.#page = page;
    this.#world = world;
  }

  load(path = `/?tab=${this.name}&in=${this.#world.database}`): Promise<void> {
    return this.#page.load(this.#world.site.origin + path);
  }

  /** Runs a function in the page; it sees its arguments and nothing else of the scenario. */
  async call<A extends unknown[], R>(run: (fixture: Fixture, ...args: A) => R, ...args: A): Promise<Awaited<R>> {
    const given = args.map((arg) => JSON.stringify(arg) ?? "undefined");
    const call = `(${run})(${["window.fixture", ...given].join(", ")})`;
    const text = await this.#page.evaluate(`(async () => JSON.stringify({ value: await ${call} }))()`);
    return JSON.parse(text).value;
  }

  open(options: Omit<FixtureOptions, "name"> = {}): Promise<void> {
    return this.call((fixture, given) => fixture.open(given), { name: this.#world.database, timings: SLOW, ...options });
  }

  start(id: string, args: StepsArgs): Promise<void> {
    return this.call(
      async ({ kernel }, id, given) => {
        await kernel.start({ id, input: { type: "task", name: "steps", args: { ...given } } });
      },
      id,
      args,
    );
  }

  /** Waits until this step of the process began in this tab. */
  async stepped(processId: string, key: string): Promise<void> {
    const mine = () => this.#world.steps(processId).filter((step) => step.tab === this.name && step.key === key);
    await until(mine, (steps) => steps.length > 0);
  }

  openGate(of: string): Promise<void> {
    return this.call((fixture, id) => fixture.openGate(id), of);
  }

  state(id: string): Promise<string | undefined> {
    return this.call(async ({ kernel }, id) => (await kernel.processes.getProcess(id))?.status.state, id);
  }

  async ended(id: string): Promise<void> {
    await until(
      () => this.state(id),
      (state) => state !== "running",
    );
  }

  attend(turns?: TurnArgs): Promise<void> {
    return this.call((fixture, id, args) => fixture.attend(id, args), SESSION, turns);
  }

  async say(inputId: string): Promise<void> {
    await this.call(
      async ({ session }, id) => void (await session.submit({ inputType: "prompt", text: `say ${id}`, inputId: id })),
      inputId,
    );
  }

  async answered(inputId: string): Promise<void> {
    const state = () =>
      this.call(async ({ kernel }, id) => (await kernel.runtime.loadInputState("rt:session:s", id))?.currentState, inputId);
    await eventually<string | undefined>(state, "consumed");
  }

  /** Waits until a turn of this tab stands at its gate. */
  async atGate(times = 1): Promise<void> {
    await eventually(() => this.#world.facts("part").filter(({ tab }) => tab === this.name).length, times);
  }

  enlist(...agentIds: string[]): Promise<void> {
    return this.call((fixture, ids) => fixture.enlist(ids), agentIds);
  }

  agent(id: string): Promise<unknown> {
    return this.call(async ({ kernel }, id) => {
      const record = await kernel.lifecycle.get(id);
      return record && { status: record.status, registration: record.registration, incarnation: record.incarnation };
    }, id);
  }

  /** The liveness of the agents, as far as this tab has heard. */
  seen(...ids: string[]): Promise<unknown> {
    return this.call(async ({ kernel }, ids) => {
      const batch = await kernel.liveness.isAliveBatch(ids);
      return batch.ok ? Object.fromEntries(batch.alive) : "unknown";
    }, ids);
  }

  /** The payloads of a kernel event, as this tab heard them. */
  heard(event: string): Promise<unknown[]> {
    return this.call(({ heard }, name) => heard.flatMap(({ event, payload }) => (event === name ? [payload] : [])), event);
  }

  async kill(): Promise<void> {
    this.#gone = true;
    await this.#page.kill();
  }

  /** Gives a function that stops the process of this page, as a busy machine does, and one that lets it go on. */
  async stopper(): Promise<{ stop(): void; resume(): void }> {
    const pid = await this.#page.process();
    return {
      stop: () => void process.kill(pid, "SIGSTOP"),
      resume: () => void process.kill(pid, "SIGCONT"),
    };
  }

  /** Removes features that not every browser has; for a page that has no kernel yet. */
  async lose(...missing: ("Worker" | "BroadcastChannel" | "locks")[]): Promise<void> {
    await this.call((_, names) => {
      for (const name of names) Reflect.deleteProperty(name === "locks" ? Navigator.prototype : window, name);
    }, missing);
  }

  async close(): Promise<void> {
    this.#gone = true;
    await this.#page.close();
  }

  /** Removes the tab after a scenario. A tab whose process was killed may be closed already, or out of reach. */
  async dispose(): Promise<void> {
    const closing = this.#page.close();
    await (this.#gone ? closing.catch(() => undefined) : closing);
  }
}

let databases = 0;

/** The means of one scenario: a database of its own and the tabs that it opened. */
export class World {
  readonly database = `engines-${++databases}`;
  readonly site: Site;
  readonly #browser: Browser;
  readonly #tabs: Tab[] = [];
  readonly #told: Told[] = [];
  readonly #violations: unknown[] = [];

  constructor(site: Site, browser: Browser) {
    this.site = site;
    this.#browser = browser;
    site.hear("/told", (fact, from) => {
      // Reports that a tab of an earlier scenario sent as it ended may arrive now.
      if (new URL(from).searchParams.get("in") === this.database) this.#told.push(fact as Told);
    });
    site.hear("/violations", (violation) => void this.#violations.push(violation));
  }

  facts<T extends Told["type"]>(type: T): Extract<Told, { type: T }>[] {
    return this.#told.filter((fact): fact is Extract<Told, { type: T }> => fact.type === type);
  }

  // A tab's reports may overtake one another, and arrive after other tabs saw their effect.
  /** The steps of a process whose run began. */
  steps = (processId: string) => this.facts("step").filter((step) => step.processId === processId);
  ran = (processId: string) =>
    this.steps(processId)
      .map(({ tab, key }) => tab + key)
      .sort();
  /** The codes with which a handler's calls were refused, and with which it was told to stop. */
  refusals = (of: string) =>
    this.facts("refused").flatMap(({ tab, processId, code }) => (processId === of ? [`${tab} ${code}`] : []));
  aborts = (of: string) =>
    this.facts("aborted").flatMap(({ tab, processId, code }) => (processId === of ? [`${tab} ${code}`] : []));
  turns = () =>
    this.facts("turn")
      .map(({ tab, attempt, inputs }) => `${tab}${attempt} ${inputs}`)
      .sort();

  async newTab(name: string): Promise<Tab> {
    const tab = new Tab(name, await this.#browser.newTab(), this);
    this.#tabs.push(tab);
    await tab.load();
    return tab;
  }

  /** A tab with a kernel. */
  async open(name: string, options: Omit<FixtureOptions, "name"> = {}): Promise<Tab> {
    const tab = await this.newTab(name);
    await tab.open(options);
    return tab;
  }

  /** Every row of the tables whose key begins with `key`, read in a tab that has no kernel. */
  async rows(key: string, ...tables: string[]): Promise<Record<string, Record<string, unknown>[]>> {
    const reader = await this.newTab("auditor");
    const rows = await reader.call(
      async (_, name, key, tables) => {
        const result = <T>(request: IDBRequest<T>) =>
          new Promise<T>((resolve, reject) => {
            request.onsuccess = () => resolve(request.result);
            request.onerror = () => reject(request.error);
          });
        const database = await result(indexedDB.open(name));
        const transaction = database.transaction(tables);
        const all = async (table: string) => {
          const store = transaction.objectStore(table);
          const range = typeof store.keyPath === "string" ? key : IDBKeyRange.bound([key], [key, []]);
          return [table, await result(store.getAll(range))] as const;
        };
        const found = Object.fromEntries(await Promise.all(tables.map(all)));
        database.close();
        return found;
      },
      this.database,
      key,
      tables,
    );
    await reader.close();
    return rows;
  }

  /** Compares what a tab left with the normal end; a crash's traces are accepted where tabs get no time for a farewell. */
  isLeft<T>(found: T, inOrder: T, crashed: T): void {
    if (!this.#browser.losesFarewells || !isDeepStrictEqual(found, crashed)) assert.deepEqual(found, inOrder);
  }

  /** Kills the whole browser and starts it again; all tabs are gone. */
  async crash(): Promise<void> {
    this.#tabs.length = 0;
    await this.#browser.crash?.();
  }

  async end(): Promise<void> {
    for (const tab of this.#tabs) await tab.dispose();
    assert.deepEqual(this.#violations, [], "the policy was violated");
  }
}
