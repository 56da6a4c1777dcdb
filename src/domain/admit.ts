import { invalid, isMadeHere, shortened } from "./errors.js";
import { isWellFormed, type JsonValue, jsonBytes, wellFormed } from "./json.js";

export interface JsonLimits {
  /** UTF-8 bytes of the canonical text. */
  maxBytes: number;
  /** Levels of nesting of arrays and objects. */
  maxDepth: number;
  /** Lone surrogates in string values become U+FFFD. Without it, and in member names always, they are refused. */
  mends?: boolean;
}

/**
 * A private copy of `value` if it is JSON within the limits, else `invalid` that names `field` and the path below it. Members whose
 * value is `undefined` are left out. Every member is read once: the checked value is the stored one, also behind a getter or a Proxy.
 */
export function admitJson(value: unknown, field: string, limits: JsonLimits): JsonValue {
  let least = 0; // A lower bound of the size: it stops shared references from multiplying before the exact count below.
  /** The arrays and objects that hold the value at hand, from the outermost. */
  const holders: object[] = [];
  const spend = (bytes: number, path: string) => {
    least += bytes;
    if (least > limits.maxBytes) throw tooLarge(path);
  };
  const tooLarge = (path: string) =>
    invalid(`${field} is larger than ${limits.maxBytes} bytes of JSON`, { path: shortened(field + path) });
  const notJson = (path: string, why: string, hint = "; a JSON value is expected") => {
    const where = path !== "" && field.includes(" ") ? `${field}: ${path}` : field + path;
    return invalid(`${where} ${why}${hint}`, { path: shortened(field + path) });
  };

  const copy = (from: unknown, path: string): JsonValue => {
    switch (typeof from) {
      case "boolean":
        spend(4, path);
        return from;
      case "string":
        spend(from.length + 2, path);
        if (isWellFormed(from)) return from;
        if (!limits.mends) throw notJson(path, "has a lone surrogate");
        return wellFormed(from);
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
    if (holders.includes(from)) throw notJson(path, "closes a cycle");
    if (holders.length >= limits.maxDepth) throw notJson(path, `is nested deeper than ${limits.maxDepth} levels`);
    spend(2, path);
    // The kind is checked first: listing the names of fifty megabytes of bytes takes a minute.
    const isList = Array.isArray(from);
    const prototype: unknown = Object.getPrototypeOf(from);
    if (!isPlain(prototype, isList ? 1 : 0)) {
      const kind = classNameOf(prototype);
      throw notJson(path, `is ${kind}`, kind.endsWith("?") ? "" : undefined);
    }
    holders.push(from);
    const copied = isList ? copyList(from, path) : copyMembers(from, path);
    holders.pop();
    return copied;
  };

  const copyList = (from: readonly unknown[], path: string): JsonValue[] => {
    const { length } = from;
    spend(length === 0 ? 0 : 2 * length - 1, path);
    checkBare(from, path);
    if (Object.keys(from).length !== length) throw notJson(path, "is a sparse array or has named members");
    const items: JsonValue[] = [];
    for (let index = 0; index < length; index++) {
      least--;
      items.push(copy(from[index], `${path}/${index}`));
    }
    return items;
  };

  const copyMembers = (from: object, path: string): { [key: string]: JsonValue } => {
    const members: { [key: string]: JsonValue } = {};
    // The names are not listed beforehand: so a Proxy is asked for a name only while the earlier ones are within the limit.
    for (const name in from) {
      if (!Object.hasOwn(from, name)) continue;
      const member = (from as Record<string, unknown>)[name];
      if (member === undefined) continue;
      const below = `${path}/${name}`;
      spend(name.length + 3, below);
      if (name === "__proto__") throw notJson(below, "is not allowed as a key");
      if (!isWellFormed(name)) throw notJson(path, "has a key with a lone surrogate");
      members[name] = copy(member, below);
    }
    checkBare(from, path);
    return members;
  };

  const checkBare = (from: object, path: string): void => {
    if (Object.getOwnPropertySymbols(from).length > 0) throw notJson(path, "has a symbol as a key");
  };

  const admitted = guarded(field, () => copy(value, ""));
  if (jsonBytes(admitted, limits.maxBytes) > limits.maxBytes) throw tooLarge("");
  return admitted;
}

/** "a Date", by the constructor's name. The prototype may be a Proxy, and the name any value: no getter is called. */
function classNameOf(prototype: unknown): string {
  const own = (of: unknown, name: string): unknown => Object.getOwnPropertyDescriptor(of, name)?.value;
  try {
    const name = own(own(prototype, "constructor"), "name");
    const isThenable = "then" in (prototype as object);
    if (typeof name === "string" && /^[\w$]{1,64}$/.test(name))
      return `${/^[AEIO]/.test(name) ? "an" : "a"} ${name}${isThenable ? ": is an await missing?" : ""}`;
  } catch {
    // It has no name that can be read.
  }
  return "an instance of a class";
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
