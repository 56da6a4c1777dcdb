import type { JsonValue } from "../json.js";
import type { ProcessScope } from "../scope.js";
import type { ProcessEventType, TerminalState } from "./event-type.js";
import type { ProcessAttempts, ProcessWait } from "./wait.js";

/** What a process does, and what runs it. A caller may give any value in the place of JSON: it is checked at run time. */
export type ProcessInput<Value = JsonValue> =
  /** The handler of that name runs it. */
  | { type: "task"; name: string; args?: Value }
  /** The handler `tool:<toolName>` runs it. */
  | { type: "tool_call"; call: { callId: string; toolName: string; args: Value } }
  /** A host that has this session open with a turn handler runs it. */
  | { type: "session_turn"; sessionId: string; input: Value }
  /** No host runs it: a program outside does the work and completes the process. */
  | { type: "external"; metadata: Value };

/** A reference to the cause of a process. The type is checked; further members are kept as JSON. */
export type CausalRef = {
  type: "turn" | "effect" | "tool_call" | "process" | "process_event" | "host_event" | "session_node";
  [field: string]: JsonValue;
};

/** The origin of a process. */
export interface ProcessProvenance {
  ownerScope: ProcessScope;
  hostProfileId: string;
  causedBy?: CausalRef;
}

/** The arguments of a registration. The same id with other content is `conflict`. */
export interface ProcessRegistration {
  id: string;
  input: ProcessInput<unknown>;
  /** The types of the process's own events. The core types are added. */
  eventTypes?: ProcessEventType[];
  /** Default: session "root", profile "default". */
  provenance?: ProcessProvenance;
}

/**
 * The end of a process. Its type gives the state: success is completed, failure is failed, cancelled is cancelled. A caller may give any
 * value in the place of JSON: it is checked at run time.
 */
export type ProcessAwaitOutput<Value = JsonValue> =
  | { type: "success"; value: Value; control?: Value }
  | { type: "failure"; class: string; code: string; message: string; raw?: Value; control?: Value }
  | { type: "cancelled"; message: string; raw?: Value; control?: Value };

/** The state of a process: "running", also while it waits for an owner, and the three ends. */
export type ProcessState = "running" | TerminalState;

/** The state of a process, with its output once it has ended. */
export type ProcessStatus = { state: "running" } | { state: TerminalState; awaitOutput: ProcessAwaitOutput };

/** A reference to the same work in another system. It replaces the one before it. A caller may give any value as its metadata: it is checked at run time. */
export interface ProcessExternalRef<Value = JsonValue> {
  backend: string;
  id: string;
  metadata?: Value;
}

/** The last progress that the handler reported. Time in epoch milliseconds. */
export interface ProcessProgress {
  done: number;
  total?: number;
  note?: string;
  atMs: number;
}

/** A stored process, without its events. Times in epoch milliseconds. */
export interface ProcessRecord {
  id: string;
  /** SHA-256 hex of the canonical registration, with defaults filled in and without the core event types. */
  registrationHash: string;
  input: ProcessInput;
  /** The declared types and the core types. */
  eventTypes: ProcessEventType[];
  provenance: ProcessProvenance;
  createdAtMs: number;
  updatedAtMs: number;
  externalRef?: ProcessExternalRef;
  status: ProcessStatus;
  progress?: ProcessProgress;
  /** What it waits for, by key, while it does. Absent where it waits for nothing of its own. */
  waiting?: readonly ProcessWait[];
  /** It waits without a handler, a slot and a lease; the end of a wait brings it back. */
  suspended?: true;
  /** No host runs it before. */
  startAtMs?: number;
  /** Only after its handler threw, where its definition has `retry`. */
  attempts?: ProcessAttempts;
}

/** A description of the process for the scope that it is granted to. */
export interface ProcessHandleDescriptor {
  kind?: string;
  label?: string;
}

/** A process made visible to a session. */
export interface ProcessHandleGrant {
  sessionId: string;
  processId: string;
  descriptor: ProcessHandleDescriptor;
}

/** A grant with the process that it is for. */
export interface ProcessHandleGrantEntry {
  grant: ProcessHandleGrant;
  record: ProcessRecord;
}

/** The effects of a session's deletion on processes. */
export interface ProcessSessionDeleteReport {
  sessionId: string;
  /** Removed grants of the session and of all its frames. */
  revokedHandleCount: number;
  /** Always 0: wakes are events, and events stay. */
  deletedWakeCount: number;
  /** Ids of running processes without any grant left: the caller asks these to cancel. Sorted. */
  cancelProcessIds: string[];
  /** Ids of running processes that are still granted elsewhere. Sorted. */
  preservedProcessIds: string[];
}

export const STATE_OF_OUTPUT = { success: "completed", failure: "failed", cancelled: "cancelled" } as const satisfies Record<
  ProcessAwaitOutput["type"],
  TerminalState
>;

/**
 * What a host must have to run the process: a handler or a session. The two have separate prefixes, so that no name stands for
 * both. None for what no host runs.
 */
export function runnableBy(type: ProcessInput["type"], handler: string | undefined): string | undefined {
  if (handler === undefined || type === "external") return undefined;
  return `${type === "session_turn" ? "session" : "handler"}:${handler}`;
}

/** The arguments of a task or a tool call. */
export function argsOf(input: ProcessInput): JsonValue | undefined {
  return input.type === "task" ? input.args : input.type === "tool_call" ? input.call.args : undefined;
}

/** The name of the handler that runs it; of a session turn, the session's id; none for what no host runs. */
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
