import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { brotliCompressSync } from "node:zlib";
import { rolldown } from "rolldown";
import { loadsOf } from "../../scripts/sizes.mjs";
import type { Work } from "../work.js";

export const size: Work = {
  name: "size",
  title: "What a page loads",
  about:
    "Bundled for a browser, minified, brotli, in kB of 1,000 bytes: what is loaded at start, as one file, and what is loaded when it is first " +
    "used. A page that runs turns at once loads those at once, too. holdfast's own worker is one file with everything in it, Dexie too, that " +
    "loads beside the page.",
  unit: "kB",
  goals: [{ fact: "holdfast, at start, without Dexie", atMost: 40 }],
  async open(bench) {
    const dist = resolve("dist");
    // The build counts its sizes with the same function.
    const own = await loadsOf(`${dist}/index.js`);
    const turns = own.later.filter(({ name }) => name === "executor" || name === "turns");
    const peers = await bench.peers({
      RxDB: () =>
        bundled(`
          export { createRxDatabase } from "rxdb/plugins/core";
          export { getRxStorageDexie } from "rxdb/plugins/storage-dexie";
        `),
      "PGlite, its JavaScript alone": () => bundled(`export { PGlite } from "@electric-sql/pglite";`),
    });
    return {
      variants: [],
      facts: async () => [
        { name: "holdfast, at start, without Dexie", value: packed(own.start), unit: "kB" },
        { name: "holdfast, at start and with turns", value: packed([...own.start, ...turns]), unit: "kB" },
        { name: "holdfast, all that is loaded later", value: packed(own.later), unit: "kB" },
        {
          name: "holdfast's worker, with everything in it",
          value: packed([{ code: readFileSync(`${dist}/worker.js`, "utf8") }]),
          unit: "kB",
        },
        { name: "Dexie", value: await bundled(`export { Dexie } from "dexie";`), unit: "kB" },
        ...Object.entries(peers).map(([name, value]) => ({ name, value, unit: "kB" })),
      ],
      close: async () => {},
    };
  },
};

/** The size with every file that is ever loaded. */
async function bundled(source: string): Promise<number> {
  const ENTRY = resolve("bench/entry.js");
  const bundle = await rolldown({
    input: ENTRY,
    platform: "browser",
    logLevel: "silent",
    plugins: [
      {
        name: "entry",
        resolveId: (id) => (id === ENTRY ? id : undefined),
        load: (id) => (id === ENTRY ? source : undefined),
      },
    ],
  });
  const { output } = await bundle.generate({ format: "esm", minify: true });
  await bundle.close();
  return packed(output.filter((file) => file.type === "chunk"));
}

/** The size of files that are loaded one by one. */
const packed = (files: readonly { readonly code: string }[]) =>
  files.reduce((bytes, { code }) => bytes + brotliCompressSync(code).length, 0) / 1_000;
