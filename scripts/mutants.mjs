// npm run mutants                          plants mutants in the product's *.rules.ts, the corridor and held leases, one at a time; takes hours
// npm run mutants -- --kit                 what a file's own tests miss, once more under all rules' tests and the kit on memory; a minute each
// npm run mutants -- --only leases.rules   only in the files whose path has that text, or in these lines: src/corridor/run.ts:60-80
import { execSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { ready } from "./ready.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const { values } = parseArgs({
  options: { only: { type: "string", multiple: true, default: [] }, kit: { type: "boolean", default: false } },
});

ready();
const home = join(root, "mutants");
if (!existsSync(join(home, "node_modules"))) execSync("npm ci --no-audit --no-fund", { cwd: home, stdio: "inherit" });
const installed = (/** @type {string} */ path) => join(home, "node_modules/@stryker-mutator", path);
const { Stryker } = await import(pathToFileURL(installed("core/dist/src/index.js")).href);

// The simulation's rules are no part of the product.
const rules = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" }).filter(
  (name) => name.endsWith(".rules.ts") && !name.startsWith("simulation/"),
);
const files = [
  ...rules.sort().map((name) => `src/${name}`),
  "src/corridor/run.ts",
  "src/corridor/row-cache.ts",
  "src/kernel/host/leases/held-lease.ts",
];
const inLines = values.only.filter((text) => text.includes(":"));
const chosen = [
  ...files.filter((file) => values.only.length === 0 || values.only.some((text) => file.includes(text))),
  ...inLines,
];
if (chosen.length === 0) {
  console.error(`no such file: ${values.only.join(", ")} (there are: ${files.join(", ")})`);
  process.exit(2);
}

const folder = mkdtempSync(join(tmpdir(), "holdfast-mutants-"));
process.chdir(root);
try {
  for (const file of chosen) await plant(file);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

/**
 * A file's own tests must find its mutants; they are short and state the rules. A file without own tests is run under all tests.
 * @typedef {{ line: number, column: number }} Place
 * @typedef {{ status: string, location: { start: Place, end: Place }, mutatorName: string, replacement?: string }} Mutant
 * @param {string} file
 */
async function plant(file) {
  const startedMs = performance.now();
  const path = file.replace(/:.*/, "");
  const own = path.replace("src/", "test/").replace(".ts", ".test.ts");
  const hasOwn = existsSync(join(root, own));
  const first = await mutantsOf([file], hasOwn ? own : undefined);
  const survivors = first.filter(isMissed);
  if (values.kit && hasOwn && survivors.length > 0) {
    const ranges = survivors.map(
      ({ location: { start, end } }) => `${path}:${start.line}:${start.column - 1}-${end.line}:${end.column - 1}`,
    );
    const second = new Map((await mutantsOf([...new Set(ranges)])).map((mutant) => [nameOf(mutant), mutant]));
    for (const mutant of survivors) mutant.status = second.get(nameOf(mutant))?.status ?? mutant.status;
  }
  const missed = first.filter(isMissed);
  const ignored = first.filter(({ status }) => status === "Ignored").length;
  const minutes = ((performance.now() - startedMs) / 60_000).toFixed(1);
  const all = first.length - ignored;
  // A busy machine may count a mutant as found that is only slow.
  const slow = first.filter(({ status }) => status === "Timeout").length;
  console.log(
    `${file}: ${all - missed.length} of ${all} found (${slow} by taking too long), ${ignored} left out, in ${minutes} min`,
  );
  for (const mutant of missed) console.log(`  ${path}:${nameOf(mutant)}`);
}

/** @param {Mutant} mutant */
function isMissed({ status }) {
  return status === "Survived" || status === "NoCoverage";
}

/** @param {Mutant} mutant */
function nameOf({ location: { start }, mutatorName, replacement }) {
  return `${start.line}:${start.column} ${mutatorName} -> ${replacement?.replaceAll(/\s+/g, " ")}`;
}

/** @param {string[]} mutate @param {string} [under] @returns {Promise<Mutant[]>} */
function mutantsOf(mutate, under) {
  // The test processes that Stryker starts read this variable.
  process.env.HOLDFAST_MUTANTS_UNDER = under ?? "";
  return new Stryker({
    mutate,
    testRunner: "vitest",
    plugins: [installed("vitest-runner/dist/src/index.js"), join(home, "texts.mjs")],
    ignorers: ["texts"],
    vitest: { configFile: "mutants/vitest.config.ts" },
    coverageAnalysis: "perTest",
    concurrency: 1,
    timeoutMS: under ? 10_000 : 20_000,
    // Folders that these tests do not need are not copied.
    ignorePatterns: [
      "/bench",
      "/demo",
      "/dist*",
      "/docs",
      "/test-output",
      "/mutants/node_modules",
      "/test/tabs",
      "/test/browser",
    ],
    // Stryker's preprocessor needs a compiler interface that TypeScript 7 no longer has; no test reads the file.
    tsconfigFile: "none",
    tempDirName: folder,
    reporters: [],
    warnings: false,
    logLevel: "error",
    allowConsoleColors: false,
  }).runMutationTest();
}
