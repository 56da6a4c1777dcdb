// Runs works in one Node process of their own.
import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdir, rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";
import { alias } from "./alias.js";
import type { Measured, Work } from "./work.js";

const file = (path: string) => fileURLToPath(new URL(path, import.meta.url));

export interface NodeOrders {
  works: readonly string[];
  quick: boolean;
  peers: boolean;
}

export async function* runInNode(
  works: readonly Work[],
  { quick, peers, packages }: { quick: boolean; peers: boolean; packages: readonly string[] },
): AsyncGenerator<{ work: Work; measured: Measured }> {
  if (works.length === 0) return;
  // The folder from which Node finds the packages that it imports.
  const folder = file("./node_modules/.holdfast");
  await mkdir(folder, { recursive: true });
  try {
    const bundle = await rolldown({
      input: file("./node-main.ts"),
      platform: "node",
      external: ["rolldown", ...packages.map((name) => new RegExp(`^${name}($|/)`))],
      resolve: { extensionAlias: { ".js": [".ts", ".js"] }, alias: Object.fromEntries(alias) },
      logLevel: "silent",
    });
    await bundle.write({ dir: folder, format: "esm", entryFileNames: "bench.mjs", chunkFileNames: "[name]-[hash].mjs" });
    await bundle.close();
    const orders: NodeOrders = { works: works.map(({ name }) => name), quick, peers };
    const child = fork(`${folder}/bench.mjs`, [JSON.stringify(orders)], { cwd: file("..") });
    const ended = once(child, "exit").then(([code]) => {
      throw new Error(`the works in Node ended early, with ${code}`);
    });
    ended.catch(() => undefined);
    for (const work of works) {
      const [measured] = (await Promise.race([once(child, "message"), ended])) as [Measured];
      yield { work, measured };
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
