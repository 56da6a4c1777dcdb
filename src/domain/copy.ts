/**
 * A copy as `structuredClone` makes it, several times as fast for plain objects and arrays; other values are left to
 * `structuredClone`. Data that contains itself is not supported.
 */
export function copyOf<T>(value: T): T {
  if (typeof value === "function" || typeof value === "symbol") return structuredClone(value);
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value) && value.length === Object.keys(value).length) return value.map(copyOf) as T;
  if (Object.getPrototypeOf(value) !== Object.prototype || Object.hasOwn(value, "__proto__")) return structuredClone(value);
  const copy: Record<string, unknown> = {};
  for (const name of Object.keys(value)) copy[name] = copyOf((value as Record<string, unknown>)[name]);
  return copy as T;
}
