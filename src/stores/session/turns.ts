import { accept, type Command, refuse } from "../../corridor/command.js";
import { HoldfastError } from "../../domain/errors.js";
import type { JsonValue } from "../../domain/json.js";
import type { ProcessLease } from "../../domain/lease.js";
import type { StoredInputState } from "../../domain/session/input.js";
import type { Message, RunBoundaryReceipt, RuntimeState } from "../../domain/session/session.js";
import type { Change } from "../../ports/notices.js";
import type { Reader, Write } from "../../ports/storage.js";
import { grant, heldChange, leaseOf, renewed } from "../host/claims.rules.js";
import { loadFloor } from "../host/floors.js";
import { saidFarewell } from "../host/hosts.js";
import { fence, type Host, isLive, leaseChange, leaseLost, released } from "../host/leases.rules.js";
import type { LeaseRow } from "../host/tables.js";
import { loadRow } from "../schema.js";
import { ROW_VERSION } from "../table.js";
import {
  checkRuntime,
  type Draft,
  draftOf,
  type InputHappening,
  type LiveRuntimeRow,
  loadSessionState,
  recover,
  SESSION_STATE_TABLES,
  type SessionRef,
  type SessionState,
  WORK_TABLES,
} from "./draft.js";
import { loadInput, loadInputKeys } from "./inputs/input-rows.js";
import { abandoned, interrupted, isPaused } from "./inputs/inputs.rules.js";
import type { InputKeyRow, InputRow } from "./inputs/tables.js";
import { inOrder, loadNext } from "./next-inputs.js";
import { mayRun } from "./runtime-state.rules.js";
import type { ActiveRun, RuntimeRow, SnapshotRow, TurnStepRow } from "./tables.js";
import { liftSnapshot } from "./transcript.rules.js";
import { chooseBatch, consumed, rolledBack, staged, type TurnFailure, workOf } from "./turns.rules.js";

/**
 * A turn, from the choice of its inputs to its commit. Its executor holds the lease of the runtime's id. Every command but the first
 * is fenced by that lease and names the run: an executor that lost one of them changes nothing.
 *
 *     begin (recover, lease, stage) -> handler: checkpoint, steps -> commit | fail | cancel | interrupt
 */
export interface BeginTurn extends SessionRef {
  readonly ownerId: string;
  readonly ttlMs: number;
  readonly nonce: string;
  readonly host: Host;
  readonly hasLocks: boolean;
  readonly runId: string;
  /** The lease that the executor holds. Refused if it is not the live one. */
  readonly held?: ProcessLease;
  /** The token of another host's expired lease for which this executor has waited long enough. */
  readonly waitedFor?: string;
}

export type BeganTurn =
  | {
      readonly kind: "turn";
      readonly lease: ProcessLease;
      readonly run: ActiveRun;
      readonly inputs: readonly StoredInputState[];
      /** For each input, the number of messages when it was accepted. Its own message can only stand behind them. */
      readonly since: readonly number[];
      readonly messageCount: number;
      readonly digest: string;
      readonly happened: readonly InputHappening[];
    }
  /** Nothing to do, or not before `retryAtMs`. */
  | {
      readonly kind: "idle";
      readonly state: RuntimeState;
      readonly happened: readonly InputHappening[];
      readonly retryAtMs?: number;
    }
  /** Another executor holds the lease. Or its lease expired, but its host lives: then it gets a moment to claim it again. */
  | { readonly kind: "held"; readonly token: string; readonly expiresAtMs: number; readonly expired: boolean };

interface BeginState extends SessionState {
  readonly snapshot: SnapshotRow | undefined;
  readonly floor: number;
}

export const BEGIN_TABLES = [...SESSION_STATE_TABLES, "snapshots", "messages", "floors"] as const;

export const beginTurn: Command<BeginTurn, BeginState, BeganTurn> = {
  tables: BEGIN_TABLES,
  async load(reader, { runtimeId, held }) {
    const next = loadNext(reader, runtimeId, held !== undefined);
    const [sessionState, snapshot] = await Promise.all([
      loadSessionState(reader, runtimeId, next),
      loadRow(reader, "snapshots", runtimeId),
    ]);
    return { ...sessionState, snapshot, floor: sessionState.lease ? 0 : await loadFloor(reader, "leases") };
  },
  decide(state, input, nowMs) {
    const stored = checkRuntime(state.runtime, input);
    const { lease } = state;
    const isOurs = input.held !== undefined && lease?.leaseToken === input.held.leaseToken && isLive(lease, nowMs);
    if (input.held && !isOurs) return refuse(leaseLost(input.runtimeId));
    const held = isOurs ? undefined : holderOf(state, input, nowMs);
    if (held) return accept(held);

    const draft = draftOf(stored, state.live, state.keys, nowMs);
    if (!isOurs) {
      const isOwn = lease?.ownerId === input.ownerId;
      recover(draft, { ...state, farewell: state.farewell || isOwn }, input, nowMs);
    }
    const batch = nextBatch(draft, nowMs);
    if (batch.length === 0) {
      if (isOurs && lease) draft.write({ table: "leases", put: released(lease, true) });
      const retryAtMs = endOfPause(draft, nowMs);
      // A pause alone is not told: each tab that looks finds it.
      const told = draft.isEmpty ? [] : [idleChange(draft, nowMs)];
      if (retryAtMs !== undefined) draft.pauseUntil(retryAtMs);
      const reply: BeganTurn = {
        kind: "idle",
        state: draft.runtime.state,
        happened: draft.happened,
        ...(retryAtMs !== undefined && { retryAtMs }),
      };
      return draft.isEmpty ? accept(reply) : draft.done(reply, ...told);
    }
    // The recovery released a lease that ran out, so the grant starts from the released row.
    const claim = { resource: input.runtimeId, ownerId: input.ownerId, ttlMs: input.ttlMs, nonce: input.nonce, host: input.host };
    const free = lease && !isOurs ? released(lease, false) : lease;
    const granted =
      isOurs && isLive(lease, nowMs)
        ? renewed(lease, input.ttlMs, nowMs)
        : grant(free, claim, { farewell: false, floor: state.floor }, nowMs);
    if (granted instanceof HoldfastError) return refuse(granted);
    if (state.snapshot) liftInto(draft, state.snapshot);

    const run: ActiveRun = {
      runId: input.runId,
      before: draft.runtime.state,
      inputIds: batch.map(({ inputId }) => inputId),
      workId: workOf(batch) ?? input.runId,
    };
    const rows = batch.map((row) => staged(row, run, nowMs));
    for (const row of rows) draft.put(row);
    draft.update({ state: "running", run });
    draft.write({ table: "leases", put: granted });
    const reply: BeganTurn = {
      kind: "turn",
      lease: leaseOf(granted),
      run,
      inputs: rows.map(({ record }) => record),
      since: rows.map(({ since = 0 }) => since),
      messageCount: draft.runtime.messageCount,
      digest: draft.runtime.digest,
      happened: draft.happened,
    };
    // An executor that keeps its lease publishes nothing: the tabs that wait for the lease have nothing to look for.
    return draft.done(reply, ...(isOurs ? [] : [heldChange(input.runtimeId)]));
  },
};

/** The next batch. A retired runtime takes no more inputs, so it also runs those that would wait for another one. */
function nextBatch({ runtime, live }: Draft, nowMs: number): InputRow[] {
  return mayRun(runtime.state) ? chooseBatch(live, runtime.state === "retired", nowMs) : [];
}

/** When the first of the inputs that are paused may run. */
function endOfPause({ live }: Draft, nowMs: number): number | undefined {
  const ends = live.filter((row) => isPaused(row, nowMs)).flatMap(({ record }) => record.retryAtMs ?? []);
  return ends.length > 0 ? Math.min(...ends) : undefined;
}

/**
 * The lease is free and no input can run. A tab looks again only after a later write of inputs than `sequence`. While an input is paused
 * each tab looks now, and so learns when the pause ends.
 */
function idleChange({ runtime, inputRevision, live }: Draft, nowMs: number): Change {
  const change = leaseChange(runtime.runtimeId);
  return live.some((row) => isPaused(row, nowMs)) ? change : { ...change, member: "idle", sequence: inputRevision };
}

type Holder = Pick<SessionState, "lease" | "farewell">;

export const HOLDER_TABLES = ["runtimes", "leases", "farewells"] as const;

/** Throws for a deleted session: its lease may belong to a new session with the same id. */
export async function loadHolder(reader: Reader, ref: SessionRef): Promise<Holder> {
  const { runtimeId } = ref;
  const [runtime, lease] = await Promise.all([loadRow(reader, "runtimes", runtimeId), loadRow(reader, "leases", runtimeId)]);
  checkRuntime(runtime, ref);
  return { lease, farewell: await saidFarewell(reader, lease?.bootId) };
}

/** The answer that another executor holds the lease, if one does. */
export function holderOf({ lease, farewell }: Holder, input: BeginTurn, nowMs: number): BeganTurn | undefined {
  // A lease of the same owner is its own: the reply to its claim was lost.
  if (lease?.leaseToken === undefined || farewell || lease.ownerId === input.ownerId) return undefined;
  const { leaseToken: token, expiresAtMs } = lease;
  if (isLive(lease, nowMs)) return { kind: "held", token, expiresAtMs, expired: false };
  const mayReturn = lease.locked === 1 && lease.bootId !== input.host.bootId && input.waitedFor !== token;
  return mayReturn ? { kind: "held", token, expiresAtMs, expired: true } : undefined;
}

/** Turns a stored snapshot into message rows. From then on each message is written once. */
function liftInto(draft: Draft, snapshot: SnapshotRow): void {
  const { runtimeId } = snapshot;
  const { head, messages, digest } = liftSnapshot(snapshot.bytes);
  draft.write({ table: "snapshots", drop: runtimeId }, { table: "messages", dropPrefix: [runtimeId] });
  // The messages that earlier attempts appended under these keys are gone.
  draft.write({ table: "turnKeys", dropPrefix: [runtimeId] });
  draft.write(...messageWrites(runtimeId, 0, messages));
  draft.update({ head, messageCount: messages.length, digest });
}

export function messageWrites(runtimeId: string, from: number, messages: readonly Message[]): Write[] {
  return messages.map((message, at) => ({
    table: "messages",
    put: { v: ROW_VERSION, runtimeId, position: from + at, message },
  }));
}

/** Claims a lease again that ran out while its owner slept. Refused if the lease was claimed or released since. */
export const reclaimTurn: Command<
  { lease: ProcessLease; runId: string; ttlMs: number; nonce: string; host: Host },
  { lease: LeaseRow | undefined; runtime: RuntimeRow | undefined; farewell: boolean },
  ProcessLease
> = {
  tables: ["leases", "runtimes", "farewells"],
  async load(reader, { lease: { processId } }) {
    const [lease, runtime] = await Promise.all([loadRow(reader, "leases", processId), loadRow(reader, "runtimes", processId)]);
    return { lease, runtime, farewell: await saidFarewell(reader, lease?.bootId) };
  },
  decide({ lease: row, runtime, farewell }, { lease, runId, ttlMs, nonce, host }, nowMs) {
    if (row?.leaseToken !== lease.leaseToken || farewell || runtime?.run?.runId !== runId)
      return refuse(leaseLost(lease.processId));
    const claim = { resource: lease.processId, ownerId: lease.ownerId, ttlMs, nonce, host };
    const granted = grant(row, claim, { farewell: false }, nowMs);
    if (granted instanceof HoldfastError) return refuse(granted);
    return accept(leaseOf(granted), [{ table: "leases", put: granted }], [heldChange(lease.processId)]);
  },
};

/** A run and its lease, as its executor names them. */
export interface RunRef extends SessionRef {
  readonly runId: string;
  readonly lease: ProcessLease;
}

interface RunState {
  readonly runtime: RuntimeRow | undefined;
  readonly lease: LeaseRow | undefined;
  readonly contributors: readonly InputRow[];
  readonly keys: readonly InputKeyRow[];
  /** Whether a caller stored a snapshot since the run began: then the message rows are no longer the transcript. */
  readonly isReplaced: boolean;
}

async function loadRun(reader: Reader, { runtimeId }: RunRef): Promise<RunState> {
  const [runtime, lease, snapshot] = await Promise.all([
    loadRow(reader, "runtimes", runtimeId),
    loadRow(reader, "leases", runtimeId),
    reader.get("snapshots", runtimeId),
  ]);
  const ids = runtime?.run?.inputIds ?? [];
  const rows = await Promise.all(ids.map((inputId) => loadInput(reader, runtimeId, inputId)));
  const contributors = rows.filter((row) => row !== undefined);
  const keys = await loadInputKeys(
    reader,
    runtimeId,
    contributors.map(({ record }) => record),
  );
  return { runtime, lease, contributors, keys, isReplaced: snapshot !== undefined };
}

interface CheckedRun {
  readonly runtime: LiveRuntimeRow;
  readonly run: ActiveRun;
  readonly lease: LeaseRow;
}

/** Checks all that must hold before a run's executor changes anything. */
function checkRun({ runtime, lease, contributors }: RunState, input: RunRef, nowMs: number): CheckedRun {
  const stored = checkRuntime(runtime, input);
  const held = fence(lease, input.lease, nowMs);
  if (held instanceof HoldfastError) throw held;
  const { run } = stored;
  if (run?.runId !== input.runId) throw leaseLost(input.runtimeId);
  const stray = run.inputIds.find(
    (inputId) => contributors.find((row) => row.inputId === inputId)?.record.currentState !== "staged",
  );
  if (stray !== undefined) {
    throw new HoldfastError("conflict", `input "${stray}" of run "${run.runId}" is not staged any more`, {
      details: { inputId: stray, runId: run.runId },
    });
  }
  return { runtime: stored, run, lease: held };
}

/** Messages to append. The caller chains their digest onto the stored one. */
export interface AppendedMessages {
  readonly base: { readonly messageCount: number; readonly digest: string };
  readonly messages: readonly Message[];
  readonly digest: string;
}

function appendTo(draft: Draft, isReplaced: boolean, { base, messages, digest }: AppendedMessages, nowMs: number): Change[] {
  const { runtime } = draft;
  if (isReplaced || runtime.messageCount !== base.messageCount || runtime.digest !== base.digest) {
    throw new HoldfastError("conflict", `the transcript of runtime "${runtime.runtimeId}" was replaced under its run`, {
      details: { runtimeId: runtime.runtimeId },
    });
  }
  if (messages.length === 0) return [];
  const { runtimeId, sessionId } = runtime;
  const messageCount = base.messageCount + messages.length;
  draft.write(...messageWrites(runtimeId, base.messageCount, messages));
  draft.write({ table: "sessions", put: { v: ROW_VERSION, sessionId, runtimeId, messageCount, updatedAtMs: nowMs } });
  draft.update({ messageCount, digest });
  return [{ about: "messages", id: runtimeId }];
}

/**
 * Stores the messages that were appended so far, and the keys of those that have one. It writes no receipt and changes no input's phase.
 */
export const checkpointTurn: Command<RunRef & AppendedMessages & { keys: readonly string[] }, RunState, void> = {
  tables: ["runtimes", "leases", "inputs", "inputKeys", "messages", "sessions", "snapshots", ...WORK_TABLES],
  load: loadRun,
  decide(state, input, nowMs) {
    const { runtime, run } = checkRun(state, input, nowMs);
    const { runtimeId, base, messages, digest, keys } = input;
    const isStored = runtime.digest === digest && runtime.messageCount === base.messageCount + messages.length;
    if (isStored && messages.length > 0) return accept(undefined);
    const draft = draftOf(runtime, state.contributors, state.keys, nowMs);
    const changes = appendTo(draft, state.isReplaced, input, nowMs);
    for (const appendKey of keys)
      draft.write({ table: "turnKeys", put: { v: ROW_VERSION, runtimeId, workId: run.workId, appendKey } });
    // A checkpoint is progress: crashes are counted from zero again.
    for (const { crashes, ...row } of draft.live) if (crashes !== undefined) draft.put(row);
    return draft.done(undefined, ...changes);
  },
  repeatable: () => true,
};

interface CommittedTurn {
  readonly receipt: RunBoundaryReceipt;
  /** Whether the same write released the lease. */
  readonly released: boolean;
  readonly happened: readonly InputHappening[];
}

interface CommitState extends RunState {
  readonly receipt: RunBoundaryReceipt | undefined;
  /** The live inputs that decide which run next. */
  readonly next: readonly InputRow[];
}

/**
 * Commits a turn in one write: messages, receipt, consumed inputs, state. Only changed rows are written. If no input waits, the same
 * write releases the lease, and the reply says so.
 */
export const commitTurn: Command<RunRef & AppendedMessages, CommitState, CommittedTurn> = {
  tables: ["runtimes", "leases", "inputs", "inputKeys", "receipts", ...WORK_TABLES, "messages", "sessions", "snapshots"],
  async load(reader, input) {
    const [state, next, row] = await Promise.all([
      loadRun(reader, input),
      loadNext(reader, input.runtimeId, true),
      loadRow(reader, "receipts", [input.runtimeId, input.runId, SEQUENCE]),
    ]);
    return { ...state, next, receipt: row?.receipt };
  },
  decide(state, input, nowMs) {
    const { runtimeId, runId } = input;
    // This very commit is stored; its reply was lost.
    const isStored = state.receipt?.conversationDigest === input.digest && state.runtime?.run?.runId !== runId;
    if (state.receipt && isStored) {
      const isReleased = state.lease?.leaseToken !== input.lease.leaseToken;
      return accept({ receipt: state.receipt, released: isReleased, happened: [] });
    }
    const { runtime, run, lease } = checkRun(state, input, nowMs);
    if (state.receipt) {
      throw new HoldfastError("conflict", `a receipt of run "${runId}" is stored already`, { details: { runId } });
    }
    const draft = draftOf(runtime, inOrder([...state.next, ...state.contributors]), state.keys, nowMs);
    const changes = appendTo(draft, state.isReplaced, input, nowMs);
    const [first] = state.contributors;
    const receipt: RunBoundaryReceipt = {
      runId,
      boundary: first?.record.runtimeSemantics?.boundary ?? "run_start",
      contributingInputIds: [...run.inputIds],
      conversationDigest: draft.runtime.digest,
      messageCount: draft.runtime.messageCount,
      sequence: SEQUENCE,
    };
    draft.write({ table: "receipts", put: { v: ROW_VERSION, runtimeId, runId, sequence: SEQUENCE, receipt } });
    for (const row of state.contributors) draft.put(consumed(row, SEQUENCE, nowMs));
    draft.endRun();
    const isReleased = nextBatch(draft, nowMs).length === 0;
    if (isReleased) {
      draft.write({ table: "leases", put: released(lease, true) });
      changes.push(idleChange(draft, nowMs));
    }
    return draft.done({ receipt, released: isReleased, happened: draft.happened }, ...changes);
  },
  repeatable: () => true,
};

/** A run has one boundary: no input is added to a run that is under way. */
const SEQUENCE = 0;

export type TurnEnd =
  /** The handler threw. Its inputs are queued again after a pause, or given up after the last attempt. */
  | ({ readonly how: "failed" } & TurnFailure)
  /** One of its inputs was cancelled. That one is abandoned, the others are queued again. */
  | { readonly how: "cancelled" }
  /** Its owner stops in order. This is no failure. */
  | { readonly how: "interrupted" };

/** Stores the end of a run that is not committed. Only after a cancelled one the executor keeps its lease. */
export const endTurn: Command<RunRef & TurnEnd, RunState, readonly InputHappening[]> = {
  tables: ["runtimes", "leases", "inputs", "inputKeys", "snapshots", ...WORK_TABLES],
  load: loadRun,
  decide(state, input, nowMs) {
    const { runtime, lease } = checkRun(state, input, nowMs);
    const draft = draftOf(runtime, state.contributors, state.keys, nowMs);
    for (const row of rowsAfterEnd(state.contributors, input, nowMs)) draft.put(row);
    draft.endRun();
    if (input.how === "cancelled") return draft.done(draft.happened);
    const retryAtMs = endOfPause(draft, nowMs);
    // If other inputs wait too, the next look tells whether one of them may run.
    if (retryAtMs !== undefined && !hasOthers(draft.runtime, state.contributors)) draft.pauseUntil(retryAtMs);
    draft.write({ table: "leases", put: released(lease, true) });
    return draft.done(draft.happened, leaseChange(input.runtimeId));
  },
};

/** Whether inputs wait that may begin a run, other than those of the run that ended. */
function hasOthers({ state, liveInputs, starters }: RuntimeRow, contributors: readonly InputRow[]): boolean {
  return (state === "retired" ? liveInputs : starters) !== contributors.length;
}

function rowsAfterEnd(rows: readonly InputRow[], end: TurnEnd, nowMs: number): InputRow[] {
  const kept = rows.filter(({ cancelRequested }) => !cancelRequested);
  return [
    ...rows.filter(({ cancelRequested }) => cancelRequested).map((row) => abandoned(row, "cancelled", nowMs)),
    ...(end.how === "failed" ? rolledBack(kept, end, nowMs) : kept.map((row) => interrupted(row, nowMs))),
  ];
}

/** Stores a step's result. The first stored result stays, and is the reply. */
export const storeTurnStep: Command<
  RunRef & { workId: string; stepKey: string; result: JsonValue },
  { runtime: RuntimeRow | undefined; lease: LeaseRow | undefined; stored: TurnStepRow | undefined },
  JsonValue
> = {
  tables: ["runtimes", "leases", "turnSteps"],
  async load(reader, { runtimeId, workId, stepKey }) {
    const [runtime, lease, stored] = await Promise.all([
      loadRow(reader, "runtimes", runtimeId),
      loadRow(reader, "leases", runtimeId),
      loadRow(reader, "turnSteps", [runtimeId, workId, stepKey]),
    ]);
    return { runtime, lease, stored };
  },
  decide({ runtime, lease, stored }, input, nowMs) {
    checkRun({ runtime: withoutInputs(runtime), lease, contributors: [], keys: [], isReplaced: false }, input, nowMs);
    if (stored) return accept(stored.result);
    const { runtimeId, workId, stepKey, result } = input;
    return accept(result, [{ table: "turnSteps", put: { v: ROW_VERSION, runtimeId, workId, stepKey, result } }]);
  },
  repeatable: () => true,
};

/** A step does not check the run's inputs. */
function withoutInputs(runtime: RuntimeRow | undefined): RuntimeRow | undefined {
  return runtime?.run ? { ...runtime, run: { ...runtime.run, inputIds: [] } } : runtime;
}
