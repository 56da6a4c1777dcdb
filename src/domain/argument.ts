import { isPlain } from "./admit.js";
import { isBytes } from "./check.js";

/**
 * What a call keeps of an argument that is looked at later: its caller may change his own as soon as the call is made. Plain data and
 * bytes are copied; functions, signals and instances pass as they are. So does an argument that cannot be read: whoever takes it says so.
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
  // The kind comes first: to list the names of what is long may take a minute.
  if (!isPlain(Object.getPrototypeOf(from), isList ? 1 : 0)) return from;
  // What has hidden members is refused by some rules and read by others.
  const isBare = Reflect.ownKeys(from).length === Object.keys(from).length + (isList ? 1 : 0);
  if (!isBare) return from;
  if (known.has(from)) return known.get(from);
  const copy: object = isList ? new Array(from.length) : {};
  known.set(from, copy);
  for (const name of Object.keys(from)) {
    const value = kept((from as Record<string, unknown>)[name], known);
    // Not assigned: "__proto__" may be a name like any other.
    Object.defineProperty(copy, name, { value, writable: true, enumerable: true, configurable: true });
  }
  return copy;
}
