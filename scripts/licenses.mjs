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

/** @param {string} author as package.json names the author */
export function mitLicence(author) {
  return `MIT License

Copyright (c) ${author}

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files (the
"Software"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge, publish,
distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to
the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF
MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY
CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE
SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.`;
}

/** The texts of the licences, in full: every copy of the code needs them. @param {readonly string[]} files that were bundled */
export function licencesOf(files) {
  const parts = [...packagesOf(files)].map(([name, folder]) => {
    const { version, license, author } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    const texts = readdirSync(folder)
      .filter((file) => /^(licen[cs]e|notice|copying)/i.test(file))
      .map((file) => readFileSync(join(folder, file), "utf8").trim());
    // Such a package names the licence and its author, and ships no text.
    if (texts.length === 0 && license === "MIT" && typeof author === "string") texts.push(mitLicence(author));
    if (texts.length === 0) throw new Error(`${name} is bundled, but has no licence text to ship`);
    return [`${name} ${version} (${license})`, ...texts].join("\n\n");
  });
  return `dist/worker.js and dist/service-worker.js hold code of these packages.\n\n${parts.join(`\n\n${"-".repeat(80)}\n\n`)}\n`;
}
