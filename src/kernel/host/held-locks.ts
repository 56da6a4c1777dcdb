import type { Locks } from "../../ports/locks.js";

/** The names of all that are held; nothing where there is no service, or it does not say. */
export async function heldLocks(locks: Locks | undefined): Promise<Set<string> | undefined> {
  try {
    const known = await locks?.query();
    return known?.held && new Set(known.held.flatMap(({ name }) => name ?? []));
  } catch {
    return undefined;
  }
}

/** Whether no tab holds it. A service that does not say so says no. */
export async function isFree(locks: Locks | undefined, name: string): Promise<boolean> {
  return (await heldLocks(locks))?.has(name) === false;
}
