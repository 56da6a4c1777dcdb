import { HoldfastError } from "../../domain/errors.js";
import type { ClaimReply } from "../../stores/process/leases.js";
import type { HeldLeases } from "../host/leases/held-leases.js";
import type { LoopPage } from "../host/loop-contract.js";
import { createRun, endRun, type ProcessRun } from "./run/run.js";
import { tellRunFault } from "./run/store-output.js";
import { execute, type ProcessRunParts } from "./run-process.js";
import { createSlots } from "./slots.js";

/**
 * Runs handlers under leases. A run:
 *
 *     claimed -> slot -> handler -> terminal write, fenced -> lease handed back in the same transaction
 *
 * A run whose lease is lost, or whose kernel closes, ends without a write. A run that the storage fails leaves its lease to run out: the
 * process stays claimable, and the time until the expiry is the pause before the next attempt, in every tab.
 *
 * A run is over at once when its lease is lost, its process has ended or the kernel closes, even if the handler ignores its signal: the
 * slot is free, and later calls of the handler on its context are refused.
 */
export interface ProcessRunner extends Pick<LoopPage, "run"> {
  readonly free: number;
  /** Ids of processes whose handlers do nothing but wait: a death now uses up no attempt. */
  readonly waiting: string[];
  /** Ids of processes whose leases are left to run out: neither renewed nor handed back. */
  readonly abandoned: string[];
  /** Aborts every handler with `reason`. Writes nothing and hands no lease back. */
  endAll(reason: HoldfastError): void;
}

export interface RunnerParts extends ProcessRunParts {
  readonly heldLeases: HeldLeases;
  readonly concurrency: number;
  /** A slot is free again. */
  onFree(): void;
  onClaimed(processId: string, fencingToken: number): void;
}

export function createRunner(parts: RunnerParts): ProcessRunner {
  const { clock, timings, heldLeases } = parts;
  const runs = new Map<string, ProcessRun>();
  /** Leases left to run out: process ids, and until when, in monotonic time. */
  const abandoned = new Map<string, number>();
  const slots = createSlots(parts.concurrency, parts.onFree);
  let closing: HoldfastError | undefined;

  function abandon(run: ProcessRun, processId: string, error: unknown): void {
    if (run.heldLease.over) return;
    abandoned.set(processId, clock.monotonicMs() + 2 * timings.leaseTtlMs);
    tellRunFault(parts, error, processId);
  }

  function begin(claim: ClaimReply, asOfMs: number): void {
    const { processId, fencingToken } = claim.lease;
    const run = createRun(parts, claim, asOfMs);
    runs.set(processId, run);
    heldLeases.add(run.heldLease);
    abandoned.delete(processId);
    parts.onClaimed(processId, fencingToken);
    const letGo = parts.watch.keepAlive();
    void execute(parts, slots, run, claim)
      .catch((error: unknown) => abandon(run, processId, error))
      .finally(() => {
        letGo();
        run.ended.abort();
        run.heldLease.end(new HoldfastError("lease-lost", `the run of process "${processId}" is over`));
        heldLeases.remove(run.heldLease);
        if (runs.get(processId) === run) runs.delete(processId);
      });
  }

  return {
    get free() {
      return closing ? 0 : slots.free;
    },
    get waiting() {
      return [...runs].flatMap(([processId, run]) => (run.isWaiting() ? [processId] : []));
    },
    get abandoned() {
      const nowMs = clock.monotonicMs();
      for (const [processId, untilMs] of abandoned) if (untilMs <= nowMs) abandoned.delete(processId);
      return [...abandoned.keys()];
    },
    async run(claims, asOfMs) {
      if (closing) return claims.map(({ lease }) => lease.processId);
      for (const claim of claims) begin(claim, asOfMs);
      return [];
    },
    endAll(reason) {
      if (reason.code === "closed") closing = reason;
      for (const run of runs.values()) endRun(run, reason);
    },
  };
}
