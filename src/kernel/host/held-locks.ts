import type { Locks } from "../../ports/locks.js";

/** The names of all locks that are held; undefined if there is no lock service, or it does not say. */
export async function heldLocks(locks: Locks | undefined): Promise<Set<string> | undefined> {
  try {
    const known = await locks?.query();
    return known?.held && new Set(known.held.flatMap(({ name }) => name ?? []));
  } catch {
    return undefined;
  }
}

/** Whether no tab holds the lock; false if the lock service does not say. */
export async function isFree(locks: Locks | undefined, name: string): Promise<boolean> {
  return (await heldLocks(locks))?.has(name) === false;
}
