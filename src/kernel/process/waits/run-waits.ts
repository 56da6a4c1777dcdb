import { isHoldfastError } from "../../../domain/errors.js";
import { lookInMs } from "../../../domain/time.js";
import type { Clock } from "../../../ports/clock.js";

/** What a run waits for in memory. Times in epoch milliseconds, by the clock of the storage. */
export interface RunWait {
  readonly kind: "timer" | "signal" | "retry";
  readonly key: string;
  /** The name of the awaited signal. */
  readonly name?: string;
  readonly dueAtMs?: number;
}

/**
 * The timers, waits for signals and pauses of one run. Each gives the handler's slot back while it lasts. Only what is stored ends a wait:
 * `settle` looks at that at once, when the wait is due, and each time that the process changed, a timer's only at the first two.
 */
export interface RunWaits {
  /**
   * Resolves with what `settle` answers. Rejects with what it throws, and with the reason of the run's end; never settles where that is
   * `suspended`. A timer or a wait for a signal rejects with the reason of `cancelled`, too, unless its end is stored already.
   */
  until<T>(wait: RunWait, settle: () => Promise<{ readonly answer: T } | undefined>): Promise<T>;
  /** The process changed: every wait looks again, but for timers, which a change does not end. */
  heard(): void;
  readonly pending: ReadonlySet<RunWait>;
  /** One of the waits looks at what is stored. */
  readonly isLooking: boolean;
}

interface RunWaitsParts {
  readonly clock: Clock;
  /** Gives the slot back until the wait is over. */
  waiting<T>(wait: () => Promise<T>): Promise<T>;
  /** Aborts when the run is over, or its handler has ended. */
  readonly stopped: AbortSignal;
  /** The handler's own signal: it also aborts on a cancel request. */
  readonly cancelled: AbortSignal;
  /** A wait began or ended. */
  onChange(): void;
}

export function createRunWaits({ clock, waiting, stopped, cancelled, onChange }: RunWaitsParts): RunWaits {
  /** Each with what makes it look again; undefined while it looks already. */
  const pending = new Map<RunWait, (() => void) | undefined>();
  let looking = 0;
  let cancelTimer = () => {};
  let isSetting = false;

  const isSuspended = () => isHoldfastError(stopped.reason) && stopped.reason.code === "suspended";

  /** One timer for all waits. Waits that begin, end or look again at once set it once. */
  function setTimer(): void {
    if (isSetting) return;
    isSetting = true;
    queueMicrotask(() => {
      isSetting = false;
      cancelTimer();
      let leastMs = Number.POSITIVE_INFINITY;
      for (const [{ dueAtMs = leastMs }, wake] of pending) if (wake) leastMs = Math.min(leastMs, dueAtMs);
      if (leastMs === Number.POSITIVE_INFINITY) return;
      cancelTimer = clock.setTimer(onTimer, lookInMs(leastMs, clock.now()));
    });
  }

  function onTimer(): void {
    const nowMs = clock.now();
    for (const [{ dueAtMs }, wake] of [...pending]) if (dueAtMs !== undefined && dueAtMs <= nowMs) wake?.();
    setTimer();
  }

  /** Resolves when the wait must look again. */
  function woken(wait: RunWait): Promise<void> {
    return new Promise((resolve) => {
      pending.set(wait, () => {
        pending.set(wait, undefined);
        resolve();
      });
    });
  }

  /** The waits of a run that is suspended never end: no code of its handler goes on. */
  async function last<T>(wait: RunWait, settle: () => Promise<{ readonly answer: T } | undefined>): Promise<T> {
    try {
      return await settled(wait, settle);
    } catch (error) {
      if (!isSuspended()) throw error;
      return await new Promise<never>(() => {});
    }
  }

  async function look<T>(settle: () => Promise<T>): Promise<T> {
    looking++;
    try {
      return await settle();
    } finally {
      looking--;
    }
  }

  async function settled<T>(wait: RunWait, settle: () => Promise<{ readonly answer: T } | undefined>): Promise<T> {
    pending.set(wait, undefined);
    onChange();
    try {
      for (;;) {
        stopped.throwIfAborted();
        const isWoken = woken(wait);
        const end = await look(settle);
        if (end) return end.answer;
        // What pauses between its tries decides by itself: a cleanup after a cancel request may be tried again.
        if (wait.kind !== "retry") cancelled.throwIfAborted();
        setTimer();
        await isWoken;
      }
    } finally {
      pending.delete(wait);
      setTimer();
      onChange();
    }
  }

  // A race with the end would keep a part of each look until then.
  const wakeAll = () => {
    for (const wake of [...pending.values()]) wake?.();
  };
  for (const signal of [stopped, cancelled]) signal.addEventListener("abort", wakeAll, { once: true });

  return {
    until: (wait, settle) => waiting(() => last(wait, settle)),
    heard() {
      for (const [{ kind }, wake] of [...pending]) if (kind !== "timer") wake?.();
    },
    get pending() {
      return new Set(pending.keys());
    },
    get isLooking() {
      return looking > 0;
    },
  };
}
