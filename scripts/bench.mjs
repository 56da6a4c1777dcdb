// npm run bench                          builds, measures everything and writes BENCHMARKS.md, bench/plots and bench/results.json
// npm run bench -- --quick               one round with tiny counts: shows that everything works, and no speed. Writes to a folder of its own
// npm run bench -- --only append         only the works whose name has that text; may be given again, or with commas between. The others
//                                        keeps the others' figures, and says where those were measured if it was elsewhere
// npm run bench -- --out <folder>        writes there instead
// npm run bench -- --no-peers            without the packages of bench/package.json, which are installed else
// npm run bench -- --no-build            takes dist/ as it is
// npm run bench -- --only append --profile holdfast     only the variants whose name begins so: where their time goes
import { execSync } from "node:child_process";
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { ready } from "./ready.mjs";
import { run } from "./run.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const { values } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    only: { type: "string", multiple: true, default: [] },
    out: { type: "string" },
    "no-peers": { type: "boolean", default: false },
    "no-build": { type: "boolean", default: false },
    profile: { type: "string" },
  },
});

ready();
const peers = !values["no-peers"];
if (peers && !peersInstalled()) execSync("npm ci --no-audit --no-fund", { cwd: `${root}/bench`, stdio: "inherit" });
if (!values["no-build"] && !run("scripts/build.mjs")) process.exit(1);

const { runnerImport } = await import("vite");
/** @type {{ module: typeof import("../bench/run.js") }} */
const { module } = await runnerImport(`${root}/bench/run.ts`, {
  configFile: false,
  resolve: { alias: [{ find: /^holdfast(.*)$/, replacement: `${root}/dist$1` }] },
});
const { quick, profile } = values;
const only = values.only.flatMap((names) => names.split(","));
const out = values.out ?? (quick ? mkdtempSync(join(tmpdir(), "holdfast-bench-")) : root);
await module.bench({ quick, only, out, peers, profile });

function peersInstalled() {
  const wanted = JSON.parse(readFileSync(`${root}/bench/package.json`, "utf8")).dependencies;
  return Object.entries(wanted).every(([name, version]) => {
    try {
      return JSON.parse(readFileSync(`${root}/bench/node_modules/${name}/package.json`, "utf8")).version === version;
    } catch {
      return false;
    }
  });
}
