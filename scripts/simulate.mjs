// npm run simulate -- --seeds 1000            seeds 1 to 1000
// npm run simulate -- --seeds 100 --seed 501  100 seeds from 501 on
// npm run simulate -- --seed 17 --only 3,9    one seed, of its planned steps only these; prints its history
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { rolldown } from "rolldown";

const root = fileURLToPath(new URL("..", import.meta.url));
const { values } = parseArgs({
  options: {
    seeds: { type: "string" },
    seed: { type: "string", default: "1" },
    steps: { type: "string" },
    hosts: { type: "string" },
    only: { type: "string" },
    history: { type: "boolean", default: false },
  },
});

/** Loads the simulation from the sources, without a build. @returns {Promise<typeof import("../src/simulation.js")>} */
async function load() {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-simulation-"));
  try {
    const bundle = await rolldown({
      input: join(root, "src/simulation.ts"),
      cwd: root,
      platform: "node",
      resolve: { extensionAlias: { ".js": [".ts", ".js"] } },
      logLevel: "silent",
    });
    await bundle.write({ dir: folder, format: "esm", entryFileNames: "simulation.mjs" });
    await bundle.close();
    return await import(pathToFileURL(join(folder, "simulation.mjs")).href);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const { shrink, simulate } = await load();
const first = Number(values.seed);
const seeds = values.seeds === undefined ? 1 : Number(values.seeds);
const shape = {
  ...(values.steps !== undefined && { steps: Number(values.steps) }),
  ...(values.hosts !== undefined && { hosts: Number(values.hosts) }),
  ...(values.only !== undefined && { only: values.only.split(",").map(Number) }),
};
/** @type {Record<string, number>} */
const faults = {};
let commits = 0;
let failed = 0;
const startedMs = performance.now();
for (let seed = first; seed < first + seeds; seed++) {
  const report = await simulate({ seed, ...shape });
  commits += report.commits;
  for (const [kind, count] of Object.entries(report.faults)) faults[kind] = (faults[kind] ?? 0) + count;
  if (values.history || (values.only !== undefined && seeds === 1)) console.log(report.history.join("\n"));
  if (!report.failure) continue;
  failed++;
  console.log(`\nseed ${seed}: ${report.failure.rule}\n  ${report.failure.what}`);
  if (values.only !== undefined || values.history) continue;
  const shortest = await shrink({ seed, ...shape }, report);
  console.log(`  the shortest history found, ${shortest.steps.length} of ${report.steps.length} steps:`);
  for (const { told } of shortest.steps) console.log(`    ${told}`);
  console.log(`  then: ${shortest.failure?.what}`);
  const only = shortest.steps.map(({ number }) => number).join(",");
  const sizes = ["steps", "hosts"].flatMap((name) =>
    name in shape ? [`--${name} ${shape[/** @type {"steps"} */ (name)]}`] : [],
  );
  console.log(`  npm run simulate -- ${[`--seed ${seed}`, ...sizes, `--only ${only}`].join(" ")}`);
}
const tookMs = performance.now() - startedMs;
console.log(`${seeds} seeds in ${(tookMs / 1_000).toFixed(1)} s, ${commits} commits, ${failed} failed`);
console.log(
  Object.entries(faults)
    .map(([kind, count]) => `${kind} ${count}`)
    .join(", "),
);
process.exitCode = failed === 0 ? 0 : 1;
