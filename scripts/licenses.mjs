import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** The packages that these files belong to, by name. @param {readonly string[]} files */
export function packagesOf(files) {
  /** @type {Map<string, string>} */
  const folders = new Map();
  for (const file of files) {
    // The last node_modules folder counts: a package may contain packages of its own.
    const [, folder, name] = /^(.*node_modules\/((?:@[^/]+\/)?[^/]+))\//.exec(file.replaceAll("\\", "/")) ?? [];
    if (folder !== undefined && name !== undefined) folders.set(name, folder);
  }
  return new Map([...folders].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** The texts of the licences, in full: every copy of the code needs them. @param {readonly string[]} files that were bundled */
export function licencesOf(files) {
  const parts = [...packagesOf(files)].map(([name, folder]) => {
    const { version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    const texts = readdirSync(folder)
      .filter((file) => /^(licen[cs]e|notice|copying)/i.test(file))
      .map((file) => readFileSync(join(folder, file), "utf8").trim());
    if (texts.length === 0) throw new Error(`${name} is bundled, but has no licence text to ship`);
    return [`${name} ${version} (${license})`, ...texts].join("\n\n");
  });
  return `dist/worker.js holds code of these packages.\n\n${parts.join(`\n\n${"-".repeat(80)}\n\n`)}\n`;
}
