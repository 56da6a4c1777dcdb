// Answers a question with quotes of passages. The answer contains no sentence of its own about the files.
import type { Found } from "./library.js";
import { indexable, sentences, words } from "./words.js";

export interface Piece {
  readonly text: string;
  readonly hit: boolean;
}

export interface Quote {
  readonly fileName: string;
  readonly title: string;
  readonly lines: string;
  readonly pieces: Piece[];
}

export interface Answer {
  readonly question: string;
  /** Words of the question that were searched. */
  readonly asked: string[];
  /** Searched words that no passage has. */
  readonly missing: string[];
  readonly quotes: Quote[];
}

const mostQuotes = 4;
const longestQuote = 420;

/** No quote is much longer than `longest` characters. */
export function answer(question: string, find: (question: string) => Found[], longest = longestQuote): Answer {
  const asked = [...new Set(words(question).flatMap(({ text }) => indexable(text) ?? []))];
  const found = asked.length === 0 ? [] : find(question);
  const known = new Set(found.flatMap((one) => one.asked));
  const missing = asked.filter((term) => !known.has(term));
  const best = found[0];
  const kept = best ? found.filter((one) => one.score >= best.score * 0.45 && covers(one, best)).slice(0, mostQuotes) : [];
  return { question, asked, missing, quotes: kept.map((one) => quote(one, longest)) };
}

/** A passage with one word of three is no answer beside one that has all three. */
function covers(one: Found, best: Found): boolean {
  return one.asked.length * 2 > best.asked.length;
}

function quote({ fileName, passage, terms }: Found, longest: number): Quote {
  const hits = new Set(terms);
  const [from, to] = passage.where;
  return {
    fileName,
    title: passage.title,
    lines: from === to ? `line ${from}` : `lines ${from} to ${to}`,
    pieces: mark(excerpt(passage.text, hits, longest), hits),
  };
}

/** The neighbouring sentences with the most hits, as many as fit. */
function excerpt(text: string, hits: ReadonlySet<string>, longest: number): string {
  if (text.length <= longest) return text;
  const parts = sentences(text);
  const worth = parts.map((part) => new Set(words(part).flatMap(({ text: word }) => hitOf(word, hits) ?? [])).size);
  let [from, to] = [0, 0];
  let most = -1;
  for (let start = 0; start < parts.length; start++) {
    let [length, sum, end] = [0, 0, start];
    while (end < parts.length && (end === start || length + (parts[end]?.length ?? 0) <= longest)) {
      length += parts[end]?.length ?? 0;
      sum += worth[end] ?? 0;
      end++;
    }
    if (sum > most) [from, to, most] = [start, end, sum];
  }
  const body = parts.slice(from, to).join("").trim();
  return `${from > 0 ? "… " : ""}${body}${to < parts.length ? " …" : ""}`;
}

function hitOf(word: string, hits: ReadonlySet<string>): string | undefined {
  const term = indexable(word);
  return term && hits.has(term) ? term : undefined;
}

function mark(text: string, hits: ReadonlySet<string>): Piece[] {
  const pieces: Piece[] = [];
  let end = 0;
  for (const { text: word, at } of words(text)) {
    if (!hitOf(word, hits)) continue;
    if (at > end) pieces.push({ text: text.slice(end, at), hit: false });
    pieces.push({ text: word, hit: true });
    end = at + word.length;
  }
  if (end < text.length) pieces.push({ text: text.slice(end), hit: false });
  return pieces;
}
