import type { Locks } from "../ports/locks.js";

/** The Web Locks of this platform. `undefined` outside of a secure context of a current browser. */
export function platformLocks(): Locks | undefined {
  try {
    return typeof navigator === "undefined" ? undefined : (navigator as { locks?: Locks }).locks;
  } catch {
    // Reading the property throws in a sandboxed frame.
    return undefined;
  }
}
