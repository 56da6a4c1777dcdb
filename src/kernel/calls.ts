import { asHoldfastError, type ErrorCode, isHoldfastError } from "../domain/errors.js";

/**
 * The calls that a handler makes of what it was given. One that is left unawaited neither ends a program as an unhandled rejection nor is
 * lost in silence: it is told once the handler has ended, if it has failed by then or still goes on.
 */
export interface Calls {
  /** The same object with these methods watched. */
  watched<T extends object>(of: T, methods: readonly (keyof T & string)[]): T;
  watchedItems<T>(items: AsyncIterable<T>): AsyncIterable<T>;
  /** The handler has ended by itself. */
  end(): void;
}

export function createCalls(tell: (code: ErrorCode, message: string) => void): Calls {
  const open = new Map<Call<unknown>, string>();
  const failed = new Map<Call<unknown>, { what: string; error: unknown }>();

  function watch<T>(what: string, work: Promise<T>): Promise<T> {
    const call = new Call<T>((resolve, reject) => work.then(resolve, reject));
    open.set(call, what);
    const done = () => open.delete(call);
    // Not by its own method, which would pass for the handler's.
    Promise.prototype.then.call(call, done, (error) => {
      if (done() && !call.isAwaited) failed.set(call, { what, error });
    });
    return call;
  }

  return {
    watchedItems: (items) => ({
      [Symbol.asyncIterator]() {
        const inner = items[Symbol.asyncIterator]();
        return {
          next: () => watch("the next event", inner.next()),
          return: async () => (await inner.return?.()) ?? { done: true, value: undefined },
        };
      },
    }),
    watched(of, methods) {
      const members = methods.map((name) => {
        const method = of[name] as (...given: unknown[]) => Promise<unknown>;
        const what = (key: unknown) => (typeof key === "string" ? `${name}(${JSON.stringify(key.slice(0, 80))})` : `${name}()`);
        return [name, (...given: unknown[]) => watch(what(given[0]), method(...given))];
      });
      return { ...of, ...Object.fromEntries(members) };
    },
    end() {
      for (const [{ isAwaited }, what] of open)
        if (!isAwaited) tell("invalid", `${what} was not awaited: it still went on when its handler had ended`);
      for (const [{ isAwaited }, { what, error }] of failed) {
        if (isAwaited) continue;
        const { message } = asHoldfastError(error, "invalid", "what it ran failed");
        tell(isHoldfastError(error) ? error.code : "invalid", `${what} was not awaited, and failed: ${message}`);
      }
      open.clear();
      failed.clear();
    },
  };
}

/** It knows whether anything has asked for its outcome: `await` does so by `then`, because the class is not the platform's own. */
class Call<T> extends Promise<T> {
  isAwaited = false;

  static override get [Symbol.species]() {
    return Promise;
  }

  // biome-ignore lint/suspicious/noThenProperty: it is a promise
  override then<A = T, B = never>(
    onFulfilled?: ((value: T) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    this.isAwaited = true;
    return super.then(onFulfilled, onRejected);
  }
}
