import type { Kernel, SessionOptions, SessionRuntime, SessionView } from "../../index.js";

/** The sessions that components of one kernel use together: each is opened with its first use, and closed after its last. */
interface SharedSessions {
  get(sessionId: string): SessionView;
  subscribe(sessionId: string, options: SessionOptions | undefined, listener: () => void): () => void;
  /** Calls `work` with the open session, which stays open until `work` has ended. */
  use<T>(sessionId: string, options: SessionOptions | undefined, work: (session: SessionRuntime) => Promise<T>): Promise<T>;
}

interface SharedSession {
  readonly listeners: Set<() => void>;
  uses: number;
  /** Absent after an opening that failed: the next use tries again. */
  opening: Promise<SessionRuntime> | undefined;
  shown: { get(): SessionView };
  stop: () => void;
}

/** What is shown until a session is open. */
export const UNOPENED: SessionView = { status: "loading", messages: [], live: [], waiting: 0, state: "initializing" };

const sharedOf = new WeakMap<Kernel, SharedSessions>();

export function sharedSessions(kernel: Kernel): SharedSessions {
  const known = sharedOf.get(kernel);
  if (known) return known;
  const made = shareSessions(kernel);
  sharedOf.set(kernel, made);
  return made;
}

function shareSessions(kernel: Kernel): SharedSessions {
  const used = new Map<string, SharedSession>();

  function begin(sessionId: string): SharedSession {
    const entry = used.get(sessionId) ?? {
      listeners: new Set(),
      uses: 0,
      opening: undefined,
      shown: { get: () => UNOPENED },
      stop: () => {},
    };
    used.set(sessionId, entry);
    entry.uses++;
    return entry;
  }

  function open(sessionId: string, entry: SharedSession, options: SessionOptions | undefined): Promise<SessionRuntime> {
    if (entry.opening) return entry.opening;
    const tell = () => {
      for (const listener of [...entry.listeners]) listener();
    };
    const show = (view: SharedSession["shown"]) => {
      entry.shown = view;
      tell();
    };
    const opening = kernel.session(sessionId, options);
    entry.opening = opening;
    opening.then(
      ({ view }) => {
        if (entry.opening !== opening) return;
        entry.stop = view.subscribe(tell);
        show(view);
      },
      (error) => {
        if (entry.opening !== opening) return;
        entry.opening = undefined;
        const failed = { ...UNOPENED, error: error instanceof Error ? error.message : String(error) };
        show({ get: () => failed });
      },
    );
    return opening;
  }

  /** React may take a component out and put it back in one go, as its StrictMode does: so the last use counts a moment later. */
  function end(sessionId: string, entry: SharedSession): void {
    entry.uses--;
    setTimeout(() => {
      if (entry.uses > 0 || used.get(sessionId) !== entry) return;
      used.delete(sessionId);
      entry.stop();
      const { opening } = entry;
      entry.opening = undefined;
      opening?.then((session) => session.close()).catch(() => undefined);
    }, 0);
  }

  return {
    get: (sessionId) => used.get(sessionId)?.shown.get() ?? UNOPENED,
    subscribe(sessionId, options, listener) {
      const entry = begin(sessionId);
      const own = () => listener();
      entry.listeners.add(own);
      open(sessionId, entry, options).catch(() => undefined);
      return () => {
        if (entry.listeners.delete(own)) end(sessionId, entry);
      };
    },
    async use(sessionId, options, work) {
      const entry = begin(sessionId);
      try {
        return await work(await open(sessionId, entry, options));
      } finally {
        end(sessionId, entry);
      }
    },
  };
}
