import type { JsonValue } from "../json.js";
import type { ProcessScope } from "../scope.js";
import type { ProcessEventType, TerminalState } from "./event-type.js";

/** What a process is to do. */
export type ProcessInput =
  /** Run by the handler of that name. */
  | { type: "task"; name: string; args?: JsonValue }
  /** Run by the handler `tool:<toolName>`. */
  | { type: "tool_call"; call: { callId: string; toolName: string; args: JsonValue } }
  /** Run by a host that has that session attached. */
  | { type: "session_turn"; sessionId: string; input: JsonValue }
  /** Run by nobody here: something outside does it and completes it. */
  | { type: "external"; metadata: JsonValue };

export type CausalRef = {
  type: "turn" | "effect" | "tool_call" | "process" | "process_event" | "host_event" | "session_node";
  [field: string]: JsonValue;
};

export interface ProcessProvenance {
  ownerScope: ProcessScope;
  hostProfileId: string;
  causedBy?: CausalRef;
}

export interface ProcessRegistration {
  id: string;
  input: ProcessInput;
  /** The core types are added to these. */
  eventTypes?: ProcessEventType[];
  /** Default: session "root", profile "default". */
  provenance?: ProcessProvenance;
}

/** The state follows from it: success is completed, failure failed, cancelled cancelled. */
export type ProcessAwaitOutput =
  | { type: "success"; value: JsonValue; control?: JsonValue }
  | { type: "failure"; class: string; code: string; message: string; raw?: JsonValue; control?: JsonValue }
  | { type: "cancelled"; message: string; raw?: JsonValue; control?: JsonValue };

export type ProcessState = "running" | TerminalState;

export type ProcessStatus = { state: "running" } | { state: TerminalState; awaitOutput: ProcessAwaitOutput };

export interface ProcessExternalRef {
  backend: string;
  id: string;
  metadata?: JsonValue;
}

export interface ProcessProgress {
  done: number;
  total?: number;
  note?: string;
  atMs: number;
}

export interface ProcessRecord {
  id: string;
  /** SHA-256 hex of the canonical registration, defaults filled in, without the core event types. */
  registrationHash: string;
  input: ProcessInput;
  /** The declared types and the core ones. */
  eventTypes: ProcessEventType[];
  provenance: ProcessProvenance;
  createdAtMs: number;
  updatedAtMs: number;
  externalRef?: ProcessExternalRef;
  status: ProcessStatus;
  progress?: ProcessProgress;
}

export interface ProcessHandleDescriptor {
  kind?: string;
  label?: string;
}

/** A process made visible to a scope. */
export interface ProcessHandleGrant {
  sessionId: string;
  processId: string;
  descriptor: ProcessHandleDescriptor;
}

export interface ProcessHandleGrantEntry {
  grant: ProcessHandleGrant;
  record: ProcessRecord;
}

export interface ProcessSessionDeleteReport {
  sessionId: string;
  /** Grants removed, of the session and of all its frames. */
  revokedHandleCount: number;
  /** Always 0: wakes are events, and events stay. */
  deletedWakeCount: number;
  /** Running, and granted to nobody any more: the caller asks these to cancel. Sorted. */
  cancelProcessIds: string[];
  /** Running, and still granted elsewhere. Sorted. */
  preservedProcessIds: string[];
}

export const STATE_OF_OUTPUT = { success: "completed", failure: "failed", cancelled: "cancelled" } as const satisfies Record<
  ProcessAwaitOutput["type"],
  TerminalState
>;

/** What a host must have to run it: a handler or a session, kept apart, so that no name stands for both. None for what no host runs. */
export function runnableBy(type: ProcessInput["type"], handler: string | undefined): string | undefined {
  if (handler === undefined || type === "external") return undefined;
  return `${type === "session_turn" ? "session" : "handler"}:${handler}`;
}

/** The name of the handler that runs it, of a turn its session's id; none for what no host runs. */
export function handlerOf(input: ProcessInput): string | undefined {
  switch (input.type) {
    case "task":
      return input.name;
    case "tool_call":
      return `tool:${input.call.toolName}`;
    case "session_turn":
      return input.sessionId;
    case "external":
      return undefined;
  }
}
