// Shows an answer as quotes. The words that were not found stand first.
import type { Answer } from "../ask.js";
import { plural } from "../words.js";
import { h } from "./dom.js";

export function showAnswer(place: HTMLElement, answer: Answer, size: number): void {
  const { quotes } = answer;
  place.replaceChildren(
    h("p", { class: "lead" }, lead(answer, size)),
    ...quotes.map(({ fileName, title, lines, pieces }) =>
      h(
        "figure",
        { class: "quote" },
        h("blockquote", {}, ...pieces.map(({ text, hit }) => (hit ? h("mark", {}, text) : text))),
        h(
          "figcaption",
          {},
          h("cite", {}, fileName),
          h("span", { class: "numbers" }, lines),
          h("span", { class: "title" }, title),
        ),
      ),
    ),
  );
}

function lead({ quotes, asked, missing }: Answer, size: number): string {
  if (size === 0) return "There is nothing to quote from yet. Add a file first.";
  if (asked.length === 0) return "Ask with at least one word that could stand in a file.";
  const list = missing.map((word) => `“${word}”`).join(", ");
  if (quotes.length === 0) return `No passage says anything about ${list || "this"}.`;
  const files = new Set(quotes.map((quote) => quote.fileName)).size;
  const found = `${plural(quotes.length, "passage")} from ${plural(files, "file")}`;
  return missing.length > 0 ? `${found}. Nothing was found for ${list}.` : `${found}.`;
}
