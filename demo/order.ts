/** Two files that came within this time came together. */
const togetherMs = 2_000;

/** The newest lot of files first, and within a lot in the order in which they came: the order in which they are worked on. */
export function inOrder<T extends { readonly createdAtMs: number; readonly id: string }>(files: Iterable<T>): T[] {
  const byAge = [...files].sort((a, b) => a.createdAtMs - b.createdAtMs || (a.id < b.id ? -1 : 1));
  const lots: T[][] = [];
  for (const file of byAge) {
    const last = lots.at(-1);
    if (last && file.createdAtMs - (last.at(-1)?.createdAtMs ?? 0) < togetherMs) last.push(file);
    else lots.push([file]);
  }
  return lots.reverse().flat();
}
