import { type HoldfastError, invalid, isMadeHere } from "./errors.js";
import { isWellFormed, type JsonValue, jsonBytes } from "./json.js";

export interface JsonLimits {
  /** UTF-8 bytes of the canonical text. */
  maxBytes: number;
  /** Arrays and objects inside one another. */
  maxDepth: number;
}

/**
 * A private copy of `value` if it is JSON within the limits, else `invalid` naming `field` and the path below it.
 * Every member is read once, so what was checked is what is stored, also when a getter or Proxy stands behind it.
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
    if (Object.getOwnPropertySymbols(from).length > 0) throw notJson(path, "has a symbol as a key");
    const names = Object.keys(from);
    if (Array.isArray(from)) {
      if (from.length > limits.maxBytes) throw tooLarge(field, path, limits.maxBytes);
      if (!isPlain(Object.getPrototypeOf(from), 1)) throw notJson(path, "is an instance of a class");
      if (names.length !== from.length) throw notJson(path, "is a sparse array or has named members");
      const items: JsonValue[] = [];
      for (let index = 0; index < names.length; index++) items.push(copy(from[index], `${path}/${index}`, depth + 1));
      return items;
    }
    if (!isPlain(Object.getPrototypeOf(from), 0)) throw notJson(path, "is an instance of a class");
    const members: { [key: string]: JsonValue } = {};
    for (const name of names) {
      const below = `${path}/${name}`;
      if (name === "__proto__") throw notJson(below, "is not allowed as a key");
      if (!isWellFormed(name)) throw notJson(path, "has a key with a lone surrogate");
      spend(name.length + 3, below);
      members[name] = copy((from as Record<string, unknown>)[name], below, depth + 1);
    }
    return members;
  };

  const admitted = guarded(field, () => copy(value, field, 0));
  if (jsonBytes(admitted, limits.maxBytes) > limits.maxBytes) throw tooLarge(field, field, limits.maxBytes);
  return admitted;
}

/** Runs code that touches a caller's object: whatever its getters or traps throw becomes `invalid` with the field's name. */
export function guarded<T>(field: string, read: () => T): T {
  try {
    return read();
  } catch (thrown) {
    if (isMadeHere(thrown)) throw thrown;
    throw invalid(`${field} could not be read`);
  }
}

/** A plain object's prototype chain ends after Object.prototype (0 links above), an array's one link later, in any realm. */
export function isPlain(prototype: unknown, links: number): boolean {
  let at: unknown = prototype;
  for (let step = 0; step < links; step++) {
    if (at === null) return false;
    at = Object.getPrototypeOf(at);
  }
  return links === 0 ? at === null || Object.getPrototypeOf(at) === null : at !== null && Object.getPrototypeOf(at) === null;
}

function notJson(path: string, why: string): HoldfastError {
  return invalid(`${path} ${why}; a JSON value is expected`, { path });
}

function tooLarge(field: string, path: string, maxBytes: number): HoldfastError {
  return invalid(`${field} is larger than ${maxBytes} bytes of JSON`, { path });
}
