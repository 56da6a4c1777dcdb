// What is done later: counting the shelf again and again, and a catalogue that waits for a person.
import { defineProcess, typed } from "holdfast";
import { plural } from "./words.js";

export interface Shelf {
  readonly files: number;
  readonly passages: number;
}

export type Decided = { readonly isApproved: boolean; readonly by: string };

/** The time for a decision. */
const decideMs = 2 * 24 * 3_600_000;
/** The time in which an approved catalogue can still be stopped. */
const regretMs = 3_000;

const inWords = ({ files, passages }: Shelf) => `${plural(files, "file")}, ${plural(passages, "passage")}`;

export type LaterJobs = ReturnType<typeof laterJobs>;

/** `count` may come later than the kernel: a job that was left over waits for it. */
export function laterJobs(tab: string, count: () => Promise<Shelf>) {
  return {
    stock: defineProcess({
      name: "count-shelf",
      run: async ({ step }) => inWords(await step("count", count)),
    }),
    catalogue: defineProcess({
      name: "catalogue",
      signals: { decided: typed<Decided>() },
      async run({ step, waitForSignal, sleep }) {
        const shelf = await step("count", count);
        const decided = await waitForSignal("decided", { timeoutMs: decideMs });
        if (!decided) return "left alone for two days: not printed";
        const { isApproved, by } = decided.payload;
        if (!isApproved) return `turned down in ${by}`;
        await sleep("regret", regretMs);
        return await step("print", () => `approved in ${by}, printed in ${tab}: ${inWords(shelf)}`);
      },
    }),
  };
}
