// A conversation as the page shows it, folded from the session's messages and inputs. An answer is stored in parts, so that
// another tab can go on behind the last one.
import type { Message, StoredInputState } from "holdfast";

export interface Source {
  /** The number of the source in the answer. */
  readonly n: number;
  readonly fileName: string;
  readonly lines: string;
  readonly title: string;
}

/** Further members of a message, beside `role` and `content`: a part of an answer, or an attempt that failed. */
export interface Mark {
  /** The input id of the question. */
  readonly answers: string;
  readonly attempt: number;
  readonly tab: string;
  /** The writer: the built-in agent, or a model. */
  readonly agent: string;
}

export interface Part extends Mark {
  readonly text: string;
  readonly sources: readonly Source[];
}

export interface Failure extends Mark {
  readonly reason: string;
}

/** Consecutive parts that one tab stored in one attempt. */
export interface Stretch {
  readonly tab: string;
  readonly attempt: number;
  readonly agent: string;
  count: number;
}

export type Phase = "stored" | "running" | "between" | "answered" | "stopped" | "given-up";

export interface Exchange {
  /** The input's id, or an id made of the position where there is none. */
  readonly id: string;
  readonly question: string;
  readonly parts: Part[];
  readonly failures: Failure[];
  phase: Phase;
  /** 0 before the first attempt. */
  attempt: number;
}

export const builtIn = "the built-in agent";

export function partMessage(text: string, sources: readonly Source[], mark: Mark): Message {
  return { role: "assistant", content: text, sources: sources.map((source) => ({ ...source })), ...mark };
}

export function failureMessage(reason: string, mark: Mark): Message {
  return { role: "system", content: reason, ...mark };
}

/** Messages first, then the inputs that have no message yet, in the order of their arrival. */
export function exchangesOf(messages: readonly Message[], inputs: readonly StoredInputState[]): Exchange[] {
  const exchanges: Exchange[] = [];
  const byId = new Map<string, Exchange>();
  const begin = (id: string, question: string) => {
    const exchange: Exchange = { id, question, parts: [], failures: [], phase: "answered", attempt: 0 };
    exchanges.push(exchange);
    byId.set(id, exchange);
    return exchange;
  };
  messages.forEach((message, at) => {
    const text = textOf(message.content);
    if (message.role === "user") begin(textIn(message.inputId) || `message-${at}`, text);
    else {
      const to = byId.get(textIn(message.answers)) ?? exchanges.at(-1) ?? begin(`message-${at}`, "");
      const mark = {
        answers: to.id,
        attempt: Number(message.attempt) || 1,
        tab: textIn(message.tab),
        agent: textIn(message.agent),
      };
      if (message.role === "assistant") to.parts.push({ ...mark, text, sources: sourcesIn(message.sources) });
      else if (mark.tab !== "") to.failures.push({ ...mark, reason: text });
    }
  });
  for (const input of [...inputs].sort((a, b) => (a.inputId < b.inputId ? -1 : 1))) {
    const { inputId, currentState, attemptCount, persistedInput, terminalOutcome } = input;
    const exchange = byId.get(inputId) ?? begin(inputId, textIn(persistedInput?.text));
    exchange.attempt = attemptCount;
    const isStopped = terminalOutcome?.outcomeType === "abandoned" && terminalOutcome.reason === "cancelled";
    exchange.phase = isStopped ? "stopped" : phaseOf(currentState, attemptCount);
  }
  return exchanges;
}

function phaseOf(state: StoredInputState["currentState"], attempts: number): Phase {
  switch (state) {
    case "accepted":
    case "queued":
      return attempts === 0 ? "stored" : "between";
    case "staged":
      return "running";
    case "applied":
    case "applied_pending_consumption":
    case "consumed":
      return "answered";
    default:
      return "given-up";
  }
}

export function stretchesOf(parts: readonly Part[]): Stretch[] {
  const stretches: Stretch[] = [];
  for (const { tab, attempt, agent } of parts) {
    const last = stretches.at(-1);
    if (last?.tab === tab && last.attempt === attempt && last.agent === agent) last.count++;
    else stretches.push({ tab, attempt, agent, count: 1 });
  }
  return stretches;
}

/** Every source of an answer, once. */
export function sourcesOf(parts: readonly Part[]): Source[] {
  const byNumber = new Map(parts.flatMap(({ sources }) => sources).map((source) => [source.n, source]));
  return [...byNumber.values()].sort((a, b) => a.n - b.n);
}

export function answerOf(parts: readonly Part[]): string {
  return parts.map(({ text }) => text).join("");
}

/** The first question, short enough for a list. */
export function titleOf(exchanges: readonly Exchange[]): string {
  const first = exchanges[0]?.question.trim() ?? "";
  if (first === "") return "New conversation";
  return first.length <= 48 ? first : `${first.slice(0, 47).replace(/\s+\S*$/, "")} …`;
}

/** A conversation may come from a file, so every member is checked. */
function sourcesIn(value: unknown): Source[] {
  if (!Array.isArray(value)) return [];
  return value.map((one) => ({
    n: Number(one?.n) || 0,
    fileName: textIn(one?.fileName),
    lines: textIn(one?.lines),
    title: textIn(one?.title),
  }));
}

function textIn(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function textOf(content: unknown): string {
  return typeof content === "string" ? content : JSON.stringify(content);
}
