import { admitJson } from "../admit.js";
import { checkFlag, checkId, checkList, checkOneOf, checkText, checkWhole, someMembersOf } from "../check.js";
import { invalid } from "../errors.js";
import type { Limits } from "../time.js";
import {
  ABANDON_REASONS,
  type AbandonReason,
  APPLY_MODES,
  BOUNDARIES,
  CONSUME_POINTS,
  DRAIN_POLICIES,
  INPUT_DURABILITIES,
  INPUT_PHASES,
  INPUT_TYPES,
  type InputOutcome,
  type InputTransition,
  type PersistedInput,
  type PolicyDecision,
  QUEUE_MODES,
  ROUTING_DISPOSITIONS,
  type RuntimeSemantics,
  type StoredInputState,
  WAKE_MODES,
} from "./input.js";

const MOST_ITEMS = 65_536;

/** Names that older programs used for two of the types. */
const OLD_TYPES: Readonly<Record<string, string>> = { system_generated: "continuation", projected: "operation" };

const MEMBERS = [
  "inputId",
  "currentState",
  "policy",
  "runtimeSemantics",
  "terminalOutcome",
  "durability",
  "idempotencyKey",
  "attemptCount",
  "recoveryCount",
  "history",
  "reconstructionSource",
  "persistedInput",
  "lastRunId",
  "lastBoundarySequence",
  "error",
  "retryAtMs",
  "interrupted",
  "createdAtMs",
  "updatedAtMs",
] as const;

/**
 * A checked copy with the defaults filled in. Each member is read once; an absent member stays absent. Throws `invalid` naming
 * the member.
 */
export function checkInputState(field: string, value: unknown, limits: Limits): StoredInputState {
  const m = someMembersOf(field, value, MEMBERS);
  const id = (name: string, given: unknown) => checkId(`${field}.${name}`, given, limits.idLength);
  const count = (name: string, given: unknown) => checkWhole(`${field}.${name}`, given, 0);
  return {
    inputId: id("inputId", m.inputId),
    currentState: checkOneOf(`${field}.currentState`, m.currentState, INPUT_PHASES),
    ...(m.policy !== undefined && { policy: checkPolicy(`${field}.policy`, m.policy) }),
    ...(m.runtimeSemantics !== undefined && {
      runtimeSemantics: checkRuntimeSemantics(`${field}.runtimeSemantics`, m.runtimeSemantics),
    }),
    ...(m.terminalOutcome !== undefined && {
      terminalOutcome: checkOutcome(`${field}.terminalOutcome`, m.terminalOutcome, limits),
    }),
    ...(m.durability !== undefined && { durability: checkOneOf(`${field}.durability`, m.durability, INPUT_DURABILITIES) }),
    ...(m.idempotencyKey !== undefined && { idempotencyKey: id("idempotencyKey", m.idempotencyKey) }),
    attemptCount: m.attemptCount === undefined ? 0 : count("attemptCount", m.attemptCount),
    recoveryCount: m.recoveryCount === undefined ? 0 : count("recoveryCount", m.recoveryCount),
    history:
      m.history === undefined
        ? []
        : checkList(`${field}.history`, m.history, MOST_ITEMS).map((row, at) =>
            checkTransition(`${field}.history/${at}`, row, limits),
          ),
    ...(m.reconstructionSource !== undefined && {
      reconstructionSource: checkSource(`${field}.reconstructionSource`, m.reconstructionSource, limits),
    }),
    ...(m.persistedInput !== undefined && {
      persistedInput: checkPersistedInput(`${field}.persistedInput`, m.persistedInput, limits),
    }),
    ...(m.lastRunId !== undefined && { lastRunId: id("lastRunId", m.lastRunId) }),
    ...(m.lastBoundarySequence !== undefined && {
      lastBoundarySequence: count("lastBoundarySequence", m.lastBoundarySequence),
    }),
    ...(m.error !== undefined && { error: checkText(`${field}.error`, m.error, limits.payloadBytes) }),
    ...(m.retryAtMs !== undefined && { retryAtMs: count("retryAtMs", m.retryAtMs) }),
    ...(m.interrupted !== undefined && { interrupted: checkTrue(`${field}.interrupted`, m.interrupted) }),
    createdAtMs: count("createdAtMs", m.createdAtMs),
    updatedAtMs: count("updatedAtMs", m.updatedAtMs),
  };
}

function checkTrue(field: string, value: unknown): true {
  if (value !== true) throw invalid(`${field} must be true or absent`);
  return value;
}

/** A list of at most `MOST_ITEMS` ids, each checked. */
export function checkIds(field: string, value: unknown, limits: Limits): string[] {
  return checkList(field, value, MOST_ITEMS).map((id, at) => checkId(`${field}/${at}`, id, limits.idLength));
}

function checkPolicy(field: string, value: unknown): NonNullable<StoredInputState["policy"]> {
  const { version, decision } = someMembersOf(field, value, ["version", "decision"]);
  return { version: checkWhole(`${field}.version`, version, 0), decision: checkPolicyDecision(`${field}.decision`, decision) };
}

/** Also checks the answer of a session's own policy. */
export function checkPolicyDecision(field: string, value: unknown): PolicyDecision {
  const m = someMembersOf(field, value, [
    "applyMode",
    "wakeMode",
    "queueMode",
    "consumePoint",
    "drainPolicy",
    "routingDisposition",
    "recordTranscript",
    "emitOperatorContent",
    "policyVersion",
  ]);
  const {
    drainPolicy = "queue_next_turn",
    routingDisposition = "queue",
    recordTranscript = true,
    emitOperatorContent = true,
  } = m;
  return {
    applyMode: checkOneOf(`${field}.applyMode`, m.applyMode, APPLY_MODES),
    wakeMode: checkOneOf(`${field}.wakeMode`, m.wakeMode, WAKE_MODES),
    queueMode: checkOneOf(`${field}.queueMode`, m.queueMode, QUEUE_MODES),
    consumePoint: checkOneOf(`${field}.consumePoint`, m.consumePoint, CONSUME_POINTS),
    drainPolicy: checkOneOf(`${field}.drainPolicy`, drainPolicy, DRAIN_POLICIES),
    routingDisposition: checkOneOf(`${field}.routingDisposition`, routingDisposition, ROUTING_DISPOSITIONS),
    recordTranscript: checkFlag(`${field}.recordTranscript`, recordTranscript),
    emitOperatorContent: checkFlag(`${field}.emitOperatorContent`, emitOperatorContent),
    policyVersion: checkWhole(`${field}.policyVersion`, m.policyVersion, 0),
  };
}

function checkRuntimeSemantics(field: string, value: unknown): RuntimeSemantics {
  const m = someMembersOf(field, value, ["boundary", "executionKind", "peerResponseTerminalApplyIntent"]);
  const intent = m.peerResponseTerminalApplyIntent ?? undefined;
  return {
    boundary: checkOneOf(`${field}.boundary`, m.boundary, BOUNDARIES),
    executionKind: checkOneOf(`${field}.executionKind`, m.executionKind, ["content_turn", "resume_pending"]),
    ...(intent !== undefined && {
      peerResponseTerminalApplyIntent: checkOneOf(`${field}.peerResponseTerminalApplyIntent`, intent, [
        "append_context_and_run",
      ] as const),
    }),
  };
}

function checkOutcome(field: string, value: unknown, limits: Limits): InputOutcome {
  const m = someMembersOf(field, value, ["outcomeType", "supersededBy", "aggregateId", "reason"]);
  const outcomeType = checkOneOf(`${field}.outcomeType`, m.outcomeType, ["consumed", "superseded", "coalesced", "abandoned"]);
  switch (outcomeType) {
    case "consumed":
      return { outcomeType };
    case "superseded":
      return { outcomeType, supersededBy: checkId(`${field}.supersededBy`, m.supersededBy, limits.idLength) };
    case "coalesced":
      return { outcomeType, aggregateId: checkId(`${field}.aggregateId`, m.aggregateId, limits.idLength) };
    case "abandoned":
      return { outcomeType, reason: checkReason(`${field}.reason`, m.reason) };
  }
}

function checkReason(field: string, value: unknown): AbandonReason {
  if (typeof value === "string") return checkOneOf(field, value, ABANDON_REASONS);
  const { max_attempts_exhausted: exhausted } = someMembersOf(field, value, ["max_attempts_exhausted"]);
  const { attempts } = someMembersOf(`${field}.max_attempts_exhausted`, exhausted, ["attempts"]);
  return { max_attempts_exhausted: { attempts: checkWhole(`${field}.max_attempts_exhausted.attempts`, attempts, 0) } };
}

function checkTransition(field: string, value: unknown, limits: Limits): InputTransition {
  const { timestampMs, from, to, reason } = someMembersOf(field, value, ["timestampMs", "from", "to", "reason"]);
  return {
    timestampMs: checkWhole(`${field}.timestampMs`, timestampMs, 0),
    from: checkOneOf(`${field}.from`, from, INPUT_PHASES),
    to: checkOneOf(`${field}.to`, to, INPUT_PHASES),
    ...(reason !== undefined && { reason: checkText(`${field}.reason`, reason, limits.payloadBytes) }),
  };
}

function checkSource(field: string, value: unknown, limits: Limits): NonNullable<StoredInputState["reconstructionSource"]> {
  const m = someMembersOf(field, value, ["sourceType", "ruleId", "sourceEventId", "sourceInputIds"]);
  const sourceType = checkOneOf(`${field}.sourceType`, m.sourceType, ["projection", "coalescing"]);
  if (sourceType === "coalescing")
    return { sourceType, sourceInputIds: checkIds(`${field}.sourceInputIds`, m.sourceInputIds, limits) };
  return {
    sourceType,
    ruleId: checkId(`${field}.ruleId`, m.ruleId, limits.idLength),
    sourceEventId: checkId(`${field}.sourceEventId`, m.sourceEventId, limits.idLength),
  };
}

/** Any JSON object with a known type. */
function checkPersistedInput(field: string, value: unknown, limits: Limits): PersistedInput {
  const admitted = admitJson(value, field, { maxBytes: limits.payloadBytes, maxDepth: limits.depth });
  if (typeof admitted !== "object" || admitted === null || Array.isArray(admitted)) throw invalid(`${field} must be an object`);
  const given = admitted.inputType;
  const named = typeof given === "string" && Object.hasOwn(OLD_TYPES, given) ? OLD_TYPES[given] : given;
  return { ...admitted, inputType: checkOneOf(`${field}.inputType`, named, INPUT_TYPES) };
}
