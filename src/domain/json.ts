import canonicalize from "canonicalize";

/**
 * JSON that can be stored and sent: plain objects and arrays with own enumerable members, finite numbers, well-formed strings.
 */
export type JsonValue = null | boolean | number | string | JsonValue[] | { [key: string]: JsonValue };

const LONE_SURROGATE = /\p{Surrogate}/u;

export function isWellFormed(text: string): boolean {
  return !LONE_SURROGATE.test(text);
}

/** The text with each lone surrogate replaced by U+FFFD, as any UTF-8 encoder does. */
export function wellFormed(text: string): string {
  return text.replace(/\p{Surrogate}/gu, "\uFFFD");
}

/** RFC 8785: equal values have equal text in every engine. Takes admitted values only. */
export function canonicalText(value: JsonValue): string {
  return canonicalize(value) as string;
}

/** UTF-8 bytes of the canonical text (the order of members does not matter). Exact only near or above `enough`. */
export function jsonBytes(value: JsonValue, enough = 0): number {
  const text = JSON.stringify(value);
  return text.length * 3 <= enough ? text.length : new TextEncoder().encode(text).byteLength;
}

/** Strings verbatim, every other value as compact JSON. */
export function textOfJson(value: JsonValue): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}
