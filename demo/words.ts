// Words and sentences: the handler, the index and the answers must split texts alike.

const stopWords = new Set(
  `a about above after again all also am an and any are as at be because been before being between both but by can could did do
  does doing down during each few for from further had happen happened happens has have having he her here hers him his how i if in into is it its itself
  just many me more most much my no nor not of off on once only or other our ours out over own please same say said she should so some such
  tell than that the their theirs them then there these they this those through to too under until up very was we were what when
  where which while who whom whose why will with would you your yours`.split(/\s+/),
);

/** One word as the index has it: lower case, without accents. */
export function normalise(word: string): string {
  return word.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
}

/** The word for the index; undefined for a word without meaning of its own. */
export function indexable(word: string): string | undefined {
  const plain = normalise(word).replace(/['’]s?$/, "");
  return plain === "" || stopWords.has(plain) ? undefined : plain;
}

const word = /[\p{L}\p{N}][\p{L}\p{N}\p{M}]*(?:['’.,][\p{L}\p{N}\p{M}]+)*/gu;

export interface Word {
  readonly text: string;
  readonly at: number;
}

/** Every word of a text with its position. "4,200", "21.10" and "keeper's" are one word each. */
export function words(text: string): Word[] {
  return Array.from(text.matchAll(word), (match) => ({ text: match[0], at: match.index }));
}

/** The words that characterise a text: the frequent ones, then the long ones. */
export function keyTerms(text: string, most = 6): string[] {
  const counts = new Map<string, number>();
  for (const { text: found } of words(text)) {
    const term = indexable(found);
    if (term && term.length > 2 && !/^\d/.test(term)) counts.set(term, (counts.get(term) ?? 0) + 1);
  }
  return [...counts]
    .sort(([a, times], [b, more]) => more - times || b.length - a.length)
    .slice(0, most)
    .map(([term]) => term);
}

/** Sentences, and lines where a text has them. Joined again they are the text. */
export function sentences(text: string): string[] {
  return text.split(/(?<=[.!?…]["'”’)*]*\s+)(?=[\p{Lu}\p{N}"'“‘*])|(?<=\n)/u).filter((part) => part !== "");
}

export const plural = (count: number, one: string, many = `${one}s`): string =>
  `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
