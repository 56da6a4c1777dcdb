// Follows the conversations. Each is a session that is open in every tab, and every tab can run its turns.
import { type AcceptOutcome, isHoldfastError, type Kernel, type SessionRuntime, type TurnHandler } from "holdfast";
import { type Exchange, exchangesOf, titleOf } from "./conversation.js";
import { tabOf } from "./identity.js";
import { oneAtATime } from "./one-at-a-time.js";
import { isStill } from "./stillness.js";

export interface Conversation {
  readonly id: string;
  readonly title: string;
  readonly exchanges: readonly Exchange[];
  /** The tab that holds the session's lease. */
  readonly runner: string | undefined;
  readonly runnerId: string | undefined;
  readonly keys: ReadonlySet<string>;
}

export interface Conversations {
  /** The conversation on show, the same in every tab. */
  readonly current: Conversation | undefined;
  /** Newest first. */
  readonly all: readonly Conversation[];
  /** Host ids of tabs that are answering. */
  readonly answering: ReadonlySet<string>;
  show(id: string): Promise<void>;
  begin(): Promise<void>;
  /** A second call with the same key stores nothing. */
  say(text: string, key: string): Promise<AcceptOutcome>;
  /** Takes a question back. The stored parts of its answer stay. */
  stop(inputId: string): Promise<void>;
  remove(id: string): Promise<void>;
  export(id: string): Promise<string>;
  import(text: string): Promise<void>;
}

export interface ConversationsParts {
  readonly kernel: Kernel;
  readonly handler: TurnHandler;
  changed(): void;
  failed(error: unknown): void;
  readonly signal: AbortSignal;
}

interface Place extends Conversation {
  readonly session: SessionRuntime;
  title: string;
  exchanges: Exchange[];
  runner: string | undefined;
  runnerId: string | undefined;
  keys: Set<string>;
  updatedAtMs: number;
  refresh(): void;
}

/** Key of the id on show. Other tabs hear of a change. */
const shownKey = "holdfast-playground:conversation";
/** A fixed id: tabs that open at the same moment make the same conversation. */
const firstId = "conversation-1";
const listEveryMs = 5_000;
const lookEveryMs = 1_000;

export function forgetConversations(): void {
  localStorage.removeItem(shownKey);
}

export async function followConversations(parts: ConversationsParts): Promise<Conversations> {
  const { kernel, signal } = parts;
  const places = new Map<string, Place>();
  const opening = new Map<string, Promise<Place>>();
  const failed = (error: unknown) => {
    const code = isHoldfastError(error) ? error.code : undefined;
    if (!signal.aborted && code !== "closed" && code !== "aborted") parts.failed(error);
  };

  function open(id: string): Promise<Place> {
    const known = places.get(id);
    if (known) return Promise.resolve(known);
    const begun = opening.get(id) ?? take(id).finally(() => opening.delete(id));
    opening.set(id, begun);
    return begun;
  }

  async function take(id: string): Promise<Place> {
    const session = await kernel.session(id);
    const place: Place = {
      id,
      session,
      title: titleOf([]),
      exchanges: [],
      runner: undefined,
      runnerId: undefined,
      keys: new Set(),
      updatedAtMs: Date.now(),
      refresh: oneAtATime(() => read(place).catch((error) => gone(place, error))),
    };
    session.onTurn(parts.handler);
    session.subscribe(place.refresh);
    await read(place);
    places.set(id, place);
    return place;
  }

  async function read(place: Place): Promise<void> {
    if (isStill()) return;
    const { session } = place;
    const [messages, inputs, lease] = await Promise.all([
      session.messages(),
      kernel.runtime.loadInputStates(session.runtimeId),
      kernel.processes.getLease(session.runtimeId),
    ]);
    const runner = lease && tabOf(lease.ownerId);
    place.exchanges = exchangesOf(messages, inputs);
    place.title = titleOf(place.exchanges);
    place.runner = runner?.name;
    place.runnerId = runner?.hostId;
    place.keys = new Set(inputs.flatMap(({ idempotencyKey = [] }) => idempotencyKey));
    parts.changed();
  }

  /** The session was deleted in another tab, or cannot be read any more. */
  function gone(place: Place, error: unknown): void {
    if (!(isHoldfastError(error) && error.code === "not-found")) return failed(error);
    drop(place);
  }

  function drop(place: Place): void {
    if (places.get(place.id) !== place) return;
    places.delete(place.id);
    Promise.resolve(place.session.close()).catch(() => {});
    parts.changed();
  }

  async function list(): Promise<void> {
    if (isStill()) return;
    const before = [...places.values()];
    const found = await kernel.sessions.list();
    await Promise.all(
      found.map(async ({ sessionId, updatedAtMs }) => {
        const place = await open(sessionId);
        place.updatedAtMs = updatedAtMs;
      }),
    );
    for (const place of before) if (!found.some(({ sessionId }) => sessionId === place.id)) drop(place);
    await settle();
  }

  /** Makes sure that one conversation is on show. */
  async function settle(): Promise<void> {
    const id = localStorage.getItem(shownKey);
    if (id !== null && places.has(id)) return;
    const next = newestFirst()[0]?.id ?? (id === null ? firstId : newId());
    await open(next);
    localStorage.setItem(shownKey, next);
    parts.changed();
  }

  const newId = () => `conversation-${crypto.randomUUID()}`;
  const newestFirst = () => [...places.values()].sort((a, b) => b.updatedAtMs - a.updatedAtMs);
  const current = () => places.get(localStorage.getItem(shownKey) ?? "");
  const relist = oneAtATime(() => list().catch(failed));

  async function show(id: string): Promise<void> {
    await open(id);
    localStorage.setItem(shownKey, id);
    parts.changed();
  }

  const onStorage = ({ key }: StorageEvent) => {
    if (key === shownKey) relist();
  };
  addEventListener("storage", onStorage);
  const timers = [
    setInterval(relist, listEveryMs),
    // The session emits no event when its lease changes hands.
    setInterval(() => {
      for (const place of places.values())
        if (place.exchanges.some(({ phase }) => phase !== "answered" && phase !== "given-up")) place.refresh();
    }, lookEveryMs),
  ];
  signal.addEventListener("abort", () => {
    timers.forEach(clearInterval);
    removeEventListener("storage", onStorage);
  });

  await list();
  return {
    get current() {
      return current();
    },
    get all() {
      return newestFirst();
    },
    get answering() {
      return new Set([...places.values()].flatMap(({ runnerId = [] }) => runnerId));
    },
    show,
    begin: () => show(newId()),
    async say(text, key) {
      const place = current();
      if (!place) throw new Error("There is no conversation");
      const outcome = await place.session.submit({ inputType: "prompt", text, idempotencyKey: key });
      place.updatedAtMs = Date.now();
      place.refresh();
      return outcome;
    },
    async stop(inputId) {
      await current()?.session.cancel(inputId);
    },
    async remove(id) {
      await kernel.sessions.delete(id);
      const place = places.get(id);
      if (place) drop(place);
      await settle();
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
