import { isPlain } from "./admit.js";
import { isBytes } from "./check.js";

/**
 * A copy of an argument that is read later: the caller may change its object as soon as the call is made. Plain data and bytes
 * are copied. Functions, signals, instances and unreadable values pass as they are; the code that reads them refuses them.
 */
export function argumentOf(given: unknown): unknown {
  try {
    return kept(given, new Map());
  } catch {
    return given;
  }
}

function kept(from: unknown, known: Map<object, unknown>): unknown {
  if (typeof from !== "object" || from === null) return from;
  if (isBytes(from)) return new Uint8Array(from);
  const isList = Array.isArray(from);
  // The kind is checked first: listing the names of a long value may take a minute.
  if (!isPlain(Object.getPrototypeOf(from), isList ? 1 : 0)) return from;
  // An object with hidden members passes as it is: some rules refuse it, others read it.
  const isBare = Reflect.ownKeys(from).length === Object.keys(from).length + (isList ? 1 : 0);
  if (!isBare) return from;
  if (known.has(from)) return known.get(from);
  const copy: object = isList ? new Array(from.length) : {};
  known.set(from, copy);
  for (const name of Object.keys(from)) {
    const value = kept((from as Record<string, unknown>)[name], known);
    // An assignment would not do: "__proto__" may be a name like any other.
    Object.defineProperty(copy, name, { value, writable: true, enumerable: true, configurable: true });
  }
  return copy;
}
