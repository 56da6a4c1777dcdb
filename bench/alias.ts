// Aliases of the bench's imports: holdfast as it ships, and one copy of each package that it shares with a peer. Two copies of
// Dexie refuse to run in one page.
import { fileURLToPath } from "node:url";

const file = (path: string) => fileURLToPath(new URL(path, import.meta.url));

export const alias: [name: string, file: string][] = [
  ["holdfast/memory", file("../dist/memory.js")],
  ["holdfast", file("../dist/index.js")],
  ["dexie", file("../node_modules/dexie")],
  ["idb", file("../node_modules/idb")],
];
