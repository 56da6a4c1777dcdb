// The turn. It answers one question in parts, and stores each before it begins the next. A tab that takes the turn over finds the
// chosen passages (a step) and the stored parts (messages), and goes on behind them.
import type { TurnHandler } from "holdfast";
import { answerOf, builtIn, exchangesOf, failureMessage, partMessage, type Source } from "./conversation.js";
import { complete, type Endpoint, EndpointError } from "./endpoint.js";
import type { Library } from "./library.js";
import { passagesFor, promptOf, sourcesIn } from "./model-agent.js";
import { plan } from "./offline-agent.js";

/** Pause between two sentences of the built-in agent: time to crash a tab in the middle of an answer. */
const paceMs = 900;
/** Interval between two stored parts of a model's answer. */
const storeEveryMs = 400;
/** Wait before another try at an endpoint that failed, times the number of tries so far. */
const retryMs = 1_500;

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
    const { question, parts: kept, failures } = asked;
    const model = await endpoint();
    const mark = { answers: asked.id, attempt: turn.attempt, tab, agent: model?.model ?? builtIn };
    const append = (text: string, sources: readonly Source[]) => void turn.append(partMessage(text, sources, mark));

    if (!model) {
      const parts = await turn.step("plan", async () => {
        await caughtUp();
        return plan(question, library.find, library.size).map(({ text, sources }) => ({
          text,
          sources: sources.map((source) => ({ ...source })),
        }));
      });
      // The plan does not contain parts that a model wrote before the endpoint was removed.
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
      if (!(error instanceof EndpointError)) throw error;
      put();
      // Shown in the conversation, where every tab sees it.
      turn.append(failureMessage(error.message, mark));
      await turn.checkpoint();
      throw error;
    }
  };
}
