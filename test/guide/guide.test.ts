import { readdirSync, readFileSync } from "node:fs";
import { format } from "node:util";
import { afterEach, describe, expect, it, vi } from "vitest";

const root = new URL("../../", import.meta.url);
const pages = readdirSync(new URL("docs/guide", root)).filter((name) => name.endsWith(".md"));

/** A whole example on a page: the file that it is, and what the file prints, where it prints something. */
const EXAMPLE = /```(\w+)\n((?:\/\/|<!--) (examples\/\S+)[^\n]*)\n[\s\S]*?```(\n\nIt prints:\n\n```text\n[\s\S]*?```)?/g;

const textOf = (path: string) => readFileSync(new URL(path, root), "utf8");

async function printedBy(path: string): Promise<string> {
  const lines: string[] = [];
  vi.spyOn(console, "log").mockImplementation((...given) => void lines.push(format(...given)));
  await import(/* @vite-ignore */ new URL(path, root).href);
  return lines.join("\n");
}

afterEach(() => vi.restoreAllMocks());

describe("the guide", () => {
  it.each(pages)("%s shows an example as it is, and what it prints", async (name) => {
    const path = `docs/guide/${name}`;
    const text = textOf(path);
    const examples = [...text.matchAll(EXAMPLE)];
    expect(examples.length).toBeGreaterThan(0);
    let page = text;
    for (const [shown, language, title, file = "", prints] of examples) {
      const code = `\`\`\`${language}\n${title}\n${textOf(file).trimEnd()}\n\`\`\``;
      const output = prints === undefined ? "" : `\n\nIt prints:\n\n\`\`\`text\n${await printedBy(file)}\n\`\`\``;
      page = page.replace(shown, () => code + output);
    }
    // `vitest -u` writes the page anew.
    await expect(page).toMatchFileSnapshot(new URL(path, root).pathname);
  });

  it("is linked as a whole from its first page", () => {
    const links = [...textOf("docs/guide/start.md").matchAll(/\]\((\w[\w-]*\.md)\)/g)].map(([, link]) => link);
    expect(new Set(["start.md", ...links])).toEqual(new Set(pages));
  });
});
