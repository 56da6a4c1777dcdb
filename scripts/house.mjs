// node scripts/house.mjs          how easy the house is to see: sizes and arrows by folder, long functions, words with two meanings
// node scripts/house.mjs <commit> the same of an earlier state
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { posix } from "node:path";

const commit = process.argv[2] ?? "";
/** @param {string[]} args */
const git = (...args) => execFileSync("git", args, { encoding: "utf8", maxBuffer: 2 ** 28 });

const files = (commit === "" ? git("ls-files", "src") : git("ls-tree", "-r", "--name-only", commit, "src"))
  .split("\n")
  .filter((name) => /\.tsx?$/.test(name))
  .sort();
/** @type {Map<string, string>} */
const texts = new Map(files.map((file) => [file, commit === "" ? readFileSync(file, "utf8") : git("show", `${commit}:${file}`)]));

/** @param {string} file */
function importsOf(file) {
  const text = /** @type {string} */ (texts.get(file));
  return [...text.matchAll(/(?:\bfrom|\bimport\()\s*"(\.[^"]+)"/g)]
    .map(([, specifier]) => posix.join(posix.dirname(file), /** @type {string} */ (specifier)).replace(/\.js$/, ".ts"))
    .filter((to) => texts.has(to));
}

const folderOf = posix.dirname;
const arrows = [...new Set(files.flatMap((from) => importsOf(from).map((to) => `${from} ${to}`)))].map((line) => line.split(" "));

/**
 * The longest chain of imports inside a folder, in files. A folder without arrows has one floor.
 * @param {string[]} rooms @param {string[][]} lines
 */
function floorsOf(rooms, lines) {
  /** @type {Map<string, number>} */
  const depths = new Map();
  /** @param {string} room @returns {number} */
  const depth = (room) => {
    const known = depths.get(room);
    if (known !== undefined) return known;
    // A circle would never end; the test of imports forbids circles.
    depths.set(room, 0);
    const below = lines.filter(([from]) => from === room).map(([, to]) => depth(/** @type {string} */ (to)));
    const own = 1 + Math.max(0, ...below);
    depths.set(room, own);
    return own;
  };
  return Math.max(...rooms.map(depth));
}

/** The lines of every function, by the indentation that the formatter gives it. @param {string} file */
function functionsOf(file) {
  const lines = /** @type {string} */ (texts.get(file)).split("\n");
  return lines.flatMap((line, at) => {
    const head = /^(\s*)(?:export )?(?:default )?(?:async )?function\*? ?([\w$]+)/.exec(line);
    if (!head) return [];
    const end = lines.findIndex((other, below) => below > at && other === `${head[1]}}`);
    return end < 0 ? [] : [{ name: head[2], file, lines: end - at + 1 }];
  });
}

/** Names that stand at file level in more than one file. */
function homonyms() {
  /** @type {Map<string, Set<string>>} */
  const homes = new Map();
  for (const [file, text] of texts) {
    // An entry file only lists names, and a case file is a list of promises.
    if (/\.(cases|fixture|fields)\.ts$/.test(file)) continue;
    for (const [, name] of text.matchAll(
      /^(?:export )?(?:declare )?(?:async )?(?:function\*?|const|let|class|interface|type) ([A-Za-z_$][\w$]*)/gm,
    ))
      homes.set(/** @type {string} */ (name), (homes.get(/** @type {string} */ (name)) ?? new Set()).add(file));
  }
  return [...homes].filter(([, where]) => where.size > 1).sort((a, b) => b[1].size - a[1].size || (a[0] < b[0] ? -1 : 1));
}

const countOf = (/** @type {string} */ file) => /** @type {string} */ (texts.get(file)).split("\n").length - 1;
const folders = [...new Set(files.map(folderOf))].sort();
console.log("| folder | files | lines | largest file | arrows inside | floors |\n|---|---|---|---|---|---|");
for (const folder of folders) {
  const rooms = files.filter((file) => folderOf(file) === folder);
  const inside = arrows.filter(
    ([from, to]) => folderOf(/** @type {string} */ (from)) === folder && folderOf(/** @type {string} */ (to)) === folder,
  );
  const largest = rooms.reduce((a, b) => (countOf(a) >= countOf(b) ? a : b));
  const lines = rooms.reduce((sum, file) => sum + countOf(file), 0);
  console.log(
    `| ${folder} | ${rooms.length} | ${lines} | ${posix.basename(largest)} ${countOf(largest)} | ${inside.length} | ${floorsOf(rooms, inside)} |`,
  );
}

const long = files
  .flatMap(functionsOf)
  .filter(({ lines }) => lines > 150)
  .sort((a, b) => b.lines - a.lines);
console.log(`\nFunctions over 150 lines: ${long.length}`);
for (const { name, file, lines } of long) console.log(`- ${name}, ${lines} lines, ${file}`);

const twice = homonyms();
console.log(`\nNames at file level in more than one file: ${twice.length}`);
for (const [name, where] of twice) console.log(`- ${name}: ${[...where].map((file) => file.replace("src/", "")).join(", ")}`);
