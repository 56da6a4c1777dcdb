import { asHoldfastError } from "../../../domain/errors.js";

/**
 * The calls that a handler makes on its context or turn. A call that the handler does not await never ends a program as an unhandled
 * rejection. It is reported when the handler has ended, if it has failed by then or still goes on.
 */
export interface Calls {
  /** A copy of the object with these methods watched. */
  watched<T extends object>(of: T, methods: readonly (keyof T & string)[]): T;
  /** The handler has ended by itself: calls that it did not await are reported. */
  end(): void;
}

export function createCalls(tell: (message: string) => void): Calls {
  const calls = new Map<Call, { readonly what: string; how: string }>();

  function watch(what: string, work: Promise<unknown>): Promise<unknown> {
    const call = new Call((resolve, reject) => work.then(resolve, reject));
    const known = { what, how: "its handler ended first" };
    calls.set(call, known);
    const forget = () => calls.delete(call);
    // The class's own `then` would count as the handler's await.
    Promise.prototype.then.call(call, forget, (error) => {
      if (call.isAwaited) forget();
      else known.how = asHoldfastError(error, "invalid", "it failed").message;
    });
    return call;
  }

  return {
    watched(of, methods) {
      const members = methods.map((name) => {
        const method = of[name] as (...given: unknown[]) => Promise<unknown>;
        const what = (key: unknown) => (typeof key === "string" ? `${name} "${key.slice(0, 80)}"` : name);
        return [name, (...given: unknown[]) => watch(what(given[0]), method(...given))];
      });
      return { ...of, ...Object.fromEntries(members) };
    },
    end() {
      for (const [{ isAwaited }, { what, how }] of calls) if (!isAwaited) tell(`${what} was not awaited: ${how}`);
      calls.clear();
    },
  };
}

/** A promise that knows whether it was awaited. `await` calls `then` of any class but the platform's own. */
class Call extends Promise<unknown> {
  isAwaited = false;

  static override get [Symbol.species]() {
    return Promise;
  }

  // biome-ignore lint/suspicious/noThenProperty: it is a promise
  override then<A = unknown, B = never>(...heard: Parameters<Promise<unknown>["then"]>): Promise<A | B> {
    this.isAwaited = true;
    return super.then(...heard) as Promise<A | B>;
  }
}
