/** Whether two JSON values are equal. The order of an object's members does not count, and a member that is undefined is as good as absent. */
export function isEqual(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const [ours, theirs] = [a, b] as Record<string, unknown>[];
  return [...new Set([...Object.keys(a), ...Object.keys(b)])].every((name) => isEqual(ours?.[name], theirs?.[name]));
}

/** `next`, with those elements of `last` that are equal under the same key; `last` itself where all are. */
export function keepEqual<T>(last: readonly T[], next: readonly T[], keyOf: (element: T) => unknown): readonly T[] {
  const known = new Map(last.map((element) => [keyOf(element), element]));
  const kept = next.map((element) => {
    const before = known.get(keyOf(element));
    return before !== undefined && isEqual(before, element) ? before : element;
  });
  return kept.length === last.length && kept.every((element, at) => element === last[at]) ? last : kept;
}
