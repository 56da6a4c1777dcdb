import { afterEach, expect, it } from "vitest";
import { indexedDbStorage } from "../../src/indexeddb.js";
import { memoryStorage } from "../../src/memory.js";
import { difference, runHistory } from "../differential/history.js";

const STEPS = 300;
const SEEDS = [1, 2, 3, 4, 5, 6];

afterEach(async () => {
  for (const { name } of await indexedDB.databases()) indexedDB.deleteDatabase(name as string);
});

it.each(SEEDS)(
  "one history of commands ends in the same rows and the same answers in memory and in the browser: seed %i",
  async (seed) => {
    const memory = await runHistory(memoryStorage(), seed, STEPS);
    expect(memory.rows.length).toBeGreaterThan(0);
    expect(difference(memory, await runHistory(indexedDbStorage(), seed, STEPS))).toBeUndefined();
  },
);
