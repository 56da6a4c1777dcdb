import { invalid } from "../../domain/errors.js";
import type { JsonValue } from "../../domain/json.js";
import type { Clock } from "../../ports/clock.js";

/** The steps of one run. Calls with the same key share the `run` that the first of them began. */
export interface RunningSteps {
  /** No step is under way. */
  readonly isIdle: boolean;
  /** Rejects `invalid` if the key's own `run` calls it synchronously: that call would wait for itself. */
  share(key: string, run: () => Promise<JsonValue>): Promise<JsonValue>;
  /** Calls the app's `run` of the key. */
  begin<T>(key: string, run: () => Promise<T> | T): Promise<T>;
  /** The key's result was stored in this run: the next call of it is told, once. */
  stored(key: string): void;
  isStored(key: string): boolean;
}

interface RunningStepsParts {
  readonly clock: Clock;
  /** How long a call may wait for a `run` that another call began, before `tell` is called, in milliseconds. */
  readonly waitMs: number;
  /** Tells that a step is used in a way that cannot be meant. */
  tell(message: string): void;
}

export function createRunningSteps({ clock, waitMs, tell }: RunningStepsParts): RunningSteps {
  const running = new Map<string, Promise<JsonValue>>();
  /** Keys whose `run` was called and has not returned to its caller yet. */
  const starting = new Set<string>();
  /** Keys whose results were stored in this run, and whether it was told that one is called again. */
  const results = new Map<string, boolean>();

  function tellAgain(key: string): void {
    if (results.get(key) !== false) return;
    results.set(key, true);
    tell(`step "${key}" was called again after its result was stored, and got that result: a loop needs another key each time`);
  }

  return {
    get isIdle() {
      return running.size === 0;
    },
    async share(key, run) {
      if (starting.has(key)) throw invalid(`step "${key}" was called in its own run`);
      const known = running.get(key);
      if (!known) {
        tellAgain(key);
        const begun = run().finally(() => running.delete(key));
        running.set(key, begun);
        return await begun;
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
      starting.add(key);
      const begun = (async () => run())();
      starting.delete(key);
      return begun;
    },
    stored: (key) => void results.set(key, results.get(key) ?? false),
    isStored: (key) => results.has(key),
  };
}
