import type { JsonValue } from "./json.js";
import type { ProcessLease } from "./lease.js";
import type { CausalRef, ProcessAwaitOutput, TerminalState } from "./process.js";
import type { ProcessScope } from "./scope.js";

/** JSON Schema, draft 2020-12. `$ref` stays inside the schema. */
export type JsonSchema = boolean | { [keyword: string]: JsonValue };

/** Takes a value out of a payload. Pointers are JSON Pointers (RFC 6901). */
export type ValueSelector =
  | "payload"
  | { pointer: string }
  | { const: JsonValue }
  | { template: string; fields: Record<string, ValueSelector> }
  | { present: string };

export interface TerminalSpec {
  state: TerminalState;
  /** Needed for failed and cancelled. */
  awaitOutput?: ValueSelector;
}

export interface WakeSpec {
  /** No wake when the value is false, null, "" or empty; every number counts as true. */
  when?: ValueSelector;
  input: ValueSelector;
  /** Equal keys towards one scope give one wake id. Default "event_identity": `<process>:<sequence>`. */
  dedupeKey?: "event_identity" | { selector: ValueSelector } | { const: string };
}

export interface ProcessEventType {
  name: string;
  payloadSchema?: JsonSchema;
  semantics?: { terminal?: TerminalSpec; wake?: WakeSpec };
}

export interface ProcessEventAppendRequest {
  eventType: string;
  payload: JsonValue;
  /** The same key and content again gives the stored event; another content is `conflict`. */
  replayKey?: string;
  /** Whom a wake goes to; ignored on events that wake nobody. */
  wakeTarget?: ProcessScope;
  /** Refuses the append with `lease-lost` unless it is the live lease at the moment of the write. */
  lease?: ProcessLease;
}

export interface ProcessEventInvocation {
  scope: { sessionId: string };
  subject: { type: "process_event"; processId: string; sequence: number; eventType: string };
  causedBy: { type: "process"; processId: string };
  replayKey?: string;
}

export interface ProcessEventSemantics {
  terminal?: { state: TerminalState; awaitOutput: ProcessAwaitOutput };
  wake?: { input: string; dedupeKey: string };
}

export interface ProcessEvent {
  processId: string;
  /** From 1, without gaps. */
  sequence: number;
  eventType: string;
  payload: JsonValue;
  invocation: ProcessEventInvocation;
  semantics: ProcessEventSemantics;
  occurredAtMs: number;
}

export interface ProcessWakeDelivery {
  wakeId: string;
  targetSessionId: string;
  targetScopeId: string;
  processId: string;
  sequence: number;
  eventType: string;
  eventInvocation: ProcessEventInvocation;
  processCausedBy?: CausalRef;
  dedupeKey: string;
  input: string;
  createdAtMs: number;
}

export interface ProcessEventAppendResult {
  event: ProcessEvent;
  wakeDelivery?: ProcessWakeDelivery;
}

export const CANCEL_REQUESTED = "process.cancel_requested";
export const STEP = "process.step";
export const TERMINAL_EVENT = {
  completed: "process.completed",
  failed: "process.failed",
  cancelled: "process.cancelled",
} as const satisfies Record<TerminalState, string>;

/** Every process has them; nobody can declare them anew. */
export const CORE_EVENT_TYPES: readonly ProcessEventType[] = [
  { name: CANCEL_REQUESTED },
  ...(["completed", "failed", "cancelled"] as const).map((state) => ({
    name: TERMINAL_EVENT[state],
    semantics: { terminal: { state, awaitOutput: { pointer: "/awaitOutput" } } },
  })),
  { name: STEP },
];

export function isCoreEventType(name: string): boolean {
  return CORE_EVENT_TYPES.some((type) => type.name === name);
}
