import type { HeldLease } from "../../host/leases/held-lease.js";

/** What the context itself does, and not the app's code. Its errors are no failure of the handler's. */
export interface OwnWork {
  /** Notes the error as the context's own, and throws it. */
  raise(error: unknown): never;
  /** Refused once the run is over. Errors of `work` are noted. */
  own<T>(work: () => Promise<T>): Promise<T>;
}

/** `during` wraps the work: the run is not suspended meanwhile. */
export function createOwnWork(
  heldLease: HeldLease,
  raised: (error: unknown) => void,
  during: <T>(work: () => Promise<T>, mayBeLook: true) => Promise<T>,
): OwnWork {
  function raise(error: unknown): never {
    raised(error);
    throw error;
  }
  return {
    raise,
    async own(work) {
      try {
        return await during(() => {
          if (heldLease.over) throw heldLease.over;
          return work();
        }, true);
      } catch (error) {
        raise(error);
      }
    },
  };
}
