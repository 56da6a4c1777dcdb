import type { Corridor } from "../../corridor/command.js";
import type { Shared, Watch } from "../../corridor/watch.js";
import { asHoldfastError, HoldfastError } from "../../domain/errors.js";
import type { JsonValue } from "../../domain/json.js";
import type { ProcessAwaitOutput, ProcessRecord } from "../../domain/process/process.js";
import type { Timings } from "../../domain/time.js";
import type { Clock } from "../../ports/clock.js";
import type { Host } from "../../stores/host/leases.rules.js";
import type { EventMethods } from "../../stores/process/events.js";
import { type ClaimReply, claimProcessLease, releaseLeases } from "../../stores/process/leases.js";
import { loadProcess } from "../../stores/process/processes.js";
import { recordOf } from "../../stores/process/processes.rules.js";
import type { ProcessRow } from "../../stores/process/tables.js";
import { holdTenure, type Tenure, type TenureParts, type Tenures } from "../host/held-lease.js";
import type { Fault, LoopPage } from "../host/loop-contract.js";
import { createCalls } from "./calls.js";
import { type ContextParts, createContext, type ProcessContext } from "./context.js";
import { abortOf, isTrouble, outputOf, storableOutput } from "./ending.js";
import { type HandleBounds, type HandleStores, type ProcessHandle, processHandle, processRow } from "./handle.js";
import { createRunningSteps } from "./running-steps.js";
import { createSlots, type Seat, takeSeat } from "./slots.js";
import { type StartParts, type StartRequest, startProcess } from "./start.js";

export type ProcessHandler = (context: ProcessContext) => Promise<JsonValue | void> | JsonValue | void;

/**
 * Runs handlers under leases. A run:
 *
 *     claimed -> slot -> handler -> terminal write, fenced -> lease handed back in the same transaction
 *
 * ends without a write when its lease is lost or the kernel closes, and leaves the lease to run out when the storage fails it:
 * the process stays claimable, and the time until the expiry is the pause before the next attempt, in every tab.
 *
 * A run is over at once when its lease is lost, its process has ended or the kernel closes, whether the handler hears of it or not: its slot
 * is free, and what the handler still asks of its context is refused.
 */
export interface Runner extends Pick<LoopPage, "run"> {
  readonly free: number;
  /** Left to run out: neither renewed nor handed back. */
  readonly abandoned: string[];
  /** Aborts every handler with `reason`; nothing is written or handed back here. */
  endAll(reason: HoldfastError): void;
}

export interface RunnerParts extends StartParts {
  readonly corridor: Corridor;
  readonly clock: Clock;
  readonly tenures: Tenures;
  newNonce(): string;
  host(): Host;
  readonly handlers: ReadonlyMap<string, ProcessHandler>;
  /** What runs a turn of the session, where it is attached. */
  sessionTurn(sessionId: string): SessionTurn | undefined;
  readonly concurrency: number;
  readonly attemptBudget: number;
  readonly timings: Timings;
  readonly watch: Watch;
  readonly stores: HandleStores & Pick<EventMethods, "appendEvent" | "completeProcess">;
  /** A slot fell free. */
  onFree(): void;
  onClaimed(processId: string, fencingToken: number): void;
  onLost(processId: string): void;
  fault(fault: Fault): void;
}

export type SessionTurn = (
  run: Pick<ProcessContext, "record" | "signal"> & {
    waiting<T>(wait: () => Promise<T>): Promise<T>;
    /** Nothing more is waited for. */
    readonly over: AbortSignal;
  },
) => Promise<JsonValue>;

interface Run {
  readonly tenure: Tenure;
  /** What the handler sees. */
  readonly abort: AbortController;
  /** The lease is lost, the process has ended or the kernel closes: nothing is left to wait for, not even a slot. */
  readonly over: AbortController;
  /** The handler has ended, or is not waited for any more. */
  readonly ended: AbortController;
  cancelled: boolean;
}

export function createRunner(parts: RunnerParts): Runner {
  const { corridor, clock, timings, watch, stores, handlers, tenures } = parts;
  const runs = new Map<string, Run>();
  /** Leases left to run out, by when that is. */
  const abandoned = new Map<string, number>();
  const slots = createSlots(parts.concurrency, parts.onFree);
  let closing: HoldfastError | undefined;

  function begin(claim: ClaimReply, asOfMs: number): void {
    const { processId, fencingToken } = claim.lease;
    const abort = new AbortController();
    const over = new AbortController();
    const tenureParts: TenureParts = {
      ...parts,
      ttlMs: timings.leaseTtlMs,
      async reclaim({ processId, ownerId, leaseToken }) {
        const claim = {
          processId,
          ownerId,
          ttlMs: timings.leaseTtlMs,
          nonce: parts.newNonce(),
          host: parts.host(),
          over: leaseToken,
        };
        return (await corridor.run(claimProcessLease, claim)).lease;
      },
      onLost(reason) {
        over.abort(reason);
        abort.abort(reason);
        parts.onLost(processId);
      },
    };
    const run: Run = {
      tenure: holdTenure(tenureParts, claim.lease, asOfMs),
      abort,
      over,
      ended: new AbortController(),
      cancelled: false,
    };
    runs.set(processId, run);
    tenures.add(run.tenure);
    abandoned.delete(processId);
    parts.onClaimed(processId, fencingToken);
    void execute(run, claim)
      .catch((error: unknown) => abandon(run, processId, error))
      .finally(() => {
        run.ended.abort();
        run.tenure.end(new HoldfastError("lease-lost", `the run of process "${processId}" is over`));
        tenures.remove(run.tenure);
        if (runs.get(processId) === run) runs.delete(processId);
      });
  }

  async function execute(run: Run, claim: ClaimReply): Promise<void> {
    const seat = await takeSeat(slots, run.over.signal, run.ended.signal);
    if (!seat) return;
    try {
      // What is left of its work when the run is over is refused by the tenure, and what it throws is not heard.
      await Promise.race([work(run, claim, seat), abortOf(run.over.signal)]);
    } finally {
      run.ended.abort();
      await seat.leave();
    }
    if (run.tenure.over?.code === "terminal") await handBack(run);
  }

  async function work(run: Run, claim: ClaimReply, seat: Seat): Promise<void> {
    const { processId } = claim.lease;
    const record = await readRecord(processId);
    if (record?.status.state !== "running") return await handBack(run);
    if (claim.fruitless >= parts.attemptBudget) {
      const message = `${claim.fruitless} attempts in a row ended without a result`;
      return await finish(run, { type: "failure", class: "execution", code: "process_recovery_failed", message });
    }
    const reason = claim.process.cancelRequested;
    if (reason !== undefined && claim.attempt === 1) return await finish(run, { type: "cancelled", message: reason });
    await followProcess(run, processId);
    if (run.tenure.over) return;
    await handle(run, claim, record, seat);
  }

  async function handle(run: Run, claim: ClaimReply, record: ProcessRecord, seat: Seat): Promise<void> {
    const { process } = claim;
    const turn = process.inputType === "session_turn" ? parts.sessionTurn(process.handler ?? "") : undefined;
    const handler: ProcessHandler | undefined = turn
      ? (context) => turn({ ...context, waiting: bounds.waiting, over: run.over.signal })
      : process.inputType === "session_turn"
        ? undefined
        : handlers.get(process.handler ?? "");
    if (!handler) return await handBack(run);
    const calls = createCalls((message) => parts.fault({ area: "runner", code: "invalid", message, processId: record.id }));
    const raised = new WeakSet<object>();
    const raise = (error: unknown) => {
      if (typeof error === "object" && error !== null) raised.add(error);
    };
    const noted = async <T>(work: () => Promise<T>): Promise<T> => {
      try {
        return await work();
      } catch (thrown) {
        // What ended the run ends its waits, whatever they say themselves.
        const error = run.tenure.over ?? thrown;
        raise(error);
        throw error;
      }
    };
    const bounds: HandleBounds = {
      waiting: (wait) => noted(() => seat.waiting(wait)),
      signal: run.over.signal,
      fenced: (write) => noted(() => run.tenure.write(write)),
    };
    const handleOf = (id: string): ProcessHandle => {
      const handle = processHandle(parts, id, bounds);
      return calls.watched({ ...handle, record: () => noted(handle.record) }, ["record", "result", "cancel"]);
    };
    const { ownerScope, hostProfileId } = record.provenance;
    const contextParts: ContextParts = {
      ...parts,
      appendEvent: stores.appendEvent,
      record,
      attempt: claim.attempt,
      fresh: process.lastSequence === 0,
      tenure: run.tenure,
      signal: run.abort.signal,
      processHandle: handleOf,
      raised: raise,
      steps: createRunningSteps({
        clock,
        waitMs: timings.leaseRenewMs,
        tell: (message) => parts.fault({ area: "steps", code: "invalid", message, processId: record.id }),
      }),
      async startChild(request: StartRequest, named) {
        const child = await run.tenure.write((lease) =>
          startProcess(parts, request, { ...named, ownerScope, hostProfileId, parentId: record.id, lease }),
        );
        return handleOf(child.id);
      },
    };
    const { context, flushProgress } = createContext(contextParts);

    let output: ProcessAwaitOutput;
    try {
      const value = (await handler(calls.watched(context, ["step", "emit", "start"]))) ?? null;
      output = { type: "success", value };
    } catch (error) {
      if (isTrouble(error) && raised.has(error)) throw error;
      output = outputOf(error, run.cancelled ? run.abort.signal.reason : undefined);
    } finally {
      run.ended.abort();
    }
    if (run.tenure.over) return;
    calls.end();
    await flushProgress();
    await finish(run, output);
  }

  /** Aborts the handler's signal on a cancel request, also an earlier one, and ends the run with its process, whatever ended that. */
  async function followProcess(run: Run, processId: string): Promise<void> {
    // A handler that has ended by itself has its own end.
    const isOver = () => run.ended.signal.aborted || run.tenure.over;
    const obey = (row: ProcessRow | undefined): void => {
      if (!row || isOver()) return;
      if (row.state !== "running")
        return end(run, new HoldfastError("terminal", `process "${processId}" is already terminal: ${row.state}`));
      if (row.cancelRequested === undefined) return;
      run.cancelled = true;
      run.abort.abort(new HoldfastError("aborted", row.cancelRequested, { details: { reason: "cancel-requested" } }));
    };
    const read = async (shared: Shared) => {
      obey(await shared("row", () => processRow(corridor, processId)));
      return isOver() ? true : undefined;
    };
    const follow = async (): Promise<void> => {
      while (!isOver()) {
        try {
          await watch.until(processId, read, run.ended.signal);
        } catch (error) {
          if (isOver()) return;
          tell("runner", error, processId);
          await pause(timings.pollMs);
        }
      }
    };
    // The first look is awaited, so that a handler starts with what is known; the rest goes beside it until the run ends.
    obey(await processRow(corridor, processId));
    void follow();
  }

  /** Retried while the lease lives: finished work must not be done again because of a hiccup. */
  async function finish(run: Run, wanted: ProcessAwaitOutput): Promise<void> {
    const { processId } = run.tenure.lease;
    let output = wanted;
    for (;;) {
      try {
        await run.tenure.write((lease) => stores.completeProcess(processId, output, { lease }));
        return;
      } catch (thrown) {
        const error = asHoldfastError(thrown, "internal", "the terminal write failed");
        if (run.tenure.over) return;
        if (error.code === "terminal" || error.code === "conflict") return await handBack(run);
        const smaller = error.code === "invalid" ? storableOutput(output, error) : undefined;
        if (smaller) {
          output = smaller;
          continue;
        }
        if (!isTrouble(error)) throw error;
        if (!(await run.tenure.recheck())) return;
        tell("runner", error, processId);
        await pause(timings.leaseRenewMs / 4);
      }
    }
  }

  /** At once, whether the handler hears of it or not. */
  function end(run: Run, reason: HoldfastError): void {
    run.tenure.end(reason);
    run.over.abort(reason);
    run.abort.abort(reason);
  }

  const pause = (ms: number) => new Promise<void>((resolve) => clock.setTimer(resolve, ms));

  async function handBack(run: Run): Promise<void> {
    await corridor.run(releaseLeases, { leases: [run.tenure.lease] });
  }

  function abandon(run: Run, processId: string, error: unknown): void {
    if (run.tenure.over) return;
    abandoned.set(processId, clock.monotonicMs() + 2 * timings.leaseTtlMs);
    tell("runner", error, processId);
  }

  async function readRecord(processId: string): Promise<ProcessRecord | undefined> {
    const stored = await corridor.query(["processes", "registrations"], (reader) => loadProcess(reader, processId));
    return stored && recordOf(stored.process, stored.registration);
  }

  function tell(area: string, thrown: unknown, processId: string): void {
    const { code, message } = asHoldfastError(thrown, "internal", "a run failed");
    parts.fault({ area, code, message, processId });
  }

  return {
    get free() {
      return closing ? 0 : slots.free;
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
      for (const run of runs.values()) end(run, reason);
    },
  };
}
