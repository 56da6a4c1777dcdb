// The prompt of a model: the question, passages that may answer it, and the earlier conversation.
import { type Answer, answer } from "./ask.js";
import { answerOf, type Exchange, type Source } from "./conversation.js";
import type { ChatMessage } from "./endpoint.js";
import type { Found } from "./library.js";

export type Passage = Source & { readonly text: string };

const longestPassage = 900;
const mostEarlier = 6;

const instructions =
  "Answer in a few sentences, from the numbered passages alone. Put the number of the passage behind what it says, like [1]. If they do not answer the question, say so.";
const goOn = "Your answer broke off there. Go on from exactly that point, and repeat nothing of it.";

export function passagesFor(question: string, find: (question: string) => Found[]): Passage[] {
  const { quotes }: Answer = answer(question, find, longestPassage);
  return quotes.map(({ fileName, lines, title, pieces }, at) => {
    return { n: at + 1, fileName, lines, title, text: pieces.map(({ text }) => text).join("") };
  });
}

/** `kept`: the stored parts of earlier attempts at this answer. */
export function promptOf(
  question: string,
  passages: readonly Passage[],
  earlier: readonly Exchange[],
  kept: string,
): ChatMessage[] {
  const told = passages.map(({ n, fileName, lines, title, text }) => `[${n}] ${fileName}, ${lines}, ${title}\n${text}`);
  const before = earlier.filter(({ parts }) => parts.length > 0).slice(-mostEarlier);
  return [
    { role: "system", content: [instructions, ...(told.length > 0 ? told : ["There are no passages."])].join("\n\n") },
    ...before.flatMap(({ question: asked, parts }): ChatMessage[] => [
      { role: "user", content: asked },
      { role: "assistant", content: answerOf(parts) },
    ]),
    { role: "user", content: question },
    ...(kept === ""
      ? []
      : ([
          { role: "assistant", content: kept },
          { role: "user", content: goOn },
        ] satisfies ChatMessage[])),
  ];
}

/** The passages that a text names by number. */
export function sourcesIn(text: string, passages: readonly Passage[]): Source[] {
  const named = new Set(Array.from(text.matchAll(/\[(\d{1,2})\]/g), ([, n]) => Number(n)));
  return passages.filter(({ n }) => named.has(n)).map(({ n, fileName, lines, title }) => ({ n, fileName, lines, title }));
}
