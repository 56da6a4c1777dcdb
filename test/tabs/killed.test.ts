// The whole browser is killed, with every process, while it writes. All acknowledged writes must be there after its restart,
// whole, and the work goes on. `npm run crash` runs more rounds, and measures what is lost where the kernel asks for no flush.
import { expect, it } from "vitest";
import { crashBrowser, eventually, expectSound, facts, newName, newTab, SLOW, type Tab, useTabs } from "./harness.js";
import { missing, type Tables, torn, type Written } from "./written.js";

useTabs();

const ROUNDS = Number(process.env.HOLDFAST_CRASH_ROUNDS ?? 10);
const DURABILITY = process.env.HOLDFAST_CRASH_DURABILITY === "relaxed" ? "relaxed" : "strict";
/** The number of lifetimes of a database before its work is completed. */
const LIVES = 10;
const STREAMS = ["event", "fenced", "submit", "part", "end", "step", "receipt"] as const;

/** All rows, read in a tab that has no kernel; or the reason why the browser deleted the whole database. */
async function readTables(name: string): Promise<Tables | string> {
  const reader = await newTab("auditor");
  const text = await reader.call(async (_, databaseName) => {
    const result = <T>(request: IDBRequest<T>) =>
      new Promise<T>((resolve, reject) => {
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error);
      });
    let whatWasLost: string | undefined;
    const opening = indexedDB.open(databaseName);
    opening.onupgradeneeded = (event) => {
      const { dataLoss, dataLossMessage } = event as IDBVersionChangeEvent & { dataLoss?: string; dataLossMessage?: string };
      whatWasLost = `data loss ${dataLoss}: ${dataLossMessage}`;
    };
    const database = await result(opening);
    if (whatWasLost !== undefined) {
      database.close();
      return JSON.stringify(whatWasLost);
    }
    const names = [...database.objectStoreNames].filter((table) => !table.startsWith("seal"));
    const transaction = database.transaction(names);
    const tables = await Promise.all(names.map(async (table) => [table, await result(transaction.objectStore(table).getAll())]));
    database.close();
    const bytesAsText = (_: string, value: unknown) => (value instanceof Uint8Array ? new TextDecoder().decode(value) : value);
    return JSON.stringify(Object.fromEntries(tables), bytesAsText);
  }, name);
  await reader.close();
  return JSON.parse(text);
}

/** Two tabs in which all streams continue after the acknowledged writes. */
async function openWriters(name: string, life: number, writes: readonly Written[]): Promise<[Tab, Tab]> {
  const from = Object.fromEntries(
    STREAMS.map((stream) => [
      stream,
      1 + Math.max(-1, ...writes.flatMap((write) => (write.stream === stream ? [write.number] : []))),
    ]),
  );
  const open = async (tabName: string) => {
    const tab = await newTab(tabName);
    await tab.call((fixture, number) => fixture.writers.enter(number), life);
    await tab.open({ name, timings: SLOW, durability: DURABILITY });
    return tab;
  };
  const a = await open("a");
  if (life === 1) {
    await a.call(async ({ kernel }) => {
      const input = { type: "external", metadata: null } as const;
      for (const id of ["log", "fenced"]) await kernel.start({ id, input, eventTypes: [{ name: "noted" }] });
      await kernel.start({ id: "steady", input: { type: "task", name: "steady" } });
    });
  }
  const b = await open("b");
  await a.call(async ({ kernel, writers }, numbers) => writers.begin(kernel, await kernel.session("s"), numbers), from);
  await b.call(({ kernel, writers }, numbers) => writers.begin(kernel, undefined, numbers), from);
  return [a, b];
}

it(
  `misses nothing that was acknowledged and has nothing by halves after ${ROUNDS} kills of the whole browser (${DURABILITY})`,
  async () => {
    let acknowledged = 0;
    let missed = 0;
    const lost: string[] = [];
    databases: for (let round = 0; round < ROUNDS; ) {
      const name = newName();
      const before = facts("written").length;
      const isLost = new Set<string>();
      const identity = ({ life, stream, number }: Written) => `${stream} ${number} in ${life}`;
      const writes = () =>
        facts("written")
          .slice(before)
          .filter((write) => !isLost.has(identity(write)));
      const going = (life: number, least: number) =>
        eventually(() => {
          const heard = writes().filter((write) => write.life === life);
          return STREAMS.filter((stream) => heard.filter((write) => write.stream === stream).length < least);
        }).toEqual([]);
      const count = () => writes().filter(({ stream }) => stream !== "run").length + isLost.size;
      /** Compares the stored rows with the acknowledged writes, if the database is there at all. */
      const audit = async () => {
        const tables = await readTables(name);
        if (DURABILITY === "strict") expect(tables, "the database is gone").toBeInstanceOf(Object);
        if (typeof tables === "string") {
          lost.push(`all ${count() - isLost.size} of a database: ${tables}`);
          missed += count() - isLost.size;
          return false;
        }
        const gone = missing(tables, writes()).map(identity);
        if (DURABILITY === "strict") expect(gone, "acknowledged and missing").toEqual([]);
        for (const write of gone) isLost.add(write);
        lost.push(...gone);
        missed += gone.length;
        expect(await torn(tables, writes()), "written by halves, or twice").toEqual([]);
        return true;
      };

      let life = 1;
      while (life <= LIVES && round < ROUNDS) {
        await openWriters(name, life, writes());
        await going(life, 2 + (round % 4));
        await new Promise((resolve) => setTimeout(resolve, (round * 37) % 101));
        await crashBrowser();
        round++;
        life++;
        if (!(await audit())) {
          acknowledged += count();
          continue databases;
        }
      }

      const [a, b] = await openWriters(name, life, writes());
      await going(life, 1);
      for (const tab of [a, b]) await tab.call(({ writers }) => writers.stop());
      await b.ended("steady");
      await eventually(() =>
        b.call(async ({ kernel }) => {
          const inputs = await kernel.runtime.loadInputStates("rt:session:s");
          return inputs.filter(({ currentState }) => currentState !== "consumed").length;
        }),
      ).toBe(0);
      await b.call(async ({ kernel: { processes } }) => {
        for (const id of ["log", "fenced"]) await processes.completeProcess(id, { type: "success", value: null });
      });
      expect(await audit(), "the database is gone").toBe(true);
      for (const id of ["log", "fenced", "steady"]) await expectSound(name, id, { state: "completed" });
      for (const tab of [a, b]) {
        expect(await tab.heard("fault")).toEqual([]);
        await tab.close();
      }
      acknowledged += count();
    }
    // The result that `npm run crash` prints.
    const counted = `${acknowledged} acknowledged writes, ${missed} missing, 0 written by halves or twice`;
    console.log(`${ROUNDS} kills, ${DURABILITY} durability: ${counted}${lost.map((write) => `\n  missing: ${write}`).join("")}`);
  },
  60_000 + ROUNDS * 10_000,
);
