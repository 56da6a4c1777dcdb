import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { codeOf, read, root } from "./pages.js";

const page = read("docs/guarantees.md");
const text = page.replace(/^\[\^.*$/gm, "");
const used = [...text.matchAll(/\[\^([^\]]+)\]/g)].map(([, name]) => name as string);
const definitions = [...page.matchAll(/^\[\^([^\]]+)\]: (.*)$/gm)].map(([, name, titles]) => ({
  name: name as string,
  titles: titlesOf(titles as string),
}));

/** `file`: "title"; "title of the same file"; `another`: "title" */
function titlesOf(definition: string): { path: string; title: string }[] {
  let path = "";
  return definition.split(/(?<="); /).map((part) => {
    const [, file, title = ""] = /^(?:`([^`]+)`: )?"(.+)"$/.exec(part) ?? [];
    path = file ?? path;
    return { path, title };
  });
}

/** Whether the file has the title as a test, a case or a rule: a function or the rest of its row follows it. */
function isTitled(path: string, title: string): boolean {
  if (!path.endsWith(".ts") || !existsSync(join(root, path))) return false;
  const code = codeOf(path);
  return ['"', "`"].some((mark) => [",", ":", "]"].some((next) => code.includes(`${mark}${title}${mark}${next}`)));
}

/** List items, without those that say what is not promised. */
const promises = text
  .split(/^## /m)
  .slice(1)
  .filter((section) => !section.startsWith("What the browser cannot promise"))
  .flatMap((section) => section.split(/^- /m).slice(1))
  .filter((item) => !item.startsWith("**Not promised:**"));

describe("docs/guarantees.md", () => {
  it("defines each note that it uses, once, and no other", () => {
    expect(definitions.map(({ name }) => name).sort()).toEqual([...new Set(used)].sort());
  });

  it("names tests, cases and rules that are there, by their exact titles", () => {
    const missing = definitions.flatMap(({ name, titles }) =>
      titles.filter(({ path, title }) => !isTitled(path, title)).map(({ path, title }) => `${name}: ${path}: ${title}`),
    );
    expect(missing).toEqual([]);
  });

  it("has a note for each item that promises something", () => {
    expect(promises.length).toBeGreaterThan(40);
    expect(promises.filter((item) => !/\[\^[^\]]+\]/.test(item))).toEqual([]);
  });
});
