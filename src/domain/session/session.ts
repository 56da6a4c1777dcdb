import { checkId } from "../check.js";
import { invalid } from "../errors.js";
import type { JsonValue } from "../json.js";
import type { Boundary } from "./input.js";

export const RUNTIME_STATES = ["initializing", "idle", "attached", "running", "retired", "stopped", "destroyed"] as const;
/**
 * The state of a session's runtime. "attached" is idle with a turn handler in this tab; it is shown and never stored.
 * @useDeclaredType
 */
export type RuntimeState = (typeof RUNTIME_STATES)[number];

/** One message of a transcript. Further members are kept as JSON. */
export interface Message {
  role: "user" | "assistant" | "system" | "tool";
  content: JsonValue;
  [field: string]: JsonValue | undefined;
}

/** A message as it is given to be appended. Its content and further members are checked at run time: they must be JSON. */
export interface GivenMessage {
  role: Message["role"];
  content: unknown;
  // biome-ignore lint/suspicious/noExplicitAny: with `unknown`, an app's own interface would not be taken
  [field: string]: any;
}

/** The result of one run, written once with its messages and the new states of its inputs. */
export interface RunBoundaryReceipt {
  runId: string;
  boundary: Boundary;
  /** Ids in the order of admission. */
  contributingInputIds: string[];
  /** SHA-256 hex. Receipts of a session runtime have a digest that is chained over all messages. */
  conversationDigest?: string;
  /** Messages in the whole transcript. */
  messageCount: number;
  /** Counts the receipts of a run; the first has 0. */
  sequence: number;
}

/** A session snapshot, written whole. */
export interface SessionDelta {
  /** UTF-8 JSON of an object with a non-empty string `id`. */
  sessionSnapshot: Uint8Array;
}

export function checkSessionId(field: string, value: unknown, maxLength: number): string {
  const sessionId = checkId(field, value, maxLength);
  if (sessionId.includes("/frame:")) throw invalid(`${field} must not contain "/frame:"`);
  return sessionId;
}
