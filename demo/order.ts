/** Files that came within this time form one group. */
const togetherMs = 2_000;

/**
 * The newest group of files first. Within a group, files stand in the order of their arrival, which is also the order of work.
 */
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
