import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { rolldown } from "rolldown";

const dist = fileURLToPath(new URL("../dist", import.meta.url));

/** @param {string} label @param {string} code */
function printSize(label, code) {
  const kb = [gzipSync(code, { level: 9 }), brotliCompressSync(code)].map((bytes) =>
    (bytes.length / 1000).toFixed(1).padStart(6),
  );
  console.log(`${label.padEnd(40)} ${kb[0]} kB gzip ${kb[1]} kB brotli`);
}

/** What an application ships for one entry point: minified, with every dependency but dexie. @param {string} entry */
async function bundled(entry) {
  const bundle = await rolldown({ input: `${dist}/${entry}.js`, platform: "browser", external: ["dexie"], logLevel: "silent" });
  const { output } = await bundle.generate({ format: "esm", codeSplitting: false, minify: true });
  await bundle.close();
  return output[0].code;
}

export async function printSizes() {
  printSize("dist/worker.js (everything inlined)", readFileSync(`${dist}/worker.js`, "utf8"));
  for (const entry of ["index", "memory", "indexeddb", "conformance", "simulation"]) {
    printSize(`${entry} (bundled, without dexie)`, await bundled(entry));
  }
}
