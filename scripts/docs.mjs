// npm run docs    makes the API reference out of the doc comments, as Markdown in dist-docs/reference; a warning fails it
import { execFileSync, execSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ready } from "./ready.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const home = join(root, "reference");

ready();
if (!existsSync(join(home, "node_modules"))) execSync("npm ci --no-audit --no-fund", { cwd: home, stdio: "inherit" });
execFileSync(process.execPath, ["node_modules/typedoc/bin/typedoc", "--options", "typedoc.json"], {
  cwd: home,
  stdio: "inherit",
});
