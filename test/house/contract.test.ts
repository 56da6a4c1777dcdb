import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { codeOf, read, root } from "./pages.js";

const CONTRACT = "docs/contract.md";
const UNTESTED = "docs/decisions/0016-statements-without-a-test.md";

/** The lines of a page that begin with a number, and their text. */
function linesOf(page: string): [id: string, text: string][] {
  return [...read(page).matchAll(/^- \*\*([A-Z]-\d+b?)\*\*(.*)$/gm)].map(([, id, text]) => [
    id as string,
    (text as string).trim(),
  ]);
}

/** The numbers that the code of a file names; "P-1 to P-3" names three. */
function namedIn(path: string): string[] {
  const code = codeOf(path);
  const ranges = [...code.matchAll(/\b([PLDWJSRVY])-(\d+) to \1-(\d+)\b/g)].flatMap(([, letter, from, to]) =>
    stated.filter((id) => id.startsWith(`${letter}-`) && isWithin(Number.parseInt(id.slice(2), 10), Number(from), Number(to))),
  );
  return [...ranges, ...[...code.matchAll(/\b[PLDWJSRVY]-\d+b?\b/g)].map(([id]) => id)];
}

const isWithin = (value: number, from: number, to: number) => from <= value && value <= to;

const statements = linesOf(CONTRACT);
const stated = statements.map(([id]) => id);
const untested = linesOf(UNTESTED);
const files = ["test", "src/conformance"].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .map((name) => join(folder, name).replaceAll("\\", "/"))
    .filter((path) => path.endsWith(".ts") && !path.startsWith("test/house/")),
);
const named = new Map(files.map((path) => [path, new Set(namedIn(path))]));
const tested = new Set([...named.values()].flatMap((ids) => [...ids]));

describe("docs/contract.md", () => {
  it("has a line for every number that a title names", () => {
    const unknown = [...named].flatMap(([path, ids]) =>
      [...ids].filter((id) => !stated.includes(id)).map((id) => `${path}: ${id}`),
    );
    expect(unknown).toEqual([]);
  });

  it("has one line for each number, and it says something", () => {
    expect(stated.filter((id, at) => stated.indexOf(id) !== at)).toEqual([]);
    expect(statements.filter(([, text]) => text === "")).toEqual([]);
    expect(stated.length).toBeGreaterThan(200);
  });

  it("has no statement of sessions or of who is alive that no title names, but for those that the decision gives a reason for", () => {
    const excused = untested.map(([id]) => id);
    expect(stated.filter((id) => /^[RVY]-/.test(id) && !tested.has(id) && !excused.includes(id))).toEqual([]);
  });
});

describe("the statements that no test names", () => {
  it("are statements of the contract, each once, with a reason", () => {
    const ids = untested.map(([id]) => id);
    expect(ids.filter((id) => !stated.includes(id))).toEqual([]);
    expect(ids.filter((id, at) => ids.indexOf(id) !== at)).toEqual([]);
    expect(untested.filter(([, reason]) => reason === "")).toEqual([]);
  });

  it("are named by none", () => {
    expect(untested.map(([id]) => id).filter((id) => tested.has(id))).toEqual([]);
  });
});
