// npm run crash                                        100 kills of the whole browser while it writes: nothing acknowledged may be missing
// npm run crash -- --rounds 20 --durability relaxed    fewer, and where no flush is asked for: counts what is missing
import { parseArgs } from "node:util";
import { ensureChromium } from "./chromium.mjs";
import { ready } from "./ready.mjs";
import { bin, run } from "./run.mjs";

const { values } = parseArgs({
  options: { rounds: { type: "string", default: "100" }, durability: { type: "string", default: "strict" } },
});
if (!(Number(values.rounds) >= 1) || !["strict", "relaxed"].includes(values.durability)) {
  console.error("wanted: a number of --rounds, and --durability strict or relaxed");
  process.exit(2);
}

ready();
process.env.HOLDFAST_CRASH_ROUNDS = values.rounds;
process.env.HOLDFAST_CRASH_DURABILITY = values.durability;
const ok =
  (await ensureChromium()) !== undefined &&
  run("scripts/build.mjs") &&
  run(bin.vitest, "run", "--project", "tabs", "test/tabs/killed.test.ts");
process.exitCode = ok ? 0 : 1;
