import { argumentOf } from "../domain/argument.js";
import { HoldfastError } from "../domain/errors.js";
import type { Timings } from "../domain/time.js";
import type { Clock } from "../ports/clock.js";

/** Code that is loaded when it is first used: a page that never uses it never pays for it. */
export interface Lazy<T> {
  /** The code, once it is loaded. */
  readonly loaded: T | undefined;
  /** Rejects `unavailable` if the code cannot be loaded; the next call tries again. */
  load(): Promise<T>;
}

export function lazy<T>(what: string, load: () => Promise<T>): Lazy<T> {
  let loaded: T | undefined;
  let loading: Promise<T> | undefined;
  async function loadOnce(): Promise<T> {
    try {
      loaded = await load();
      return loaded;
    } catch (cause) {
      loading = undefined;
      throw new HoldfastError("unavailable", `the code of ${what} could not be loaded`, { cause });
    }
  }
  return {
    get loaded() {
      return loaded;
    },
    load() {
      loading ??= loadOnce();
      return loading;
    },
  };
}

/** Code that is loaded already. */
export function loaded<T>(code: T): Lazy<T> {
  return { loaded: code, load: async () => code };
}

/** The part that `make` makes of the code, once. */
export function mapLazy<Code, T>(bare: Lazy<Code>, make: (code: Code) => T): Lazy<T> {
  let made: { it: T } | undefined;
  const of = (code: Code) => {
    made ??= { it: make(code) };
    return made.it;
  };
  return {
    get loaded() {
      return bare.loaded === undefined ? undefined : of(bare.loaded);
    },
    load: async () => of(await bare.load()),
  };
}

/** The methods of a lazy part. Arguments are kept as they were in the moment of the call. `admit` throws what refuses a call. */
export function methodsOf<T extends object>(of: Lazy<T>, names: Record<keyof T, true>, admit = () => {}): T {
  const method =
    (name: string) =>
    async (...given: unknown[]) => {
      admit();
      const args = of.loaded ? given : given.map(argumentOf);
      const made = (of.loaded ?? (await of.load())) as Record<string, (...args: unknown[]) => unknown>;
      return await made[name]?.(...args);
    };
  return Object.fromEntries(Object.keys(names).map((name) => [name, method(name)])) as T;
}

/** Begins with the code once it is loaded, and tries to load it at each poll until it is. Returns what ends it, begun or not. */
export function whenLoaded<Code>(
  part: Lazy<Code>,
  { clock, timings }: { readonly clock: Clock; readonly timings: Pick<Timings, "pollMs"> },
  begin: (code: Code) => () => void,
  failed?: (error: unknown) => void,
): () => void {
  let isOver = false;
  let end = () => {};
  async function load(): Promise<void> {
    try {
      const code = await part.load();
      if (!isOver) end = begin(code);
    } catch (error) {
      if (isOver) return;
      end = clock.setTimer(load, timings.pollMs);
      failed?.(error);
    }
  }
  void load();
  return () => {
    isOver = true;
    end();
  };
}
