import { type HoldfastError, invalid, isMadeHere, shortened } from "./errors.js";
import { isWellFormed, type JsonValue, jsonBytes } from "./json.js";

export interface JsonLimits {
  /** UTF-8 bytes of the canonical text. */
  maxBytes: number;
  /** Levels of nesting of arrays and objects. */
  maxDepth: number;
}

/**
 * A private copy of `value` if it is JSON within the limits, else `invalid` that names `field` and the path below it. Every
 * member is read once: the checked value is the stored one, also behind a getter or a Proxy.
 */
export function admitJson(value: unknown, field: string, limits: JsonLimits): JsonValue {
  let least = 0; // A lower bound of the size: it stops shared references from multiplying before the exact count below.
  const spend = (bytes: number, path: string) => {
    least += bytes;
    if (least > limits.maxBytes) throw tooLarge(field, path, limits.maxBytes);
  };

  const copy = (from: unknown, path: string, depth: number): JsonValue => {
    switch (typeof from) {
      case "boolean":
        spend(4, path);
        return from;
      case "string":
        spend(from.length + 2, path);
        if (!isWellFormed(from)) throw notJson(path, "has a lone surrogate");
        return from;
      case "number":
        spend(1, path);
        if (!Number.isFinite(from)) throw notJson(path, `is ${from}`);
        return from === 0 ? 0 : from;
      case "object":
        break;
      default:
        throw notJson(path, `is ${typeof from === "undefined" ? "undefined" : `a ${typeof from}`}`);
    }
    if (from === null) {
      spend(4, path);
      return null;
    }
    if (depth >= limits.maxDepth) throw notJson(path, `is nested deeper than ${limits.maxDepth} levels, or in itself`);
    spend(2, path);
    // The kind is checked first: listing the names of fifty megabytes of bytes takes a minute.
    const isList = Array.isArray(from);
    if (!isPlain(Object.getPrototypeOf(from), isList ? 1 : 0)) throw notJson(path, "is an instance of a class");
    return isList ? copyList(from, path, depth) : copyMembers(from, path, depth);
  };

  const copyList = (from: readonly unknown[], path: string, depth: number): JsonValue[] => {
    const { length } = from;
    spend(length === 0 ? 0 : 2 * length - 1, path);
    checkBare(from, path);
    if (Object.keys(from).length !== length) throw notJson(path, "is a sparse array or has named members");
    const items: JsonValue[] = [];
    for (let index = 0; index < length; index++) {
      least--;
      items.push(copy(from[index], `${path}/${index}`, depth + 1));
    }
    return items;
  };

  const copyMembers = (from: object, path: string, depth: number): { [key: string]: JsonValue } => {
    const members: { [key: string]: JsonValue } = {};
    // The names are not listed beforehand: so a Proxy is asked for a name only while the earlier ones are within the limit.
    for (const name in from) {
      if (!Object.hasOwn(from, name)) continue;
      const below = `${path}/${name}`;
      spend(name.length + 3, below);
      if (name === "__proto__") throw notJson(below, "is not allowed as a key");
      if (!isWellFormed(name)) throw notJson(path, "has a key with a lone surrogate");
      members[name] = copy((from as Record<string, unknown>)[name], below, depth + 1);
    }
    checkBare(from, path);
    return members;
  };

  const admitted = guarded(field, () => copy(value, field, 0));
  if (jsonBytes(admitted, limits.maxBytes) > limits.maxBytes) throw tooLarge(field, field, limits.maxBytes);
  return admitted;
}

function checkBare(from: object, path: string): void {
  if (Object.getOwnPropertySymbols(from).length > 0) throw notJson(path, "has a symbol as a key");
}

/** Runs code that touches a caller's object. An error that a getter or trap throws becomes `invalid` with the field's name. */
export function guarded<T>(field: string, read: () => T): T {
  try {
    return read();
  } catch (thrown) {
    if (isMadeHere(thrown)) throw thrown;
    throw invalid(`${field} could not be read`);
  }
}

/**
 * The prototype chain of a plain object ends after Object.prototype (0 links above), that of an array one link later, in any
 * realm.
 */
export function isPlain(prototype: unknown, links: number): boolean {
  let at: unknown = prototype;
  for (let step = 0; step < links; step++) {
    if (at === null) return false;
    at = Object.getPrototypeOf(at);
  }
  return links === 0 ? at === null || Object.getPrototypeOf(at) === null : at !== null && Object.getPrototypeOf(at) === null;
}

function notJson(path: string, why: string): HoldfastError {
  return invalid(`${path} ${why}; a JSON value is expected`, { path: shortened(path) });
}

function tooLarge(field: string, path: string, maxBytes: number): HoldfastError {
  return invalid(`${field} is larger than ${maxBytes} bytes of JSON`, { path: shortened(path) });
}
