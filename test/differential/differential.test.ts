import { IDBFactory, IDBKeyRange } from "fake-indexeddb";
import { describe, expect, it } from "vitest";
import { indexedDbStorage } from "../../src/indexeddb.js";
import { memoryStorage } from "../../src/memory.js";
import { COMMAND_NAMES, difference, type History, runHistory } from "./history.js";

const STEPS = 300;
const SEEDS = Array.from({ length: 12 }, (_, at) => at + 1);
const inMemory = new Map<number, History>();

describe("one history of commands on two storages", () => {
  it.each(SEEDS)("ends in the same rows and the same answers in memory and in IndexedDB: seed %i", async (seed) => {
    const memory = await runHistory(memoryStorage(), seed, STEPS);
    const indexedDB = await runHistory(indexedDbStorage({ indexedDB: new IDBFactory(), IDBKeyRange }), seed, STEPS);
    inMemory.set(seed, memory);
    expect(difference(memory, indexedDB)).toBeUndefined();
  });

  it("is the same one each time for one seed, and another for another", async () => {
    const again = await runHistory(memoryStorage(), 1, STEPS);
    expect(difference(inMemory.get(1) as History, again)).toBeUndefined();
    expect(difference(inMemory.get(2) as History, again)).toBeDefined();
  });

  it("takes every command to an answer, and meets what is refused", () => {
    const answers = [...inMemory.values()].flatMap((history) => history.answers);
    const REFUSAL = /^\S+ -> ([a-z-]+): /;
    const answered = new Set(answers.filter((answer) => !REFUSAL.test(answer)).map((answer) => answer.split(" ")[0]));
    // These histories have no channel, and so no liveness.
    expect(COMMAND_NAMES.filter((name) => !answered.has(name))).toEqual(["touch"]);
    const codes = new Set(answers.map((answer) => REFUSAL.exec(answer)?.[1]));
    const met = ["invalid", "not-found", "conflict", "terminal", "lease-held", "lease-lost", "write-failed", "not-ready"];
    for (const code of [...met, "session-key-mismatch", "read-failed", "unavailable", "aborted", "closed"])
      expect(codes).toContain(code);
    expect(answers.filter((answer) => answer.includes("-> UNTYPED") || answer.includes("-> internal"))).toEqual([]);
  });
});
