import type { JsonValue } from "../json.js";

/** One input of a session, from its admission to its end, as it is stored and shown. Times in epoch milliseconds. */
export interface StoredInputState {
  inputId: string;
  currentState: InputPhase;
  /** The policy's decision at the admission. */
  policy?: { version: number; decision: PolicyDecision };
  runtimeSemantics?: RuntimeSemantics;
  /** Only in a terminal state. */
  terminalOutcome?: InputOutcome;
  durability?: InputDurability;
  idempotencyKey?: string;
  /** How often the input was staged for a run. */
  attemptCount: number;
  /** How often a recovery found the input staged by an owner that did not end in order. */
  recoveryCount: number;
  /** Append-only. */
  history: InputTransition[];
  reconstructionSource?:
    | { sourceType: "projection"; ruleId: string; sourceEventId: string }
    | { sourceType: "coalescing"; sourceInputIds: string[] };
  /** The submission with its header fields beside it. Images are references to blobs. */
  persistedInput?: PersistedInput;
  /** The last run that the input was staged for. */
  lastRunId?: string;
  /** The sequence of the receipt that the input was applied with. */
  lastBoundarySequence?: number;
  /** Why the last attempt failed; after the end only where the input was not consumed. */
  error?: string;
  /** The attempt failed, and the next one begins no earlier than this. Only while the input waits for that. */
  retryAtMs?: number;
  /** The turn that consumed it was ended early. */
  interrupted?: true;
  createdAtMs: number;
  updatedAtMs: number;
}

export const INPUT_PHASES = [
  "accepted",
  "queued",
  "staged",
  "applied",
  "applied_pending_consumption",
  "consumed",
  "superseded",
  "coalesced",
  "abandoned",
] as const;
/**
 * The state of an input, as `currentState` shows it. The last four are terminal.
 * @useDeclaredType
 */
export type InputPhase = (typeof INPUT_PHASES)[number];

export type TerminalPhase = "consumed" | "superseded" | "coalesced" | "abandoned";

export const ABANDON_REASONS = ["retired", "reset", "stopped", "destroyed", "cancelled"] as const satisfies AbandonReason[];
/** The reason why an input ended without being consumed: a command on its session or on itself, or too many attempts. */
export type AbandonReason =
  | "retired"
  | "reset"
  | "stopped"
  | "destroyed"
  | "cancelled"
  | { max_attempts_exhausted: { attempts: number } };

/** The end of an input; its phase then has the same name. `supersededBy` is an input id. */
export type InputOutcome =
  | { outcomeType: "consumed" }
  | { outcomeType: "superseded"; supersededBy: string }
  | { outcomeType: "coalesced"; aggregateId: string }
  | { outcomeType: "abandoned"; reason: AbandonReason };

/** How an input ended, in short. */
export interface InputOutcomeReport {
  /** "failed": it was given up after its last attempt. "abandoned": its session was ended or reset, as `reason` says. */
  outcome: "completed" | "failed" | "cancelled" | "superseded" | "coalesced" | "abandoned";
  /** Only of an abandoned input. */
  reason?: string;
  /** The last run that the input was staged for. */
  runId?: string;
  /** Why it failed. */
  error?: string;
  /** The id of the input that superseded it, or into which it was coalesced. */
  by?: string;
  interrupted?: true;
}

/** One change of an input's phase. Time in epoch milliseconds. */
export interface InputTransition {
  timestampMs: number;
  from: InputPhase;
  to: InputPhase;
  reason?: string;
}

export const INPUT_DURABILITIES = ["durable", "ephemeral", "derived"] as const;
/**
 * A "durable" input stays stored after its end. An "ephemeral" one is dropped at its end, or when the tab that submitted it is
 * gone. A "derived" one is made by the system or a flow.
 * @useDeclaredType
 */
export type InputDurability = (typeof INPUT_DURABILITIES)[number];

export const INPUT_TYPES = ["prompt", "peer", "flow_step", "external_event", "continuation", "operation"] as const;
/**
 * The type of an input as it is stored.
 * @useDeclaredType
 */
export type InputType = (typeof INPUT_TYPES)[number];

/** A submission as it is stored: its type, and any other members as JSON. */
export interface PersistedInput {
  inputType: InputType;
  [field: string]: JsonValue;
}

export const INPUT_KINDS = [
  "prompt",
  "peer_message",
  "peer_request",
  "peer_response_progress",
  "peer_response_terminal",
  "flow_step",
  "external_event",
  "continuation",
  "operation",
] as const;
/**
 * The kind of an input that a policy decides by. The type "peer" has four kinds.
 * @useDeclaredType
 */
export type InputKind = (typeof INPUT_KINDS)[number];

export const APPLY_MODES = ["stage_run_start", "stage_run_boundary", "inject_now", "ignore"] as const;
export const WAKE_MODES = ["wake_if_idle", "interrupt_yielding", "none"] as const;
export const QUEUE_MODES = ["none", "fifo", "coalesce", "supersede", "priority"] as const;
export const CONSUME_POINTS = ["on_accept", "on_apply", "on_run_start", "on_run_complete", "explicit_ack"] as const;
export const DRAIN_POLICIES = ["queue_next_turn", "steer_batch", "immediate", "ignore"] as const;
export const ROUTING_DISPOSITIONS = ["queue", "steer", "immediate", "drop"] as const;

/**
 * How a session treats an input. The built-in table is stores/session/inputs/policy.rules.ts; `SessionOptions` may name a
 * function instead.
 */
export interface PolicyDecision {
  applyMode: (typeof APPLY_MODES)[number];
  wakeMode: (typeof WAKE_MODES)[number];
  queueMode: (typeof QUEUE_MODES)[number];
  consumePoint: (typeof CONSUME_POINTS)[number];
  drainPolicy: (typeof DRAIN_POLICIES)[number];
  routingDisposition: (typeof ROUTING_DISPOSITIONS)[number];
  recordTranscript: boolean;
  emitOperatorContent: boolean;
  policyVersion: number;
}

export const BOUNDARIES = ["immediate", "run_start", "run_checkpoint"] as const;
/**
 * The moment of a run at which inputs are applied.
 * @useDeclaredType
 */
export type Boundary = (typeof BOUNDARIES)[number];

/** The way in which an input is executed. Inputs of one run have the same way. */
export interface RuntimeSemantics {
  boundary: Boundary;
  executionKind: "content_turn" | "resume_pending";
  /** Only of a peer's terminal response. */
  peerResponseTerminalApplyIntent?: "append_context_and_run";
}

const TERMINAL: ReadonlySet<InputPhase> = new Set<TerminalPhase>(["consumed", "superseded", "coalesced", "abandoned"]);

export function isTerminal(phase: InputPhase): phase is TerminalPhase {
  return TERMINAL.has(phase);
}
