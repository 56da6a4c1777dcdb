// The search index. It lives in memory; every tab builds it from the stored steps.
import MiniSearch from "minisearch";
import type { ReadPassage } from "./index-file.js";
import { indexable, words } from "./words.js";

export interface Found {
  readonly fileName: string;
  readonly passage: ReadPassage;
  readonly score: number;
  /** The words of the passage that matched, as the index has them. */
  readonly terms: readonly string[];
  /** The words of the question that they match. */
  readonly asked: readonly string[];
}

export interface Library {
  readonly size: number;
  add(fileId: string, fileName: string, passage: ReadPassage): void;
  find(question: string): Found[];
}

export function createLibrary(): Library {
  const passages = new Map<string, { fileName: string; passage: ReadPassage }>();
  const index = new MiniSearch<{ id: string; title: string; text: string; fileName: string }>({
    fields: ["title", "text", "fileName"],
    tokenize: (text) => words(text).map((word) => word.text),
    processTerm: (term) => indexable(term) ?? null,
    searchOptions: {
      boost: { title: 1.6, fileName: 0.4 },
      prefix: (term) => term.length > 3,
      fuzzy: (term) => (term.length > 5 && !/\d/.test(term) ? 0.2 : false),
      weights: { prefix: 0.6, fuzzy: 0.3 },
    },
  });
  return {
    get size() {
      return passages.size;
    },
    add(fileId, fileName, passage) {
      const id = `${fileId}#${passage.n}`;
      if (passages.has(id)) return;
      passages.set(id, { fileName, passage });
      index.add({ id, title: passage.title, text: passage.text, fileName: fileName.replace(/[-_.]+/g, " ") });
    },
    find(question) {
      return index.search(question).flatMap(({ id, score, terms, queryTerms }) => {
        const known = passages.get(String(id));
        return known ? [{ ...known, score, terms, asked: queryTerms }] : [];
      });
    },
  };
}
