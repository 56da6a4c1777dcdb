// The cards. Only those of changed files are updated, and a card keeps its place.
import type { FileEntry } from "../files.js";
import { inOrder } from "../order.js";
import { type Card, card } from "./card.js";
import { part } from "./dom.js";

export interface Shelf {
  mark(entry: FileEntry): void;
  draw(cancel: (id: string) => Promise<void>): void;
  tick(now: number): void;
}

export function shelf(): Shelf {
  const cards = new Map<FileEntry, Card>();
  const marked = new Set<FileEntry>();

  const place = () => {
    const list = part("cards");
    inOrder([...cards.keys()].map((entry) => ({ id: entry.id, createdAtMs: entry.createdAtMs, entry }))).forEach(
      ({ entry }, at) => {
        const element = cards.get(entry)?.element;
        if (element && list.children[at] !== element) list.insertBefore(element, list.children[at] ?? null);
      },
    );
  };

  return {
    mark(entry) {
      marked.add(entry);
    },
    draw(cancel) {
      const fresh = [...marked].filter((entry) => !cards.has(entry));
      for (const entry of fresh)
        cards.set(
          entry,
          card(entry, () => cancel(entry.id)),
        );
      if (fresh.length > 0) place();
      for (const entry of marked) cards.get(entry)?.update();
      marked.clear();
    },
    tick(now) {
      for (const shown of cards.values()) shown.tick(now);
    },
  };
}
