import type { HoldfastError } from "../../../domain/errors.js";
import type { JsonValue } from "../../../domain/json.js";
import type { CompletionEntry, OperationOutcome, OperationStatus, StoredOperationSpec } from "../../../domain/session/ops.js";
import {
  type EndedOperation,
  type Ending,
  keptOf,
  knownOutcome,
  type Ops,
  type OpsAction,
  opsError,
  refusalOf,
  unknownOperation,
  watermarkOf,
} from "../../../stores/session/ops.rules.js";

/** An operation of this tab, from its registration until its end is stored. */
export interface LiveOperation {
  readonly spec: StoredOperationSpec;
  readonly startedAtMs: number;
  /** The feed's newest sequence when it was registered. */
  readonly since: number;
  status: OperationStatus;
  peerReady: boolean;
  progressCount: number;
  watcherCount: number;
  progress?: NonNullable<OperationSnapshot["progress"]>;
  peer?: JsonValue;
  /** Set once it has ended, in any tab. */
  outcome?: OperationOutcome;
}

export interface OperationSnapshot extends StoredOperationSpec {
  status: OperationStatus;
  peerReady: boolean;
  progressCount: number;
  /** This and the next two only in the tab where it lives. */
  startedAtMs?: number;
  progress?: { message: string; percent?: number; atMs: number };
  peer?: JsonValue;
  /** Only of an operation that has ended. */
  terminalOutcome?: OperationOutcome;
}

/** Refuses a known id, then an operation above `limit`. */
export function refusalOfRegistration(
  id: string,
  known: { readonly isLive: boolean; readonly ops: Ops | undefined },
  room: { readonly active: number; readonly limit: number | null },
): HoldfastError | undefined {
  if (known.isLive || (known.ops && keptOf(known.ops, id)))
    return opsError("conflict", "AlreadyRegistered", `operation "${id}" is registered already`, { id });
  const { active, limit } = room;
  if (limit === null || active < limit) return undefined;
  return opsError("conflict", "MaxConcurrentExceeded", `${active} operations are active, and ${limit} may be`, { limit, active });
}

export function newOperation(spec: StoredOperationSpec, ops: Ops | undefined, nowMs: number): LiveOperation {
  return {
    spec,
    startedAtMs: nowMs,
    since: ops ? watermarkOf(ops) : 0,
    status: "provisioning",
    peerReady: false,
    progressCount: 0,
    watcherCount: 0,
  };
}

/** What a call does with an operation that lives in this tab. */
export type Permit =
  | { readonly kind: "act" }
  | { readonly kind: "wait" }
  | { readonly kind: "refuse"; readonly error: HoldfastError };

/** While an end is being stored a call waits: that write may fail, and then the operation lives on. */
export function permitOf(action: OpsAction, { spec, status, peerReady }: LiveOperation, isEnding: boolean): Permit {
  if (isEnding) return { kind: "wait" };
  const error = refusalOf(action, { id: spec.id, kind: spec.kind, status, peerReady });
  return error ? { kind: "refuse", error } : { kind: "act" };
}

/** The refusal of a call on an operation that does not live in this tab: it has ended, or is unknown. */
export function refusalOfAbsent(action: OpsAction, id: string, ops: Ops | undefined): HoldfastError {
  const kept = ops && keptOf(ops, id);
  return (kept && refusalOf(action, { id, ...kept })) ?? unknownOperation(id);
}

export function endingOf(op: LiveOperation, outcome: OperationOutcome): Ending {
  const { spec, peerReady, progressCount, watcherCount, since } = op;
  return { spec, peerReady, progressCount, watcherCount, since, outcome };
}

/** The stored end of the operation's id, which may have ended in another tab. */
export function storedEndOf({ spec, since }: LiveOperation, ops: Ops): OperationOutcome | undefined {
  return knownOutcome(ops, spec.id, since);
}

export function shownLive(op: LiveOperation): OperationSnapshot {
  const { spec, status, peerReady, progressCount, startedAtMs, progress, peer, outcome } = op;
  return structuredClone({
    ...spec,
    status,
    peerReady,
    progressCount,
    startedAtMs,
    ...(progress && { progress }),
    ...(peer !== undefined && { peer }),
    ...(outcome && { terminalOutcome: outcome }),
  });
}

/** The stored end of an operation is newer than what lived in this tab when the read began. */
export function shownOne(id: string, live: LiveOperation | undefined, ops: Ops | undefined): OperationSnapshot | undefined {
  const kept = ops && keptOf(ops, id);
  return kept ? shownEnded(ops, id, kept) : live && shownLive(live);
}

/** Ended operations, oldest first; then those that live in this tab, in the order of their registration. */
export function shownAll(live: readonly LiveOperation[], ops: Ops | undefined): OperationSnapshot[] {
  if (!ops) return live.map(shownLive);
  const { completedOrder, operations } = ops.authorityState;
  return [
    ...completedOrder.map((id) => shownEnded(ops, id, operations[id] as EndedOperation)),
    ...live.filter(({ spec }) => !keptOf(ops, spec.id)).map(shownLive),
  ];
}

function shownEnded(ops: Ops, id: string, ended: EndedOperation): OperationSnapshot {
  const { status, peerReady, progressCount, terminalOutcome } = ended;
  return { ...(ops.operationSpecs[id] as StoredOperationSpec), status, peerReady, progressCount, terminalOutcome };
}

/** What a wait waits for: an operation that lives in this tab, or one that had ended before. */
export interface AwaitedOperation {
  readonly outcome?: OperationOutcome;
  watcherCount: number;
}

export function awaitedOf(id: string, live: LiveOperation | undefined, ops: Ops | undefined): AwaitedOperation | HoldfastError {
  if (live) return live;
  const kept = ops && keptOf(ops, id);
  return kept ? { outcome: kept.terminalOutcome, watcherCount: 0 } : unknownOperation(id);
}

/** The ends of all in their order, once all have ended. */
export function outcomesOf(awaited: readonly AwaitedOperation[]): OperationOutcome[] | undefined {
  const outcomes = awaited.flatMap(({ outcome }) => outcome ?? []);
  return outcomes.length === awaited.length ? outcomes : undefined;
}

/** The outcomes of a wait during which the registry or the kernel was closed. */
export function outcomesAtClose(awaited: readonly AwaitedOperation[], reason: string): OperationOutcome[] {
  return awaited.map(({ outcome }) => outcome ?? { outcomeType: "terminated", reason });
}

/** One such wait at a time, and each id once. */
export function refusalOfWait(ids: readonly string[], isWaiting: boolean): HoldfastError | undefined {
  const seen = new Set<string>();
  const twice = ids.find((id) => seen.has(id) || !seen.add(id));
  if (twice !== undefined)
    return opsError("invalid", "DuplicateWaitOperation", `ids names operation "${twice}" twice`, { id: twice });
  return isWaiting ? opsError("conflict", "WaitAlreadyActive", "another waitAll of this session goes on") : undefined;
}

/** The feed's entries above `seq`, and its newest sequence. */
export function feedBehind(ops: Ops | undefined, seq: number): { entries: CompletionEntry[]; watermark: number } {
  return {
    entries: ops?.completionEntries.filter((entry) => entry.seq > seq) ?? [],
    watermark: ops ? watermarkOf(ops) : 0,
  };
}

/**
 * Whether the feed went on: its newest sequence is above `seq`, or differs from the first one that the wait read. `seq` may be of an earlier
 * feed, which counted far ahead of this one.
 */
export function hasAdvanced(watermark: number, { seq, first }: { readonly seq: number; readonly first: number }): boolean {
  return watermark > seq || watermark !== first;
}
