// The agent without a network. It answers with the best passages of the stored index, sentence by sentence, with their sources.
// It adds no sentence of its own about the files.
import { type Answer, answer } from "./ask.js";
import type { Source } from "./conversation.js";
import type { Found } from "./library.js";
import { plural, sentences } from "./words.js";

export type Planned = { readonly text: string; readonly sources: readonly Source[] };

const mostQuotes = 3;
const longestQuote = 260;

/** The whole answer, in the parts in which it is stored. */
export function plan(question: string, find: (question: string) => Found[], librarySize: number): Planned[] {
  const found = answer(question, find, longestQuote);
  const quotes = found.quotes.slice(0, mostQuotes);
  const files = new Set(quotes.map(({ fileName }) => fileName)).size;
  const [only] = quotes;
  if (!only) return [{ text: nothing(found, librarySize), sources: [] }];
  const lead =
    quotes.length === 1
      ? `One passage speaks of this, in ${only.fileName}.`
      : `${plural(quotes.length, "passage")} of ${plural(files, "file")} speak of this.`;
  const parts: Planned[] = [{ text: lead, sources: [] }];
  quotes.forEach(({ fileName, lines, title, pieces }, at) => {
    const source = { n: at + 1, fileName, lines, title };
    const quoted = sentences(pieces.map(({ text }) => text).join("")).map((sentence) => sentence.replace(/\s+/g, " "));
    quoted.forEach((sentence, index) => {
      const isLast = index === quoted.length - 1;
      const begin = index === 0 ? "\n\n“" : "";
      parts.push({
        text: isLast ? `${begin}${sentence.trimEnd()}” [${source.n}]` : begin + sentence,
        sources: isLast ? [source] : [],
      });
    });
  });
  if (found.missing.length > 0) parts.push({ text: `\n\nNothing was found for ${quotedList(found.missing)}.`, sources: [] });
  return parts;
}

function nothing({ asked, missing }: Answer, librarySize: number): string {
  if (librarySize === 0) return "There is nothing to quote from yet. Add a file, then ask again.";
  if (asked.length === 0) return "Ask with at least one word that could stand in a file.";
  return `No passage says anything about ${missing.length > 0 ? quotedList(missing) : "this"}.`;
}

const quotedList = (words: readonly string[]) => words.map((word) => `“${word}”`).join(", ");
