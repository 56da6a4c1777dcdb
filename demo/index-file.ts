// The process. It reads one file passage by passage. Every passage is a durable step, so that another tab can go on behind the
// last one.
import type { JsonValue, ProcessHandler } from "holdfast";
import { type Kind, type Passage, split } from "./passages.js";
import { keyTerms, words } from "./words.js";

export const taskName = "index-file";
export const planned = "index.planned";
export const pickedUp = "index.picked-up";

export interface IndexFileArgs {
  readonly fileName: string;
  readonly kind: Kind;
  readonly text: string;
  readonly paceMs: number;
}

/** The result of a step: the passage for the index, and the tab that read it. */
export interface ReadPassage {
  readonly n: number;
  readonly title: string;
  readonly text: string;
  readonly where: [from: number, to: number];
  readonly words: number;
  readonly terms: string[];
  readonly tab: string;
  readonly fence: number;
}

/** Passages stored together at full speed. */
const together = 32;

export function indexFile(tab: string, pause: (ms: number, signal: AbortSignal) => Promise<void>): ProcessHandler {
  return async (context) => {
    const { kind, text, paceMs } = argsOf(context.input.type === "task" ? context.input.args : undefined);
    const passages = split(kind, text);
    await context.emit(planned, { passages: passages.length }, { replayKey: "planned" });
    await context.emit(pickedUp, { tab, attempt: context.attempt }, { replayKey: `picked-up:${context.attempt}` });

    const atOnce = paceMs > 0 ? 1 : together;
    for (let done = 0; done < passages.length; done += atOnce) {
      let fresh = false;
      const batch = passages.slice(done, done + atOnce).map((passage, offset) =>
        context.step(`passage-${done + offset + 1}`, ({ fencingToken }) => {
          fresh = true;
          return { ...read(passage, done + offset + 1), tab, fence: fencingToken };
        }),
      );
      await Promise.all(batch);
      const current = passages[Math.min(done + atOnce, passages.length) - 1];
      context.progress(Math.min(done + atOnce, passages.length), passages.length, current?.title);
      if (fresh) await pause(paceMs, context.signal);
    }
    return { passages: passages.length, words: words(text).length, finishedIn: tab };
  };
}

function read({ title, text, from, to }: Passage, n: number) {
  return {
    n,
    title,
    text,
    where: [from, to] as [number, number],
    words: words(text).length,
    terms: keyTerms(`${title} ${text}`),
  };
}

/** The arguments, typed as this demo wrote them: the store returns plain JSON. */
export function argsOf(args: JsonValue | undefined): IndexFileArgs {
  return args as unknown as IndexFileArgs;
}
