import type { ProcessLease } from "../../../domain/lease.js";
import type { HeldLease } from "./held-lease.js";

/** All leases that this page holds, as the loop sees them. */
export interface HeldLeases {
  add(heldLease: HeldLease): void;
  remove(heldLease: HeldLease): void;
  /** The leases that are to be renewed. */
  readonly leases: ProcessLease[];
  readonly isEmpty: boolean;
  extend(resources: readonly string[], asOfMs: number): void;
  recheck(resources: readonly string[]): Promise<void>;
  /** Called after the page was frozen, asleep or in the back/forward cache. */
  recheckAll(): Promise<void>;
}

export function createHeldLeases(): HeldLeases {
  const held = new Map<string, HeldLease>();
  const recheck = async (heldLeases: readonly (HeldLease | undefined)[]) => {
    await Promise.all(heldLeases.map((heldLease) => heldLease?.recheck()));
  };
  return {
    add: (heldLease) => void held.set(heldLease.lease.processId, heldLease),
    remove(heldLease) {
      const { processId } = heldLease.lease;
      if (held.get(processId) === heldLease) held.delete(processId);
    },
    get leases() {
      return [...held.values()].filter(({ over }) => !over).map(({ lease }) => lease);
    },
    get isEmpty() {
      return held.size === 0;
    },
    extend(resources, asOfMs) {
      for (const resource of resources) held.get(resource)?.extend(asOfMs);
    },
    recheck: (resources) => recheck(resources.map((resource) => held.get(resource))),
    recheckAll: () => recheck([...held.values()]),
  };
}
