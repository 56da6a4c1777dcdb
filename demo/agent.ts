// The turn: answers one question in parts, each stored before the next is begun. Whoever takes it over finds the passages that were
// chosen (a step) and the parts that were stored (messages), and goes on behind them.
import type { TurnHandler } from "holdfast";
import { answerOf, builtIn, exchangesOf, failureMessage, partMessage, type Source } from "./conversation.js";
import { complete, type Endpoint, EndpointError } from "./endpoint.js";
import type { Library } from "./library.js";
import { passagesFor, promptOf, sourcesIn } from "./model-agent.js";
import { plan } from "./offline-agent.js";

/** Between two sentences of the built-in agent, so that there is a middle of an answer to crash in. */
const paceMs = 900;
/** A model's words are stored so often. */
const storeEveryMs = 400;
/** Before another try at an endpoint that failed, times the tries so far. */
const retryMs = 1_500;

export interface AgentParts {
  readonly tab: string;
  readonly library: Library;
  /** Everything that is stored by now is in the library when it resolves. */
  caughtUp(): Promise<void>;
  /** Asked at every attempt: another tab may have changed it. */
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
    const { question, parts: kept, failures } = asked;
    const model = await endpoint();
    const mark = { answers: asked.id, attempt: turn.attempt, tab, agent: model?.model ?? builtIn };
    const append = (text: string, sources: readonly Source[]) => turn.append(partMessage(text, sources, mark));

    if (!model) {
      const parts = await turn.step("plan", async () => {
        await caughtUp();
        return plan(question, library.find, library.size).map(({ text, sources }) => ({
          text,
          sources: sources.map((source) => ({ ...source })),
        }));
      });
      // What a model began before it was taken away is no part of the plan.
      for (const { text, sources } of parts.slice(kept.filter(({ agent: by }) => by === builtIn).length)) {
        await pause(paceMs, turn.signal);
        append(text, sources);
        await turn.checkpoint();
      }
      return;
    }

    if (failures.length > 0) await pause(retryMs * failures.length, turn.signal);
    const passages = await turn.step("passages", async () => {
      await caughtUp();
      return passagesFor(question, library.find).map((passage) => ({ ...passage }));
    });
    const prompt = promptOf(question, passages, exchanges.slice(0, current), answerOf(kept));
    let unstored = "";
    let storedAt = performance.now();
    const put = () => {
      if (unstored !== "") append(unstored, sourcesIn(unstored, passages));
      unstored = "";
    };
    try {
      for await (const piece of complete(model, prompt, turn.signal)) {
        unstored += piece;
        // A number in brackets is not cut in two: it is looked up in one part.
        if (performance.now() - storedAt < storeEveryMs || /\[\d{0,2}$/.test(unstored)) continue;
        put();
        await turn.checkpoint();
        storedAt = performance.now();
        await pause(0, turn.signal);
      }
      // Stored with the turn's end: a whole answer is never taken for one that broke off.
      put();
    } catch (error) {
      if (!(error instanceof EndpointError)) throw error;
      put();
      // Told in the conversation, where every tab sees it.
      turn.append(failureMessage(error.message, mark));
      await turn.checkpoint();
      throw error;
    }
  };
}
