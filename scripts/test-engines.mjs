// npm run test:engines                       builds, then runs the conformance kit and the takeover scenarios in every browser engine
//                                            that this machine has; one that it lacks is named, with what to install
// npm run test:engines -- --engine firefox   in that one alone
// npm run test:engines -- --only killed      only the scenarios whose name has that text, and not the kit
// npm run test:engines -- --no-build         takes dist/ as it is
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { ready } from "./ready.mjs";
import { run } from "./run.mjs";

const { values } = parseArgs({
  options: {
    engine: { type: "string", multiple: true },
    only: { type: "string" },
    "no-build": { type: "boolean" },
  },
});

ready();
const { runnerImport } = await import("vite");
/** @type {{ module: typeof import("../test/engines/run.js") }} */
const { module } = await runnerImport(fileURLToPath(new URL("../test/engines/run.ts", import.meta.url)), { configFile: false });

const names = values.engine ?? module.engineNames;
const unknown = names.filter((name) => !module.engineNames.includes(name));
if (unknown.length > 0) {
  console.error(`unknown engine: ${unknown.join(", ")} (there are: ${module.engineNames.join(", ")})`);
  process.exit(2);
}
if (!values["no-build"] && !run("scripts/build.mjs")) process.exit(1);

const { passed, failed, skipped } = await module.testEngines(names, values.only);
console.log(`\n${passed} passed, ${failed} failed${skipped.length > 0 ? `, skipped: ${skipped.join(", ")}` : ""}`);
// A run without any passed check is a failure: it shows nothing.
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
