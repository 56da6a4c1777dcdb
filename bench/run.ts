// The command behind `npm run bench`.
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { availableParallelism, cpus, loadavg, release, totalmem, type } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openBrowser } from "./browser.js";
import { runInNode } from "./node.js";
import { figure, type Result, type Results, report, type Surroundings } from "./report.js";
import { verdict } from "./verdict.js";
import type { Measured, Work } from "./work.js";
import { browserWorks } from "./works/browser.js";
import { nodeWorks } from "./works/node.js";

export interface Orders {
  quick: boolean;
  /** Names of works or parts of them; all works where the list is empty. */
  only: readonly string[];
  /** The folder for BENCHMARKS.md, bench/plots and bench/results.json. */
  out: string;
  /** Whether the packages of bench/package.json are installed. */
  peers: boolean;
  /** The beginning of the names of variants to profile. */
  profile: string | undefined;
}

const root = fileURLToPath(new URL("..", import.meta.url));

/** Packages that every checkout of the project has. */
const HOUSE = ["dexie", "idb"];

export async function bench(orders: Orders): Promise<void> {
  const { quick, only, out, peers } = orders;
  const wanted = (work: Work) => only.length === 0 || only.some((part) => work.name.includes(part));
  const inBrowser = browserWorks.filter(wanted);
  const inNode = nodeWorks.filter(wanted);
  if (inBrowser.length + inNode.length === 0) {
    const names = [...browserWorks, ...nodeWorks].map(({ name }) => name);
    throw new Error(`no such work: ${only.join(", ")} (there are: ${names.join(", ")})`);
  }
  const load = loadavg()
    .map((value) => value.toFixed(1))
    .join(" ");
  const installed = await dependencies("bench/package.json");
  const packages = installed.filter((name) => !HOUSE.includes(name));
  const when = new Date().toISOString().slice(0, 10);
  const results: Result[] = [];
  const done = (work: Work, place: string, measured: Measured) => {
    results.push({ place, when, load, measured });
    tell(work, measured, quick);
  };

  const how = { quick, variant: orders.profile ?? "" };
  const browser = await openBrowser({ missing: peers ? [] : packages });
  try {
    for (const work of inBrowser) {
      console.log(`\n== ${work.name}: ${work.title}`);
      if (orders.profile === undefined) done(work, "browser", await browser.run(work.name, how));
      else await showProfile(work, await browser.profile(work.name, how), out);
    }
  } finally {
    await browser.close();
  }
  if (orders.profile !== undefined) return;
  for await (const { work, measured } of runInNode(inNode, { quick, peers, packages })) {
    console.log(`\n== ${work.name}: ${work.title}`);
    done(work, "Node", measured);
  }

  const folder = join(out, "bench");
  const around: Surroundings = {
    machine: `${cpus()[0]?.model.trim()}, ${availableParallelism()} cores, ${Math.round(totalmem() / 2 ** 30)} GB, ${type()} ${release()}`,
    browser: browser.version,
    node: process.versions.node,
    versions: await versionsOf([...HOUSE, ...(peers ? packages : [])]),
    missing: peers ? [] : packages,
    quick,
  };
  const all = { around, results: [...(await earlier(folder, around, results)), ...results] };
  const { markdown, plots } = report(all, [...browserWorks, ...nodeWorks]);
  await rm(join(folder, "plots"), { recursive: true, force: true });
  await mkdir(join(folder, "plots"), { recursive: true });
  await writeFile(join(out, "BENCHMARKS.md"), markdown);
  await writeFile(join(folder, "results.json"), `${JSON.stringify(all, null, 1)}\n`);
  for (const [name, svg] of plots) await writeFile(join(folder, "plots", name), svg);
  console.log(`\nwritten: ${join(out, "BENCHMARKS.md")}`);
}

/**
 * Figures of an earlier run that this one did not measure, with that run's surroundings where they differ. A quick run measures
 * nothing.
 */
async function earlier(folder: string, around: Surroundings, fresh: readonly Result[]): Promise<Result[]> {
  const found = await readFile(join(folder, "results.json"), "utf8").catch(() => undefined);
  if (found === undefined) return [];
  const stored = JSON.parse(found) as Results;
  if (stored.around.quick !== around.quick) return [];
  const names = new Set(fresh.map(({ measured }) => measured.work));
  return stored.results
    .filter(({ measured }) => !names.has(measured.work))
    .map(({ around: own = stored.around, ...result }) => (isSamePlace(own, around) ? result : { around: own, ...result }));
}

function isSamePlace(one: Surroundings, other: Surroundings): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

function tell({ unit, goals }: Work, measured: Measured, quick: boolean): void {
  const { rows, facts, seconds } = measured;
  for (const { name, at, rounds } of rows) {
    const sorted = [...rounds].sort((a, b) => a - b);
    const size = at === undefined ? "" : `${at.toLocaleString("en")} `;
    const [least, median, greatest] = [sorted[0], sorted[Math.floor(sorted.length / 2)], sorted.at(-1)].map((value) =>
      figure(value ?? Number.NaN),
    );
    console.log(`   ${(size + name).padEnd(44)} ${median} ${unit} (${least} .. ${greatest})`);
  }
  for (const { name, value, unit: of } of facts) console.log(`   ${name.padEnd(44)} ${figure(value)} ${of}`);
  for (const goal of goals) {
    const found = verdict(goal, measured);
    if (!found) continue;
    const sorted = [...found.values].sort((a, b) => a - b);
    const outcome =
      found.reached === undefined ? "" : `  ${found.goal}${quick ? "" : found.reached ? ": reached" : ": NOT REACHED"}`;
    console.log(` > ${found.what}: ${figure(sorted[Math.floor(sorted.length / 2)] ?? Number.NaN)} ${found.unit}${outcome}`);
  }
  console.log(`   ${seconds.toFixed(1)} s`);
}

async function showProfile(
  work: Work,
  { measured, profile }: { measured: Measured; profile: { raw: unknown; top: readonly { name: string; ms: number }[] } },
  out: string,
): Promise<void> {
  tell(work, measured, true);
  const file = join(out, `${work.name}.cpuprofile`);
  await mkdir(out, { recursive: true });
  await writeFile(file, JSON.stringify(profile.raw));
  for (const { name, ms } of profile.top.slice(0, 40)) console.log(`   ${ms.toFixed(0).padStart(7)} ms  ${name}`);
  console.log(`written: ${file}`);
}

async function dependencies(file: string): Promise<string[]> {
  return Object.keys(JSON.parse(await readFile(join(root, file), "utf8")).dependencies);
}

async function versionsOf(names: readonly string[]): Promise<Record<string, string>> {
  const versionIn = async (folder: string) => JSON.parse(await readFile(join(root, folder, "package.json"), "utf8")).version;
  const found: Record<string, string> = { holdfast: await versionIn(".") };
  for (const name of names) {
    found[name] = await versionIn(HOUSE.includes(name) ? `node_modules/${name}` : `bench/node_modules/${name}`);
  }
  return found;
}
