// The turn. It answers one question in parts, and stores each before it begins the next. A tab that takes the turn over finds the
// chosen passages (a step) and the stored parts (messages), and goes on behind them.
import type { TurnHandler } from "holdfast";
import { answerOf, builtIn, exchangesOf, partMessage } from "./conversation.js";
import { complete, type Endpoint } from "./endpoint.js";
import type { Library } from "./library.js";
import { passagesFor, promptOf, sourcesIn } from "./model-agent.js";
import { plan } from "./offline-agent.js";

/** Pause between two sentences of the built-in agent: time to crash a tab in the middle of an answer. */
const paceMs = 900;
/** Interval between two stored parts of a model's answer. */
const storeEveryMs = 400;

export interface AgentParts {
  readonly tab: string;
  readonly library: Library;
  /** Resolves when the library has every passage that was stored before the call. */
  caughtUp(): Promise<void>;
  /** Read at every attempt: another tab may have changed it. */
  endpoint(): Promise<Endpoint | undefined>;
  pause(ms: number, signal: AbortSignal): Promise<void>;
}

export function agent({ tab, library, caughtUp, endpoint, pause }: AgentParts): TurnHandler {
  return async (turn) => {
    const input = turn.inputs.at(-1);
    const exchanges = exchangesOf(turn.messages, []);
    const current = exchanges.findIndex(({ id }) => id === input?.inputId);
    const asked = exchanges[current];
    if (!asked) return;
    const { question, parts: kept } = asked;
    const model = await endpoint();
    const mark = { answers: asked.id, attempt: turn.attempt, tab, agent: model?.model ?? builtIn };

    if (!model) {
      const parts = await turn.step("plan", async () => {
        await caughtUp();
        return plan(question, library.find, library.size);
      });
      for (const [at, { text, sources }] of parts.entries()) {
        // An earlier attempt has stored the part already.
        if (!turn.append(partMessage(text, sources, mark), { key: `part-${at}` })) continue;
        await turn.checkpoint();
        await pause(paceMs, turn.signal);
      }
      return;
    }

    const passages = await turn.step("passages", async () => {
      await caughtUp();
      return passagesFor(question, library.find);
    });
    const prompt = promptOf(question, passages, exchanges.slice(0, current), answerOf(kept));
    let unstored = "";
    let storedAt = performance.now();
    const put = () => {
      if (unstored !== "") turn.append(partMessage(unstored, sourcesIn(unstored, passages), mark));
      unstored = "";
    };
    try {
      for await (const piece of complete(model, prompt, turn.signal)) {
        unstored += piece;
        // A number in brackets must not be cut in two: it is looked up within one part.
        if (performance.now() - storedAt < storeEveryMs || /\[\d{0,2}$/.test(unstored)) continue;
        put();
        await turn.checkpoint();
        storedAt = performance.now();
        await pause(0, turn.signal);
      }
      // Stored with the turn's end: a partial answer must never look like a whole one.
      put();
    } catch (error) {
      // Kept for the next attempt. The kernel stores why this one failed, and when the next one begins.
      if (unstored !== "" && !turn.signal.aborted) {
        put();
        await turn.checkpoint();
      }
      throw error;
    }
  };
}
