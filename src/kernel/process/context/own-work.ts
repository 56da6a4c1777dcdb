import type { HeldLease } from "../../host/leases/held-lease.js";

/** What the context itself does, and not the app's code. Its errors are no failure of the handler's. */
export interface OwnWork {
  /** Notes the error as the context's own, and throws it. */
  raise(error: unknown): never;
  /** Refused once the run is over. Errors of `work` are noted. */
  own<T>(work: () => Promise<T>): Promise<T>;
}

export function createOwnWork(heldLease: HeldLease, raised: (error: unknown) => void): OwnWork {
  function raise(error: unknown): never {
    raised(error);
    throw error;
  }
  return {
    raise,
    async own(work) {
      try {
        if (heldLease.over) throw heldLease.over;
        return await work();
      } catch (error) {
        raise(error);
      }
    },
  };
}
