// npm run mutants                          plants mutants in all *.rules.ts, the corridor and held leases, one at a time; takes hours
// npm run mutants -- --only leases.rules   only in the files whose path has that text, or in these lines: src/kernel/run.ts:60-80
import { execSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { ready } from "./ready.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const { values } = parseArgs({ options: { only: { type: "string", multiple: true, default: [] } } });

ready();
const home = join(root, "mutants");
if (!existsSync(join(home, "node_modules"))) execSync("npm ci --no-audit --no-fund", { cwd: home, stdio: "inherit" });
const installed = (/** @type {string} */ path) => join(home, "node_modules/@stryker-mutator", path);
const { Stryker } = await import(pathToFileURL(installed("core/dist/src/index.js")).href);

const rules = readdirSync(join(root, "src/stores")).filter((name) => name.endsWith(".rules.ts"));
const files = [...rules.map((name) => `src/stores/${name}`), "src/kernel/run.ts", "src/kernel/tenure.ts"];
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

/** A file at a time, so that one that is done is told. @param {string} file */
async function plant(file) {
  const startedMs = performance.now();
  /** @type {{ status: string, location: { start: { line: number, column: number } }, mutatorName: string, replacement?: string }[]} */
  const mutants = await new Stryker({
    mutate: [file],
    testRunner: "vitest",
    plugins: [installed("vitest-runner/dist/src/index.js"), join(home, "texts.mjs")],
    ignorers: ["texts"],
    vitest: { configFile: "mutants/vitest.config.ts" },
    coverageAnalysis: "perTest",
    concurrency: 1,
    timeoutMS: 20_000,
    // Of what is not needed for these tests, and of what was left by other tools, nothing is copied.
    ignorePatterns: ["/bench", "/demo", "/dist*", "/docs", "/test-output", "/mutants/node_modules", "/test/tabs", "/test/browser"],
    // Its preprocessor asks for an interface of the compiler that TypeScript 7 has no more; no test reads the file.
    tsconfigFile: "none",
    tempDirName: folder,
    reporters: [],
    logLevel: "warn",
    allowConsoleColors: false,
  }).runMutationTest();
  const count = (/** @type {string[]} */ ...statuses) => mutants.filter(({ status }) => statuses.includes(status)).length;
  const [found, missed] = [count("Killed", "Timeout"), count("Survived", "NoCoverage")];
  const minutes = ((performance.now() - startedMs) / 60_000).toFixed(1);
  console.log(`${file}: ${found} of ${found + missed} found, ${count("Ignored")} left out, in ${minutes} min`);
  for (const { status, location, mutatorName, replacement } of mutants)
    if (status === "Survived" || status === "NoCoverage")
      console.log(`  ${status} ${file}:${location.start.line}:${location.start.column} ${mutatorName} -> ${replacement?.replaceAll(/\s+/g, " ")}`);
}
