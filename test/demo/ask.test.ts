import { describe, expect, it } from "vitest";
import { answer } from "../../demo/ask.js";
import { createLibrary } from "../../demo/library.js";
import { sentences } from "../../demo/words.js";
import { sampleLibrary } from "./fixture.js";

const library = sampleLibrary();
const ask = (question: string) => answer(question, library.find);
const quoted = (question: string) => ask(question).quotes.map(({ pieces }) => pieces.map(({ text }) => text).join(""));

describe("answers from the samples", () => {
  it("quotes the passage that has the answer, word for word", () => {
    expect(quoted("Who tuned the fog horn?")[0]).toContain("Tuned the fog horn and hung nine bells");
    expect(quoted("How much oil on a long December night?")[0]).toContain("the lamp drinks eleven litres");
    expect(quoted("Which light burned down?")[0]).toContain("Burned down in 1936, by its own lamp");
    expect(quoted("Where do the storm petrels live?")[0]).toContain("a hundred pairs in the old wall");
  });

  it("names the file and the lines", () => {
    expect(ask("Where do the storm petrels live?").quotes[0]).toMatchObject({
      fileName: "birds-of-the-rock.md",
      lines: "line 27",
      title: "Birds that nest here › Storm petrel",
    });
  });

  it("marks the words that were found", () => {
    const hits = ask("fog horn")
      .quotes[0]?.pieces.filter(({ hit }) => hit)
      .map(({ text }) => text.toLowerCase());
    expect(hits).toEqual(expect.arrayContaining(["fog", "horn"]));
  });

  it("says which words no passage has", () => {
    expect(ask("zeppelin")).toMatchObject({ missing: ["zeppelin"], quotes: [] });
    expect(ask("the kitten and the zeppelin").missing).toEqual(["zeppelin"]);
  });

  it("looks for nothing when a question has no word of its own", () => {
    expect(ask("who is the?")).toMatchObject({ asked: [], missing: [], quotes: [] });
  });
});

describe("the index", () => {
  it("takes a passage once, however often it is told", () => {
    const small = createLibrary();
    const passage = {
      n: 1,
      title: "T",
      text: "puffin",
      where: [1, 1] as [number, number],
      words: 1,
      terms: [],
      tab: "a",
      fence: 1,
    };
    small.add("f", "f.txt", passage);
    small.add("f", "f.txt", { ...passage, tab: "b", fence: 2 });
    expect(small.size).toBe(1);
    expect(small.find("Puffins")).toHaveLength(1);
  });
});

describe("long passages", () => {
  it("are quoted in part, around what was asked", () => {
    const long = createLibrary();
    const text = `${"Nothing of note happened here. ".repeat(20)}A heron stood in the garden. ${"And nothing again. ".repeat(20)}`;
    long.add("f", "f.txt", { n: 1, title: "T", text, where: [1, 1], words: 1, terms: [], tab: "a", fence: 1 });
    const found =
      answer("heron garden", long.find)
        .quotes[0]?.pieces.map((piece) => piece.text)
        .join("") ?? "";
    expect(found).toContain("A heron stood in the garden.");
    expect(found.length).toBeLessThan(450);
    expect(found.startsWith("… ")).toBe(true);
  });

  it("split into sentences that make up the text again", () => {
    const text = 'One. Two! "Three?" 4 is a number.\nA new line; not e.g. this one. Dr. Who';
    expect(sentences(text).join("")).toBe(text);
  });
});
