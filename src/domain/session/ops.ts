import { admitJson } from "../admit.js";
import { checkFlag, checkId, checkList, checkObject, checkOneOf, checkText, checkWhole, membersOf } from "../check.js";
import { invalid } from "../errors.js";
import type { JsonValue } from "../json.js";
import type { Limits } from "../time.js";

/** A session's background operations as they are stored: one snapshot per runtime, written whole. */
export interface PersistedOpsSnapshot {
  /** A new id means that the feed began anew: sequences of an earlier feed are void. */
  epochId: string;
  authorityState: {
    operations: { [id: string]: PersistedOperation };
    /** Ids of ended operations, oldest first. */
    completedOrder: string[];
    maxCompleted: number;
    /** null: no limit. */
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
/**
 * The status of an operation. The last six are ends.
 * @useDeclaredType
 */
export type OperationStatus = (typeof OPERATION_STATUSES)[number];

export const OPERATION_KINDS = ["mob_member_child", "background_tool_op"] as const;
/**
 * The kind of an operation: a session's child of its own, or a tool that runs in the background.
 * @useDeclaredType
 */
export type OperationKind = (typeof OPERATION_KINDS)[number];

/** An operation's state in a snapshot. */
export interface PersistedOperation {
  status: OperationStatus;
  kind: OperationKind;
  peerReady: boolean;
  progressCount: number;
  watcherCount: number;
  terminalOutcome: PersistedOutcome | null;
  terminalBuffered: boolean;
}

/** The arguments of a registration of an operation. */
export interface OperationSpec {
  id: string;
  kind: OperationKind;
  /** A name for people. */
  displayName: string;
  /** Default: the session's own id. */
  ownerSessionId?: string;
  /** Origin of the operation, for people. Default "". */
  sourceLabel?: string;
  /** The session that the operation runs in, if it has its own. Default null. */
  childSessionId?: string | null;
  /** Default false. */
  expectPeerChannel?: boolean;
}

/** A registration with its defaults filled in. */
export type StoredOperationSpec = Required<OperationSpec>;

/** The end of an operation. Its status then has the same name. */
export type OperationOutcome =
  | { outcomeType: "completed"; result: JsonValue }
  | { outcomeType: "failed"; error: string }
  | { outcomeType: "aborted"; reason?: string }
  | { outcomeType: "cancelled"; reason?: string }
  | { outcomeType: "retired" }
  | { outcomeType: "terminated"; reason: string };

/** The usual result of a tool's operation. */
export interface OperationResult {
  id: string;
  content: JsonValue;
  isError: boolean;
  durationMs: number;
  tokensUsed: number;
}

/** Imported snapshots may have the members of the result beside the tag. */
export type PersistedOutcome = OperationOutcome | ({ outcomeType: "completed" } & OperationResult);

/** One line of the completion feed. */
export interface CompletionEntry {
  /** Starts at 1; every line adds one. */
  seq: number;
  operationId: string;
  kind: OperationKind;
  displayName: string;
  terminalOutcome: OperationOutcome;
  completedAtMs: number | null;
}

/** Throws `invalid` for "__proto__" too: a snapshot stores operations as members of an object, by id. */
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

/** Levels of a snapshot above an operation's result. The result itself may be as deep as any value. */
const LEVELS_ABOVE_RESULT = 5;

/** A private copy of a caller's snapshot. Throws `invalid` naming the member. */
export function checkOpsSnapshot(field: string, value: unknown, limits: Limits): PersistedOpsSnapshot {
  const bounds = { maxBytes: limits.snapshotBytes, maxDepth: limits.depth + LEVELS_ABOVE_RESULT };
  const json = admitJson(value, field, bounds);
  snapshotOf(limits.idLength)(field, json);
  return json as unknown as PersistedOpsSnapshot;
}

/** A stored snapshot, else `invalid`. Lengths are not checked: the limits may have been larger when it was written. */
export function asOpsSnapshot(field: string, stored: unknown): PersistedOpsSnapshot {
  snapshotOf(Number.MAX_SAFE_INTEGER)(field, stored);
  return stored as PersistedOpsSnapshot;
}

/** A check throws `invalid` naming the field, or returns the value. */
type FieldCheck<T = unknown> = (field: string, value: unknown) => T;

const wholeNumber: FieldCheck<number> = (field, value) => checkWhole(field, value, 0);
const anyText: FieldCheck<string> = (field, value) => checkText(field, value, Number.MAX_SAFE_INTEGER);
const present: FieldCheck = (field, value) => {
  if (value === undefined) throw invalid(`${field} is missing`);
  return value;
};
const idOf =
  (maxLength: number): FieldCheck<string> =>
  (field, value) =>
    checkId(field, value, maxLength);
const oneOf =
  <T extends string>(allowed: readonly T[]): FieldCheck<T> =>
  (field, value) =>
    checkOneOf(field, value, allowed);
const orNull =
  <T>(check: FieldCheck<T>): FieldCheck<T | null> =>
  (field, value) =>
    value === null ? null : check(field, value);
const orAbsent =
  <T>(check: FieldCheck<T>): FieldCheck<T | undefined> =>
  (field, value) =>
    value === undefined ? undefined : check(field, value);
const arrayOf =
  (item: FieldCheck): FieldCheck<void> =>
  (field, value) => {
    for (const [at, member] of checkList(field, value, Number.MAX_SAFE_INTEGER).entries()) item(`${field}/${at}`, member);
  };
const mapOf =
  (id: FieldCheck<string>, member: FieldCheck): FieldCheck<void> =>
  (field, value) => {
    checkObject(field, value);
    for (const name of Object.keys(value)) {
      id(`a name in ${field}`, name);
      member(`${field}/${name}`, value[name]);
    }
  };
const shape =
  (members: Readonly<Record<string, FieldCheck>>): FieldCheck<void> =>
  (field, value) => {
    checkObject(field, value);
    for (const [name, check] of Object.entries(members)) check(`${field}.${name}`, value[name]);
  };

const flatResult = shape({ id: anyText, content: present, isError: checkFlag, durationMs: wholeNumber, tokensUsed: wholeNumber });
const OUTCOMES: Readonly<Record<OperationOutcome["outcomeType"], FieldCheck>> = {
  completed(field, value) {
    checkObject(field, value);
    if (value.result !== undefined) return;
    present(`${field}.result`, value.id);
    flatResult(field, value);
  },
  failed: shape({ error: anyText }),
  aborted: shape({ reason: orAbsent(anyText) }),
  cancelled: shape({ reason: orAbsent(anyText) }),
  retired: shape({}),
  terminated: shape({ reason: anyText }),
};
const outcome: FieldCheck = (field, value) => {
  checkObject(field, value);
  const type = checkOneOf(`${field}.outcomeType`, value.outcomeType, Object.keys(OUTCOMES) as OperationOutcome["outcomeType"][]);
  OUTCOMES[type](field, value);
};

const operationKind = oneOf(OPERATION_KINDS);
const operation = shape({
  status: oneOf(OPERATION_STATUSES),
  kind: operationKind,
  peerReady: checkFlag,
  progressCount: wholeNumber,
  watcherCount: wholeNumber,
  terminalOutcome: orNull(outcome),
  terminalBuffered: checkFlag,
});

function snapshotOf(maxLength: number): FieldCheck<void> {
  const id = idOf(maxLength);
  return shape({
    epochId: id,
    authorityState: shape({
      operations: mapOf(id, operation),
      completedOrder: arrayOf(id),
      maxCompleted: wholeNumber,
      maxConcurrent: orNull(wholeNumber),
      activeCount: wholeNumber,
      waitRequestId: orNull(id),
      waitOperationIds: arrayOf(id),
      nextCompletionSeq: wholeNumber,
    }),
    operationSpecs: mapOf(
      id,
      shape({
        id,
        kind: operationKind,
        ownerSessionId: id,
        displayName: anyText,
        sourceLabel: anyText,
        childSessionId: orNull(id),
        expectPeerChannel: checkFlag,
      }),
    ),
    completionEntries: arrayOf(
      shape({
        seq: (field, value) => checkWhole(field, value, 1),
        operationId: id,
        kind: operationKind,
        displayName: anyText,
        terminalOutcome: outcome,
        completedAtMs: orNull(wholeNumber),
      }),
    ),
    cursors: shape({ agentAppliedCursor: wholeNumber, runtimeObservedSeq: wholeNumber, runtimeLastInjectedSeq: wholeNumber }),
  });
}
