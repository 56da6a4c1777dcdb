/** The first place where two values differ, as `toEqual` sees it: an undefined property equals none. */
export function difference(actual: unknown, expected: unknown, at = "the value"): string | undefined {
  const differs = () => `${at}: expected ${shown(expected)}, got ${shown(actual)}`;
  if (Object.is(actual, expected)) return undefined;
  if (typeof actual !== "object" || typeof expected !== "object" || !actual || !expected) return differs();
  if (kind(actual) !== kind(expected)) return differs();
  if (actual instanceof Date || actual instanceof RegExp) return String(actual) === String(expected) ? undefined : differs();
  if (actual instanceof Map || actual instanceof Set) {
    return difference([...actual], [...(expected as Iterable<unknown>)], `${at}'s entries`);
  }
  if (Array.isArray(actual) && actual.length !== (expected as unknown[]).length) return differs();
  if (actual instanceof ArrayBuffer) return difference(new Uint8Array(actual), new Uint8Array(expected as ArrayBuffer), at);
  const [one, other] = [actual as Record<string, unknown>, expected as Record<string, unknown>];
  if (actual instanceof Error && one.message !== other.message) return differs();
  for (const key of new Set([...Object.keys(one), ...Object.keys(other)])) {
    const found = difference(one[key], other[key], `${at}.${key}`);
    if (found !== undefined) return found;
  }
  return undefined;
}

const kind = (value: object) => (value instanceof Error ? "Error" : Object.prototype.toString.call(value));

function shown(value: unknown): string {
  if (value instanceof Error) return `${value.name}: ${value.message}`;
  try {
    return JSON.stringify(value)?.slice(0, 500) ?? String(value);
  } catch {
    return String(value);
  }
}
