import { checkId } from "../check.js";
import { invalid } from "../errors.js";
import type { JsonValue } from "../json.js";
import type { Boundary } from "./input.js";

export const RUNTIME_STATES = ["initializing", "idle", "attached", "running", "retired", "stopped", "destroyed"] as const;
/** "attached" is idle with a turn handler in this tab; it is shown and never stored. */
export type RuntimeState = (typeof RUNTIME_STATES)[number];

export interface Message {
  role: "user" | "assistant" | "system" | "tool";
  content: JsonValue;
  [field: string]: JsonValue | undefined;
}

/** What one run made of its inputs, written once with its messages and its inputs' new states. */
export interface RunBoundaryReceipt {
  runId: string;
  boundary: Boundary;
  /** In the order of their admission. */
  contributingInputIds: string[];
  /** SHA-256 hex; of a session runtime chained over all messages. */
  conversationDigest?: string;
  /** Of the whole transcript. */
  messageCount: number;
  /** The first of a run is 0. */
  sequence: number;
}

export interface SessionDelta {
  /** UTF-8 JSON of an object with a non-empty string `id`. */
  sessionSnapshot: Uint8Array;
}

export function checkSessionId(field: string, value: unknown, maxLength: number): string {
  const sessionId = checkId(field, value, maxLength);
  if (sessionId.includes("/frame:")) throw invalid(`${field} must not contain "/frame:"`);
  return sessionId;
}
