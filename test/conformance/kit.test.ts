import { describe, expect, it } from "vitest";
import * as kit from "../../src/conformance.js";
import { describeConformance, describeKernel, describeStorage, type OpenFixture, type Runner } from "../../src/conformance.js";
import { memoryStorage } from "../../src/memory.js";
import type { KernelStorage } from "../../src/ports/storage.js";

interface Case {
  /** The case's areas and name, without the storage's name. */
  readonly path: string;
  readonly body: () => Promise<void> | void;
}

/** The cases that the kit gives to a runner. */
function casesOf(part: (name: string, open: OpenFixture, runner: Runner) => void, open: OpenFixture): Case[] {
  const path: string[] = [];
  const cases: Case[] = [];
  part("a storage", open, {
    describe(name, body) {
      path.push(name);
      body();
      path.pop();
    },
    it: (name, body) => void cases.push({ path: [...path.slice(1), name].join(" > "), body }),
    expect,
  });
  return cases;
}

const neverOpened: OpenFixture = () => Promise.reject(new Error("opened"));
const pathsOf = (part: Parameters<typeof casesOf>[0]) => casesOf(part, neverOpened).map(({ path }) => path);

describe("the conformance kit", () => {
  it("is exported as three functions", () => {
    expect(Object.keys(kit).sort()).toEqual(["describeConformance", "describeKernel", "describeStorage"]);
  });

  it("is whole: describeConformance has the cases of both parts, and nothing else", () => {
    const [storage, kernel] = [pathsOf(describeStorage), pathsOf(describeKernel)];
    expect(pathsOf(describeConformance)).toEqual([...storage, ...kernel]);
    expect(storage.length).toBeGreaterThan(20);
    expect(kernel.length).toBeGreaterThan(700);
    expect(storage.filter((path) => kernel.includes(path))).toEqual([]);
  });

  it("opens no kernel in describeStorage", async () => {
    const tables = new Set<string>();
    const seen = (inner: KernelStorage): KernelStorage => ({
      ...inner,
      open(opening) {
        for (const table of Object.keys(opening.schema.tables)) tables.add(table);
        return inner.open(opening);
      },
    });
    const cases = casesOf(describeStorage, async () => {
      const storage = seen(memoryStorage());
      return { storage, reopen: async () => storage, dispose: async () => undefined };
    });
    for (const { body } of cases) await body();
    expect([tables.has("notes"), tables.has("processes")]).toEqual([true, false]);
  });
});
