import { invalid } from "../domain/errors.js";

/** The steps whose `run` was called and has not yet given a promise or a value: one of them that asks for itself would wait for ever. */
export interface StartingSteps {
  within<T>(key: string, run: () => T): T;
  /** Throws `invalid` for such a step. */
  refuse(key: string): void;
}

export function startingSteps(): StartingSteps {
  const starting = new Set<string>();
  return {
    within(key, run) {
      starting.add(key);
      try {
        return run();
      } finally {
        starting.delete(key);
      }
    },
    refuse(key) {
      if (starting.has(key)) throw invalid(`step "${key}" was called within its own run: it would wait for itself`);
    },
  };
}
