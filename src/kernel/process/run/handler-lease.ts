import type { HoldfastError } from "../../../domain/errors.js";
import type { HeldLease } from "../../host/leases/held-lease.js";

/**
 * The lease as the calls of a handler use it. It is over when the run is over for the handler, which may be before the lease is: the end of
 * a process whose time is up is stored under the lease. `onWritten` hears of each write that was stored.
 */
export function handlerLease(
  held: HeldLease,
  overBy: () => HoldfastError | undefined,
  onWritten: () => void = () => {},
): HeldLease {
  return {
    ...held,
    get lease() {
      return held.lease;
    },
    get over() {
      return overBy();
    },
    async write(write) {
      const over = overBy();
      if (over) throw over;
      const reply = await held.write(write);
      onWritten();
      return reply;
    },
  };
}
