import type { Watch } from "../../corridor/watch.js";
import { isHoldfastError } from "../../domain/errors.js";
import type { JsonValue } from "../../domain/json.js";
import type { ProcessAwaitOutput, ProcessRecord } from "../../domain/process/process.js";
import { isRetried, type Retry } from "../../domain/retry.rules.js";
import type { EventAppender, EventMethods } from "../../stores/process/events.js";
import type { ClaimReply } from "../../stores/process/leases.js";
import { readRecord } from "../../stores/process/processes.js";
import { admitPayload } from "../../stores/process/registration.js";
import { faultOf, faultOfApp } from "../host/fault.js";
import type { Fault } from "../host/loop-contract.js";
import { createCalls } from "./context/calls.js";
import { type ContextParts, createContext, type ProcessContext } from "./context/context.js";
import { createRunningSteps } from "./context/running-steps.js";
import type { Runnable } from "./definition/define.js";
import { abortOf, isTrouble, outputOf } from "./ending.js";
import {
  type HandleBounds,
  type HandleParts,
  type HandleStores,
  type ProcessHandle,
  processHandle,
  type SignalSender,
} from "./handle.js";
import { followProcess } from "./run/follow.js";
import { handlerLease } from "./run/handler-lease.js";
import { endByTime, endRun, type ProcessRun, type RunParts, TIMED_OUT } from "./run/run.js";
import { handBack, storeFailedAttempt, storeOutput } from "./run/store-output.js";
import { type Slot, type Slots, takeSlot } from "./slots.js";
import { type StartParts, startProcess } from "./start.js";
import { createRunWaits } from "./waits/run-waits.js";
import { createSuspension, type Suspension } from "./waits/suspension.js";

export interface ProcessRunParts extends StartParts, RunParts, Pick<HandleParts, "restarts">, Omit<SignalSender, "handlers"> {
  readonly handlers: ReadonlyMap<string, Runnable>;
  readonly appendEvent: EventAppender;
  /** Runs a turn of the session; `undefined` where the session is not attached. */
  sessionTurn(sessionId: string): SessionTurn | undefined;
  readonly attemptBudget: number;
  readonly watch: Watch;
  readonly stores: HandleStores & Pick<EventMethods, "completeProcess">;
  fault(fault: Fault): void;
}

export type SessionTurn = (
  run: Pick<ProcessContext, "record" | "signal"> & {
    waiting<T>(wait: () => Promise<T>): Promise<T>;
    /** Aborts when the run is over: all waits end. */
    readonly stopped: AbortSignal;
  },
) => Promise<JsonValue>;

/** Rejects if the storage failed the run: how it ended is unknown then. */
export async function execute(parts: ProcessRunParts, slots: Slots, run: ProcessRun, claim: ClaimReply): Promise<void> {
  const slot = await takeSlot(slots, run.stopped.signal, run.ended.signal);
  try {
    // Work that goes on after the run is refused by the held lease, and its errors are ignored.
    if (slot) await Promise.race([work(parts, run, claim, slot), abortOf(run.stopped.signal)]);
  } finally {
    run.ended.abort();
    await slot?.leave();
  }
  if (run.heldLease.over?.code === "terminal") await handBack(parts, run.heldLease);
  if (run.forced && !run.heldLease.over) await storeForced(parts, run, claim, run.forced);
}

async function storeForced(
  parts: ProcessRunParts,
  run: ProcessRun,
  claim: ClaimReply,
  forced: ProcessAwaitOutput,
): Promise<void> {
  const { processId, handler } = claim.process;
  const message =
    forced.type === "cancelled"
      ? `handler "${handler}" did not end in time after a cancel request`
      : `handler "${handler}": ${TIMED_OUT}`;
  parts.fault({ area: "handler", code: "timeout", message, processId });
  await storeOutput(parts, run.heldLease, forced);
}

async function work(parts: ProcessRunParts, run: ProcessRun, claim: ClaimReply, slot: Slot): Promise<void> {
  const { processId } = claim.lease;
  const record = await readRecord(parts.corridor, processId);
  if (record?.status.state !== "running") return await handBack(parts, run.heldLease);
  if (isLate(claim, parts)) return endByTime(run, "timeout");
  if (claim.fruitless >= parts.attemptBudget) {
    const message = `${claim.fruitless} attempts in a row ended without a result`;
    parts.fault({ area: "handler", code: "failed", message, processId });
    return await storeOutput(parts, run.heldLease, {
      type: "failure",
      class: "execution",
      code: "process_recovery_failed",
      message,
    });
  }
  const reason = claim.process.cancelRequested;
  if (reason !== undefined && claim.attempt === 1)
    return await storeOutput(parts, run.heldLease, { type: "cancelled", message: reason });
  await followProcess(parts, run, processId);
  if (run.over) return;
  await handle(parts, run, claim, record, slot);
}

function isLate({ process: { deadlineAtMs } }: ClaimReply, { clock }: ProcessRunParts): boolean {
  return deadlineAtMs !== undefined && deadlineAtMs <= clock.now();
}

/** Calls the handler and stores its output. */
async function handle(
  parts: ProcessRunParts,
  run: ProcessRun,
  claim: ClaimReply,
  record: ProcessRecord,
  slot: Slot,
): Promise<void> {
  const raised = new WeakSet<object>();
  const raise = (error: unknown) => {
    if (typeof error === "object" && error !== null) raised.add(error);
  };
  const isRaisedTrouble = (error: unknown) => isTrouble(error) && raised.has(error);
  const refused = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (thrown) {
      // If the run was ended, its waits reject with the reason of that.
      const error = run.over ?? thrown;
      raise(error);
      throw error;
    }
  };
  const noted = <T>(work: () => Promise<T>): Promise<T> => suspension.during(() => refused(work));
  const unstored = handlerLease(run.heldLease, () => run.over);
  const bounds: HandleBounds = {
    waiting: (wait) => noted(() => slot.waiting(wait)),
    signal: run.stopped.signal,
    fenced: (write) => noted(() => unstored.write(write)),
  };
  const { process } = claim;
  const isTurn = process.inputType === "session_turn";
  const turn = isTurn ? parts.sessionTurn(process.handler ?? "") : undefined;
  const runnable: Runnable | undefined = turn
    ? { run: (context) => turn({ ...context, waiting: bounds.waiting, stopped: run.stopped.signal }) }
    : isTurn
      ? undefined
      : parts.handlers.get(process.handler ?? "");
  if (!runnable) return await handBack(parts, run.heldLease);
  // If the code cannot be loaded, the run ends like one that the storage fails: the process stays claimable.
  const code = runnable.events || runnable.signals || runnable.input ? await parts.definitions.load() : undefined;
  const definition = code?.schemasInRun({ ...parts, runnable, processId: record.id, claimed: process });
  const misused = (message: string) => parts.fault({ area: "steps", code: "invalid", message, processId: record.id });
  const calls = createCalls(misused);
  const handleOf = (id: string, startedBy?: unknown): ProcessHandle => {
    const handle = processHandle(parts, id, startedBy, bounds);
    const methods = ["record", "result", "outcome", "signal", "cancel", "restart"] as const;
    return calls.watched({ ...handle, record: () => noted(handle.record) }, methods);
  };
  const { ownerScope, hostProfileId } = record.provenance;
  const { clock, corridor, timings } = parts;
  const onEnd = () => suspension.touch();
  const steps = createRunningSteps({ clock, waitMs: timings.leaseRenewMs, tell: misused, onEnd });
  run.isWaiting = () => slot.isWaiting && steps.isIdle;
  // A wait that the handler did not await ends with it.
  const stopped = AbortSignal.any([run.stopped.signal, run.ended.signal]);
  const waits = createRunWaits({
    clock,
    waiting: (wait) => refused(() => slot.waiting(wait)),
    stopped,
    cancelled: run.abort.signal,
    onChange: () => suspension.touch(),
  });
  const suspension: Suspension = createSuspension({
    clock,
    corridor,
    heldLease: run.heldLease,
    suspendAfterMs: isTurn ? Number.POSITIVE_INFINITY : (runnable.suspendAfterMs ?? timings.suspendAfterMs),
    waits,
    isIdle: () => steps.isIdle && !run.over && run.cancelled === undefined,
    flushProgress: () => flushProgress(),
    endRun: (reason) => endRun(run, reason),
  });
  run.heard = waits.heard;
  const contextParts: ContextParts = {
    ...parts,
    definition,
    record,
    attempt: claim.attempt,
    fresh: process.lastSequence === 0,
    claimed: process,
    mayWait: process.mayWait !== undefined,
    heldLease: handlerLease(run.heldLease, () => run.over, run.timer.stored),
    progressLease: unstored,
    signal: run.abort.signal,
    processHandle: handleOf,
    raised: raise,
    during: suspension.during,
    isRaisedTrouble,
    steps,
    waits,
    async startChild(what, named) {
      const child = await unstored.write((lease) =>
        startProcess(parts, what, { ...named, ownerScope, hostProfileId, parentId: record.id, lease }),
      );
      return handleOf(child.id, what[0]);
    },
  };
  const { context, flushProgress } = createContext(contextParts);

  /** A handler that ends while its run is being suspended has ended first only if the run is not. */
  const running = async (handler: () => unknown) => {
    try {
      return await handler();
    } finally {
      await suspension.end();
    }
  };
  let output: ProcessAwaitOutput;
  let retry: Retry | undefined;
  const which = `handler "${process.handler}"`;
  let did: string | undefined = "was not called";
  try {
    const watched = calls.watched(context, ["step", "all", "emit", "start", "sleep", "sleepUntil", "waitForSignal"]);
    const made = definition && { args: (await definition.argsOf(context.args)) as ProcessContext["args"] };
    did = "threw";
    const value = (await running(() => runnable.run({ ...watched, ...made }))) ?? null;
    did = undefined;
    output = { type: "success", value: admitPayload(value, `the result of ${which}`, parts.limits) };
  } catch (error) {
    if (isRaisedTrouble(error)) throw error;
    const isAsked = run.cancelled !== undefined;
    output = outputOf(error, isAsked ? run.abort.signal.reason : undefined);
    if (did === "threw" && !isAsked) retry = retryOf(runnable, error);
    if (output.type === "failure" && !run.over)
      parts.fault({
        ...(did === undefined ? faultOf("handler", error, which) : faultOfApp("handler", which, error, did)),
        processId: record.id,
      });
  } finally {
    run.ended.abort();
  }
  if (run.over) return;
  calls.end();
  await flushProgress();
  if (retry && output.type === "failure" && (await storeFailedAttempt(parts, run.heldLease, retry, output))) return;
  await storeOutput(parts, run.heldLease, output);
}

/** The policy by which the handler is run again, if what it threw may be tried again. A call that is refused as invalid is refused each time. */
function retryOf({ retry }: Runnable, error: unknown): Retry | undefined {
  const isRefused = isHoldfastError(error) && error.code === "invalid";
  return retry && !isRefused && isRetried(retry, error) ? retry : undefined;
}
