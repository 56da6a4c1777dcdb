import { guarded } from "../domain/admit.js";
import { HoldfastError } from "../domain/errors.js";
import type { Clock } from "../ports/clock.js";
import type { Change, Notices } from "../ports/notices.js";

/**
 * A wait reads again at each notice, and at a slow poll, which covers a lost notice. A wait subscribes first and reads second, so
 * that it misses nothing that is stored in between. Only what was read ends a wait, never the notice itself.
 *
 * A notice wakes only the waits of its id. All waits of one id share one poll.
 */
export interface Watch {
  /**
   * Reads until `read` finds something: at once, at each notice about `id` for which `concerns` holds, and at each poll. Rejects
   * `aborted` with the signal's reason as cause, `closed` when the kernel closes, or with what `read` throws.
   */
  until<T>(
    id: string,
    read: (shared: Shared) => Promise<T | undefined>,
    signal?: AbortSignal,
    concerns?: (change: Change) => boolean,
  ): Promise<T>;
  /** Keeps a Node program alive until the returned function is called, as each wait does until it ends. */
  keepAlive(): () => void;
  /** Ends every wait with `closed`. */
  close(): void;
}

/**
 * A read that the waits of one id share if they give it the same name. A wait takes no answer that was requested before it began, or
 * before the notice that woke it. All waits get the same object: one that hands out a part of it copies that part.
 */
export type Shared = <T>(name: unknown, read: () => Promise<T>) => Promise<T>;

/** The waits of one id. */
interface Group {
  readonly waits: Set<PendingWait>;
  readonly reads: Map<unknown, SharedRead>;
  sleeping: number;
  /** Set while a wait sleeps. */
  cancelPoll: (() => void) | undefined;
}

interface PendingWait {
  readonly concerns: ((change: Change) => boolean) | undefined;
  /** The moment at which the wait began or was last woken. */
  since: number;
  /** Whether it was woken, perhaps while it read. */
  isWoken: boolean;
  /** Set while it sleeps. */
  wake: (() => void) | undefined;
}

interface SharedRead {
  /** The moment at which it was sent. Until then any wait may share it. */
  sentAt: number;
  readonly answer: Promise<unknown>;
}

/** Node takes a Proxy for a signal: an error that it throws is the caller's mistake. */
const ofSignal = <T>(look: () => T): T => guarded("options.signal", look);

/** Throws `aborted` if the signal is aborted. */
export function refuseAborted(signal: AbortSignal | undefined): void {
  if (!signal || !ofSignal(() => signal.aborted)) return;
  const cause: unknown = ofSignal(() => signal.reason);
  throw new HoldfastError("aborted", "the wait was aborted by its signal", { cause });
}

export function createWatch(notices: Notices, clock: Clock, pollMs: number, keepAlive: Watch["keepAlive"]): Watch {
  const groups = new Map<string, Group>();
  let unsubscribe = () => {};
  let closed = false;
  /** A counter that orders three kinds of events: a wait begins, a wait is woken, a read is sent. */
  let moment = 0;
  /** The waits that each signal ends. A signal gets one listener for all of them: platforms warn about many listeners. */
  const hearersOf = new WeakMap<AbortSignal, Set<() => void>>();

  function hearAbort(signal: AbortSignal, hear: () => void): () => void {
    const hearers = hearersOf.get(signal) ?? new Set();
    hearersOf.set(signal, hearers);
    signal.addEventListener("abort", tellHearers);
    hearers.add(hear);
    return () => {
      hearers.delete(hear);
      if (hearers.size === 0) ofSignal(() => signal.removeEventListener("abort", tellHearers));
    };
  }

  function tellHearers({ target }: Event): void {
    for (const hear of hearersOf.get(target as AbortSignal) ?? []) hear();
  }

  function tell(changes: readonly Change[]): void {
    for (const change of changes) {
      const group = groups.get(change.id);
      if (!group) continue;
      for (const wait of group.waits) if (wait.concerns?.(change) ?? true) wakeUp(group, wait);
    }
  }

  function wakeUp(group: Group, wait: PendingWait): void {
    wait.since = ++moment;
    wait.isWoken = true;
    const { wake } = wait;
    if (!wake) return;
    wait.wake = undefined;
    if (--group.sleeping === 0) {
      group.cancelPoll?.();
      group.cancelPoll = undefined;
    }
    wake();
  }

  function sleep(group: Group, wait: PendingWait): Promise<void> {
    group.sleeping++;
    group.cancelPoll ??= clock.setTimer(() => {
      for (const sleeper of group.waits) if (sleeper.wake) wakeUp(group, sleeper);
    }, pollMs);
    return new Promise((resolve) => {
      wait.wake = resolve;
    });
  }

  /** The read is sent a microtask later, so that waits that begin or wake in one moment share it. */
  function sharedRead<T>({ reads }: Group, name: unknown, since: number, read: () => Promise<T>): Promise<T> {
    const known = reads.get(name);
    if (known && known.sentAt > since) return known.answer as Promise<T>;
    const made: SharedRead = {
      sentAt: Number.POSITIVE_INFINITY,
      answer: Promise.resolve()
        .then(() => {
          made.sentAt = ++moment;
          return read();
        })
        .finally(() => {
          if (reads.get(name) === made) reads.delete(name);
        }),
    };
    reads.set(name, made);
    return made.answer as Promise<T>;
  }

  async function until<T>(
    id: string,
    read: (shared: Shared) => Promise<T | undefined>,
    signal?: AbortSignal,
    concerns?: (change: Change) => boolean,
  ): Promise<T> {
    const wait: PendingWait = { concerns, since: ++moment, isWoken: false, wake: undefined };
    const group = groups.get(id) ?? { waits: new Set(), reads: new Map(), sleeping: 0, cancelPoll: undefined };
    if (groups.size === 0) unsubscribe = notices.subscribe(tell);
    groups.set(id, group);
    group.waits.add(wait);
    const shared: Shared = (name, work) => sharedRead(group, name, wait.since, work);
    const letGo = keepAlive();
    let unhear: (() => void) | undefined;
    try {
      unhear = signal && ofSignal(() => hearAbort(signal, () => wakeUp(group, wait)));
      for (;;) {
        refuseAborted(signal);
        if (closed) throw new HoldfastError("closed", "the kernel is closed");
        wait.isWoken = false;
        const found = await read(shared);
        if (found !== undefined) return found;
        if (!wait.isWoken) await sleep(group, wait);
      }
    } finally {
      letGo();
      unhear?.();
      group.waits.delete(wait);
      if (group.waits.size === 0) groups.delete(id);
      if (groups.size === 0) unsubscribe();
    }
  }

  return {
    until,
    keepAlive,
    close() {
      closed = true;
      for (const group of groups.values()) for (const wait of group.waits) wakeUp(group, wait);
    },
  };
}
