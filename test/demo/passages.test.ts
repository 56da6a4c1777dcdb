import { describe, expect, it } from "vitest";
import { split } from "../../demo/passages.js";

describe("Markdown", () => {
  it("gives each paragraph the headings above it and its own lines", () => {
    const text = "# Book\n\nFirst words.\n\n## Lamp\n\nLit at *sunset*.\nPut out at **sunrise**.\n\n### Oil\n\n- one\n- two\n";
    expect(split("markdown", text)).toEqual([
      { title: "Book", text: "First words.", from: 3, to: 3 },
      { title: "Lamp", text: "Lit at sunset.\nPut out at sunrise.", from: 7, to: 8 },
      { title: "Lamp › Oil", text: "- one\n- two", from: 12, to: 13 },
    ]);
  });

  it("leaves a fenced block whole, with its blank lines and its hashes", () => {
    const [passage, ...rest] = split("markdown", "# Title\n\n```sh\n# not a heading\n\nls\n```\n");
    expect(rest).toEqual([]);
    expect(passage).toMatchObject({ title: "Title", from: 3, to: 7 });
    expect(passage?.text).toContain("# not a heading");
  });

  it("drops rules and blocks without a word", () => {
    expect(split("markdown", "---\n\n***\n\nword")).toHaveLength(1);
  });
});

describe("text", () => {
  it("takes paragraphs and reads any line end", () => {
    const passages = split("text", "\uFEFFOne. More of it.\r\n\r\nTwo\r\nlines");
    expect(passages).toEqual([
      { title: "One", text: "One. More of it.", from: 1, to: 1 },
      { title: "Two", text: "Two\nlines", from: 3, to: 4 },
    ]);
  });

  it("cuts what is too long between sentences, and loses no word of it", () => {
    const text = Array.from({ length: 60 }, (_, at) => `Sentence number ${at} says a little.`).join(" ");
    const passages = split("text", text);
    expect(passages.length).toBeGreaterThan(1);
    expect(passages.every((passage) => passage.text.length <= 900)).toBe(true);
    expect(passages.map((passage) => passage.text).join(" ")).toBe(text);
  });

  it("keeps the lines right when a long paragraph is cut", () => {
    const lines = Array.from({ length: 40 }, (_, at) => `Line ${at + 1} ${"word ".repeat(10)}end.`);
    const passages = split("text", lines.join("\n"));
    for (const { text, from, to } of passages) {
      expect(text.split("\n")).toEqual(lines.slice(from - 1, to));
    }
  });

  it("cuts a long text that has neither sentences nor spaces", () => {
    const passages = split("text", "x".repeat(2_500));
    expect(passages.map((passage) => passage.text).join("")).toHaveLength(2_500);
  });
});

describe("CSV", () => {
  it("puts every value beside its column and groups short rows", () => {
    const [passage] = split("csv", 'Name,Note\nOne,"a, ""quoted""\nvalue"\nTwo,\n');
    expect(passage).toEqual({
      title: "One, Two",
      text: 'Name: One; Note: a, "quoted"\nvalue\nName: Two',
      from: 2,
      to: 4,
    });
  });

  it("finds semicolons and tabs by itself", () => {
    expect(split("csv", "a;b\n1;2,5")[0]?.text).toBe("a: 1; b: 2,5");
    expect(split("csv", "a\tb\n1\t2")[0]?.text).toBe("a: 1; b: 2");
  });

  it("has nothing to say about a header alone", () => {
    expect(split("csv", "a,b\n")).toEqual([]);
  });
});

describe("JSON", () => {
  it("takes the items of the outer arrays with their lines", () => {
    const text =
      '{\n  "about": "x",\n  "people": [\n    { "name": "Ada", "knownFor": ["a", "b"] },\n    {\n      "name": "Bo"\n    }\n  ]\n}';
    expect(split("json", text)).toEqual([
      { title: "about", text: "x", from: 2, to: 2 },
      { title: "people › Ada", text: "Name: Ada; Known for: a, b", from: 4, to: 4 },
      { title: "people › Bo", text: "Name: Bo", from: 5, to: 7 },
    ]);
  });

  it("is not led astray by brackets and quotes in strings", () => {
    expect(split("json", '["}]\\"", 12, true, null]').map((passage) => passage.text)).toEqual(['}]"', "12", "true", "null"]);
  });

  it("throws for what is no JSON", () => {
    expect(() => split("json", "{a:1}")).toThrow(SyntaxError);
  });
});
