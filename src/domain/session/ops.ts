import { admitJson } from "../admit.js";
import { checkFlag, checkId, checkList, checkObject, checkOneOf, checkText, checkWhole, membersOf } from "../check.js";
import { invalid } from "../errors.js";
import type { JsonValue } from "../json.js";
import type { Limits } from "../time.js";

/** A session's background operations, as they are stored: whole, one per runtime. */
export interface PersistedOpsSnapshot {
  /** Another one means that the feed began anew: sequences of an earlier one say nothing. */
  epochId: string;
  authorityState: {
    operations: { [id: string]: PersistedOperation };
    /** Ended ones, oldest first. */
    completedOrder: string[];
    maxCompleted: number;
    /** null: as many as come. */
    maxConcurrent: number | null;
    activeCount: number;
    waitRequestId: string | null;
    waitOperationIds: string[];
    nextCompletionSeq: number;
  };
  operationSpecs: { [id: string]: StoredOperationSpec };
  completionEntries: (Omit<CompletionEntry, "terminalOutcome"> & { terminalOutcome: PersistedOutcome })[];
  cursors: { agentAppliedCursor: number; runtimeObservedSeq: number; runtimeLastInjectedSeq: number };
}

export const OPERATION_STATUSES = [
  "provisioning",
  "running",
  "retiring",
  "completed",
  "failed",
  "aborted",
  "cancelled",
  "retired",
  "terminated",
] as const;
export type OperationStatus = (typeof OPERATION_STATUSES)[number];

export const OPERATION_KINDS = ["mob_member_child", "background_tool_op"] as const;
export type OperationKind = (typeof OPERATION_KINDS)[number];

export interface PersistedOperation {
  status: OperationStatus;
  kind: OperationKind;
  peerReady: boolean;
  progressCount: number;
  watcherCount: number;
  terminalOutcome: PersistedOutcome | null;
  terminalBuffered: boolean;
}

/** What an operation is registered with. */
export interface OperationSpec {
  id: string;
  kind: OperationKind;
  /** For people. */
  displayName: string;
  /** Default: the session's own id. */
  ownerSessionId?: string;
  /** Where it came from, for people. Default "". */
  sourceLabel?: string;
  /** The session that it runs in, where it has one of its own. */
  childSessionId?: string | null;
  /** Default false. */
  expectPeerChannel?: boolean;
}

export type StoredOperationSpec = Required<OperationSpec>;

/** How an operation ended; its status is then called the same. */
export type OperationOutcome =
  | { outcomeType: "completed"; result: JsonValue }
  | { outcomeType: "failed"; error: string }
  | { outcomeType: "aborted"; reason?: string }
  | { outcomeType: "cancelled"; reason?: string }
  | { outcomeType: "retired" }
  | { outcomeType: "terminated"; reason: string };

/** What a tool's operation usually completes with. */
export interface OperationResult {
  id: string;
  content: JsonValue;
  isError: boolean;
  durationMs: number;
  tokensUsed: number;
}

/** A snapshot that was handed over may have the members of the result beside the tag. */
export type PersistedOutcome = OperationOutcome | ({ outcomeType: "completed" } & OperationResult);

/** One line of the completion feed. */
export interface CompletionEntry {
  /** From 1, rising by one. */
  seq: number;
  operationId: string;
  kind: OperationKind;
  displayName: string;
  terminalOutcome: OperationOutcome;
  completedAtMs: number | null;
}

/** Operations are members of a stored object by their ids. */
export function checkOperationId(field: string, value: unknown, maxLength: number): string {
  const id = checkId(field, value, maxLength);
  if (id === "__proto__") throw invalid(`${field} must not be "__proto__"`);
  return id;
}

export function checkOperationSpec(
  field: string,
  value: unknown,
  ownerSessionId: string,
  maxLength: number,
): StoredOperationSpec {
  const m = membersOf(field, value, [
    "id",
    "kind",
    "displayName",
    "ownerSessionId",
    "sourceLabel",
    "childSessionId",
    "expectPeerChannel",
  ]);
  return {
    id: checkOperationId(`${field}.id`, m.id, maxLength),
    kind: checkOneOf(`${field}.kind`, m.kind, OPERATION_KINDS),
    displayName: checkText(`${field}.displayName`, m.displayName, maxLength),
    ownerSessionId:
      m.ownerSessionId === undefined ? ownerSessionId : checkId(`${field}.ownerSessionId`, m.ownerSessionId, maxLength),
    sourceLabel: m.sourceLabel === undefined ? "" : checkText(`${field}.sourceLabel`, m.sourceLabel, maxLength),
    childSessionId: m.childSessionId === undefined ? null : orNull(idOf(maxLength))(`${field}.childSessionId`, m.childSessionId),
    expectPeerChannel: m.expectPeerChannel === undefined ? false : checkFlag(`${field}.expectPeerChannel`, m.expectPeerChannel),
  };
}

/** Levels of a snapshot above an operation's result, which may itself be as deep as any value. */
const LEVELS_ABOVE_RESULT = 5;

/** A private copy of a snapshot that a caller hands over. */
export function checkOpsSnapshot(field: string, value: unknown, limits: Limits): PersistedOpsSnapshot {
  const bounds = { maxBytes: limits.snapshotBytes, maxDepth: limits.depth + LEVELS_ABOVE_RESULT };
  const json = admitJson(value, field, bounds);
  snapshotOf(limits.idLength)(field, json);
  return json as unknown as PersistedOpsSnapshot;
}

/** What was stored, if it still is a snapshot; else `invalid`. Limits may have been larger when it was written. */
export function asOpsSnapshot(field: string, stored: unknown): PersistedOpsSnapshot {
  snapshotOf(Number.MAX_SAFE_INTEGER)(field, stored);
  return stored as PersistedOpsSnapshot;
}

/** Throws `invalid` naming the field; what it returns is the value. */
type Check<T = unknown> = (field: string, value: unknown) => T;

const count: Check<number> = (field, value) => checkWhole(field, value, 0);
const text: Check<string> = (field, value) => checkText(field, value, Number.MAX_SAFE_INTEGER);
const present: Check = (field, value) => {
  if (value === undefined) throw invalid(`${field} is missing`);
  return value;
};
const idOf =
  (maxLength: number): Check<string> =>
  (field, value) =>
    checkId(field, value, maxLength);
const oneOf =
  <T extends string>(allowed: readonly T[]): Check<T> =>
  (field, value) =>
    checkOneOf(field, value, allowed);
const orNull =
  <T>(check: Check<T>): Check<T | null> =>
  (field, value) =>
    value === null ? null : check(field, value);
const orAbsent =
  <T>(check: Check<T>): Check<T | undefined> =>
  (field, value) =>
    value === undefined ? undefined : check(field, value);
const listOf =
  (item: Check): Check<void> =>
  (field, value) => {
    for (const [at, member] of checkList(field, value, Number.MAX_SAFE_INTEGER).entries()) item(`${field}/${at}`, member);
  };
const recordOf =
  (id: Check<string>, member: Check): Check<void> =>
  (field, value) => {
    checkObject(field, value);
    for (const name of Object.keys(value)) {
      id(`a name in ${field}`, name);
      member(`${field}/${name}`, value[name]);
    }
  };
const shape =
  (members: Readonly<Record<string, Check>>): Check<void> =>
  (field, value) => {
    checkObject(field, value);
    for (const [name, check] of Object.entries(members)) check(`${field}.${name}`, value[name]);
  };

const flatResult = shape({ id: text, content: present, isError: checkFlag, durationMs: count, tokensUsed: count });
const OUTCOMES: Readonly<Record<OperationOutcome["outcomeType"], Check>> = {
  completed(field, value) {
    checkObject(field, value);
    if (value.result !== undefined) return;
    present(`${field}.result`, value.id);
    flatResult(field, value);
  },
  failed: shape({ error: text }),
  aborted: shape({ reason: orAbsent(text) }),
  cancelled: shape({ reason: orAbsent(text) }),
  retired: shape({}),
  terminated: shape({ reason: text }),
};
const outcome: Check = (field, value) => {
  checkObject(field, value);
  const type = checkOneOf(`${field}.outcomeType`, value.outcomeType, Object.keys(OUTCOMES) as OperationOutcome["outcomeType"][]);
  OUTCOMES[type](field, value);
};

const kind = oneOf(OPERATION_KINDS);
const operation = shape({
  status: oneOf(OPERATION_STATUSES),
  kind,
  peerReady: checkFlag,
  progressCount: count,
  watcherCount: count,
  terminalOutcome: orNull(outcome),
  terminalBuffered: checkFlag,
});

function snapshotOf(maxLength: number): Check<void> {
  const id = idOf(maxLength);
  return shape({
    epochId: id,
    authorityState: shape({
      operations: recordOf(id, operation),
      completedOrder: listOf(id),
      maxCompleted: count,
      maxConcurrent: orNull(count),
      activeCount: count,
      waitRequestId: orNull(id),
      waitOperationIds: listOf(id),
      nextCompletionSeq: count,
    }),
    operationSpecs: recordOf(
      id,
      shape({
        id,
        kind,
        ownerSessionId: id,
        displayName: text,
        sourceLabel: text,
        childSessionId: orNull(id),
        expectPeerChannel: checkFlag,
      }),
    ),
    completionEntries: listOf(
      shape({
        seq: (field, value) => checkWhole(field, value, 1),
        operationId: id,
        kind,
        displayName: text,
        terminalOutcome: outcome,
        completedAtMs: orNull(count),
      }),
    ),
    cursors: shape({ agentAppliedCursor: count, runtimeObservedSeq: count, runtimeLastInjectedSeq: count }),
  });
}
