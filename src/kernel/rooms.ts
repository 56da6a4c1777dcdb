import { argumentOf } from "../domain/argument.js";
import { HoldfastError } from "../domain/errors.js";

/** Code that is loaded when it is first used: a page that never uses it never pays for it. */
export interface Room<T> {
  /** Once it is loaded. */
  readonly here: T | undefined;
  /** Where the code cannot be loaded it rejects `unavailable`, and the next call tries again. */
  enter(): Promise<T>;
}

/** What a kernel does not need to open. */
export interface Rooms {
  readonly sealed: Room<typeof import("./vault/sealed.js")>;
  readonly archive: Room<typeof import("./session/archive.js")>;
  readonly runtime: Room<typeof import("./runtime-store.js")>;
  readonly ops: Room<typeof import("./session/operations.js")>;
  readonly turns: Room<typeof import("./session/executor.js")>;
  readonly agents: Room<typeof import("./host/agents.js")>;
  readonly headStart: Room<typeof import("./process/head-start.js")>;
}

export function room<T>(what: string, load: () => Promise<T>): Room<T> {
  let here: T | undefined;
  let loading: Promise<T> | undefined;
  async function enter(): Promise<T> {
    try {
      here = await load();
      return here;
    } catch (cause) {
      loading = undefined;
      throw new HoldfastError("unavailable", `the code of ${what} could not be loaded`, { cause });
    }
  }
  return {
    get here() {
      return here;
    },
    enter() {
      loading ??= enter();
      return loading;
    },
  };
}

/** One that is loaded already. */
export function opened<T>(here: T): Room<T> {
  return { here, enter: async () => here };
}

/** What is made of a room's code, once. */
export function furnished<Code, T>(bare: Room<Code>, make: (code: Code) => T): Room<T> {
  let made: { it: T } | undefined;
  const of = (code: Code) => {
    made ??= { it: make(code) };
    return made.it;
  };
  return {
    get here() {
      return bare.here === undefined ? undefined : of(bare.here);
    },
    enter: async () => of(await bare.enter()),
  };
}

/** Its methods. What a call was given is kept as it was in the moment of the call. */
export function methodsOf<T extends object>(of: Room<T>, names: Record<keyof T, true>): T {
  const method =
    (name: string) =>
    async (...given: unknown[]) => {
      const args = of.here ? given : given.map(argumentOf);
      const made = (of.here ?? (await of.enter())) as Record<string, (...args: unknown[]) => unknown>;
      return await made[name]?.(...args);
    };
  return Object.fromEntries(Object.keys(names).map((name) => [name, method(name)])) as T;
}
