// A conversation as the page shows it, folded from the messages of the session's view and from its inputs. An answer is stored in parts, so that
// another tab can go on behind the last one.
import type { Message, StoredInputState } from "holdfast";

export type Source = {
  /** The number of the source in the answer. */
  readonly n: number;
  readonly fileName: string;
  readonly lines: string;
  readonly title: string;
};

/** Further members of a message that is a part of an answer. */
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

/** Consecutive parts that one tab stored in one attempt. */
export interface Stretch {
  readonly tab: string;
  readonly attempt: number;
  readonly agent: string;
  count: number;
}

/** "paused": the last attempt failed, and the next one has a time. */
export type Phase = "stored" | "running" | "between" | "paused" | "answered" | "stopped" | "given-up";

export interface Exchange {
  /** The input's id, or an id made of the position where there is none. */
  readonly id: string;
  readonly question: string;
  readonly parts: Part[];
  readonly phase: Phase;
  /** 0 before the first attempt. */
  readonly attempt: number;
  /** Why the last attempt failed. */
  readonly error: string | undefined;
  readonly retryAtMs: number | undefined;
  /** Sent once more with this key, a question that was given up gets new attempts. Undefined if that was done. */
  readonly retryKey: string | undefined;
}

export const builtIn = "the built-in agent";

export function partMessage(text: string, sources: readonly Source[], mark: Mark): Message {
  return { role: "assistant", content: text, sources: [...sources], ...mark };
}

/** `messages` are those of a view, with the questions that have no answer yet, or the stored ones alone. */
export function exchangesOf(messages: readonly Message[], inputs: readonly StoredInputState[] = []): Exchange[] {
  const exchanges: Exchange[] = [];
  const byId = new Map<string, Exchange>();
  const states = new Map(inputs.map((input) => [input.inputId, input]));
  const begin = (id: string, question: string, pending?: Message[string]) => {
    const state = states.get(id);
    const exchange: Exchange = {
      id,
      question,
      parts: [],
      phase: phaseOf(pending, state),
      attempt: state?.attemptCount ?? 0,
      error: state?.error,
      retryAtMs: state?.retryAtMs,
      retryKey: pending === "failed" ? state?.idempotencyKey : undefined,
    };
    exchanges.push(exchange);
    byId.set(id, exchange);
    return exchange;
  };
  messages.forEach((message, at) => {
    const text = textOf(message.content);
    if (message.role === "user") begin(textIn(message.inputId) || `message-${at}`, text, message.pending);
    else if (message.role === "assistant") {
      const to = byId.get(textIn(message.answers)) ?? exchanges.at(-1) ?? begin(`message-${at}`, "");
      to.parts.push({
        answers: to.id,
        attempt: Number(message.attempt) || 1,
        tab: textIn(message.tab),
        agent: textIn(message.agent),
        text,
        sources: sourcesIn(message.sources),
      });
    }
  });
  return exchanges;
}

/** The view says whether a question has its answer. The input, which may have been read later, says what else is known of it. */
function phaseOf(pending: unknown, state: StoredInputState | undefined): Phase {
  if (pending === "running" || state?.currentState === "staged") return "running";
  if (pending === "cancelled") return "stopped";
  if (pending === "failed" || state?.currentState === "abandoned") return "given-up";
  if (pending !== "waiting") return "answered";
  if (state?.retryAtMs !== undefined) return "paused";
  return state && state.attemptCount > 0 ? "between" : "stored";
}

/** Nothing more will happen to it by itself. */
export function isOver({ phase }: Exchange): boolean {
  return phase === "answered" || phase === "stopped" || phase === "given-up";
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
