import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex, utf8ToBytes } from "@noble/hashes/utils.js";
import { HoldfastError } from "../../domain/errors.js";
import type { JsonValue } from "../../domain/json.js";
import type { Message } from "../../domain/session/session.js";
import { parseSnapshot } from "../../domain/session/snapshot.js";
import type { RuntimeRow } from "./tables.js";

/** A snapshot's members other than its messages. */
export type Head = { readonly id: string; readonly [member: string]: JsonValue };

/** Absent if there is no session, or if it was deleted. */
export function headOf(runtime: RuntimeRow | undefined): Head | undefined {
  if (runtime?.state === undefined) return undefined;
  return runtime.head ?? (runtime.sessionId === undefined ? undefined : { id: runtime.sessionId });
}

/** Builds the snapshot of a session from its message rows. Equal rows give equal bytes. */
export function assembleSnapshot(head: Head, messages: readonly Message[]): Uint8Array {
  return new TextEncoder().encode(JSON.stringify({ ...head, messages }));
}

/**
 * Chains the digest message by message: each one is the SHA-256, as hex, of the digest before and the message. Equal beginnings of
 * transcripts have equal digests.
 */
export function chainDigest(digest: string, messages: readonly Message[]): string {
  return messages.reduce((before, message) => bytesToHex(sha256(utf8ToBytes(before + JSON.stringify(message)))), digest);
}

/** Splits a stored snapshot into the head and messages that a session's runtime keeps as rows. */
export function liftSnapshot(bytes: Uint8Array): { head: Head; messages: Message[]; digest: string } {
  const snapshot = parseSnapshot(bytes);
  if (!snapshot) throw new HoldfastError("read-failed", "a stored snapshot does not decode", { details: { table: "snapshots" } });
  const { messages = [], ...head } = snapshot;
  // `messages` may be any JSON. A value that is no list holds no messages.
  const rows = (Array.isArray(messages) ? messages : []) as unknown as Message[];
  return { head: head as Head, messages: rows, digest: chainDigest("", rows) };
}
