import { HoldfastError } from "../domain/errors.js";
import { keptOf } from "../domain/kept.js";

/** Code that not every app needs. It is loaded when it is first used: a page that never uses it never pays for it. */
export interface Rooms {
  sealed(): Promise<typeof import("./sealed.js")>;
  archive(): Promise<typeof import("./session-archive.js")>;
  runtime(): Promise<typeof import("./runtime-store.js")>;
  ops(): Promise<typeof import("./ops-registry.js")>;
}

/** What is made of code that is loaded when it is first asked for. */
export interface Late<T> {
  /** Once it is there. */
  readonly here: T | undefined;
  /** Where the code cannot be loaded it rejects `unavailable`, and the next call tries again. */
  get(): Promise<T>;
}

/** What `load` gives, or `unavailable`. */
export async function loaded<Room>(what: string, load: () => Promise<Room>): Promise<Room> {
  try {
    return await load();
  } catch (cause) {
    throw new HoldfastError("unavailable", `the code of ${what} could not be loaded`, { cause });
  }
}

export function late<Room, T>(what: string, load: () => Promise<Room>, make: (room: Room) => T): Late<T> {
  let here: T | undefined;
  let loading: Promise<T> | undefined;
  return {
    get here() {
      return here;
    },
    get() {
      loading ??= loaded(what, load)
        .then((room) => {
          here = make(room);
          return here;
        })
        .catch((error: unknown) => {
          loading = undefined;
          throw error;
        });
      return loading;
    },
  };
}

/** These methods of what is made then. What a call was given is kept as it was in the moment of the call. */
export function lateMethods<T extends object>(of: Late<T>, names: Record<keyof T, true>): T {
  const method =
    (name: string) =>
    async (...given: unknown[]) => {
      const args = of.here ? given : given.map(keptOf);
      const made = (of.here ?? (await of.get())) as Record<string, (...args: unknown[]) => unknown>;
      return await made[name]?.(...args);
    };
  return Object.fromEntries(Object.keys(names).map((name) => [name, method(name)])) as T;
}
