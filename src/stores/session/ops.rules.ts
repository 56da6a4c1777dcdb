import { type ErrorCode, HoldfastError } from "../../domain/errors.js";
import { canonicalText, type JsonValue } from "../../domain/json.js";
import type {
  CompletionEntry,
  OperationKind,
  OperationOutcome,
  OperationStatus,
  PersistedOperation,
  PersistedOpsSnapshot,
  PersistedOutcome,
  StoredOperationSpec,
} from "../../domain/session/ops.js";

/**
 * The life of an operation. What is not in the table is refused. `to` is absent if the status stays the same.
 *
 *     provisioning --> running --> retiring        and from each of them to an end: completed, failed, aborted,
 *                                                   cancelled, retired or terminated, which never changes again
 */
export const OPS_TRANSITIONS = {
  provisioningSucceeded: { from: ["provisioning"], to: "running" },
  provisioningFailed: { from: ["provisioning", "running", "retiring"], to: "failed" },
  fail: { from: ["provisioning", "running", "retiring"], to: "failed" },
  abortProvisioning: { from: ["provisioning"], to: "aborted" },
  complete: { from: ["running", "retiring"], to: "completed" },
  cancel: { from: ["provisioning", "running", "retiring"], to: "cancelled" },
  requestRetire: { from: ["running"], to: "retiring" },
  markRetired: { from: ["running", "retiring"], to: "retired" },
  terminateOwner: { from: ["provisioning", "running", "retiring"], to: "terminated" },
  peerReady: { from: ["running", "retiring"] },
  reportProgress: { from: ["running", "retiring"] },
} as const satisfies Record<string, { from: readonly OperationStatus[]; to?: OperationStatus }>;
export type OpsAction = keyof typeof OPS_TRANSITIONS;

const LIVE: ReadonlySet<OperationStatus> = new Set(["provisioning", "running", "retiring"]);

export function hasEnded(status: OperationStatus): boolean {
  return !LIVE.has(status);
}

/** What a check against the table needs. */
interface OpsStanding {
  id: string;
  kind: OperationKind;
  status: OperationStatus;
  peerReady: boolean;
}

/** Why `action` is refused now; absent if it is allowed. For `peerReady` the kind is checked first, then whether it is known already, then the status. */
export function refusalOf(action: OpsAction, { id, kind, status, peerReady }: OpsStanding): HoldfastError | undefined {
  if (action === "peerReady") {
    if (kind !== "mob_member_child")
      return opsError("conflict", "PeerNotExpected", `operation "${id}" is of a kind that has no peer`, { id });
    if (peerReady) return opsError("conflict", "AlreadyPeerReady", `the peer of operation "${id}" is ready already`, { id });
  }
  const from: readonly OperationStatus[] = OPS_TRANSITIONS[action].from;
  return from.includes(status) ? undefined : invalidTransition(action, id, status);
}

export function invalidTransition(action: OpsAction, id: string, status: OperationStatus): HoldfastError {
  const details = { id, status, action };
  return hasEnded(status)
    ? opsError("terminal", "InvalidTransition", `operation "${id}" is already terminal: ${status}`, details)
    : opsError("conflict", "InvalidTransition", `operation "${id}" is ${status}, which does not allow ${action}`, details);
}

export function unknownOperation(id: string): HoldfastError {
  return opsError("not-found", "NotFound", `operation "${id}" is not registered`, { id });
}

/** A refusal of the registry. `details.reason` is the registry's own name for it. */
export function opsError(
  code: ErrorCode,
  reason: string,
  message: string,
  details: { [name: string]: JsonValue } = {},
): HoldfastError {
  return new HoldfastError(code, message, { details: { reason, ...details } });
}

/** A snapshot as the registry uses it: only ended operations, outcomes in one form, the feed in order. */
export interface Ops extends PersistedOpsSnapshot {
  authorityState: Omit<PersistedOpsSnapshot["authorityState"], "operations"> & { operations: { [id: string]: EndedOperation } };
  completionEntries: CompletionEntry[];
}

export interface EndedOperation extends PersistedOperation {
  terminalOutcome: OperationOutcome;
}

/** A registry's settings. They are stored with its operations. */
export interface OpsSettings {
  maxCompleted: number;
  /** null: no limit. */
  maxConcurrent: number | null;
}

const LEAST_FEED = 1024;

export function feedLength(maxCompleted: number): number {
  return Math.max(4 * maxCompleted, LEAST_FEED);
}

export function freshOps(epochId: string, { maxCompleted, maxConcurrent }: OpsSettings): Ops {
  return {
    epochId,
    authorityState: {
      operations: {},
      completedOrder: [],
      maxCompleted,
      maxConcurrent,
      activeCount: 0,
      waitRequestId: null,
      waitOperationIds: [],
      nextCompletionSeq: 1,
    },
    operationSpecs: {},
    completionEntries: [],
    cursors: { agentAppliedCursor: 0, runtimeObservedSeq: 0, runtimeLastInjectedSeq: 0 },
  };
}

/**
 * Recovers a stored snapshot after its writer is gone: operations that had not ended are dropped, and so are waits. The feed stays whole,
 * with entries of operations that are no longer kept, and continues behind its last sequence.
 */
export function recoveredOps(stored: PersistedOpsSnapshot): Ops {
  const { authorityState: authority, operationSpecs, completionEntries: entries } = stored;
  const ended = new Map(
    Object.entries(authority.operations).flatMap(([id, operation]) =>
      hasEnded(operation.status) && operation.terminalOutcome && Object.hasOwn(operationSpecs, id)
        ? [[id, { ...operation, terminalOutcome: outcomeOf(operation.terminalOutcome) }] as const]
        : [],
    ),
  );
  const ordered = new Set(authority.completedOrder.filter((id) => ended.has(id)));
  const completionEntries = entries
    .map((entry) => ({ ...entry, terminalOutcome: outcomeOf(entry.terminalOutcome) }))
    .sort((a, b) => a.seq - b.seq);
  return {
    ...stored,
    authorityState: {
      ...authority,
      operations: Object.fromEntries(ended),
      // Operations that the stored order lacks go first, as the oldest ones: so they are dropped in time, too.
      completedOrder: [...[...ended.keys()].filter((id) => !ordered.has(id)), ...ordered],
      activeCount: 0,
      waitRequestId: null,
      waitOperationIds: [],
      nextCompletionSeq: Math.max(authority.nextCompletionSeq, (completionEntries.at(-1)?.seq ?? 0) + 1),
    },
    operationSpecs: Object.fromEntries([...ended.keys()].map((id) => [id, operationSpecs[id] as StoredOperationSpec])),
    completionEntries,
  };
}

function outcomeOf(outcome: PersistedOutcome): OperationOutcome {
  if (outcome.outcomeType !== "completed" || "result" in outcome) return outcome;
  const { outcomeType, ...result } = outcome;
  return { outcomeType, result: { ...result } };
}

/** The sequence of the newest entry; 0 before the first. */
export function watermarkOf(ops: PersistedOpsSnapshot): number {
  return ops.completionEntries.at(-1)?.seq ?? 0;
}

/** An operation and the outcome that it must end with. */
export interface Ending {
  spec: StoredOperationSpec;
  peerReady: boolean;
  progressCount: number;
  watcherCount: number;
  outcome: OperationOutcome;
  /** The feed's newest sequence when the operation was registered. A later entry with its id is its end. */
  since: number;
}

/** The outcome of an ended operation, even if the operation is no longer kept. Absent if it has not ended. */
export function knownOutcome(ops: Ops, id: string, since: number): OperationOutcome | undefined {
  const kept = keptOf(ops, id);
  if (kept) return kept.terminalOutcome;
  return ops.completionEntries.findLast(({ operationId, seq }) => operationId === id && seq > since)?.terminalOutcome;
}

export function keptOf({ authorityState }: Ops, id: string): EndedOperation | undefined {
  return Object.hasOwn(authorityState.operations, id) ? authorityState.operations[id] : undefined;
}

/** The result of an ending. `late`: the operation had already ended with another outcome, under the same id in another tab. */
export interface Ended {
  id: string;
  outcome: OperationOutcome;
  late: boolean;
}

/** Ends operations in the given order. An operation that has ended with this very outcome is no late one: the call was repeated. */
export function endedOps(
  before: Ops,
  endings: readonly Ending[],
  settings: OpsSettings,
  nowMs: number,
): { ops: Ops; ends: Ended[] } {
  const { maxCompleted, maxConcurrent } = settings;
  const authority = before.authorityState;
  const operations = new Map(Object.entries(authority.operations));
  const specs = new Map(Object.entries(before.operationSpecs));
  const entries = [...before.completionEntries];
  const order = [...authority.completedOrder];
  let seq = authority.nextCompletionSeq;

  const ends = endings.map((ending): Ended => {
    const { spec, outcome } = ending;
    const { id, kind, displayName } = spec;
    const stands = knownOutcome(before, id, ending.since);
    if (stands) return { id, outcome: stands, late: canonicalOutcome(stands) !== canonicalOutcome(outcome) };
    operations.set(id, operationOf(ending));
    specs.set(id, spec);
    order.push(id);
    entries.push({ seq: seq++, operationId: id, kind, displayName, terminalOutcome: outcome, completedAtMs: nowMs });
    return { id, outcome, late: false };
  });

  for (const id of order.splice(0, Math.max(0, order.length - maxCompleted))) {
    operations.delete(id);
    specs.delete(id);
  }
  return {
    ops: {
      ...before,
      authorityState: {
        ...authority,
        operations: Object.fromEntries(operations),
        completedOrder: order,
        maxCompleted,
        maxConcurrent,
        nextCompletionSeq: seq,
      },
      operationSpecs: Object.fromEntries(specs),
      completionEntries: entries.slice(-feedLength(maxCompleted)),
    },
    ends,
  };
}

/** Takes all ended operations out, oldest first. Their entries in the feed stay. */
export function collectedOps(before: Ops): { ops: Ops; taken: { id: string; outcome: OperationOutcome }[] } {
  const { operations, completedOrder } = before.authorityState;
  return {
    ops: {
      ...before,
      authorityState: { ...before.authorityState, operations: {}, completedOrder: [] },
      operationSpecs: {},
    },
    taken: completedOrder.map((id) => ({ id, outcome: (operations[id] as EndedOperation).terminalOutcome })),
  };
}

function operationOf({ spec, outcome, peerReady, progressCount, watcherCount }: Ending): EndedOperation {
  return {
    status: outcome.outcomeType,
    kind: spec.kind,
    peerReady,
    progressCount,
    watcherCount,
    terminalOutcome: outcome,
    terminalBuffered: true,
  };
}

function canonicalOutcome(outcome: OperationOutcome): string {
  return canonicalText({ ...outcome });
}
