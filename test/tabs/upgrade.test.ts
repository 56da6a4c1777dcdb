// Databases of an older schema, written by the build that had it, with more rows than an opening has time to upgrade.
import { execFileSync } from "node:child_process";
import { mkdtemp, readFile, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";
import { expect, it } from "vitest";
import { eventually, newName, newTab, serveFile, type Tab, useTabs } from "./harness.js";

useTabs();

interface Recorded {
  version: number;
  tables: Record<string, { keyPath: string | string[]; indexes: Record<string, string | string[]>; rows: object[] }>;
}

const root = fileURLToPath(new URL("../../", import.meta.url));
/** The last build whose databases are of schema 3. */
const OLD_BUILD = "b95d8cf0e3fadf9238ceac9b03825ef25561d4a2";
const EVENTS = 350_000;

const recorded = async (): Promise<Recorded> =>
  JSON.parse(await readFile(new URL("./fixture/schema-3.json", import.meta.url), "utf8"));

function hasHistory(): boolean {
  try {
    execFileSync("git", ["cat-file", "-e", `${OLD_BUILD}^{commit}`], { cwd: root, stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

/** The old build as one file. */
async function oldBuild(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "holdfast-old-build-"));
  try {
    const archive = execFileSync("git", ["archive", OLD_BUILD, "src"], { cwd: root, maxBuffer: 2 ** 28 });
    execFileSync("tar", ["-x", "-C", folder], { input: archive });
    await symlink(join(root, "node_modules"), join(folder, "node_modules"));
    const bundle = await rolldown({
      input: join(folder, "src/index.ts"),
      platform: "browser",
      resolve: { extensionAlias: { ".js": [".ts", ".js"] } },
      logLevel: "silent",
    });
    const { output } = await bundle.generate({ format: "esm", codeSplitting: false });
    await bundle.close();
    return output[0].code;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The whole database, read without holdfast. */
function dump(tab: Tab, name: string): Promise<Recorded> {
  return tab.call(async (_, database) => {
    const result = <T>(request: IDBRequest<T>) =>
      new Promise<T>((resolve, reject) => {
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error);
      });
    const open = await result(indexedDB.open(database));
    const tables: Recorded["tables"] = {};
    for (const table of open.objectStoreNames) {
      const store = open.transaction(table).objectStore(table);
      const indexes = [...store.indexNames].map((index) => [index, store.index(index).keyPath]);
      tables[table] = { keyPath: store.keyPath ?? [], indexes: Object.fromEntries(indexes), rows: await result(store.getAll()) };
    }
    const { version } = open;
    open.close();
    return { version, tables };
  }, name);
}

// A checkout without history (a shallow clone, or none) cannot make the old build: the recorded database is trusted there.
it.skipIf(!hasHistory())("what is recorded of schema 3 is what the build that had it writes, to the last row", async () => {
  await serveFile("old-build.js", await oldBuild());
  const name = newName();
  const tab = await newTab("old");
  await tab.call(async ({ load }, database) => {
    const { createKernel } = (await load("/old-build.js")) as typeof import("holdfast");
    const kernel = await createKernel({
      name: database,
      hostId: "host",
      loop: "off",
      channel: false,
      locks: false,
      clock: { now: () => 1_000, monotonicMs: () => 1_000, setTimer: () => () => {} },
      random: (count) => new Uint8Array(count).fill(7),
    });
    await kernel.start({ id: "p", input: { type: "external", metadata: null }, eventTypes: [{ name: "note" }] });
    await kernel.processes.appendEvent("p", { eventType: "note", payload: { text: "event 1" }, replayKey: "key 1" });
    await kernel.processes.appendEvent("p", { eventType: "note", payload: { text: "event 2" } });
    await kernel.start({ id: "q", input: { type: "task", name: "steps", args: { steps: 1 } } });
    const session = await kernel.session("s");
    await session.submit({ inputType: "prompt", text: "hello", inputId: "input", idempotencyKey: "key" });
  }, name);
  // The kernel is not closed: the rows that a tab leaves when it just ends are there too.
  await tab.load("/elsewhere");
  expect(await dump(tab, name)).toEqual(await recorded());
});

/** Makes the recorded database, with so many events of its process. Every thousandth event has a replay key. */
async function makeOld(tab: Tab, name: string, given: Recorded, events: number): Promise<void> {
  await tab.call(
    async (_, database, { version, tables }, count) => {
      const open = await new Promise<IDBDatabase>((resolve, reject) => {
        const request = indexedDB.open(database, version);
        request.onupgradeneeded = () => {
          for (const [table, { keyPath, indexes }] of Object.entries(tables)) {
            const store = request.result.createObjectStore(table, { keyPath });
            for (const [index, path] of Object.entries(indexes)) store.createIndex(index, path);
          }
        };
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error);
      });
      const committed = (tx: IDBTransaction) =>
        new Promise<void>((resolve, reject) => {
          tx.oncomplete = () => resolve();
          tx.onabort = () => reject(tx.error);
        });
      const rows = open.transaction(Object.keys(tables), "readwrite", { durability: "relaxed" });
      for (const [table, { rows: known }] of Object.entries(tables)) for (const row of known) rows.objectStore(table).put(row);
      const process = tables.processes?.rows.find((row) => (row as { processId: string }).processId === "p");
      rows.objectStore("processes").put({ ...process, lastSequence: count });
      await committed(rows);
      const [event] = tables.events?.rows ?? [];
      const [replay] = tables.replays?.rows ?? [];
      for (let sequence = 3; sequence <= count; ) {
        const tx = open.transaction(["events", "replays"], "readwrite", { durability: "relaxed" });
        const written = tx.objectStore("events");
        for (const end = Math.min(count, sequence + 9_999); sequence <= end; sequence++) {
          const payload = { text: `event ${sequence}` };
          const { replayKey: _one, ...plain } = { ...event, processId: "p", sequence, payload } as Record<string, unknown>;
          const keyed = sequence % 1_000 === 0 ? { replayKey: `key ${sequence}` } : {};
          written.put({ ...plain, ...keyed });
          if (sequence % 1_000 === 0) tx.objectStore("replays").put({ ...replay, processId: "p", ...keyed, sequence });
        }
        await committed(tx);
      }
      open.close();
    },
    name,
    given,
    events,
  );
}

it("a database of 350,000 events of schema 3 opens at the first call, also of a tab that waited for one that closed in the middle", async () => {
  const name = newName();
  const auditor = await newTab("auditor");
  await makeOld(auditor, name, await recorded(), EVENTS);
  const isUpgrading = () =>
    auditor.call(
      async (_, lock) => (await navigator.locks.query()).held?.some((held) => held.name === lock),
      `holdfast:upgrade:${name}`,
    );
  // The timeout is far shorter than the upgrade, and long enough for a browser to undo it.
  const options = { name, loop: "off", openTimeoutMs: 5_000 } as const;

  const [a, b, c] = await Promise.all(["a", "b", "c"].map((tab) => newTab(tab)) as [Promise<Tab>, Promise<Tab>, Promise<Tab>]);
  const undone = a.open(options).catch((error: Error) => error.message);
  await eventually(isUpgrading).toBe(true);
  const opened = Promise.all([b.open(options), c.open(options)]);
  opened.catch(() => undefined);
  await a.close();
  expect(await undone).toBe("the tab is closed");
  await opened;
  expect(await isUpgrading()).toBe(false);

  // The tab that upgraded heard these states, and so did the other one if it waited for longer than an opening may.
  const heard = [...(await b.heard("storage")), ...(await c.heard("storage"))] as { state: string }[];
  expect([...new Set(heard.map(({ state }) => state))]).toEqual(["upgrading", "ready"]);

  const read = await b.call(async ({ kernel: { processes, sessions }, codeOf }, last) => {
    const append = (more: object) => processes.appendEvent("p", { eventType: "note", payload: { text: "new" }, ...more });
    const replayed = await append({ payload: { text: "event 200000" }, replayKey: "key 200000" });
    return {
      last: (await processes.eventsAfter("p", last - 1)).map(({ sequence, payload }) => ({ sequence, payload })),
      replayed: replayed.event.sequence,
      conflict: await codeOf(append({ replayKey: "key 1" })),
      next: (await append({})).event.sequence,
      process: (await processes.getProcess("q"))?.input,
      sessions: (await sessions.list()).length,
    };
  }, EVENTS);
  expect(read).toEqual({
    last: [{ sequence: EVENTS, payload: { text: `event ${EVENTS}` } }],
    replayed: 200_000,
    conflict: "conflict",
    next: EVENTS + 1,
    process: { type: "task", name: "steps", args: { steps: 1 } },
    sessions: 1,
  });
}, 900_000);
