import { invalid } from "../../domain/errors.js";
import type { JsonValue } from "../../domain/json.js";
import type { Clock } from "../../ports/clock.js";

/** The steps of one run that are under way: calls of one key share the run that the first of them began. */
export interface RunningSteps {
  /** Throws `invalid` where the key's own `run` calls it before it has first yielded: that call would wait for itself. */
  share(key: string, run: () => Promise<JsonValue>): Promise<JsonValue>;
  /** Calls what the app gave for the key. */
  begin<T>(key: string, run: () => Promise<T> | T): Promise<T>;
}

export interface RunningStepsParts {
  readonly clock: Clock;
  /** So long may a call wait for the run that another one began, before `tell` hears of it. */
  readonly waitMs: number;
  tell(message: string): void;
}

export function createRunningSteps({ clock, waitMs, tell }: RunningStepsParts): RunningSteps {
  const running = new Map<string, Promise<JsonValue>>();
  /** Those whose `run` was called and has not yielded yet. */
  const starting = new Set<string>();
  return {
    async share(key, run) {
      if (starting.has(key)) throw invalid(`step "${key}" was called in its own run`);
      const known = running.get(key);
      if (!known) {
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
  };
}
