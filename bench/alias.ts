// What the bench's imports mean: the package as it ships, and one copy of what it shares with its peers, since two Dexies refuse to
// be in one page.
import { fileURLToPath } from "node:url";

const file = (path: string) => fileURLToPath(new URL(path, import.meta.url));

export const alias: [name: string, file: string][] = [
  ["holdfast/memory", file("../dist/memory.js")],
  ["holdfast", file("../dist/index.js")],
  ["dexie", file("../node_modules/dexie")],
  ["idb", file("../node_modules/idb")],
];
