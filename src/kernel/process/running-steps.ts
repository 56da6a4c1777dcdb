import { invalid } from "../../domain/errors.js";
import type { JsonValue } from "../../domain/json.js";
import type { Clock } from "../../ports/clock.js";

/** The steps of one run that are under way. Calls with the same key share the `run` that the first of them began. */
export interface RunningSteps {
  /** Rejects `invalid` if the key's own `run` calls it synchronously: that call would wait for itself. */
  share(key: string, run: () => Promise<JsonValue>): Promise<JsonValue>;
  /** Calls the app's `run` of the key. */
  begin<T>(key: string, run: () => Promise<T> | T): Promise<T>;
}

interface RunningStepsParts {
  readonly clock: Clock;
  /** How long a call may wait for a `run` that another call began, before `tell` is called, in milliseconds. */
  readonly waitMs: number;
  tell(message: string): void;
}

export function createRunningSteps({ clock, waitMs, tell }: RunningStepsParts): RunningSteps {
  const running = new Map<string, Promise<JsonValue>>();
  /** Keys whose `run` was called and has not returned to its caller yet. */
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
