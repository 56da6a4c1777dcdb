import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { brotliCompressSync } from "node:zlib";
import { type OutputChunk, rolldown } from "rolldown";
import type { Work } from "../work.js";

export const size: Work = {
  name: "size",
  title: "What a page loads",
  about:
    "Bundled for a browser, minified, brotli, in kB of 1,000 bytes: what is imported by name, and so is there at start, and what is loaded " +
    "when it is first used. holdfast's own worker is one file with everything in it, Dexie too, that loads beside the page.",
  unit: "kB",
  goals: [{ fact: "holdfast, at start, without Dexie", atMost: 40 }],
  async open(bench) {
    const dist = resolve("dist");
    const own = await bundled(`export { createKernel } from ${JSON.stringify(`${dist}/index.js`)};`, ["dexie"]);
    const peers = await bench.peers({
      RxDB: () =>
        bundled(`
          export { createRxDatabase } from "rxdb/plugins/core";
          export { getRxStorageDexie } from "rxdb/plugins/storage-dexie";
        `),
      "PGlite, its JavaScript alone": () => bundled(`export { PGlite } from "@electric-sql/pglite";`),
    });
    const dexie = await bundled(`export { Dexie } from "dexie";`);
    return {
      variants: [],
      facts: async () => [
        { name: "holdfast, at start, without Dexie", value: own.start, unit: "kB" },
        { name: "holdfast, when it is first used", value: own.later, unit: "kB" },
        { name: "holdfast's worker, with everything in it", value: packed(readFileSync(`${dist}/worker.js`)), unit: "kB" },
        { name: "Dexie", value: dexie.start, unit: "kB" },
        ...Object.entries(peers).map(([name, { start, later }]) => ({ name, value: start + later, unit: "kB" })),
      ],
      close: async () => {},
    };
  },
};

async function bundled(source: string, external: string[] = []): Promise<{ start: number; later: number }> {
  const ENTRY = resolve("bench/entry.js");
  const bundle = await rolldown({
    input: ENTRY,
    platform: "browser",
    external,
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
  const chunks = new Map(output.flatMap((file) => (file.type === "chunk" ? [[file.fileName, file] as const] : [])));
  const entry = output[0];
  const atStart = new Set<OutputChunk>();
  const add = (chunk: OutputChunk | undefined) => {
    if (!chunk || atStart.has(chunk)) return;
    atStart.add(chunk);
    for (const name of chunk.imports) add(chunks.get(name));
  };
  add(entry);
  const sum = (of: Iterable<OutputChunk>) => [...of].reduce((bytes, { code }) => bytes + packed(code), 0);
  return { start: sum(atStart), later: sum([...chunks.values()].filter((chunk) => !atStart.has(chunk))) };
}

const packed = (code: string | Buffer) => brotliCompressSync(code).length / 1_000;
