import { HoldfastError, isHoldfastError } from "../../domain/errors.js";
import type { RuntimeState } from "../../domain/session/session.js";
import type { Change } from "../../ports/notices.js";
import { releaseLeases } from "../../stores/process/leases.js";
import { reclaimTurn } from "../../stores/session/turns.js";
import { faultOf } from "../host/fault.js";
import { type HeldLease, holdLease } from "../host/leases/held-lease.js";
import type { HeldLeases } from "../host/leases/held-leases.js";
import { type BeginParts, beginNext } from "./begin-turn.js";
import { emitInputs, type SessionEvent } from "./events.js";
import {
  beginsToRead,
  foundLease,
  heardOf,
  type LookEnd,
  looked,
  mayBeHeld,
  type PacingStep,
  poked,
  startPacing,
  troubled,
  turnStored,
  waitedFor,
  woke,
} from "./pacing.rules.js";
import { createTurnRun, releaseQuietly, type TurnRun, type TurnRunParts } from "./run-turn.js";
import type { AttachedHandler, Began } from "./turn.js";

export { runSessionTurn } from "./process-turn.js";

/**
 * Runs a session's turns in this tab while it has a handler: one turn at a time, and one executor in all tabs, by the lease.
 *
 *     look -> begin (lease, recover, stage) -> run (handler; commit or fail, fenced) -> look again
 *
 * pacing.rules.ts decides when to look, begin-turn.ts what there is to begin, run-turn.ts how a run ends. The executor calls them in
 * this order and keeps the lease from one turn to the next.
 */
export interface Executor {
  /** Something changed in this tab: look. */
  poke(): void;
  /** A commit of any tab changed something: look, if it may concern this tab, after the tabs that go first had their moment. */
  hear(changes: readonly Change[]): void;
  /** This handler is taken off while another one stays: its running turn is handed back. */
  takeOff(handler: AttachedHandler): Promise<void>;
  /** Begins no more turns; hands the running one back, so that another tab goes on with it. */
  stop(): Promise<void>;
  /** The page leaves, or the kernel closes: the running turn ends at once, and nothing is written. */
  end(reason: HoldfastError): void;
}

export interface ExecutorParts
  extends BeginParts,
    Omit<TurnRunParts, "stopping" | "onTrouble" | "onStored" | "happened" | "tell"> {
  readonly sessionId: string;
  readonly heldLeases: HeldLeases;
  handler(): AttachedHandler | undefined;
  /** A look read the session's state, which no notice may have told. */
  learn(state: RuntimeState): void;
  emit(event: SessionEvent): void;
  /** A look has ended, and the next one does not begin at once. */
  rested(end: LookEnd): void;
  /** The session was deleted. */
  vanish(): void;
}

export function createExecutor(parts: ExecutorParts): Executor {
  const { sessionId, corridor, clock, timings, heldLeases } = parts;
  const stopping = new AbortController();
  let pacing = startPacing(timings);
  let cancelTimer = () => {};
  let looking: Promise<void> | undefined;
  let run: TurnRun | undefined;
  /** The id of the last run. */
  let runId = "";

  function tell(thrown: unknown): void {
    const told = faultOf("session", thrown, "a turn failed");
    if (told.code !== "closed") parts.fault(told);
  }

  function halt(): void {
    stopping.abort();
    cancelTimer();
  }

  const runParts: TurnRunParts = {
    ...parts,
    stopping: stopping.signal,
    onTrouble() {
      pacing = troubled(pacing, clock.monotonicMs());
    },
    onStored() {
      pacing = turnStored(pacing);
    },
    happened(code, runId, { inputs = [], error } = {}) {
      parts.emit({ sessionId, code, runId, ...(error !== undefined && { error }) });
      emitInputs(parts.emit, { sessionId, runId }, inputs);
    },
    tell,
  };

  /** Makes the lease a held lease, which the loop renews from now on. */
  function hold({ lease: granted }: Began, sentMs: number): HeldLease {
    const { leaseTtlMs: ttlMs } = timings;
    const reclaim = (lease: HeldLease["lease"]) =>
      corridor.run(reclaimTurn, { lease, runId, ttlMs, nonce: parts.newNonce(), host: parts.host() });
    const onLost = (reason: HoldfastError) => run?.end(reason);
    const heldLease = holdLease({ corridor, clock, ttlMs, reclaim, onLost }, granted, sentMs);
    heldLeases.add(heldLease);
    return heldLease;
  }

  function drop(heldLease: HeldLease): void {
    heldLeases.remove(heldLease);
    heldLease.end(new HoldfastError("lease-lost", "the executor handed its lease back"));
  }

  /** Runs turn after turn until there is none to begin. */
  async function look(): Promise<LookEnd> {
    let held: HeldLease | undefined;
    try {
      for (;;) {
        const handler = parts.handler();
        if (stopping.signal.aborted || !handler) {
          if (held) await corridor.run(releaseLeases, { leases: [held.lease] });
          return { kind: "idle" };
        }
        const { isPolite } = pacing;
        if (!held) pacing = beginsToRead(pacing);
        const { found: began, sentMs } = await beginNext(parts, {
          held,
          waitedFor: waitedFor(pacing, clock.monotonicMs()),
          isPolite,
          mayBeHeld: mayBeHeld(pacing),
          stopping: stopping.signal,
          stood(standing) {
            pacing = { ...pacing, standing };
          },
        });
        if (began.kind === "later") return began;
        pacing = foundLease(pacing, began.kind === "held");
        if (began.kind === "held") return began;
        if (began.kind === "idle") {
          parts.learn(began.state);
          // A recovery may have changed inputs that a dead owner left.
          emitInputs(parts.emit, { sessionId }, began.happened);
          return { kind: "idle", retryAtMs: began.retryAtMs };
        }
        if (began.kind === "turn") {
          held ??= hold(began, sentMs);
          // The handler may have been taken off while the turn was begun: another one runs it.
          run = createTurnRun(runParts, parts.handler() ?? handler, began, held);
          runId = run.runId;
          const keepsLease = await run.toItsEnd();
          run = undefined;
          if (keepsLease) continue;
        }
        if (held) drop(held);
        held = undefined;
        if (pacing.notBeforeMs > clock.monotonicMs()) return { kind: "trouble" };
      }
    } catch (error) {
      // The lease is handed back: the next look, in any tab, need not wait until it runs out.
      if (held && !held.over) await releaseQuietly(corridor, held);
      throw error;
    } finally {
      run = undefined;
      // The loop must not renew the lease after an error either.
      if (held) drop(held);
    }
  }

  function failed(error: unknown): LookEnd {
    if (isHoldfastError(error) && error.code === "not-found") {
      // The session was deleted: there is nothing left to look at.
      halt();
      parts.vanish();
    }
    if (!stopping.signal.aborted) tell(error);
    runParts.onTrouble();
    return { kind: "failed" };
  }

  /** Takes the next step: a look, or a timer for it. */
  function take({ pacing: next, lookInMs }: PacingStep): void {
    if (stopping.signal.aborted) return;
    pacing = next;
    if (lookInMs === undefined) return;
    cancelTimer();
    if (lookInMs > 0) cancelTimer = clock.setTimer(() => take(woke(pacing, clock.monotonicMs())), lookInMs);
    else looking = look().catch(failed).then(rest);
  }

  function rest(end: LookEnd): void {
    looking = undefined;
    const step = looked(pacing, end, clock.monotonicMs(), clock.now());
    take(step);
    if (step.lookInMs !== 0 || stopping.signal.aborted) parts.rested(end);
  }

  return {
    poke: () => take(poked(pacing, clock.monotonicMs())),
    hear: (changes) => take(heardOf(pacing, clock.monotonicMs(), changes)),
    async takeOff(handler) {
      if (run?.handler === handler) await run.interrupt();
    },
    async stop() {
      halt();
      void run?.interrupt();
      await looking;
    },
    end(reason) {
      halt();
      run?.end(reason);
    },
  };
}
