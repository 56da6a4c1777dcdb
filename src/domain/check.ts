import { guarded } from "./admit.js";
import { invalid } from "./errors.js";
import { isWellFormed } from "./json.js";

/** Checks of what callers pass, by the field's name, before anything is opened or written. All throw `invalid`. */

export function checkId(field: string, value: unknown, maxLength: number): string {
  // A text that is too long is not searched.
  const isBlank = typeof value !== "string" || (value.length <= maxLength && value.trim() === "");
  if (isBlank) throw invalid(`${field} must be a non-empty string`);
  return checkText(field, value, maxLength);
}

/** Text for people; may be empty. */
export function checkText(field: string, value: unknown, maxLength: number): string {
  if (typeof value !== "string") throw invalid(`${field} must be a string`);
  if (value.length > maxLength) throw invalid(`${field} must be at most ${maxLength} characters long`);
  if (!isWellFormed(value)) throw invalid(`${field} must not contain a lone surrogate`);
  return value;
}

export function checkWhole(field: string, value: unknown, least: number, most = Number.MAX_SAFE_INTEGER): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < least || value > most) {
    throw invalid(`${field} must be a whole number from ${least}${most === Number.MAX_SAFE_INTEGER ? " up" : ` to ${most}`}`);
  }
  return value === 0 ? 0 : value;
}

export function checkOneOf<T extends string>(field: string, value: unknown, allowed: readonly T[]): T {
  if (!allowed.includes(value as T)) throw invalid(`${field} must be one of ${allowed.join(", ")}`);
  return value as T;
}

/**
 * The type of a list that names every member of a union exactly. It is `never`, which no list satisfies, where the list lacks a
 * member or has one too many.
 */
export type Whole<Member, List extends readonly unknown[]> = [Member, List[number]] extends [List[number], Member] ? List : never;

export function checkFlag(field: string, value: unknown): boolean {
  if (typeof value !== "boolean") throw invalid(`${field} must be a boolean`);
  return value;
}

/** The getter reads the value's own kind: a Proxy or a view with another tag does not pass. */
export function isBytes(value: unknown): value is Uint8Array {
  return viewName?.call(value) === "Uint8Array";
}

/** A private copy. Throws `invalid` for anything but a Uint8Array of at most `most` bytes. */
export function checkBytes(field: string, value: unknown, most: number): Uint8Array {
  if (!isBytes(value)) throw invalid(`${field} must be a Uint8Array`);
  // Bytes whose buffer was transferred to a worker cannot be copied.
  if (viewLength?.call(value) > most) throw invalid(`${field} must be at most ${most} bytes long`);
  return guarded(field, () => new Uint8Array(value));
}

const viewName = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Uint8Array.prototype), Symbol.toStringTag)?.get;
const viewLength = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Uint8Array.prototype), "byteLength")?.get;

export function checkFunction<T>(field: string, value: T): T {
  if (typeof value !== "function") throw invalid(`${field} must be a function`);
  return value;
}

export function checkSignal(field: string, value: unknown): AbortSignal | undefined {
  if (value === undefined) return undefined;
  const signal = value as AbortSignal;
  const works = guarded(
    field,
    () =>
      typeof signal === "object" &&
      signal !== null &&
      typeof signal.aborted === "boolean" &&
      typeof signal.addEventListener === "function" &&
      isSignal(signal),
  );
  if (!works) throw invalid(`${field} must be an AbortSignal`);
  return signal;
}

/** An object that only looks like a signal may do anything when a listener is added, and `AbortSignal.any` does not take it. */
function isSignal(value: object): boolean {
  try {
    Object.getOwnPropertyDescriptor(AbortSignal.prototype, "aborted")?.get?.call(value);
    return true;
  } catch {
    return false;
  }
}

/**
 * The named members of a request, or of the options of a call, each read once. Any other member that is not `undefined` is `invalid`,
 * and named with the nearest known one.
 */
export function membersOf<K extends string>(
  field: string,
  value: unknown,
  names: readonly K[],
  call?: string,
): Record<K, unknown> {
  const members = someMembersOf(field, value, names);
  const given = value as Record<string, unknown>;
  const isUnknown = (name: string) => !names.includes(name as K) && given[name] !== undefined;
  const unknown = guarded(field, () => Object.keys(given).find(isUnknown));
  if (unknown === undefined) return members;
  const refusal = call === undefined ? `${field}.${unknown} is not known` : `${unknown} is no option of ${call}`;
  const meant = nearest(unknown, names);
  throw invalid(`${refusal}; ${meant === undefined ? `known are ${names.join(", ") || "none"}` : `did you mean ${meant}?`}`);
}

/** The named members of the options of a call. */
export function optionsOf<K extends string>(call: string, value: unknown, names: readonly K[], field = "options") {
  return membersOf(field, value, names, call);
}

/**
 * The named members of an object that may have others, each read once: a platform's object, or a record that holdfast gave out,
 * which a newer holdfast may have written.
 */
export function someMembersOf<K extends string>(field: string, value: unknown, names: readonly K[]): Record<K, unknown> {
  checkObject(field, value);
  return guarded(field, () => Object.fromEntries(names.map((name) => [name, value[name]])) as Record<K, unknown>);
}

/** The name that a wrong one may stand for: it begins alike, and few letters are only in one of them. */
function nearest(wrong: string, names: readonly string[]): string | undefined {
  if (wrong.length > 64) return undefined;
  const strayLetters = (name: string): number => {
    let rest = name;
    let missing = 0;
    for (const letter of wrong) {
      const without = rest.replace(letter, "");
      if (without === rest) missing++;
      rest = without;
    }
    return missing + rest.length;
  };
  const near = names.filter((name) => name[0] === wrong[0] && strayLetters(name) <= Math.max(2, wrong.length / 3));
  return near.sort((one, other) => strayLetters(one) - strayLetters(other))[0];
}

export function checkObject(field: string, value: unknown): asserts value is Record<string, unknown> {
  // Bytes have a name for each byte.
  if (!guarded(field, () => typeof value === "object" && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value)))
    throw invalid(`${field} must be an object`);
}

export function checkList(field: string, value: unknown, most: number): unknown[] {
  const list = guarded(field, () => (Array.isArray(value) ? itemsOf(value, most) : undefined));
  if (!list) throw invalid(`${field} must be an array of at most ${most} items`);
  return list;
}

/** Read by index, up to the length of the first look: an iterator of the list's own might never end. */
function itemsOf(list: readonly unknown[], most: number): unknown[] | undefined {
  const { length } = list;
  return length <= most ? Array.from({ length }, (_, at) => list[at]) : undefined;
}
