import { invalid } from "../../../domain/errors.js";
import type { JsonValue } from "../../../domain/json.js";
import type { Clock } from "../../../ports/clock.js";

/** The steps of one run. Calls with the same key share the `run` that the first of them began. */
export interface RunningSteps {
  /** No step is under way, but for those that pause between two tries. */
  readonly isIdle: boolean;
  /** The step that calls it is not under way until the wait ends. */
  pausing<T>(wait: () => Promise<T>): Promise<T>;
  /** Rejects `invalid` if the key's own `run` calls it synchronously: that call would wait for itself. */
  share(key: string, run: () => Promise<JsonValue>): Promise<JsonValue>;
  /** Calls the app's `run` of the key. */
  begin<T>(key: string, run: () => Promise<T> | T): Promise<T>;
  /** The key's result was stored in this run. The next call of it is told, once. */
  isStored(key: string): boolean;
}

interface RunningStepsParts {
  readonly clock: Clock;
  /** How long a call may wait for a `run` that another call began, before `tell` is called, in milliseconds. */
  readonly waitMs: number;
  /** Tells that a step is used in a way that cannot be meant. */
  tell(message: string): void;
  /** A step ended. */
  onEnd?(): void;
}

export function createRunningSteps({ clock, waitMs, tell, onEnd }: RunningStepsParts): RunningSteps {
  const running = new Map<string, Promise<JsonValue>>();
  /** How many of these pause. */
  let paused = 0;
  /** Keys whose `run` was called and has not returned to its caller yet. */
  const starting = new Set<string>();
  /** Keys whose `run` was called here. */
  const called = new Set<string>();
  const stored = new Set<string>();
  const told = new Set<string>();

  return {
    get isIdle() {
      return running.size === paused;
    },
    async pausing(wait) {
      paused++;
      try {
        return await wait();
      } finally {
        paused--;
      }
    },
    async share(key, run) {
      if (starting.has(key)) throw invalid(`step "${key}" was called in its own run`);
      const known = running.get(key);
      if (!known) {
        if (stored.has(key) && !told.has(key)) {
          told.add(key);
          tell(`step "${key}" was called again after its result was stored, and got it: a loop needs another key each time`);
        }
        const begun = run().finally(() => {
          running.delete(key);
          onEnd?.();
        });
        running.set(key, begun);
        const result = await begun;
        if (called.has(key)) stored.add(key);
        return result;
      }
      const cancel = clock.setTimer(
        () => tell(`a call of step "${key}" has waited ${waitMs} ms for the step of that key that runs: is it made in that run?`),
        waitMs,
      );
      try {
        return await known;
      } finally {
        cancel();
      }
    },
    begin(key, run) {
      called.add(key);
      starting.add(key);
      const begun = (async () => run())();
      starting.delete(key);
      return begun;
    },
    isStored: (key) => stored.has(key),
  };
}
