import type { Corridor } from "../../../corridor/command.js";
import { HoldfastError, isHoldfastError } from "../../../domain/errors.js";
import type { Clock } from "../../../ports/clock.js";
import { suspendProcess } from "../../../stores/process/waits/suspend.js";
import type { HeldLease } from "../../host/leases/held-lease.js";
import type { RunWaits } from "./run-waits.js";
import { suspendsInMs } from "./suspension.rules.js";

/**
 * Suspends a run that does nothing but wait: its lease is returned and its handler is given up, until the end of a wait makes the process
 * claimable. `suspension.rules.ts` says when; what is stored decides whether.
 */
export interface Suspension {
  /**
   * Work of the run that is no wait of its own: the run is not suspended meanwhile. The work waits for a suspension that is under way. What a
   * wait does to look at what is stored (`mayBeLook`) begins no new time.
   */
  during<T>(work: () => Promise<T>, mayBeLook?: boolean): Promise<T>;
  /** The run did something: the time in which it only waits begins anew. */
  touch(): void;
  /** The handler has ended: no suspension begins any more. Resolves when the one under way is over. */
  end(): Promise<void>;
}

interface SuspensionParts {
  readonly corridor: Corridor;
  readonly clock: Clock;
  readonly heldLease: HeldLease;
  readonly suspendAfterMs: number;
  readonly waits: Pick<RunWaits, "pending" | "isLooking" | "heard">;
  /** No step is under way, and the run is neither over nor asked to cancel. */
  isIdle(): boolean;
  flushProgress(): Promise<void>;
  /** Ends the run, whose lease is returned. */
  endRun(reason: HoldfastError): void;
}

/** The pause after a suspension that was refused, or that the storage failed. */
const AGAIN_MS = 1_000;

export function createSuspension(parts: SuspensionParts): Suspension {
  const { corridor, clock, heldLease, waits } = parts;
  const { processId } = heldLease.lease;
  let busy = 0;
  let since = { wallMs: clock.now(), monotonicMs: clock.monotonicMs() };
  let isEnded = false;
  let underway: Promise<void> | undefined;
  let cancelTimer = () => {};

  const isOnlyWaiting = () => busy === 0 && !isEnded && parts.isIdle();

  function touch(): void {
    since = { wallMs: clock.now(), monotonicMs: clock.monotonicMs() };
    setTimer();
  }

  function setTimer(leastMs = 0): void {
    cancelTimer();
    if (underway || !isOnlyWaiting()) return;
    const inMs = suspendsInMs(waits.pending, parts.suspendAfterMs, since.wallMs);
    if (inMs === undefined) return;
    cancelTimer = clock.setTimer(begin, Math.max(leastMs, since.monotonicMs + inMs - clock.monotonicMs()));
  }

  function begin(): void {
    if (!isOnlyWaiting()) return;
    underway = suspend().finally(() => {
      underway = undefined;
      setTimer(AGAIN_MS);
    });
  }

  async function suspend(): Promise<void> {
    await parts.flushProgress();
    const reason = new HoldfastError("suspended", `process "${processId}" is suspended: another run goes on when its wait ends`);
    try {
      const isSuspended = await heldLease.giveBack(reason, (lease) =>
        corridor.run(suspendProcess, { lease, waits: [...waits.pending] }),
      );
      if (isSuspended) parts.endRun(reason);
      // What speaks against it may be what a wait is for, and its notice may be lost.
      else waits.heard();
    } catch (error) {
      if (isHoldfastError(error) && error.code === "lease-lost") await heldLease.recheck();
    }
  }

  return {
    async during(work, mayBeLook = false) {
      if (underway) await underway;
      const isLook = mayBeLook && waits.isLooking;
      busy++;
      cancelTimer();
      try {
        return await work();
      } finally {
        busy--;
        if (isLook) setTimer();
        else touch();
      }
    },
    touch,
    async end() {
      isEnded = true;
      cancelTimer();
      await underway;
    },
  };
}
