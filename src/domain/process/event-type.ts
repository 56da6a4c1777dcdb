import type { JsonValue } from "../json.js";

/** The state of a process that has ended. */
export type TerminalState = "completed" | "failed" | "cancelled";

/** JSON Schema, draft 2020-12. `$ref` stays inside the schema. */
export type JsonSchema = boolean | { [keyword: string]: JsonValue };

/** Takes a value out of a payload. Pointers are JSON Pointers (RFC 6901). */
export type ValueSelector =
  | "payload"
  | { pointer: string }
  | { const: JsonValue }
  | { template: string; fields: Record<string, ValueSelector> }
  | { present: string };

/** An event of this type ends its process in `state`. `awaitOutput` selects the output. */
export interface TerminalSpec {
  state: TerminalState;
  /** Required for failed and cancelled. */
  awaitOutput?: ValueSelector;
}

/** An event of this type wakes its `wakeTarget`. `input` selects the text of the wake. */
export interface WakeSpec {
  /** The event wakes nothing when this value is false, null, "" or empty. Every number counts as true. */
  when?: ValueSelector;
  input: ValueSelector;
  /** Equal keys towards one scope give one wake id. Default "event_identity": `<process>:<sequence>`. */
  dedupeKey?: "event_identity" | { selector: ValueSelector } | { const: string };
}

/** A declared type of events. Payloads must match `payloadSchema`. */
export interface ProcessEventType {
  name: string;
  payloadSchema?: JsonSchema;
  semantics?: { terminal?: TerminalSpec; wake?: WakeSpec };
}

export const CANCEL_REQUESTED = "process.cancel_requested";
export const STEP_EVENT = "process.step";
export const SIGNAL_EVENT = "process.signal";
export const WAITING_EVENT = "process.waiting";
export const STEP_FAILED_EVENT = "process.step_failed";
export const ATTEMPT_FAILED_EVENT = "process.attempt_failed";
export const RESTARTED_EVENT = "process.restarted";
/** Registrations of an older database may have declared these names: there the name means what was declared. */
const LATER_CORE_NAMES: readonly string[] = [
  SIGNAL_EVENT,
  WAITING_EVENT,
  STEP_FAILED_EVENT,
  ATTEMPT_FAILED_EVENT,
  RESTARTED_EVENT,
];
export const TERMINAL_EVENT = {
  completed: "process.completed",
  failed: "process.failed",
  cancelled: "process.cancelled",
} as const satisfies Record<TerminalState, string>;

/**
 * The types that every process has; a registration cannot declare them. A new list at each call: a caller may change the record
 * that it gets.
 */
export function coreEventTypes(): ProcessEventType[] {
  return [
    { name: CANCEL_REQUESTED },
    ...(["completed", "failed", "cancelled"] as const).map((state) => ({
      name: TERMINAL_EVENT[state],
      semantics: { terminal: { state, awaitOutput: { pointer: "/awaitOutput" } } },
    })),
    ...[STEP_EVENT, ...LATER_CORE_NAMES].map((name) => ({ name })),
  ];
}

export const CORE_EVENT_TYPES: readonly ProcessEventType[] = coreEventTypes();

export function isCoreEventType(name: string): boolean {
  return CORE_EVENT_TYPES.some((type) => type.name === name);
}

/** Whether a stored registration may declare the name. */
export function mayBeDeclared(name: string): boolean {
  return LATER_CORE_NAMES.includes(name) || !isCoreEventType(name);
}
