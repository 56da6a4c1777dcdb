import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex, utf8ToBytes } from "@noble/hashes/utils.js";
import { HoldfastError } from "../../domain/errors.js";
import type { JsonValue } from "../../domain/json.js";
import type { Message } from "../../domain/session/session.js";
import { parseSnapshot } from "../../domain/session/snapshot.js";
import type { RuntimeRow } from "./tables.js";

/** A snapshot's members other than its messages. */
export type Head = { readonly id: string; readonly [member: string]: JsonValue };

/** Absent where there is no session, or where it was deleted. */
export function headOf(runtime: RuntimeRow | undefined): Head | undefined {
  if (runtime?.state === undefined) return undefined;
  return runtime.head ?? (runtime.sessionId === undefined ? undefined : { id: runtime.sessionId });
}

/** The snapshot of a session whose messages are rows; equal rows give equal bytes. */
export function assembleSnapshot(head: Head, messages: readonly Message[]): Uint8Array {
  return new TextEncoder().encode(JSON.stringify({ ...head, messages }));
}

/** SHA-256 hex of the digest before and the new message, message by message: a transcript that begins alike has the same one there. */
export function chainDigest(digest: string, messages: readonly Message[]): string {
  return messages.reduce((before, message) => bytesToHex(sha256(utf8ToBytes(before + JSON.stringify(message)))), digest);
}

/** A snapshot that was handed over whole, as the rows of a session's runtime. */
export function liftSnapshot(bytes: Uint8Array): { head: Head; messages: Message[]; digest: string } {
  const snapshot = parseSnapshot(bytes);
  if (!snapshot) throw new HoldfastError("read-failed", "a stored snapshot does not decode", { details: { table: "snapshots" } });
  const { messages = [], ...head } = snapshot;
  // Any JSON may stand there; what is no list holds no messages.
  const rows = (Array.isArray(messages) ? messages : []) as unknown as Message[];
  return { head: head as Head, messages: rows, digest: chainDigest("", rows) };
}
