import canonicalize from "canonicalize";

/** What can be stored and sent: own enumerable members of plain objects and arrays, finite numbers, well-formed strings. */
export type JsonValue = null | boolean | number | string | JsonValue[] | { [key: string]: JsonValue };

const LONE_SURROGATE = /\p{Surrogate}/u;

export function isWellFormed(text: string): boolean {
  return !LONE_SURROGATE.test(text);
}

/** RFC 8785: equal values have equal text in every engine. Takes admitted values only. */
export function canonicalText(value: JsonValue): string {
  return canonicalize(value) as string;
}

/** UTF-8 bytes of the canonical text (member order does not change them); exact only near or over `enough`. */
export function jsonBytes(value: JsonValue, enough = 0): number {
  const text = JSON.stringify(value);
  return text.length * 3 <= enough ? text.length : new TextEncoder().encode(text).byteLength;
}

/** Strings verbatim, everything else as compact JSON. */
export function textOfJson(value: JsonValue): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}
