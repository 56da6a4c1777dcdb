import type { Corridor } from "../../corridor/command.js";
import type { Watch } from "../../corridor/watch.js";
import { asHoldfastError, type ErrorCode, HoldfastError, isHoldfastError } from "../../domain/errors.js";
import { isRetried, rollOf } from "../../domain/retry.rules.js";
import type { Limits, Timings } from "../../domain/time.js";
import type { Clock } from "../../ports/clock.js";
import { releaseLeases } from "../../stores/process/leases.js";
import { loadRow } from "../../stores/schema.js";
import type { InputHappening, SessionRef } from "../../stores/session/draft.js";
import { type AppendedMessages, commitTurn, endTurn, type RunRef, type TurnEnd } from "../../stores/session/turns.js";
import { faultOfApp } from "../host/fault.js";
import type { HeldLease } from "../host/leases/held-lease.js";
import type { Fault } from "../host/loop-contract.js";
import { createRunningSteps } from "../process/context/running-steps.js";
import { abortOf, isTrouble } from "../process/ending.js";
import type { Transcript } from "./transcript.js";
import { type AttachedHandler, type Began, type OpenTurn, openTurn } from "./turn.js";

/**
 * One run, from the call of the handler to what is stored of it:
 *
 *     handler -> commit | failed | cancelled | interrupted, fenced
 *
 * A write that the storage fails is tried again while the lease lives: a handler's work must not be done twice because of a short fault.
 */
export interface TurnRun {
  readonly runId: string;
  readonly handler: AttachedHandler;
  /** Called once. Resolves with whether the lease is still held, for the next run. */
  toItsEnd(): Promise<boolean>;
  /** Hands the inputs back, so that another handler or tab goes on. Resolves when nothing of the run is left to be written. */
  interrupt(): Promise<void>;
  /** The lease is lost, or the page leaves: the run ends at once, and nothing is written. */
  end(reason: HoldfastError): void;
}

export interface TurnRunParts {
  readonly ref: SessionRef;
  readonly corridor: Corridor;
  readonly watch: Watch;
  readonly clock: Clock;
  readonly timings: Timings;
  readonly limits: Limits;
  readonly transcript: Transcript;
  /** The executor's: after it aborts nothing is tried again, and nothing is waited for. */
  readonly stopping: AbortSignal;
  /** The storage failed the run, or the run cannot be stored. */
  onTrouble(): void;
  /** A turn was stored. */
  onStored(): void;
  happened(
    code: `run.${"started" | "completed" | "failed" | "cancelled"}`,
    runId: string,
    more?: { inputs?: readonly InputHappening[]; error?: string },
  ): void;
  newNonce(): string;
  fault(fault: Fault): void;
  /** Reports an error as a fault, unless it is `closed`. */
  tell(thrown: unknown): void;
}

/** Errors that end a run in this tab, however healthy the storage is: another tab goes on, none needs to, or the run failed. */
const SETTLED: ReadonlySet<ErrorCode> = new Set([
  "lease-lost",
  "not-found",
  "conflict",
  "invalid",
  "internal",
  "closed",
  "version",
]);

export function createTurnRun(parts: TurnRunParts, handler: AttachedHandler, began: Began, heldLease: HeldLease): TurnRun {
  const { ref, corridor, timings, transcript, stopping } = parts;
  const { runId } = began.run;
  const named = { ...ref, runId };
  const abort = new AbortController();
  const ended = new AbortController();
  /** Errors that the turn's own methods threw. */
  const raised = new WeakSet<object>();
  /** How the run ends when its handler returns. Set before the abort. */
  let end: TurnEnd | undefined = stopping.aborted ? { how: "interrupted" } : undefined;
  /** The handler has returned: its signal is not aborted any more. */
  let hasReturned = false;
  let resolveStored = () => {};
  /** Resolves when nothing of the run is left to be written. */
  const stored = new Promise<void>((resolve) => {
    resolveStored = resolve;
  });

  const misused = (message: string) => parts.fault({ area: "steps", code: "invalid", message });

  function openHere(): Promise<OpenTurn> {
    const turnParts = {
      ...parts,
      heldLease,
      signal: abort.signal,
      raised(error: unknown) {
        if (typeof error === "object" && error !== null) raised.add(error);
      },
      unawaited: misused,
      steps: createRunningSteps({ clock: parts.clock, waitMs: timings.leaseRenewMs, tell: misused }),
    };
    return openTurn(turnParts, began, named);
  }

  /** Aborts the handler when its run was ended from outside, or an input of it was cancelled. */
  async function follow(): Promise<void> {
    const read = async (): Promise<HoldfastError | undefined> => {
      const { runtime, isCancelled } = await readRun(parts);
      if (runtime?.incarnation !== ref.incarnation || runtime.run?.runId !== runId) {
        const state = runtime?.state ?? "deleted";
        return new HoldfastError("lease-lost", `the run was ended: the session is ${state}`, { details: { state } });
      }
      if (!isCancelled) return undefined;
      end ??= { how: "cancelled" };
      return new HoldfastError("aborted", "the input was cancelled", { details: { reason: "cancel-requested" } });
    };
    for (;;) {
      try {
        const reason = await parts.watch.until(ref.runtimeId, read, ended.signal);
        if (!ended.signal.aborted && !hasReturned) abort.abort(reason);
        return;
      } catch (error) {
        if (ended.signal.aborted || stopping.aborted || (isHoldfastError(error) && error.code === "closed")) return;
        parts.tell(error);
        await pause(parts, timings.pollMs);
        if (ended.signal.aborted) return;
      }
    }
  }

  async function finish(how: TurnEnd): Promise<boolean> {
    const done = await persist(parts, heldLease, (lease) => corridor.run(endTurn, { ...named, ...how, lease }));
    if (!done) return false;
    if (how.how === "failed") parts.happened("run.failed", runId, { inputs: done, error: how.cause });
    if (how.how === "cancelled") parts.happened("run.cancelled", runId, { inputs: done });
    return how.how === "cancelled";
  }

  function failedBy(cause: string, isFinal: boolean): TurnEnd {
    const { retryIf: _, ...backoff } = handler.retry;
    return { how: "failed", cause, isFinal, backoff, roll: rollOf(parts.newNonce()) };
  }

  async function commit(pending: AppendedMessages): Promise<boolean> {
    const size = JSON.stringify(pending.messages).length;
    let refusal: HoldfastError | undefined;
    const onRefused = (error: HoldfastError) => {
      refusal = error;
    };
    const write = (lease: RunRef["lease"]) => corridor.run(commitTurn, { ...named, ...pending, lease }, { size });
    const done = await persist(parts, heldLease, write, { onRefused, isOff: () => end !== undefined });
    // Another caller wrote into this run. It counts as a failed attempt: one that does so each time must not run for ever.
    if (refusal) return await finish(failedBy(refusal.message, refusal.code === "invalid"));
    if (!done) return false;
    parts.onStored();
    transcript.extend(pending.base, pending.messages, pending.digest);
    parts.happened("run.completed", runId, { inputs: done.happened });
    return !done.released;
  }

  return {
    runId,
    handler,
    async toItsEnd() {
      const letGo = parts.watch.keepAlive();
      if (!end) parts.happened("run.started", runId, { inputs: began.happened });
      try {
        const open = await openHere();
        let failure: { thrown: unknown } | undefined;
        try {
          if (!end) {
            void follow();
            // A handler that ignores its signal must not hold up the next run; its later calls are refused.
            await Promise.race([handler.run(open.turn), abortOf(abort.signal)]);
          }
        } catch (error) {
          failure = { thrown: error };
          // Trouble of the storage or the lease is no failure of the handler.
          if (isTrouble(error) && raised.has(error)) {
            end ??= { how: "interrupted" };
            parts.onTrouble();
          } else if (!abort.signal.aborted) parts.fault(faultOfApp("turn", `the turn handler in run "${runId}"`, error));
        } finally {
          open.close();
          hasReturned = true;
        }
        if (heldLease.over) return false;
        if (end) return await finish(end);
        if (failure) {
          const { thrown } = failure;
          // What cannot be stored cannot be stored the next time either.
          const isUnstorable = isHoldfastError(thrown) && thrown.code === "invalid" && raised.has(thrown);
          return await finish(failedBy(causeOf(thrown), isUnstorable || !isRetried(handler.retry, thrown)));
        }
        if (abort.signal.aborted) {
          // The session was stopped, destroyed or deleted during the run.
          parts.happened("run.cancelled", runId);
          await releaseQuietly(corridor, heldLease);
          return false;
        }
        const isStored = await commit(await open.pending());
        return end ? await finish(end) : isStored;
      } finally {
        letGo();
        ended.abort();
        resolveStored();
      }
    },
    interrupt() {
      if (!ended.signal.aborted) {
        end ??= { how: "interrupted" };
        abort.abort(new HoldfastError("aborted", "the turn handler was taken off", { details: { reason: "detached" } }));
      }
      return stored;
    },
    end(reason) {
      if (ended.signal.aborted) return;
      heldLease.end(reason);
      abort.abort(reason);
    },
  };
}

interface Persisting {
  onRefused?(error: HoldfastError): void;
  /** Asked between two tries: the write is given up, because the run ends in another way by now. */
  isOff?(): boolean;
}

/** Writes, and tries again while the lease lives. `undefined`: the write was given up. */
async function persist<T>(
  parts: TurnRunParts,
  heldLease: HeldLease,
  write: (lease: RunRef["lease"]) => Promise<T>,
  { onRefused, isOff }: Persisting = {},
): Promise<T | undefined> {
  const { corridor, timings, stopping } = parts;
  for (;;) {
    try {
      return await heldLease.write(write);
    } catch (thrown) {
      const error = asHoldfastError(thrown, "internal", "a turn could not be stored");
      if (heldLease.over) return undefined;
      if (SETTLED.has(error.code)) {
        if (error.code !== "lease-lost" && error.code !== "not-found") parts.tell(error);
        const isRefused = error.code === "conflict" || error.code === "invalid" || error.code === "internal";
        if (isRefused && onRefused) {
          onRefused(error);
          return undefined;
        }
        if (isRefused) parts.onTrouble();
        await releaseQuietly(corridor, heldLease);
        return undefined;
      }
      parts.tell(error);
      if (stopping.aborted) {
        await releaseQuietly(corridor, heldLease);
        return undefined;
      }
      if (!(await heldLease.recheck())) return undefined;
      await pause(parts, timings.leaseRenewMs / 4);
      if (isOff?.()) return undefined;
    }
  }
}

/** The session's row, and whether an input of its run was cancelled. */
function readRun({ corridor, ref: { runtimeId } }: TurnRunParts) {
  return corridor.query(["runtimes", "inputs"], async (reader) => {
    const runtime = await loadRow(reader, "runtimes", runtimeId);
    const ids = runtime?.run?.inputIds ?? [];
    const rows = await Promise.all(ids.map((id) => loadRow(reader, "inputs", [runtimeId, id])));
    return { runtime, isCancelled: rows.some((row) => row?.cancelRequested === 1) };
  });
}

/** Hands the lease back, so that no other tab has to wait until it runs out. Never rejects. */
export async function releaseQuietly(corridor: Corridor, { lease }: HeldLease): Promise<void> {
  try {
    await corridor.run(releaseLeases, { leases: [lease] });
  } catch {
    // The lease runs out by itself.
  }
}

/** Ends early when the executor stops. */
function pause({ clock, stopping }: TurnRunParts, ms: number): Promise<void> {
  if (stopping.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const cancel = clock.setTimer(wake, ms);
    function wake(): void {
      stopping.removeEventListener("abort", wake);
      cancel();
      resolve();
    }
    stopping.addEventListener("abort", wake);
  });
}

const LONGEST_CAUSE = 1_024;

/** The text of a failure's cause. A handler may throw any value. */
function causeOf(thrown: unknown): string {
  const text = (() => {
    try {
      if (typeof thrown === "string") return thrown;
      return (thrown as { message?: unknown }).message;
    } catch {
      return undefined;
    }
  })();
  const cause = typeof text === "string" && text.trim() !== "" ? text : "the handler threw a value without a message";
  return cause.slice(0, LONGEST_CAUSE).replace(/\p{Surrogate}/gu, "\uFFFD");
}
