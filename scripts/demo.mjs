// npm run demo            build everything and serve the built demo
// npm run demo -- --dev   serve the demo from its sources instead
import { ready } from "./ready.mjs";
import { bin, run } from "./run.mjs";

ready();
const serve = process.argv.includes("--dev") ? [] : ["preview"];
const ok =
  run("scripts/build.mjs") && (serve.length === 0 || run(bin.vite, "build")) && run(bin.vite, ...serve, "--host", "localhost");
process.exitCode = ok ? 0 : 1;
