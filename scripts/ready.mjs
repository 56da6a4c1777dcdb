// Runs before any dependency is installed: it may import only from node:.
import { execSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

/** @typedef {Record<string, { version: string, integrity?: string, optional?: boolean }>} Packages */

/** @param {string} file @returns {Packages | undefined} */
function packages(file) {
  try {
    const { packages } = JSON.parse(readFileSync(`${root}/${file}`, "utf8"));
    delete packages[""];
    return packages;
  } catch {
    return undefined;
  }
}

/** Compares contents, not times: a fresh checkout gives every file a new time. */
function installed() {
  const wanted = packages("package-lock.json");
  const found = packages("node_modules/.package-lock.json");
  if (!wanted || !found) return false;
  const extra = Object.keys(found).some((path) => !wanted[path]);
  const same = Object.entries(wanted).every(([path, entry]) => {
    const here = found[path];
    // Optional packages for other platforms are locked but never installed.
    return here ? here.version === entry.version && here.integrity === entry.integrity : entry.optional;
  });
  return same && !extra;
}

export function ready() {
  if (!installed()) execSync("npm ci --no-audit --no-fund", { cwd: root, stdio: "inherit" });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) ready();
