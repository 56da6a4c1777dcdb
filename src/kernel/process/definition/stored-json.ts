import type { JsonValue } from "../../../domain/json.js";

/**
 * `T` as it is after it was stored and read again: what a step, a process's result or an event's payload gives. Interfaces and optional
 * members pass. `undefined` and `void` become null at the top, and an absent member inside. What is no JSON (functions, Date, Map, Set,
 * bigint, symbol, bytes) becomes never: such a value is refused when it is stored.
 */
// biome-ignore lint/suspicious/noExplicitAny: of `any` nothing is known, and it stays so
export type Json<T> = IsAny<T> extends true ? any : [T] extends [JsonValue] ? T : T extends Gone ? null : JsonIn<T>;

/** True for `any` alone. */
type IsAny<T> = 0 extends 1 & T ? true : false;

/** What is no value of JSON, and counts as absent. */
type Gone = undefined | void;

/** Objects and values that JSON has no form for. */
type Unstorable =
  | ((...args: never[]) => unknown)
  | (abstract new (
      ...args: never[]
    ) => unknown)
  | bigint
  | symbol
  | Date
  | RegExp
  | Error
  | Promise<unknown>
  | ReadonlyMap<unknown, unknown>
  | ReadonlySet<unknown>
  | (WeakKey & { readonly [Symbol.toStringTag]: "WeakMap" | "WeakSet" })
  | ArrayBuffer
  | ArrayBufferView;

/** `Json` of a member or item, where `undefined` is no value. Tuples keep their form. */
type JsonIn<T> =
  IsAny<T> extends true
    ? // biome-ignore lint/suspicious/noExplicitAny: as above
      any
    : unknown extends T
      ? JsonValue
      : T extends string | number | boolean | null
        ? T
        : T extends Unstorable | Gone
          ? never
          : T extends readonly unknown[]
            ? { [K in keyof T]: JsonIn<T[K]> }
            : T extends object
              ? JsonMembers<T>
              : never;

/** The members that are always there, and those that may be absent because they may be `undefined`. Symbols are no names of JSON. */
type JsonMembers<T extends object> = Flat<
  { [K in keyof T as K extends symbol ? never : MayBeAbsent<T[K]> extends true ? never : K]: JsonIn<T[K]> } & {
    [K in keyof T as K extends symbol ? never : MayBeAbsent<T[K]> extends true ? K : never]?: JsonIn<Exclude<T[K], undefined>>;
  }
>;

type MayBeAbsent<T> = undefined extends T ? (IsAny<T> extends true ? false : unknown extends T ? false : true) : false;

/** One object type instead of an intersection of two, for messages that can be read. */
type Flat<T> = { [K in keyof T]: T[K] };
