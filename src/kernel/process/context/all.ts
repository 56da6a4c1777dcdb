import { checkFunction, checkList, checkWhole, optionsOf } from "../../../domain/check.js";
import type { HeldLease } from "../../host/leases/held-lease.js";
import type { OwnWork } from "./own-work.js";

export interface AllCalls {
  /**
   * Calls `run` for each item, at most `concurrency` at a time (1 and up; default: all at once), and resolves with the results in the order
   * of the items. The first rejection stops new calls; it is thrown when those that were begun have ended. Nothing of it is stored: what
   * must not be done again goes into steps, with a key for each item. At most 1,000,000 items; else `invalid`.
   */
  all<I, O>(items: readonly I[], run: (item: I, at: number) => Promise<O>, options?: { concurrency?: number }): Promise<O[]>;
}

const MOST_ITEMS_OF_ALL = 1_000_000;

export function allCalls(heldLease: HeldLease, { raise }: OwnWork): AllCalls {
  function refuseOver(): void {
    if (heldLease.over) raise(heldLease.over);
  }

  return {
    async all<I, O>(items: readonly I[], run: (item: I, at: number) => Promise<O>, options: unknown = {}) {
      const list = checkList("items", items, MOST_ITEMS_OF_ALL) as I[];
      checkFunction("run", run);
      const { concurrency } = optionsOf("all", options, ["concurrency"]);
      const most = concurrency === undefined ? list.length : checkWhole("options.concurrency", concurrency, 1);
      const results = new Array<O>(list.length);
      const errors: unknown[] = [];
      let next = 0;

      async function line(): Promise<void> {
        while (next < list.length && errors.length === 0) {
          const at = next++;
          try {
            refuseOver();
            results[at] = await run(list[at] as I, at);
          } catch (error) {
            errors.push(error);
          }
        }
      }

      refuseOver();
      await Promise.all(Array.from({ length: Math.min(list.length, most) }, line));
      if (errors.length > 0) throw errors[0];
      return results;
    },
  };
}
