import type { Corridor } from "../../corridor/command.js";
import type { Watch } from "../../corridor/watch.js";
import { asHoldfastError, type ErrorCode, HoldfastError, isHoldfastError } from "../../domain/errors.js";
import type { RuntimeState } from "../../domain/session/session.js";
import type { Limits, Timings } from "../../domain/time.js";
import type { Clock } from "../../ports/clock.js";
import type { Change } from "../../ports/notices.js";
import type { Host } from "../../stores/host/leases.rules.js";
import { releaseLeases } from "../../stores/process/leases.js";
import { loadRow } from "../../stores/schema.js";
import type { InputHappening, SessionRef } from "../../stores/session/draft.js";
import { type Standing, standingOf } from "../../stores/session/next-inputs.js";
import {
  BEGIN_TABLES,
  type BeganTurn,
  type BeginTurn,
  beginTurn,
  commitTurn,
  endTurn,
  HOLDER_TABLES,
  holderOf,
  loadHolder,
  type RunRef,
  reclaimTurn,
  type TurnEnd,
} from "../../stores/session/turns.js";
import { holdTenure, type Tenure, type Tenures } from "../host/held-lease.js";
import type { Fault } from "../host/loop-contract.js";
import { abortOf, isTrouble } from "../process/ending.js";
import { createRunningSteps } from "../process/running-steps.js";
import type { Transcript } from "./transcript.js";
import { type Began, openTurn, type TurnHandler } from "./turn.js";

export { runSessionTurn } from "./process-turn.js";

/**
 * Runs a session's turns in this tab while it has a handler: one turn at a time, and one executor in all tabs, by the lease.
 *
 *     look -> begin (lease, recover, stage) -> handler -> commit or fail, fenced -> look again
 *
 * A look reads; only where there is something to do does it write. Of many tabs with a handler one is woken at a time: while another
 * tab holds the lease, only the news that it is free is heard, unless its holder left nothing to do, and where it is free each tab lets
 * those before it go first. Trouble of the storage is waited out while the lease lives: what a handler has done must not be done again
 * because of a hiccup.
 */
export interface Executor {
  /** Something changed here: look. */
  poke(): void;
  /** A commit of any tab changed something: look, if this tab could do something about it, when those before it had their moment. */
  hear(changes: readonly Change[]): void;
  /** The handler is taken off, and another one stays: a turn that it runs is handed back. */
  takeOff(handler: TurnHandler, reason: HoldfastError): Promise<void>;
  /** Nothing runs any more; what runs is handed back so that another tab goes on. */
  stop(reason: HoldfastError): Promise<void>;
  /** The page goes, or the kernel closes: ends at once, writes nothing. */
  end(reason: HoldfastError): void;
}

export interface ExecutorParts {
  readonly ref: SessionRef;
  readonly corridor: Corridor;
  readonly watch: Watch;
  readonly clock: Clock;
  readonly timings: Timings;
  readonly limits: Limits;
  readonly tenures: Tenures;
  readonly transcript: Transcript;
  readonly ownerId: string;
  readonly hasLocks: boolean;
  handler(): TurnHandler | undefined;
  host(): Host;
  /** What it read, for who heard of nothing. */
  learn(state: RuntimeState): void;
  /** What became of inputs that a dead owner left. */
  found(happened: readonly InputHappening[]): void;
  newRunId(): string;
  newNonce(): string;
  happened(
    code: `run.${"started" | "completed" | "failed" | "cancelled"}`,
    runId: string,
    more?: { inputs?: readonly InputHappening[]; error?: string },
  ): void;
  fault(fault: Fault): void;
  /** The session was deleted: there is nothing to run any more. */
  gone(): void;
}

/** These end a turn here, whatever the storage's health: somebody else goes on, or nobody needs to. */
const SETTLED: ReadonlySet<ErrorCode> = new Set(["lease-lost", "not-found", "conflict", "internal", "closed", "version"]);

interface Active {
  readonly handler: TurnHandler;
  readonly tenure: Tenure;
  readonly abort: AbortController;
  /** Resolves when nothing of it is left to be written. */
  readonly over: Promise<void>;
  /** Set before the abort: how the turn ends when its handler returns. */
  end?: TurnEnd;
  /** The handler has returned: its signal has nothing more to tell. */
  isSettled?: true;
}

export function createExecutor(parts: ExecutorParts): Executor {
  const { ref, corridor, clock, timings, watch, tenures, transcript } = parts;
  let stopped = false;
  let looking: Promise<void> | undefined;
  let again = false;
  let cancelTimer = () => {};
  const pauses = new Set<() => void>();
  let active: Active | undefined;
  let currentRun = "";
  let sentMs = 0;
  /** After trouble with the storage: its next look is not begun by a notice. */
  let notBeforeMs = 0;
  /** Since the last turn that was stored. */
  let troubles = 0;
  /** When its timer is due. */
  let dueMs = 0;
  /** Another tab has the lease, as it was read or heard last. */
  let isHeld = false;
  /** The last write that changed inputs, as it was heard since the last look; beyond all where one was heard that has no number. */
  let heardRevision = 0;
  /** Tabs with a handler, as they were read last: how many go before this one, and how many there are beside it. */
  let standing: Standing = { before: 0, others: 0 };
  /** All that the next look is about was only heard of: where there is something to do, the tabs before this one may do it. */
  let isPolite = true;
  /** An expired lease of a host that lives, and since when it is watched. */
  let asleep: { token: string; sinceMs: number } | undefined;

  function hear(changes: readonly Change[]): void {
    for (const { about, sequence = Number.POSITIVE_INFINITY } of changes)
      if (about === "input") heardRevision = Math.max(heardRevision, sequence);
    const leases = changes.filter(({ about }) => about === "lease");
    const lease = leases.at(-1);
    if (leases.some(({ member }) => member !== "held" && member !== "idle")) return poke(true);
    if (lease?.member === "held") return waitForHolder();
    // What is under way may have read that it is held.
    if (looking) return poke(true);
    if (lease) {
      isHeld = false;
      if (heardRevision <= (lease.sequence ?? 0)) return;
    }
    // Its holder goes on by itself while there is something to do.
    if (isHeld) return;
    if (standing.before === 0) return poke(true);
    const waitMs = standing.before * STAGGER_MS;
    if (stopped || dueMs - clock.monotonicMs() <= waitMs) return;
    cancelTimer();
    wakeIn(waitMs);
  }

  /** Another tab was granted the lease: until it comes back, or may have run out, there is nothing to look for. */
  function waitForHolder(): void {
    // Its own, or what is under way meets it.
    if (stopped || looking) return;
    isHeld = true;
    cancelTimer();
    wakeIn(Math.min(timings.pollMs, timings.leaseTtlMs));
  }

  function poke(isNews = false): void {
    if (stopped) return;
    isPolite &&= isNews;
    if (looking) {
      again = true;
      return;
    }
    cancelTimer();
    const earlyMs = notBeforeMs - clock.monotonicMs();
    if (earlyMs > 0) return wakeIn(earlyMs);
    looking = look()
      .catch((error: unknown) => {
        // Deleted: there is nothing left to look at.
        if (isHoldfastError(error) && error.code === "not-found") {
          stopped = true;
          parts.gone();
        }
        if (!stopped) tell(error);
        pauseLooking();
        return timings.pollMs;
      })
      .then((delayMs) => {
        looking = undefined;
        if (stopped) return;
        if (again) {
          again = false;
          poke(true);
        } else wakeIn(delayMs);
      });
  }

  function wakeIn(delayMs: number): void {
    dueMs = clock.monotonicMs() + delayMs;
    cancelTimer = clock.setTimer(() => {
      // Late itself: it slept, and so may have the one that it waits for.
      if (clock.monotonicMs() - dueMs > timings.leaseRenewMs / 2) asleep = undefined;
      poke();
    }, delayMs);
  }

  /** Longer each time: what a handler does before the trouble is done again. */
  function pauseLooking(): void {
    notBeforeMs = clock.monotonicMs() + timings.pollMs * Math.min(2 ** troubles, LONGEST_PAUSE);
    troubles++;
  }

  /** Runs whatever is to be run; answers when to look again, heard or not. */
  async function look(): Promise<number> {
    let held: Tenure | undefined;
    try {
      for (;;) {
        const handler = parts.handler();
        if (stopped || !handler) {
          if (held) await corridor.run(releaseLeases, { leases: [held.lease] });
          return timings.pollMs;
        }
        const began = await begin(held);
        if (began === "later") return standing.before * STAGGER_MS;
        isHeld = began?.kind === "held";
        if (began?.kind === "idle") {
          parts.learn(began.state);
          parts.found(began.happened);
          return timings.pollMs;
        }
        if (began?.kind === "held") return waitFor(began);
        if (began && !held) held = hold(began);
        // Of the handlers that are here now: the one before may have been taken off meanwhile.
        if (began && held && (await runTurn(parts.handler() ?? handler, began, held))) continue;
        if (held) drop(held);
        held = undefined;
        if (notBeforeMs > clock.monotonicMs()) return notBeforeMs - clock.monotonicMs();
      }
    } catch (error) {
      // Whoever looks next, here or elsewhere, need not wait for it to run out.
      if (held && !held.over) await releaseQuietly(held);
      throw error;
    } finally {
      // Not renewed any more, whatever went wrong.
      if (held) drop(held);
    }
  }

  function waitFor({ token, expiresAtMs, expired }: Extract<BeganTurn, { kind: "held" }>): number {
    const nowMs = clock.monotonicMs();
    if (!expired) {
      asleep = undefined;
      return Math.min(timings.pollMs, Math.max(20, expiresAtMs - clock.now()));
    }
    if (asleep?.token !== token) asleep = { token, sinceMs: nowMs };
    return Math.min(timings.pollMs, Math.max(20, asleep.sinceMs + timings.leaseRenewMs - nowMs));
  }

  /** `undefined` where the lease was lost between two turns, or nothing is to be begun any more. */
  async function begin(held: Tenure | undefined): Promise<BeganTurn | "later" | undefined> {
    const isOver = asleep !== undefined && clock.monotonicMs() - asleep.sinceMs >= timings.leaseRenewMs;
    const input = {
      ...ref,
      ownerId: parts.ownerId,
      ttlMs: timings.leaseTtlMs,
      nonce: parts.newNonce(),
      host: parts.host(),
      hasLocks: parts.hasLocks,
      runId: parts.newRunId(),
      ...(held && { held: held.lease }),
      ...(isOver && asleep && { waitedFor: asleep.token }),
    };
    if (!held) {
      const found = await lookFirst(input);
      if (found) return found;
      // The page went, and may be another boot by now.
      if (stopped) return undefined;
    }
    sentMs = clock.monotonicMs();
    try {
      const began = await corridor.run(beginTurn, input);
      if (began.kind === "turn") held?.extend(sentMs);
      return began;
    } catch (error) {
      if (held && isHoldfastError(error) && error.code === "lease-lost") return undefined;
      throw error;
    }
  }

  /** What would not write is not run. `undefined` where there is something to begin, and this tab's turn to. */
  async function lookFirst(input: BeginTurn): Promise<BeganTurn | "later" | undefined> {
    // All that was heard of so far is found now.
    again = false;
    heardRevision = 0;
    const mayWait = isPolite;
    isPolite = true;
    // Where there are others, one of them mostly has it, and then nothing else is of interest.
    if (isHeld || standing.others > 0) {
      const holder = await corridor.query(HOLDER_TABLES, async (reader, now) =>
        holderOf(await loadHolder(reader, ref), input, now()),
      );
      if (holder) return holder;
    }
    return await corridor.query(BEGIN_TABLES, async (reader, now) => {
      const state = await beginTurn.load(reader, input);
      const nowMs = now();
      standing = standingOf(state.attachments, input, nowMs);
      const decision = beginTurn.decide(state, input, nowMs);
      if (decision.kind === "accept" && decision.writes.length === 0) return decision.reply;
      return mayWait && standing.before > 0 ? "later" : undefined;
    });
  }

  function hold(began: Began): Tenure {
    const tenure = holdTenure(
      {
        corridor,
        clock,
        ttlMs: timings.leaseTtlMs,
        reclaim: (lease) =>
          corridor.run(reclaimTurn, {
            lease,
            runId: currentRun,
            ttlMs: timings.leaseTtlMs,
            nonce: parts.newNonce(),
            host: parts.host(),
          }),
        onLost: (reason) => active?.abort.abort(reason),
      },
      began.lease,
      sentMs,
    );
    tenures.add(tenure);
    return tenure;
  }

  function drop(tenure: Tenure): void {
    tenures.remove(tenure);
    tenure.end(new HoldfastError("lease-lost", "the executor handed its lease back"));
  }

  /** Whether its lease is still held, for the next turn. */
  async function runTurn(handler: TurnHandler, began: Began, tenure: Tenure): Promise<boolean> {
    const { runId } = began.run;
    currentRun = runId;
    const abort = new AbortController();
    let isOver = () => {};
    const over = new Promise<void>((resolve) => {
      isOver = resolve;
    });
    const turn: Active = { handler, tenure, abort, over };
    active = turn;
    const named = { ...ref, runId };
    const raised = new WeakSet<object>();
    const ended = new AbortController();
    if (stopped) turn.end = { how: "interrupted" };
    else parts.happened("run.started", runId, { inputs: began.happened });
    try {
      const open = await openTurn(
        {
          corridor,
          limits: parts.limits,
          transcript,
          tenure,
          signal: abort.signal,
          raised: (error) => {
            if (typeof error === "object" && error !== null) raised.add(error);
          },
          unawaited: (message) => parts.fault({ area: "session", code: "invalid", message }),
          steps: createRunningSteps({
            clock,
            waitMs: timings.leaseRenewMs,
            tell: (message) => parts.fault({ area: "steps", code: "invalid", message }),
          }),
        },
        began,
        named,
      );
      let failure: { cause: string } | undefined;
      try {
        if (!turn.end) {
          void follow(turn, runId, ended.signal);
          // A handler that does not hear its signal must not hold up who goes on: what it does from then on is refused.
          await Promise.race([handler(open.turn), abortOf(abort.signal)]);
        }
      } catch (error) {
        failure = { cause: causeOf(error) };
        // What the world did to it is no failure of the handler.
        if (isTrouble(error) && raised.has(error)) {
          turn.end ??= { how: "interrupted" };
          pauseLooking();
        }
      } finally {
        open.close();
        turn.isSettled = true;
      }
      if (tenure.over) return false;
      if (turn.end) return await finish(tenure, named, turn.end);
      if (failure) {
        return await finish(tenure, named, { how: "failed", ...failure });
      }
      if (abort.signal.aborted) {
        // Stopped, destroyed or deleted under it.
        parts.happened("run.cancelled", runId);
        await releaseQuietly(tenure);
        return false;
      }
      const isStored = await commit(turn, named, await open.pending());
      return turn.end ? await finish(tenure, named, turn.end) : isStored;
    } finally {
      ended.abort();
      if (active === turn) active = undefined;
      isOver();
    }
  }

  async function commit(
    turn: Active,
    named: Omit<RunRef, "lease">,
    pending: Awaited<ReturnType<Awaited<ReturnType<typeof openTurn>>["pending"]>>,
  ): Promise<boolean> {
    const size = JSON.stringify(pending.messages).length;
    let refusal: HoldfastError | undefined;
    const onRefused = (error: HoldfastError) => {
      refusal = error;
    };
    const write = (lease: RunRef["lease"]) => corridor.run(commitTurn, { ...named, ...pending, lease }, { size });
    const { tenure } = turn;
    const done = await persist(tenure, write, { onRefused, isOff: () => turn.end !== undefined });
    // Something else wrote into this run. It counts as a failure: who does so each time must not go on for ever.
    if (refusal) return await finish(tenure, named, { how: "failed", cause: refusal.message });
    if (!done) return false;
    troubles = 0;
    transcript.extend(pending.base, pending.messages, pending.digest);
    parts.happened("run.completed", named.runId, { inputs: done.happened });
    return !done.released;
  }

  async function finish(tenure: Tenure, named: Omit<RunRef, "lease">, end: TurnEnd): Promise<boolean> {
    const release = end.how === "interrupted";
    const done = await persist(tenure, (lease) => corridor.run(endTurn, { ...named, ...end, lease, release }));
    if (!done) return false;
    if (end.how === "failed") parts.happened("run.failed", named.runId, { inputs: done, error: end.cause });
    if (end.how === "cancelled") parts.happened("run.cancelled", named.runId, { inputs: done });
    return !release;
  }

  /** Retried while the lease lives; `undefined` when somebody else has the last word. */
  async function persist<T>(
    tenure: Tenure,
    write: (lease: RunRef["lease"]) => Promise<T>,
    // It may be given up for another end while it is tried again.
    { onRefused, isOff }: { onRefused?: (error: HoldfastError) => void; isOff?: () => boolean } = {},
  ): Promise<T | undefined> {
    for (;;) {
      try {
        return await tenure.write(write);
      } catch (thrown) {
        const error = asHoldfastError(thrown, "internal", "a turn could not be stored");
        if (tenure.over) return undefined;
        if (SETTLED.has(error.code)) {
          if (error.code !== "lease-lost" && error.code !== "not-found") tell(error);
          if (onRefused && (error.code === "conflict" || error.code === "internal")) onRefused(error);
          else {
            if (error.code === "conflict" || error.code === "internal") pauseLooking();
            await releaseQuietly(tenure);
          }
          return undefined;
        }
        tell(error);
        if (stopped) {
          await releaseQuietly(tenure);
          return undefined;
        }
        if (!(await tenure.recheck())) return undefined;
        await pause(timings.leaseRenewMs / 4);
        if (isOff?.()) return undefined;
      }
    }
  }

  /** The run is another's affair; the lease, if it is still there, must not stand in the way until it runs out. */
  async function releaseQuietly(tenure: Tenure): Promise<void> {
    try {
      await corridor.run(releaseLeases, { leases: [tenure.lease] });
    } catch {
      // It runs out.
    }
  }

  /** Aborts the handler when its run is taken from it, or an input of it is not wanted any more. */
  async function follow(turn: Active, runId: string, over: AbortSignal): Promise<void> {
    const read = async (): Promise<HoldfastError | undefined> => {
      const found = await corridor.query(["runtimes", "inputs"], async (reader) => {
        const runtime = await loadRow(reader, "runtimes", ref.runtimeId);
        const ids = runtime?.run?.inputIds ?? [];
        const rows = await Promise.all(ids.map((id) => loadRow(reader, "inputs", [ref.runtimeId, id])));
        return { runtime, cancelled: rows.some((row) => row?.cancelRequested === 1) };
      });
      const { runtime, cancelled } = found;
      if (runtime?.incarnation !== ref.incarnation || runtime.run?.runId !== runId) {
        const state = runtime?.state ?? "deleted";
        return new HoldfastError("lease-lost", `the run was ended: the session is ${state}`, { details: { state } });
      }
      if (!cancelled) return undefined;
      turn.end ??= { how: "cancelled" };
      return new HoldfastError("aborted", "the input was cancelled", { details: { reason: "cancel-requested" } });
    };
    for (;;) {
      try {
        const reason = await watch.until(ref.runtimeId, read, over);
        if (!over.aborted && !turn.isSettled) turn.abort.abort(reason);
        return;
      } catch (error) {
        if (over.aborted || stopped || (isHoldfastError(error) && error.code === "closed")) return;
        tell(error);
        await pause(timings.pollMs);
        if (over.aborted) return;
      }
    }
  }

  /** Cut short when there is nothing left to wait for. */
  function pause(ms: number): Promise<void> {
    if (stopped) return Promise.resolve();
    return new Promise((resolve) => {
      const cancel = clock.setTimer(wake, ms);
      function wake(): void {
        pauses.delete(wake);
        cancel();
        resolve();
      }
      pauses.add(wake);
    });
  }

  function halt(): void {
    stopped = true;
    cancelTimer();
    for (const wake of pauses) wake();
  }

  function tell(thrown: unknown): void {
    const { code, message } = asHoldfastError(thrown, "internal", "a turn failed");
    if (code !== "closed") parts.fault({ area: "session", code, message });
  }

  return {
    poke: () => poke(),
    hear,
    async takeOff(handler, reason) {
      if (active?.handler !== handler) return;
      const { over } = active;
      active.end ??= { how: "interrupted" };
      active.abort.abort(reason);
      await over;
    },
    async stop(reason) {
      halt();
      if (active) {
        active.end ??= { how: "interrupted" };
        active.abort.abort(reason);
      }
      await looking;
    },
    end(reason) {
      halt();
      if (!active) return;
      active.tenure.end(reason);
      active.abort.abort(reason);
    },
  };
}

/** What a tab gets to see what is to be done and take the lease, before the next one tries. */
const STAGGER_MS = 25;

const LONGEST = 1_024;
/** Polls. */
const LONGEST_PAUSE = 64;

/** A failure names its cause, whatever was thrown. */
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
  return cause.slice(0, LONGEST).replace(/\p{Surrogate}/gu, "\uFFFD");
}
