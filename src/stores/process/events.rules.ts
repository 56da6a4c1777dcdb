import { HoldfastError, invalid } from "../../domain/errors.js";
import { canonicalText, type JsonValue, textOfJson } from "../../domain/json.js";
import type { ProcessLease } from "../../domain/lease.js";
import type {
  ProcessEvent,
  ProcessEventAppendResult,
  ProcessEventInvocation,
  ProcessEventSemantics,
  ProcessWakeDelivery,
} from "../../domain/process/event.js";
import {
  CANCEL_REQUESTED,
  CORE_EVENT_TYPES,
  mayBeDeclared,
  type ProcessEventType,
  STEP_EVENT,
  TERMINAL_EVENT,
  type TerminalSpec,
  type TerminalState,
  type WakeSpec,
} from "../../domain/process/event-type.js";
import { ownKey, restOfOwnKey } from "../../domain/process/own-key.js";
import { type ProcessAwaitOutput, STATE_OF_OUTPUT } from "../../domain/process/process.js";
import { type ProcessScope, scopeId } from "../../domain/scope.js";
import type { Change } from "../../ports/notices.js";
import type { Write } from "../../ports/storage.js";
import { awoken, fence } from "../host/leases.rules.js";
import type { LeaseRow } from "../host/tables.js";
import { ROW_VERSION } from "../table.js";
import { hashOfJson, unknownProcess } from "./processes.rules.js";
import { afterCancel, claimable, unpaused } from "./runs/claimable.rules.js";
import { keyedSince } from "./runs/restarts.rules.js";
import { isTruthy, select } from "./selectors.rules.js";
import type { EventRow, ProcessRow } from "./tables.js";
import { dropWaits } from "./waits/waits.rules.js";

/** The rows that an append reads in its transaction. */
export interface AppendState {
  process: ProcessRow | undefined;
  /** The declared types. Read only for an event type that is no core type. */
  eventTypes: readonly ProcessEventType[] | undefined;
  lease: LeaseRow | undefined;
  /** The event that is stored under the input's replay key. */
  replayed: EventRow | undefined;
  /** The processes that end with this one. */
  children?: readonly ProcessRow[];
}

/** A checked request to append an event. */
export interface AppendInput {
  processId: string;
  eventType: string;
  payload: JsonValue;
  replayKey?: string;
  wakeTarget?: ProcessScope;
  lease?: ProcessLease;
  /** The event is holdfast's own: its replay key is one that no app may use. */
  own?: true;
  /** Its replay key in an older database. */
  formerKey?: string;
  /** The name of the signal that the event is: no wait has taken it yet. */
  pendingSignal?: string;
  /** The definition that runs declares the type: it needs no declaration in the registration, which may be older. */
  isDeclared?: boolean;
}

/** Whether the payload fits its type's schema, by the registration that was read before the transaction. */
export interface PayloadVerdict {
  registrationHash: string;
  misfit: string | undefined;
}

/** Nothing is decided yet: the payload must first be judged by this type's schema, outside the transaction. */
interface Unjudged {
  unjudged: { registrationHash: string; type: ProcessEventType };
}

export interface Appended {
  result: ProcessEventAppendResult;
  /** The process's row after the append. */
  process: ProcessRow;
  /** Empty for a replay. */
  writes: Write[];
}

/**
 * Appends an event. The order of the checks is part of the contract. The first check that fails refuses, and nothing is stored: known
 * process, lease, replay, declared type, no reserved event, replay key, schema, selectors, not yet terminal, wake target.
 */
export function append(
  state: AppendState,
  given: AppendInput,
  verdict: PayloadVerdict | undefined,
  nowMs: number,
): Appended | Unjudged {
  const { process, eventTypes, replayed } = state;
  const request = keyedSince(given, process);
  const { processId, eventType, payload, replayKey, lease } = request;
  if (!process) throw unknownProcess(processId);

  if (lease) {
    const held = fence(state.lease, lease, nowMs);
    if (held instanceof HoldfastError && !isOwnWriteAgain(state, request, lease)) throw held;
  }

  if (replayed) {
    if (!isSame(replayed, request)) throw conflict(replayed);
    return { result: resultOf(process, replayed), process, writes: [] };
  }

  const type = eventTypeOf(eventType, eventTypes) ?? (request.isDeclared ? { name: eventType } : undefined);
  if (!type) throw invalid(`process "${processId}" emitted undeclared event type "${eventType}"`);
  if (!request.own && isReserved(given, type)) {
    throw invalid(`event type "${eventType}" with replayKey "${replayKey ?? ""}" is holdfast's own`);
  }
  const { terminal, wake } = type.semantics ?? {};
  if ((terminal || eventType === CANCEL_REQUESTED) && replayKey === undefined) {
    throw invalid(`event type "${eventType}" requires a deterministic replay key: replayKey must be a non-empty string`);
  }

  if (type.payloadSchema !== undefined) {
    // Judging may take long. Meanwhile the process may be removed, and its id registered again with another schema.
    if (verdict?.registrationHash !== process.registrationHash) {
      return { unjudged: { registrationHash: process.registrationHash, type } };
    }
    if (verdict.misfit !== undefined) throw invalid(`payload is invalid for event type "${eventType}": ${verdict.misfit}`);
  }

  // The lease of another process fences this write, but the event is no progress of a lease holder of this process.
  const ownLease = lease?.processId === processId ? lease : undefined;
  const sequence = process.lastSequence + 1;
  const semantics: ProcessEventSemantics = {
    ...(terminal && { terminal: ending(terminal, payload, eventType) }),
    ...(wake && waking(wake, payload, `${processId}:${sequence}`)),
  };
  if (terminal && process.state !== "running") {
    throw new HoldfastError("terminal", `process "${processId}" is already terminal: ${process.state}`, {
      details: { state: process.state },
    });
  }
  if (semantics.wake && !request.wakeTarget) {
    throw invalid(`event type "${eventType}" wakes, and the append is without a wake target scope: wakeTarget is missing`);
  }

  const event: EventRow = {
    v: ROW_VERSION,
    processId,
    sequence,
    eventType,
    payload,
    ...(replayKey !== undefined && { replayKey }),
    ...((semantics.terminal || semantics.wake) && { semantics }),
    occurredAtMs: nowMs,
    ...(ownLease && { fencingToken: ownLease.fencingToken }),
    ...(semantics.wake &&
      request.wakeTarget && {
        wake: {
          wakeId: `wake:${hashOfJson([scopeId(request.wakeTarget), semantics.wake.dedupeKey])}`,
          target: request.wakeTarget,
        },
        pendingWake: sequence,
      }),
    ...(request.pendingSignal !== undefined && { pendingSignal: request.pendingSignal }),
  };
  const after: ProcessRow = {
    ...(semantics.terminal ? ended(process) : running(process, eventType === CANCEL_REQUESTED, nowMs)),
    lastSequence: sequence,
    updatedAtMs: nowMs,
    ...(ownLease && { progressFence: ownLease.fencingToken }),
    ...(semantics.terminal && { state: semantics.terminal.state, awaitOutput: semantics.terminal.awaitOutput, endedAtMs: nowMs }),
    ...(eventType === CANCEL_REQUESTED && process.cancelRequested === undefined && { cancelRequested: cancelReason(payload) }),
  };
  const writes: Write[] = [
    { table: "processes", put: after },
    { table: "events", put: event },
    ...(semantics.terminal ? dropWaits(process) : []),
    ...(lease ? awoken(state.lease) : []),
  ];
  return { result: resultOf(after, event), process: after, writes };
}

/** The process without what it has only while it runs. */
function ended(process: ProcessRow): ProcessRow {
  const {
    runnable: _,
    parked: _1,
    dueAtMs: _2,
    suspended: _3,
    limited: _4,
    limitKey: _5,
    limitedAtMs: _6,
    unclaimed: _7,
    rated: _8,
    mayWait: _9,
    deadlineAtMs: _10,
    cancelling: _11,
    externalAtMs: _12,
    endsWith: _13,
    endsChildren: _14,
    ...lasting
  } = unpaused(process);
  return lasting as ProcessRow;
}

function running(process: ProcessRow, isCancel: boolean, nowMs: number): ProcessRow {
  const name = process.runnable ?? process.parked ?? process.limited;
  const isWoken = isCancel && afterCancel(process) === "claimable";
  return {
    ...(isWoken ? claimable(process) : process),
    ...(isCancel && name !== undefined && { cancelling: name }),
    ...(process.externalAtMs !== undefined && { externalAtMs: nowMs }),
  };
}

/**
 * A write is repeated if its reply was lost, and its first commit may have released its own lease. It is not a stale owner's write if this
 * very event is stored under its fencing token, and the lease was not claimed since.
 */
function isOwnWriteAgain({ lease: row, replayed }: AppendState, request: AppendInput, lease: ProcessLease): boolean {
  return (
    replayed !== undefined &&
    replayed.fencingToken === lease.fencingToken &&
    isSame(replayed, request) &&
    row?.fencingToken === lease.fencingToken &&
    row.leaseToken === undefined
  );
}

/**
 * Whether no app may write this event. Only holdfast writes events of core types and events under its own keys. An app may write an event
 * that ends the process, or asks it to cancel, also under the key that holdfast makes for that.
 */
function isReserved({ processId, eventType, replayKey = "" }: AppendInput, type: ProcessEventType): boolean {
  const rest = restOfOwnKey(processId, replayKey);
  const isEnd = type.semantics?.terminal !== undefined;
  if (rest === undefined) return CORE_EVENT_TYPES.includes(type) && !isEnd && eventType !== CANCEL_REQUESTED;
  return isEnd ? rest !== `terminal:${eventType}` : eventType !== CANCEL_REQUESTED || !rest.startsWith("cancel_requested:");
}

/** Whether a stored event is the one that holdfast itself would write. In an older database an app's event may be stored under holdfast's key. */
export function isOwn(row: EventRow, { eventType, payload }: Pick<AppendInput, "eventType" | "payload">): boolean {
  return (
    row.eventType === eventType &&
    (eventType !== STEP_EVENT || payloadMember(row.payload, "key") === payloadMember(payload, "key"))
  );
}

function payloadMember(payload: JsonValue, name: string): JsonValue | undefined {
  return typeof payload === "object" && payload !== null && !Array.isArray(payload) ? payload[name] : undefined;
}

/** The event with which holdfast ends a process. */
export function endOf(processId: string, awaitOutput: ProcessAwaitOutput): AppendInput {
  const eventType = TERMINAL_EVENT[STATE_OF_OUTPUT[awaitOutput.type]];
  const payload = { awaitOutput } as unknown as JsonValue;
  return { processId, eventType, payload, own: true, ...ownKey(processId, "terminal", eventType) };
}

/** The event with which holdfast asks a process to cancel. */
export function cancelOf(processId: string, reason: string | undefined): AppendInput {
  const payload: JsonValue = reason === undefined ? {} : { reason };
  const key = ownKey(processId, "cancel_requested", hashOfJson(payload));
  return { processId, eventType: CANCEL_REQUESTED, payload, own: true, ...key };
}

export function eventChange({ processId, sequence }: ProcessEvent): Change {
  return { about: "event", id: processId, sequence };
}

/** What a registration declared comes first: an older one may have declared a name that is core now. */
export function eventTypeOf(name: string, declared: readonly ProcessEventType[] = []): ProcessEventType | undefined {
  return [...(mayBeDeclared(name) ? declared : []), ...CORE_EVENT_TYPES].find((type) => type.name === name);
}

const DEFAULT_CANCEL_REASON = "cancel requested";

function cancelReason(payload: JsonValue): string {
  const reason = payloadMember(payload, "reason");
  return typeof reason === "string" && reason !== "" ? reason : DEFAULT_CANCEL_REASON;
}

/** How the process ends: the selected value is an output, or it is wrapped as one of the declared state. An output of another state is refused. */
function ending(
  { state, awaitOutput: selector }: TerminalSpec,
  payload: JsonValue,
  eventType: string,
): { state: TerminalState; awaitOutput: ProcessAwaitOutput } {
  const value = selector === undefined ? payload : select(selector, payload);
  const output = (selector === undefined ? undefined : asOutput(value)) ?? wrapped(state, value);
  if (STATE_OF_OUTPUT[output.type] !== state) {
    throw invalid(
      `payload of event type "${eventType}" holds a ${output.type} output, but the type ends the process as ${state}`,
    );
  }
  return { state, awaitOutput: output };
}

/** The members of each kind of output. The "json" members are optional. */
export const OUTPUT_MEMBERS = {
  success: { required: [], json: ["value", "control"] },
  failure: { required: ["class", "code", "message"], json: ["raw", "control"] },
  cancelled: { required: ["message"], json: ["raw", "control"] },
} as const;

/** The value as an output, if it is one. Unknown members are left out. */
export function asOutput(value: JsonValue): ProcessAwaitOutput | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  const { type } = value;
  if (typeof type !== "string" || !Object.hasOwn(OUTPUT_MEMBERS, type)) return undefined;
  const members = OUTPUT_MEMBERS[type as keyof typeof OUTPUT_MEMBERS];
  if (!members.required.every((name) => typeof value[name] === "string")) return undefined;
  if (type === "success" && !Object.hasOwn(value, "value")) return undefined;
  const names = ["type", ...members.required, ...members.json];
  return Object.fromEntries(
    names.filter((name) => Object.hasOwn(value, name)).map((name) => [name, value[name]]),
  ) as unknown as ProcessAwaitOutput;
}

function wrapped(state: TerminalState, value: JsonValue): ProcessAwaitOutput {
  if (state === "completed") return { type: "success", value };
  const message = textOfJson(value);
  return state === "failed"
    ? { type: "failure", class: "execution", code: "process_failed", message, raw: value }
    : { type: "cancelled", message, raw: value };
}

function waking(
  { when, input, dedupeKey = "event_identity" }: WakeSpec,
  payload: JsonValue,
  identity: string,
): Pick<ProcessEventSemantics, "wake"> {
  if (when !== undefined && !isTruthy(select(when, payload))) return {};
  const key =
    dedupeKey === "event_identity"
      ? identity
      : "const" in dedupeKey
        ? dedupeKey.const
        : textOfJson(select(dedupeKey.selector, payload));
  return { wake: { input: textOfJson(select(input, payload)), dedupeKey: key } };
}

export function eventOf(process: ProcessRow, row: EventRow): ProcessEvent {
  return {
    processId: row.processId,
    sequence: row.sequence,
    eventType: row.eventType,
    payload: row.payload,
    invocation: invocationOf(process, row),
    semantics: row.semantics ?? {},
    occurredAtMs: row.occurredAtMs,
  };
}

function invocationOf(process: ProcessRow, { processId, sequence, eventType, replayKey }: EventRow): ProcessEventInvocation {
  return {
    scope: { sessionId: process.provenance.ownerScope.sessionId },
    subject: { type: "process_event", processId, sequence, eventType },
    causedBy: { type: "process", processId },
    ...(replayKey !== undefined && { replayKey }),
  };
}

/** The result, from stored rows alone: so it is the same for the first append and for every replay. */
function resultOf(process: ProcessRow, row: EventRow): ProcessEventAppendResult {
  const event = eventOf(process, row);
  const wake = row.semantics?.wake;
  if (!row.wake || !wake) return { event };
  const { causedBy } = process.provenance;
  const wakeDelivery: ProcessWakeDelivery = {
    wakeId: row.wake.wakeId,
    targetSessionId: row.wake.target.sessionId,
    targetScopeId: scopeId(row.wake.target),
    processId: row.processId,
    sequence: row.sequence,
    eventType: row.eventType,
    eventInvocation: invocationOf(process, row),
    ...(causedBy && { processCausedBy: causedBy }),
    dedupeKey: wake.dedupeKey,
    input: wake.input,
    createdAtMs: row.occurredAtMs,
  };
  return { event, wakeDelivery };
}

/** Whether a replay is the same event: the same type and payload. */
function isSame(stored: EventRow, { eventType, payload }: AppendInput): boolean {
  return stored.eventType === eventType && canonicalText(stored.payload) === canonicalText(payload);
}

function conflict({ replayKey = "", sequence }: EventRow): HoldfastError {
  return new HoldfastError("conflict", `replay key "${replayKey}" conflicts with an existing event`, {
    details: { replayKey, sequence },
  });
}
