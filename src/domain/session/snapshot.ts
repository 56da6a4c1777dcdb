import { checkBytes } from "../check.js";
import { HoldfastError } from "../errors.js";
import type { JsonValue } from "../json.js";
import type { Limits } from "../time.js";
import type { Message } from "./session.js";

/** A session snapshot that a caller passed, checked. */
export interface AdmittedSnapshot {
  /** A private copy. */
  readonly bytes: Uint8Array;
  /** The session's id in the snapshot. */
  readonly id: string;
  /** The length of the snapshot's `messages`, 0 without such a list. */
  readonly messageCount: number;
}

export type Snapshot = { readonly id: string; readonly [member: string]: JsonValue };

/** Throws `invalid` for a value that is no Uint8Array or too large, `write-failed` for bytes that are no session snapshot. */
export function admitSnapshot(field: string, value: unknown, limits: Pick<Limits, "snapshotBytes">): AdmittedSnapshot {
  const bytes = checkBytes(field, value, limits.snapshotBytes);
  const snapshot = parseSnapshot(bytes);
  if (!snapshot) {
    throw new HoldfastError("write-failed", `${field} must be UTF-8 JSON of an object with a non-empty string id`, {
      details: { field },
    });
  }
  const { id, messages } = snapshot;
  return { bytes, id, messageCount: Array.isArray(messages) ? messages.length : 0 };
}

/** `undefined` for bytes that are no UTF-8 JSON of an object with a non-empty string `id`. */
export function parseSnapshot(bytes: Uint8Array): Snapshot | undefined {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  const { id } = value as { id?: unknown };
  return typeof id === "string" && id !== "" ? (value as Snapshot) : undefined;
}

/** The messages of a snapshot. Any value may stand among them. */
export function messagesIn(bytes: Uint8Array): Message[] {
  const messages = parseSnapshot(bytes)?.messages;
  return Array.isArray(messages) ? (messages as unknown as Message[]) : [];
}
