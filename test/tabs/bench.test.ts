// The bench in its short form: whether it works, never how fast anything is.
import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Results } from "../../bench/report.js";
import type { Measured } from "../../bench/work.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
/** Files that list works and are not works themselves. */
const LISTS = ["browser.ts", "node.ts"];
let out = "";
let names: string[] = [];
let results: Measured[] = [];
let markdown = "";

beforeAll(async () => {
  out = await mkdtemp(join(tmpdir(), "holdfast-bench-test-"));
  await bench();
  names = (await readdir(join(root, "bench/works")))
    .filter((name) => !LISTS.includes(name))
    .map((name) => name.replace(".ts", ""));
  results = await measuredNow();
  markdown = await readFile(join(out, "BENCHMARKS.md"), "utf8");
}, 240_000);

async function bench(...more: string[]): Promise<void> {
  const args = [join(root, "scripts/bench.mjs"), "--quick", "--no-build", "--no-peers", "--out", out, ...more];
  await promisify(execFile)(process.execPath, args, { cwd: root });
}

async function measuredNow(): Promise<Measured[]> {
  const { results: all }: Results = JSON.parse(await readFile(join(out, "bench/results.json"), "utf8"));
  return all.map(({ measured }) => measured);
}

afterAll(() => rm(out, { recursive: true, force: true }));

it("measures every work that has a file", () => {
  expect(results.map(({ work }) => work).sort()).toEqual(names.sort());
});

it("gives each variant of each work a figure", () => {
  for (const { work, rows, facts } of results) {
    const figures = [...rows.flatMap(({ rounds }) => rounds), ...facts.map(({ value }) => value)];
    expect(figures, work).not.toEqual([]);
    expect(
      figures.filter((figure) => !(Number.isFinite(figure) && figure >= 0)),
      work,
    ).toEqual([]);
  }
});

it("counts what a work promises, however short the run", () => {
  const facts = new Map(results.flatMap(({ facts: of }) => of.map(({ name, value }) => [name, value])));
  expect(facts.get("transactions of isAliveBatch")).toBe(0);
  expect(facts.get("transactions of one renewal of all leases")).toBe(1);
  expect(facts.get("transactions that write, per beat")).toBe(1);
  expect(facts.get("rows that are written, per beat")).toBe(1);
  expect(facts.get("session: inputs given up, in all rounds")).toBe(0);
  expect(facts.get("rows read because 2,000 run that only others have a handler for")).toBeLessThanOrEqual(10);
});

it("writes a report with a section for each work, and says that it was a short run", () => {
  for (const name of names) expect(markdown).toContain(`npm run bench -- --only ${name}`);
  expect(markdown).toContain("A quick run");
  expect(markdown).not.toMatch(/NaN|Infinity|undefined/);
  expect(markdown).not.toMatch(/\| reached \||\*\*not reached\*\*/);
});

it("draws the plots that the report shows, and no others", async () => {
  const shown = [...markdown.matchAll(/\(bench\/plots\/([\w-]+\.svg)\)/g)].map(([, name]) => name).sort();
  expect(shown.length).toBeGreaterThan(0);
  expect((await readdir(join(out, "bench/plots"))).sort()).toEqual(shown);
  for (const name of shown) {
    const svg = await readFile(join(out, "bench/plots", name as string), "utf8");
    expect(svg).toMatch(/^<svg [\s\S]*<\/svg>\n$/);
    expect(svg).not.toMatch(/NaN|Infinity|undefined/);
  }
});

it("keeps the figures of the works that are not measured anew", async () => {
  await bench("--only", "alive");
  const again = await measuredNow();
  const besides = (all: Measured[]) => all.filter(({ work }) => work !== "alive");
  expect(besides(again)).toEqual(besides(results));
  expect(again.filter(({ work }) => work === "alive")).not.toEqual(results.filter(({ work }) => work === "alive"));
  expect(await readFile(join(out, "BENCHMARKS.md"), "utf8")).toContain("npm run bench -- --only burst");
}, 120_000);
