import type { JsonValue } from "../json.js";
import type { ProcessLease } from "../lease.js";
import type { ProcessScope } from "../scope.js";
import type { TerminalState } from "./event-type.js";
import type { CausalRef, ProcessAwaitOutput } from "./process.js";

/** The arguments of an append. */
export interface ProcessEventAppendRequest {
  eventType: string;
  /** JSON; anything else is refused. */
  payload: unknown;
  /** The same key with the same content returns the stored event; with other content it is `conflict`. */
  replayKey?: string;
  /** The scope that a wake goes to. Ignored on events that wake nothing. */
  wakeTarget?: ProcessScope;
  /** Refuses the append with `lease-lost` unless this lease is the live one at the moment of the write. */
  lease?: ProcessLease;
}

/** The identity of an event, for programs that receive it outside of its process. */
export interface ProcessEventInvocation {
  scope: { sessionId: string };
  subject: { type: "process_event"; processId: string; sequence: number; eventType: string };
  causedBy: { type: "process"; processId: string };
  replayKey?: string;
}

/** What an event means: the end of its process, or a wake of a scope. Both are decided when it is stored. */
export interface ProcessEventSemantics {
  terminal?: { state: TerminalState; awaitOutput: ProcessAwaitOutput };
  wake?: { input: string; dedupeKey: string };
}

/** A stored event. Time in epoch milliseconds. */
export interface ProcessEvent {
  processId: string;
  /** Starts at 1, without gaps. */
  sequence: number;
  eventType: string;
  payload: JsonValue;
  invocation: ProcessEventInvocation;
  semantics: ProcessEventSemantics;
  occurredAtMs: number;
}

/**
 * A wake for a session: `input` is the text that the app reads. The kernel itself makes no turn of it. Time in epoch
 * milliseconds.
 */
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

/** The stored event, and its wake if it wakes a scope. */
export interface ProcessEventAppendResult {
  event: ProcessEvent;
  wakeDelivery?: ProcessWakeDelivery;
}
