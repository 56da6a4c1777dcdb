import { isPlain } from "../../../domain/admit.js";

/** Deeper values count as different: a value that contains itself has no end. */
const DEEPEST = 256;

/**
 * Whether two values that schemas made are the same: JSON by its members, in any order, where an `undefined` member is an absent one. Values
 * with a `toJSON` (Date, URL) by what that gives, and maps, sets and bytes by their items in order. Two other objects are never the same.
 */
export function isSameValue(one: unknown, other: unknown, depth = 0): boolean {
  if (one === other || Object.is(one, other)) return true;
  if (typeof one !== "object" || typeof other !== "object" || one === null || other === null || depth > DEEPEST) return false;
  const same = (a: unknown, b: unknown) => isSameValue(a, b, depth + 1);
  if (hasJson(one) && hasJson(other)) return isSameKind(one, other) && same(one.toJSON(), other.toJSON());
  const [items, others] = [elementsOf(one), elementsOf(other)];
  if (items && others) {
    return isSameKind(one, other) && items.length === others.length && items.every((item, at) => same(item, others[at]));
  }
  if (!isPlain(Object.getPrototypeOf(one), 0) || !isPlain(Object.getPrototypeOf(other), 0)) return false;
  const names = new Set([...Object.keys(one), ...Object.keys(other)]);
  return [...names].every((name) => same((one as Members)[name], (other as Members)[name]));
}

type Members = Readonly<Record<string, unknown>>;

function hasJson(value: object): value is { toJSON(): unknown } {
  return "toJSON" in value && typeof value.toJSON === "function";
}

function isSameKind(one: object, other: object): boolean {
  return Object.getPrototypeOf(one) === Object.getPrototypeOf(other);
}

function elementsOf(value: object): unknown[] | undefined {
  const isList = Array.isArray(value) || value instanceof Map || value instanceof Set || ArrayBuffer.isView(value);
  return isList && Symbol.iterator in value ? [...(value as Iterable<unknown>)] : undefined;
}
