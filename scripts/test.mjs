// npm test            every stage, in order
// npm test -- unit    only the named stages
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ensureChromium } from "./chromium.mjs";
import { ready } from "./ready.mjs";
import { bin, run } from "./run.mjs";

const counts = { passed: 0, failed: 0, skipped: 0 };

/** Runs vitest projects and adds their numbers to the sum. @param {string[]} projects */
function vitest(...projects) {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-test-"));
  const file = join(folder, "report.json");
  try {
    const ok = run(
      bin.vitest,
      "run",
      ...projects.flatMap((name) => ["--project", name]),
      "--reporter=default",
      "--reporter=json",
      `--outputFile.json=${file}`,
    );
    const report = JSON.parse(readFileSync(file, "utf8"));
    counts.passed += report.numPassedTests;
    counts.failed += report.numFailedTests;
    counts.skipped += report.numPendingTests + report.numTodoTests;
    return ok;
  } catch (error) {
    console.error(error);
    return false;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** @type {Record<string, () => boolean | Promise<boolean>>} */
const stages = {
  types: () => run(bin.tsc, "-p", "tsconfig.json"),
  lint: () => run(bin.biome, "ci", "."),
  build: () => run("scripts/build.mjs"),
  unit: () => vitest("unit"),
  browser: async () => (await ensureChromium()) !== undefined && vitest("browser", "browser-react-18"),
  tabs: async () => (await ensureChromium()) !== undefined && vitest("tabs"),
};

const names = process.argv.slice(2);
const unknown = names.filter((name) => !stages[name]);
if (unknown.length > 0) {
  console.error(`unknown stage: ${unknown.join(", ")} (there are: ${Object.keys(stages).join(", ")})`);
  process.exit(2);
}

ready();
let ok = true;
for (const [name, stage] of Object.entries(stages)) {
  if (names.length > 0 && !names.includes(name)) continue;
  console.log(`\n== ${name}`);
  const start = performance.now();
  ok = await stage();
  console.log(`== ${name} ${ok ? "ok" : "FAILED"} in ${((performance.now() - start) / 1000).toFixed(1)} s`);
  if (!ok) break;
}

// A stage can fail without a failing test (a type error, a test file that does not load): its count must not be zero.
if (!ok && counts.failed === 0) counts.failed = 1;
const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : "";
console.log(`\n${counts.passed} passed, ${counts.failed} failed${skipped}`);
process.exitCode = ok ? 0 : 1;
