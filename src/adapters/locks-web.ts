import type { Locks } from "../ports/locks.js";

/** Web Locks where there are any: a secure context of a current browser. */
export function platformLocks(): Locks | undefined {
  try {
    return typeof navigator === "undefined" ? undefined : (navigator as { locks?: Locks }).locks;
  } catch {
    // In a sandboxed frame the look alone throws.
    return undefined;
  }
}
