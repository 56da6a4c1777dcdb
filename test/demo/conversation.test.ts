import { describe, expect, it } from "vitest";
import { answerOf, type Exchange, exchangesOf, partMessage, sourcesOf, stretchesOf, titleOf } from "../../demo/conversation.js";
import { takeIn } from "../../demo/intake.js";
import { passagesFor, promptOf, sourcesIn } from "../../demo/model-agent.js";
import { plan } from "../../demo/offline-agent.js";
import { split } from "../../demo/passages.js";
import { samples, starters } from "../../demo/samples.js";
import type { StoredInputState, ViewMessage } from "../../src/index.js";
import { sampleLibrary } from "./fixture.js";

const library = sampleLibrary();
const passages = samples.flatMap(({ fileName, text }) => {
  const taken = takeIn(fileName, new TextEncoder().encode(text));
  return taken.ok ? split(taken.kind, taken.text).map((passage) => passage.text) : [];
});
const planned = (question: string) => plan(question, library.find, library.size);

describe("the built-in agent", () => {
  it("quotes what the files say, with file, lines and section", () => {
    const parts = planned("How much oil does the lamp drink on a long December night?");
    const text = parts.map((part) => part.text).join("");
    expect(text).toContain("On a long December night the lamp drinks eleven litres; in June it drinks four.");
    expect(parts.flatMap(({ sources }) => sources)).toContainEqual(
      expect.objectContaining({ fileName: "keepers-handbook.md", lines: expect.stringMatching(/^line/), title: "The lamp" }),
    );
    for (const { n } of parts.flatMap(({ sources }) => sources)) expect(text).toContain(`” [${n}]`);
  });

  it("says nothing between its quotation marks that is not in a file", () => {
    const everything = passages.join("\n").replace(/\s+/g, " ");
    for (const question of [...starters, "Who tuned the fog horn?"]) {
      const text = planned(question)
        .map((part) => part.text)
        .join("");
      const quotes = Array.from(text.matchAll(/“([^”]*)” \[/g), ([, quote]) => quote ?? "");
      expect(quotes.length).toBeGreaterThan(0);
      for (const quote of quotes.flatMap((one) => one.split("…")))
        expect(everything).toContain(quote.replace(/\s+/g, " ").trim());
    }
  });

  it("gives every starter an answer in several parts", () => {
    for (const question of starters) expect(planned(question).length).toBeGreaterThan(3);
  });

  it("plans the same answer for the same library", () => {
    expect(planned(starters[0] ?? "")).toEqual(planned(starters[0] ?? ""));
  });

  it("says so when there is nothing to say", () => {
    const one = (question: string, size = library.size) => plan(question, library.find, size).map(({ text }) => text);
    expect(one("zeppelin")).toEqual(["No passage says anything about “zeppelin”."]);
    expect(one("what is it?")).toEqual(["Ask with at least one word that could stand in a file."]);
    expect(plan("anything", () => [], 0).map(({ text }) => text)).toEqual([
      "There is nothing to quote from yet. Add a file, then ask again.",
    ]);
    expect(one("puffin zeppelin").at(-1)).toBe("\n\nNothing was found for “zeppelin”.");
  });
});

describe("a model", () => {
  const passages = passagesFor("Who tuned the fog horn?", library.find);

  it("is given the passages by number, what was said before, and the question", () => {
    const earlier = exchangesOf(
      [
        { role: "user", content: "Who?", inputId: "1" },
        partMessage("Mr", [], { answers: "1", attempt: 1, tab: "Otter", agent: "m" }),
        partMessage(" Brandt.", [], { answers: "1", attempt: 2, tab: "Heron", agent: "m" }),
        { role: "user", content: "Unanswered", inputId: "2" },
      ],
      [],
    );
    const [system, ...rest] = promptOf("And when?", passages, earlier, "");
    expect(system?.content).toContain(`[1] ${passages[0]?.fileName}, ${passages[0]?.lines}`);
    expect(system?.content).toContain(passages[0]?.text);
    expect(rest).toEqual([
      { role: "user", content: "Who?" },
      { role: "assistant", content: "Mr Brandt." },
      { role: "user", content: "And when?" },
    ]);
  });

  it("is told to go on behind what is kept", () => {
    const prompt = promptOf("When?", [], [], "In the winter");
    expect(prompt.slice(-2)).toEqual([
      { role: "assistant", content: "In the winter" },
      { role: "user", content: expect.stringContaining("repeat nothing") },
    ]);
  });

  it("cites what it names by number", () => {
    expect(sourcesIn("He did [1].", passages).map(({ n }) => n)).toEqual([1]);
    expect(sourcesIn("[99] and [x]", passages)).toEqual([]);
  });
});

describe("a conversation", () => {
  const mark = { answers: "a", attempt: 1, tab: "Otter", agent: "m" };
  const source = { n: 1, fileName: "f.md", lines: "line 1", title: "T" };
  const input = (inputId: string, more: Partial<StoredInputState>): StoredInputState => ({
    inputId,
    currentState: "queued",
    attemptCount: 0,
    recoveryCount: 0,
    history: [],
    createdAtMs: 0,
    updatedAtMs: 0,
    persistedInput: { inputType: "prompt", text: `text of ${inputId}` },
    ...more,
  });
  const messages = [
    { role: "user" as const, content: "Asked", inputId: "a" },
    partMessage("One. ", [], mark),
    partMessage("Two. ", [source], mark),
    partMessage("Three.", [source], { ...mark, attempt: 2, tab: "Heron" }),
  ];

  it("puts an answer together from its parts, and knows who wrote which", () => {
    const [exchange] = exchangesOf(messages, [input("a", { currentState: "consumed", attemptCount: 2 })]);
    expect(exchange).toMatchObject({ id: "a", question: "Asked", phase: "answered", attempt: 2 });
    const { parts } = exchange as Exchange;
    expect(answerOf(parts)).toBe("One. Two. Three.");
    expect(stretchesOf(parts)).toEqual([
      { tab: "Otter", attempt: 1, agent: "m", count: 2 },
      { tab: "Heron", attempt: 2, agent: "m", count: 1 },
    ]);
    expect(sourcesOf(parts)).toEqual([source]);
  });

  const asked = (inputId: string, pending: NonNullable<ViewMessage["pending"]>): ViewMessage => ({
    role: "user",
    content: `text of ${inputId}`,
    inputId,
    pending,
  });

  it("shows what waits, runs and was given up, where the view has it", () => {
    const exchanges = exchangesOf(
      [{ ...asked("a", "running"), content: "Asked" }, ...messages.slice(1), ...["b", "c"].map((id) => asked(id, "waiting"))],
      [
        input("c", {}),
        input("b", { attemptCount: 1 }),
        input("a", { currentState: "staged", attemptCount: 1 }),
        input("d", { currentState: "abandoned", attemptCount: 3 }),
      ],
    );
    expect(exchanges.map(({ id, phase, question }) => [id, phase, question])).toEqual([
      ["a", "running", "Asked"],
      ["b", "between", "text of b"],
      ["c", "stored", "text of c"],
    ]);
  });

  it("has the time of the next attempt and the last error of a question that failed, until it is answered", () => {
    const failed = { attemptCount: 2, error: "it broke off", retryAtMs: 5_000 };
    const [paused] = exchangesOf([asked("b", "waiting")], [input("b", failed)]);
    expect(paused).toMatchObject({ phase: "paused", attempt: 2, error: "it broke off", retryAtMs: 5_000 });
    expect(paused?.retryKey).toBeUndefined();
  });

  it("may be asked again with its key once it was given up, and only until then", () => {
    const givenUp = input("b", { currentState: "abandoned", attemptCount: 3, error: "it broke off", idempotencyKey: "k" });
    const [before] = exchangesOf([asked("b", "failed")], [givenUp]);
    expect(before).toMatchObject({ phase: "given-up", error: "it broke off", retryKey: "k" });
    // Its first attempt has stored the question, so it stays in the view when it is asked again.
    const { pending: _, ...stored } = asked("b", "failed");
    const [after, again] = exchangesOf([stored, asked("c", "waiting")], [givenUp, input("c", { idempotencyKey: "k" })]);
    expect(after).toMatchObject({ phase: "given-up", error: "it broke off" });
    expect([after?.retryKey, again?.phase, again?.retryKey]).toEqual([undefined, "stored", undefined]);
  });

  it("keeps the parts of an answer that was stopped", () => {
    const [exchange] = exchangesOf([{ ...asked("a", "cancelled") }, ...messages.slice(1)]);
    expect(exchange).toMatchObject({ phase: "stopped" });
    expect(exchange?.parts).toHaveLength(3);
  });

  it("shows what somebody else wrote too", () => {
    const exchanges = exchangesOf(
      [
        { role: "assistant", content: { any: 1 }, sources: "x" },
        { role: "user", content: "Hi" },
        { role: "assistant", content: "Ho", sources: [null, { n: 2 }] },
        { role: "tool", content: "…" },
      ],
      [],
    );
    expect(exchanges.map(({ question, parts }) => [question, parts.map(({ text }) => text)])).toEqual([
      ["", ['{"any":1}']],
      ["Hi", ["Ho"]],
    ]);
  });

  it("is called by its first question", () => {
    expect(titleOf([])).toBe("New conversation");
    expect(titleOf(exchangesOf(messages, []))).toBe("Asked");
    expect(titleOf(exchangesOf([{ role: "user", content: "word ".repeat(30) }], []))).toMatch(/^word( word)+ …$/);
  });
});
