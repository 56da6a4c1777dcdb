import type { Corridor } from "../../../corridor/command.js";
import { HoldfastError } from "../../../domain/errors.js";
import type { ProcessAwaitOutput } from "../../../domain/process/process.js";
import type { Timings } from "../../../domain/time.js";
import type { Clock } from "../../../ports/clock.js";
import { type Host, leaseLost } from "../../../stores/host/leases.rules.js";
import type { ClaimReply } from "../../../stores/process/leases.js";
import { claimForRunner } from "../../../stores/process/runs/limits.js";
import { type HeldLease, holdLease } from "../../host/leases/held-lease.js";
import { claimTermsOf } from "../definition/claim-terms.js";
import type { Runnable } from "../definition/define.js";
import { createRunTimer, type RunTimer } from "./run-timer.js";

/**
 * One run of a claimed process:
 *
 *     slot -> handler -> terminal write, fenced -> lease handed back in the same transaction
 */
export interface ProcessRun {
  readonly heldLease: HeldLease;
  /** The controller of the handler's signal. */
  readonly abort: AbortController;
  /** Aborts when the lease is lost, the process has ended, its time is up or the kernel closes: all waits end, also the one for a slot. */
  readonly stopped: AbortController;
  /** Aborts when the handler has ended, or is not waited for any more. */
  readonly ended: AbortController;
  /** Why every further call of the handler is refused, once the run is over for it. The lease may still be held then. */
  readonly over: HoldfastError | undefined;
  readonly timer: RunTimer;
  /** How often the process was restarted before this run. */
  readonly restarts: number;
  /** How the process ends because the handler did not in time. */
  forced: ProcessAwaitOutput | undefined;
  /** The reason of a cancel request. */
  cancelled: string | undefined;
  /** The handler does nothing but wait: no step is under way. `handle` sets it; until then nothing waits. */
  isWaiting(): boolean;
  /** The process changed. `handle` sets it. */
  heard(): void;
}

export interface RunParts {
  readonly corridor: Corridor;
  readonly clock: Clock;
  readonly timings: Timings;
  /** What this host runs, by name. */
  readonly handlers: ReadonlyMap<string, Runnable>;
  newNonce(): string;
  host(): Host;
  onLost(processId: string): void;
}

/** Makes a run that holds its lease; `execute` starts it. */
export function createRun(parts: RunParts, { lease, process }: ClaimReply, asOfMs: number): ProcessRun {
  const { corridor, clock, timings } = parts;
  const { leaseTtlMs: ttlMs } = timings;
  const { handler = "", inputType } = process;
  const runnable = inputType === "session_turn" ? undefined : parts.handlers.get(handler);
  const terms = runnable && claimTermsOf(handler, runnable);
  const abort = new AbortController();
  const stopped = new AbortController();
  const ended = new AbortController();
  const heldLeaseParts = {
    ...parts,
    ttlMs,
    async reclaim({ processId, ownerId, leaseToken }: HeldLease["lease"]) {
      const claim = { processId, ownerId, ttlMs, nonce: parts.newNonce(), host: parts.host(), terms, over: leaseToken };
      const reclaimed = await corridor.run(claimForRunner, claim);
      if ("heldBack" in reclaimed) throw leaseLost(processId);
      return reclaimed.lease;
    },
    onLost(reason: HoldfastError) {
      stopped.abort(reason);
      abort.abort(reason);
      parts.onLost(lease.processId);
    },
  };
  const { deadlineAtMs } = process;
  const timer = createRunTimer({ clock, deadlineAtMs, cancelMs: ttlMs, onOver: (why) => endByTime(run, why) });
  for (const { signal } of [stopped, ended]) signal.addEventListener("abort", timer.end, { once: true });
  const heldLease = holdLease(heldLeaseParts, lease, asOfMs);
  const run: ProcessRun = {
    heldLease,
    abort,
    stopped,
    ended,
    get over() {
      return stopped.signal.aborted ? (stopped.signal.reason as HoldfastError) : heldLease.over;
    },
    timer,
    restarts: process.restarts?.count ?? 0,
    forced: undefined,
    cancelled: undefined,
    isWaiting: () => false,
    heard: () => {},
  };
  return run;
}

export const TIMED_OUT = "the process did not end within its timeoutMs";

/** The handler is not waited for any more. The end of its process is stored under the lease. */
export function endByTime(run: ProcessRun, why: "timeout" | "cancelled"): void {
  run.forced =
    why === "timeout"
      ? { type: "failure", class: "timeout", code: "timeout", message: TIMED_OUT }
      : { type: "cancelled", message: run.cancelled ?? "" };
  const reason = why === "timeout" ? new HoldfastError("timeout", TIMED_OUT) : run.abort.signal.reason;
  run.stopped.abort(reason);
  run.abort.abort(reason);
}

/** Ends the run at once, even if the handler ignores its signal. */
export function endRun(run: ProcessRun, reason: HoldfastError): void {
  run.heldLease.end(reason);
  run.stopped.abort(reason);
  run.abort.abort(reason);
}
