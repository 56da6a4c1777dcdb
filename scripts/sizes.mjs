import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { rolldown } from "rolldown";

const dist = fileURLToPath(new URL("../dist", import.meta.url));

const START_GOAL_KB = 40;
/** The reached size, rounded up to the next half: it goes down with the code, and up only for a stated reason. */
const START_BUDGET_KB = 53;

const kb = (/** @type {number} */ bytes) => `${(bytes / 1000).toFixed(1).padStart(6)} kB`;

/** @param {string} label @param {string} code */
function printSize(label, code) {
  const [gzip, brotli] = [gzipSync(code, { level: 9 }), brotliCompressSync(code)].map(({ length }) => kb(length));
  console.log(`${label.padEnd(40)} ${gzip} gzip ${brotli} brotli`);
}

/** The code that an application ships for one entry point: minified, with every dependency but dexie and react. @param {string} entry */
async function bundled(entry) {
  const bundle = await rolldown({
    input: `${dist}/${entry}.js`,
    platform: "browser",
    external: ["dexie", "react"],
    logLevel: "silent",
  });
  const { output } = await bundle.generate({ format: "esm", codeSplitting: false, minify: true });
  await bundle.close();
  return output[0].code;
}

/**
 * The modules that an application that imports all of `index` loads at start, and those that it loads later.
 * `start` is one file; `startAsSplit` is as the bundler splits it by itself. @param {string} index
 */
export async function loadsOf(index) {
  const app = "virtual:app";
  const bundle = await rolldown({
    input: app,
    plugins: [
      {
        name: "app",
        resolveId: (id) => (id === app ? app : undefined),
        load: (id) => (id === app ? `import * as all from ${JSON.stringify(index)}; console.log(all);` : undefined),
      },
    ],
    platform: "browser",
    external: ["dexie"],
    resolve: { extensionAlias: { ".js": [".ts", ".js"] } },
    preserveEntrySignatures: false,
    logLevel: "silent",
  });
  /** @param {import("rolldown").OutputOptions} options */
  async function generate(options) {
    const { output } = await bundle.generate({ format: "esm", minify: true, ...options });
    const chunks = output.filter((file) => file.type === "chunk");
    const start = new Set(chunks.filter(({ isEntry }) => isEntry));
    for (const { imports } of start) for (const chunk of chunks) if (imports.includes(chunk.fileName)) start.add(chunk);
    return { start: [...start], later: chunks.filter((chunk) => !start.has(chunk)) };
  }
  const split = await generate({});
  const atStart = new Set(split.start.flatMap(({ moduleIds }) => moduleIds));
  atStart.delete(app);
  const { start, later } = await generate({ codeSplitting: { groups: [{ name: "start", test: (id) => atStart.has(id) }] } });
  await bundle.close();
  return { start, later, startAsSplit: split.start, atStart: [...atStart] };
}

/** The size of files that are loaded one by one. @param {readonly { code: string }[]} chunks */
const brotliOf = (chunks) => chunks.reduce((sum, { code }) => sum + brotliCompressSync(code).length, 0);

/** The message for a start that is too large. @param {number} bytes */
export function tooMuchAtStart(bytes) {
  if (bytes <= START_BUDGET_KB * 1000) return undefined;
  return `a page loads ${kb(bytes).trim()} brotli at start; the budget is ${START_BUDGET_KB} kB, and the goal ${START_GOAL_KB} kB`;
}

export async function printSizes() {
  for (const file of ["worker", "service-worker"])
    printSize(`dist/${file}.js (everything inlined)`, readFileSync(`${dist}/${file}.js`, "utf8"));
  for (const entry of ["index", "memory", "indexeddb", "conformance", "simulation", "react"]) {
    printSize(`${entry} (bundled, without dexie)`, await bundled(entry));
  }
  const { start, later, startAsSplit } = await loadsOf(`${dist}/index.js`);
  const bytes = brotliOf(start);
  const split = `${startAsSplit.length} files as rolldown splits it: ${kb(brotliOf(startAsSplit)).trim()}`;
  console.log(`at start, without dexie                  ${kb(bytes)} brotli (budget ${START_BUDGET_KB} kB; ${split})`);
  for (const { name, code } of later) console.log(`  later: ${name.padEnd(31)} ${kb(brotliCompressSync(code).length)} brotli`);
  const trouble = tooMuchAtStart(bytes);
  if (trouble) throw new Error(trouble);
}
