// The process. It reads one file passage by passage. Every passage is a durable step, so that another tab can go on behind the
// last one.
import { defineProcess, typed } from "holdfast";
import { type Kind, type Passage, split } from "./passages.js";
import { keyTerms, words } from "./words.js";

export const taskName = "index-file";
export const planned = "index.planned";
export const pickedUp = "index.picked-up";

export type IndexFileArgs = {
  readonly fileName: string;
  readonly kind: Kind;
  readonly text: string;
  readonly paceMs: number;
};

export type Planned = { readonly passages: number };
export type PickedUp = { readonly tab: string; readonly attempt: number };

/** The result of a step: the passage for the index, and the tab that read it. */
export type ReadPassage = {
  readonly n: number;
  readonly title: string;
  readonly text: string;
  readonly where: [from: number, to: number];
  readonly words: number;
  readonly terms: string[];
  readonly tab: string;
  readonly fence: number;
};

/** Passages stored together at full speed. */
const together = 32;

export type IndexFile = ReturnType<typeof indexFile>;

export function indexFile(tab: string, pause: (ms: number, signal: AbortSignal) => Promise<void>) {
  return defineProcess({
    name: taskName,
    input: typed<IndexFileArgs>(),
    events: { [planned]: typed<Planned>(), [pickedUp]: typed<PickedUp>() },
    async run(context) {
      const { kind, text, paceMs } = context.args;
      const passages = split(kind, text);
      await context.emit(planned, { passages: passages.length }, { replayKey: "planned" });
      await context.emit(pickedUp, { tab, attempt: context.attempt }, { replayKey: `picked-up:${context.attempt}` });

      const atOnce = paceMs > 0 ? 1 : together;
      for (let done = 0; done < passages.length; done += atOnce) {
        let fresh = false;
        const batch = passages.slice(done, done + atOnce).map((passage, offset) =>
          context.step(`passage-${done + offset + 1}`, ({ fencingToken: fence }): ReadPassage => {
            fresh = true;
            return { ...read(passage, done + offset + 1), tab, fence };
          }),
        );
        await Promise.all(batch);
        const current = passages[Math.min(done + atOnce, passages.length) - 1];
        context.progress(Math.min(done + atOnce, passages.length), passages.length, current?.title);
        if (fresh) await pause(paceMs, context.signal);
      }
      return { passages: passages.length, words: words(text).length, finishedIn: tab };
    },
  });
}

function read({ title, text, from, to }: Passage, n: number): Omit<ReadPassage, "tab" | "fence"> {
  return {
    n,
    title,
    text,
    where: [from, to],
    words: words(text).length,
    terms: keyTerms(`${title} ${text}`),
  };
}
