// Follows the list of conversations and the one on show. Each is a session; the kernel's turn handler answers in all of them,
// whether they are on show or not.
import { isHoldfastError, type Kernel, type SessionRuntime, type SessionSummary } from "holdfast";
import { type Exchange, exchangesOf, titleOf } from "./conversation.js";
import { type Tab, tabOf } from "./identity.js";
import { oneAtATime } from "./one-at-a-time.js";
import { whileMoving } from "./stillness.js";

export interface Conversation {
  readonly id: string;
  /** False until its messages were read. */
  readonly isRead: boolean;
  readonly exchanges: readonly Exchange[];
  /** The tab that answers now. */
  readonly runner: Tab | undefined;
  readonly keys: ReadonlySet<string>;
}

export interface Conversations {
  /** The conversation on show, the same in every tab. */
  readonly current: Conversation;
  /** Newest first. */
  readonly all: readonly { readonly id: string; readonly title: string; readonly isRunning: boolean }[];
  show(id: string): Promise<void>;
  begin(): Promise<void>;
  /** A second call with the same key stores nothing, unless the question was given up. */
  say(text: string, key: string): Promise<void>;
  /** Takes a question back. The stored parts of its answer stay. */
  stop(inputId: string): Promise<void>;
  remove(id: string): Promise<void>;
  export(id: string): Promise<string>;
  import(text: string): Promise<void>;
}

export interface ConversationsParts {
  readonly kernel: Kernel;
  changed(): void;
  failed(error: unknown): void;
  readonly signal: AbortSignal;
}

interface Shown extends Conversation {
  readonly session: SessionRuntime;
  isRead: boolean;
  exchanges: readonly Exchange[];
  runner: Tab | undefined;
  keys: ReadonlySet<string>;
  leave(): void;
}

/** Key of the id on show. Other tabs hear of a change. */
const shownKey = "holdfast-playground:conversation";
/** A fixed id: tabs that open at the same moment make the same conversation. */
const firstId = "conversation-1";

export function forgetConversations(): void {
  localStorage.removeItem(shownKey);
}

export async function followConversations({ kernel, changed, signal, ...parts }: ConversationsParts): Promise<Conversations> {
  const sessions = kernel.views.sessions();
  const titles = new Map<string, string>();
  const failed = (error: unknown) => {
    const code = isHoldfastError(error) ? error.code : undefined;
    // A conversation that was deleted meanwhile is no trouble.
    if (!signal.aborted && code !== "closed" && code !== "aborted" && code !== "not-found") parts.failed(error);
  };

  async function open(id: string): Promise<Shown> {
    const session = await kernel.session(id);
    const left = new AbortController();
    const shown: Shown = {
      id,
      session,
      isRead: false,
      exchanges: [],
      runner: undefined,
      keys: new Set(),
      leave() {
        left.abort();
        session.close().catch(failed);
      },
    };
    const read = oneAtATime(() => readInto(shown).catch(failed));
    whileMoving(() => session.view.subscribe(read), AbortSignal.any([signal, left.signal]));
    return shown;
  }

  async function readInto(shown: Shown): Promise<void> {
    const { status, messages, run } = shown.session.view.get();
    // It was deleted in another tab.
    if (status === "closed" && shown === current && !signal.aborted) return await show((await newest()) ?? newId());
    if (status !== "ready") return;
    const inputs = await shown.session.inputs();
    shown.isRead = true;
    shown.exchanges = exchangesOf(messages, inputs);
    shown.runner = run && tabOf(run.hostId);
    shown.keys = new Set(inputs.flatMap(({ idempotencyKey = [] }) => idempotencyKey));
    if (shown.exchanges.length > 0) titles.set(shown.id, titleOf(shown.exchanges));
    changed();
  }

  /** Reads the first question of conversations that have one by now. */
  const readTitles = oneAtATime(async () => {
    for (const { sessionId, messageCount } of sessions.get()) {
      if (messageCount === 0 || titles.has(sessionId) || signal.aborted) continue;
      await kernel.sessions.messages(sessionId).then((messages) => titles.set(sessionId, titleOf(exchangesOf(messages))), failed);
    }
    changed();
  });

  const newId = () => `conversation-${crypto.randomUUID()}`;
  const newestFirst = (found: readonly SessionSummary[]) => [...found].sort((a, b) => b.updatedAtMs - a.updatedAtMs);
  const newest = async (but?: string) =>
    newestFirst(await kernel.sessions.list()).find(({ sessionId }) => sessionId !== but)?.sessionId;

  let current = await first();
  let settling = Promise.resolve();

  async function first(): Promise<Shown> {
    const id = localStorage.getItem(shownKey);
    const isThere = (await kernel.sessions.list()).some(({ sessionId }) => sessionId === id);
    const chosen = id !== null && isThere ? id : ((await newest()) ?? (id === null ? firstId : newId()));
    localStorage.setItem(shownKey, chosen);
    return await open(chosen);
  }

  async function settle(): Promise<void> {
    const id = localStorage.getItem(shownKey);
    if (id === null || id === current.id) return;
    const before = current;
    current = await open(id);
    before.leave();
    changed();
  }

  /** One change at a time: only one conversation is open at once. */
  function show(id: string): Promise<void> {
    localStorage.setItem(shownKey, id);
    const settled = settling.then(settle);
    settling = settled.catch(() => {});
    return settled;
  }

  addEventListener(
    "storage",
    ({ key, newValue }) => {
      if (key === shownKey && newValue !== null) show(newValue).catch(failed);
    },
    { signal },
  );
  whileMoving(() => sessions.subscribe(readTitles), signal);

  return {
    get current() {
      return current;
    },
    get all() {
      const found = newestFirst(sessions.get()).map(({ sessionId: id, running }) => ({ id, isRunning: running }));
      if (!found.some(({ id }) => id === current.id)) found.unshift({ id: current.id, isRunning: false });
      return found.map(({ id, isRunning }) => ({ id, isRunning, title: titles.get(id) ?? titleOf([]) }));
    },
    show,
    begin: () => show(newId()),
    async say(text, key) {
      await current.session.submit({ inputType: "prompt", text, idempotencyKey: key });
    },
    stop: (inputId) => current.session.cancel(inputId),
    async remove(id) {
      // Every tab leaves it before it is gone.
      if (id === current.id) await show((await newest(id)) ?? newId());
      await kernel.sessions.delete(id);
      titles.delete(id);
    },
    async export(id) {
      let text = "";
      for await (const line of kernel.sessions.export(id)) text += `${line}\n`;
      return text;
    },
    async import(text) {
      const { sessionId } = await kernel.sessions.import(text.split("\n").filter((line) => line.trim() !== ""));
      await show(sessionId);
    },
  };
}
