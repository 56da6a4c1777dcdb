import type { Corridor } from "../../corridor/command.js";
import type { Shared, Watch } from "../../corridor/watch.js";
import { asHoldfastError, HoldfastError } from "../../domain/errors.js";
import type { JsonValue } from "../../domain/json.js";
import type { ProcessAwaitOutput, ProcessRecord } from "../../domain/process/process.js";
import type { Timings } from "../../domain/time.js";
import type { Clock } from "../../ports/clock.js";
import { type Host, leaseLost } from "../../stores/host/leases.rules.js";
import type { EventAppender, EventMethods } from "../../stores/process/events.js";
import { type ClaimReply, releaseLeases } from "../../stores/process/leases.js";
import { readRecord } from "../../stores/process/processes.js";
import { admitPayload } from "../../stores/process/registration.js";
import { claimForRunner } from "../../stores/process/runs/limits.js";
import type { ProcessRow } from "../../stores/process/tables.js";
import { faultOf, faultOfApp } from "../host/fault.js";
import { type HeldLease, holdLease } from "../host/leases/held-lease.js";
import type { Fault } from "../host/loop-contract.js";
import { createCalls } from "./context/calls.js";
import { type ContextParts, createContext, type ProcessContext } from "./context/context.js";
import { createRunningSteps } from "./context/running-steps.js";
import { claimTermsOf, type Runnable } from "./definition/define.js";
import { abortOf, isTrouble, outputOf, storableOutput } from "./ending.js";
import { type HandleBounds, type HandleStores, type ProcessHandle, processHandle, processRow } from "./handle.js";
import { type Slot, type Slots, takeSlot } from "./slots.js";
import { type StartParts, startProcess } from "./start.js";
import { createRunWaits } from "./waits/run-waits.js";

/**
 * One run of a claimed process:
 *
 *     slot -> handler -> terminal write, fenced -> lease handed back in the same transaction
 */
export interface ProcessRun {
  readonly heldLease: HeldLease;
  /** The controller of the handler's signal. */
  readonly abort: AbortController;
  /** Aborts when the lease is lost, the process has ended or the kernel closes: all waits end, also the one for a slot. */
  readonly stopped: AbortController;
  /** Aborts when the handler has ended, or is not waited for any more. */
  readonly ended: AbortController;
  cancelled: boolean;
  /** The handler does nothing but wait: no step is under way. `handle` sets it; until then nothing waits. */
  isWaiting(): boolean;
  /** The process changed. `handle` sets it. */
  heard(): void;
}

export interface ProcessRunParts extends StartParts {
  readonly corridor: Corridor;
  readonly clock: Clock;
  newNonce(): string;
  host(): Host;
  readonly handlers: ReadonlyMap<string, Runnable>;
  readonly appendEvent: EventAppender;
  /** Runs a turn of the session; `undefined` where the session is not attached. */
  sessionTurn(sessionId: string): SessionTurn | undefined;
  readonly attemptBudget: number;
  readonly timings: Timings;
  readonly watch: Watch;
  readonly stores: HandleStores & Pick<EventMethods, "completeProcess">;
  onLost(processId: string): void;
  fault(fault: Fault): void;
}

export type SessionTurn = (
  run: Pick<ProcessContext, "record" | "signal"> & {
    waiting<T>(wait: () => Promise<T>): Promise<T>;
    /** Aborts when the run is over: all waits end. */
    readonly stopped: AbortSignal;
  },
) => Promise<JsonValue>;

/** Makes a run that holds its lease; `execute` starts it. */
export function createRun(parts: ProcessRunParts, { lease, process }: ClaimReply, asOfMs: number): ProcessRun {
  const { corridor, timings } = parts;
  const { handler = "", inputType } = process;
  const runnable = inputType === "session_turn" ? undefined : parts.handlers.get(handler);
  const terms = runnable && claimTermsOf(handler, runnable);
  const { leaseTtlMs: ttlMs } = timings;
  const abort = new AbortController();
  const stopped = new AbortController();
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
  return {
    heldLease: holdLease(heldLeaseParts, lease, asOfMs),
    abort,
    stopped,
    ended: new AbortController(),
    cancelled: false,
    isWaiting: () => false,
    heard: () => {},
  };
}

/** Ends the run at once, even if the handler ignores its signal. */
export function endRun(run: ProcessRun, reason: HoldfastError): void {
  run.heldLease.end(reason);
  run.stopped.abort(reason);
  run.abort.abort(reason);
}

/** Rejects if the storage failed the run: how it ended is unknown then. */
export async function execute(parts: ProcessRunParts, slots: Slots, run: ProcessRun, claim: ClaimReply): Promise<void> {
  const slot = await takeSlot(slots, run.stopped.signal, run.ended.signal);
  if (!slot) return;
  try {
    // Work that goes on after the run is refused by the held lease, and its errors are ignored.
    await Promise.race([work(parts, run, claim, slot), abortOf(run.stopped.signal)]);
  } finally {
    run.ended.abort();
    await slot.leave();
  }
  if (run.heldLease.over?.code === "terminal") await handBack(parts, run);
}

async function work(parts: ProcessRunParts, run: ProcessRun, claim: ClaimReply, slot: Slot): Promise<void> {
  const { processId } = claim.lease;
  const record = await readRecord(parts.corridor, processId);
  if (record?.status.state !== "running") return await handBack(parts, run);
  if (claim.fruitless >= parts.attemptBudget) {
    const message = `${claim.fruitless} attempts in a row ended without a result`;
    parts.fault({ area: "handler", code: "failed", message, processId });
    return await storeOutput(parts, run, { type: "failure", class: "execution", code: "process_recovery_failed", message });
  }
  const reason = claim.process.cancelRequested;
  if (reason !== undefined && claim.attempt === 1) return await storeOutput(parts, run, { type: "cancelled", message: reason });
  await followProcess(parts, run, processId);
  if (run.heldLease.over) return;
  await handle(parts, run, claim, record, slot);
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
  const noted = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (thrown) {
      // If the run was ended, its waits reject with the reason of that.
      const error = run.heldLease.over ?? thrown;
      raise(error);
      throw error;
    }
  };
  const bounds: HandleBounds = {
    waiting: (wait) => noted(() => slot.waiting(wait)),
    signal: run.stopped.signal,
    fenced: (write) => noted(() => run.heldLease.write(write)),
  };
  const { process } = claim;
  const isTurn = process.inputType === "session_turn";
  const turn = isTurn ? parts.sessionTurn(process.handler ?? "") : undefined;
  const runnable: Runnable | undefined = turn
    ? { run: (context) => turn({ ...context, waiting: bounds.waiting, stopped: run.stopped.signal }) }
    : isTurn
      ? undefined
      : parts.handlers.get(process.handler ?? "");
  if (!runnable) return await handBack(parts, run);
  // If the code cannot be loaded, the run ends like one that the storage fails: the process stays claimable.
  const code = runnable.events || runnable.input ? await parts.definitions.load() : undefined;
  const definition = code?.schemasInRun({ ...parts, runnable, processId: record.id });
  const misused = (message: string) => parts.fault({ area: "steps", code: "invalid", message, processId: record.id });
  const calls = createCalls(misused);
  const handleOf = (id: string): ProcessHandle => {
    const handle = processHandle(parts, id, bounds);
    return calls.watched({ ...handle, record: () => noted(handle.record) }, ["record", "result", "outcome", "cancel"]);
  };
  const { ownerScope, hostProfileId } = record.provenance;
  const steps = createRunningSteps({ clock: parts.clock, waitMs: parts.timings.leaseRenewMs, tell: misused });
  run.isWaiting = () => slot.isWaiting && steps.isIdle;
  const waits = createRunWaits({ clock: parts.clock, waiting: bounds.waiting, stopped: run.stopped.signal });
  run.heard = waits.heard;
  const contextParts: ContextParts = {
    ...parts,
    definition,
    record,
    attempt: claim.attempt,
    fresh: process.lastSequence === 0,
    heldLease: run.heldLease,
    signal: run.abort.signal,
    processHandle: handleOf,
    raised: raise,
    steps,
    waits,
    async startChild(what, named) {
      const child = await run.heldLease.write((lease) =>
        startProcess(parts, what, { ...named, ownerScope, hostProfileId, parentId: record.id, lease }),
      );
      return handleOf(child.id);
    },
  };
  const { context, flushProgress } = createContext(contextParts);

  let output: ProcessAwaitOutput;
  const which = `handler "${process.handler}"`;
  let did: string | undefined = "was not called";
  try {
    const watched = calls.watched(context, ["step", "emit", "start"]);
    const made = definition && { args: (await definition.argsOf(context.args)) as ProcessContext["args"] };
    did = "threw";
    const value = (await runnable.run({ ...watched, ...made })) ?? null;
    did = undefined;
    output = { type: "success", value: admitPayload(value, `the result of ${which}`, parts.limits) };
  } catch (error) {
    if (isTrouble(error) && raised.has(error)) throw error;
    output = outputOf(error, run.cancelled ? run.abort.signal.reason : undefined);
    if (output.type === "failure" && !run.heldLease.over)
      parts.fault({
        ...(did === undefined ? faultOf("handler", error, which) : faultOfApp("handler", which, error, did)),
        processId: record.id,
      });
  } finally {
    run.ended.abort();
  }
  if (run.heldLease.over) return;
  calls.end();
  await flushProgress();
  await storeOutput(parts, run, output);
}

/** Aborts the handler's signal on a cancel request, also an earlier one. Ends the run when the process ends in another way. */
async function followProcess(parts: ProcessRunParts, run: ProcessRun, processId: string): Promise<void> {
  const { corridor, watch, timings } = parts;
  // Once the handler has ended, its output decides.
  const isOver = () => run.ended.signal.aborted || run.heldLease.over;
  const obey = (row: ProcessRow | undefined): void => {
    if (!row || isOver()) return;
    if (row.state !== "running")
      return endRun(run, new HoldfastError("terminal", `process "${processId}" is already terminal: ${row.state}`));
    run.heard();
    if (row.cancelRequested === undefined) return;
    run.cancelled = true;
    run.abort.abort(new HoldfastError("aborted", row.cancelRequested, { details: { reason: "cancel-requested" } }));
  };
  const read = async (shared: Shared) => {
    obey(await shared("row", () => processRow(corridor, processId)));
    return isOver() ? true : undefined;
  };
  const goOn = async (): Promise<void> => {
    while (!isOver()) {
      try {
        await watch.until(processId, read, run.ended.signal);
      } catch (error) {
        if (isOver()) return;
        tellRunFault(parts, error, processId);
        await sleep(parts, timings.pollMs);
      }
    }
  };
  // The first read is awaited, so that the handler starts with an earlier request known. Later reads go on beside it until the run ends.
  obey(await processRow(corridor, processId));
  void goOn();
}

/** Stores the output, and tries again while the lease lives: finished work must not be done again because of a short fault. */
async function storeOutput(parts: ProcessRunParts, run: ProcessRun, wanted: ProcessAwaitOutput): Promise<void> {
  const { processId } = run.heldLease.lease;
  let output = wanted;
  for (;;) {
    try {
      await run.heldLease.write((lease) => parts.stores.completeProcess(processId, output, { lease }));
      return;
    } catch (thrown) {
      const error = asHoldfastError(thrown, "internal", "the terminal write failed");
      if (run.heldLease.over) return;
      if (error.code === "terminal" || error.code === "conflict") return await handBack(parts, run);
      const smaller = error.code === "invalid" ? storableOutput(output, error) : undefined;
      if (smaller) {
        // What the handler returned cannot be stored: that is its own mistake.
        if (output.type === "success") parts.fault({ ...faultOf("handler", error, ""), processId });
        output = smaller;
        continue;
      }
      if (!isTrouble(error)) throw error;
      if (!(await run.heldLease.recheck())) return;
      tellRunFault(parts, error, processId);
      await sleep(parts, parts.timings.leaseRenewMs / 4);
    }
  }
}

async function handBack({ corridor }: ProcessRunParts, run: ProcessRun): Promise<void> {
  await corridor.run(releaseLeases, { leases: [run.heldLease.lease] });
}

function sleep({ clock }: ProcessRunParts, ms: number): Promise<void> {
  return new Promise<void>((resolve) => clock.setTimer(resolve, ms));
}

export function tellRunFault(parts: Pick<ProcessRunParts, "fault">, thrown: unknown, processId: string): void {
  parts.fault({ ...faultOf("runner", thrown, "a run failed"), processId });
}
