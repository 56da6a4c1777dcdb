import type { Corridor } from "../../../corridor/command.js";
import { type ErrorCode, type HoldfastError, isHoldfastError } from "../../../domain/errors.js";
import type { ProcessLease } from "../../../domain/lease.js";
import type { Clock } from "../../../ports/clock.js";
import { leaseLost } from "../../../stores/host/leases.rules.js";
import { loadRow } from "../../../stores/schema.js";

/**
 * One lease as the page holds it. The loop renews it and says so; the page keeps a deadline of its own, in monotonic time.
 * When that passes, a write is refused, or the page was away, the stored row is read before anything else is believed:
 *
 *     still ours and live             -> go on
 *     still ours, run out, untaken    -> claimed again by the same owner: sleep and a frozen tab cost no attempt
 *     taken, freed or unreadable      -> lost
 */
export interface HeldLease {
  readonly lease: ProcessLease;
  /** Set once it is over; every later write is refused with it. */
  readonly over: HoldfastError | undefined;
  /** Makes a fenced write. If it is refused, the stored row is read, and the write is tried once more if the lease is still ours. */
  write<T>(write: (lease: ProcessLease) => Promise<T>): Promise<T>;
  /** The loop had a renewal accepted that was sent no earlier than `asOfMs`, in the page's monotonic time. */
  extend(asOfMs: number): void;
  /** Reads the stored row: whether the lease is still ours. */
  recheck(): Promise<boolean>;
  /**
   * Makes the write that hands the lease back. If it does, which it resolves with, the held lease ends with `reason`, and no look at the stored
   * row takes it for lost before.
   */
  giveBack(reason: HoldfastError, write: (lease: ProcessLease) => Promise<boolean>): Promise<boolean>;
  /** Ends the held lease in this page; the stored row stays as it is. */
  end(reason: HoldfastError): void;
}

interface HeldLeaseParts {
  readonly corridor: Corridor;
  readonly clock: Clock;
  readonly ttlMs: number;
  /** Claims the lease again, only over exactly this grant. */
  reclaim(lease: ProcessLease): Promise<ProcessLease>;
  onLost(reason: HoldfastError): void;
}

const TAKEN: ReadonlySet<ErrorCode> = new Set(["lease-lost", "lease-held", "terminal", "not-found"]);

export function holdLease(parts: HeldLeaseParts, granted: ProcessLease, asOfMs: number): HeldLease {
  const { corridor, clock, ttlMs } = parts;
  const { processId } = granted;
  let lease = granted;
  let over: HoldfastError | undefined;
  let deadlineMs = asOfMs + ttlMs;
  let cancelTimer = () => {};
  let checking: Promise<boolean> | undefined;
  let givingBack: Promise<unknown> | undefined;

  function setDeadline(atMs: number): void {
    deadlineMs = Math.max(deadlineMs, atMs);
    setTimer();
  }

  function setTimer(): void {
    cancelTimer();
    if (!over) cancelTimer = clock.setTimer(() => void onTimer(), deadlineMs - clock.monotonicMs());
  }

  /** Sets the next timer in any case: a timer may fire a little early, and a look may learn nothing. */
  async function onTimer(): Promise<void> {
    if (clock.monotonicMs() >= deadlineMs) await recheck();
    setTimer();
  }

  function end(reason: HoldfastError): void {
    if (over) return;
    over = reason;
    cancelTimer();
  }

  function lose(): false {
    if (over) return false;
    const reason = leaseLost(processId);
    end(reason);
    parts.onLost(reason);
    return false;
  }

  /** Waits a third of a lease's time for a storage that does not answer. */
  async function look(): Promise<boolean> {
    let cancel = () => {};
    const silence = new Promise<boolean>((resolve) => {
      cancel = clock.setTimer(() => resolve(clock.monotonicMs() >= deadlineMs ? lose() : true), ttlMs / 3);
    });
    try {
      return await Promise.race([readRow(), silence]);
    } finally {
      cancel();
    }
  }

  async function readRow(): Promise<boolean> {
    const startedMs = clock.monotonicMs();
    try {
      const stored = await corridor.query(["leases"], async (reader, now) => {
        const row = await loadRow(reader, "leases", processId);
        return row?.leaseToken === lease.leaseToken ? row.expiresAtMs - now() : undefined;
      });
      await givingBack;
      if (over || stored === undefined) return lose();
      if (stored > 0) {
        setDeadline(startedMs + stored);
        return true;
      }
      lease = await parts.reclaim(lease);
      if (over) return false;
      setDeadline(startedMs + ttlMs);
      return true;
    } catch (error) {
      const taken = isHoldfastError(error) && TAKEN.has(error.code);
      // An error of the storage says nothing of the owner, until the deadline.
      return taken || clock.monotonicMs() >= deadlineMs ? lose() : true;
    }
  }

  function recheck(): Promise<boolean> {
    if (over) return Promise.resolve(false);
    checking ??= look().finally(() => {
      checking = undefined;
    });
    return checking;
  }

  setDeadline(deadlineMs);
  return {
    get lease() {
      return lease;
    },
    get over() {
      return over;
    },
    async write(write) {
      if (over) throw over;
      try {
        return await write(lease);
      } catch (error) {
        if (!isHoldfastError(error) || error.code !== "lease-lost") throw error;
        if (!(await recheck())) throw over ?? error;
        return await write(lease);
      }
    },
    async giveBack(reason, write) {
      if (over) throw over;
      const writing = write(lease).then((isDone) => {
        if (isDone) end(reason);
        return isDone;
      });
      givingBack = writing.catch(() => false);
      return await writing;
    },
    extend: (sentMs) => setDeadline(sentMs + ttlMs),
    recheck,
    end,
  };
}
