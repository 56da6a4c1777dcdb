import type { JsonValue } from "../json.js";
import type { ProcessLease } from "../lease.js";
import type { ProcessScope } from "../scope.js";
import type { TerminalState } from "./event-type.js";
import type { CausalRef, ProcessAwaitOutput } from "./process.js";

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
