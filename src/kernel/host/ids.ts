import { bytesToHex } from "@noble/hashes/utils.js";
import { v4, v7 } from "uuid";
import { invalid } from "../../domain/errors.js";
import type { Clock } from "../../ports/clock.js";

/** Makes ids and tokens: before a transaction opens, never inside it. */
export interface Ids {
  /** A random UUID. */
  uuid(): string;
  /** A UUID that sorts by the time of its making. */
  processId(): string;
  /** 128 random bits as hex. */
  nonce(): string;
  bytes(count: number): Uint8Array;
}

/** Random bytes of a cryptographic quality, as many as asked for. */
export type Random = (bytes: number) => Uint8Array;

export function createIds(clock: Clock, random: Random): Ids {
  const bytes = (count: number): Uint8Array => {
    const made: unknown = random(count);
    if (!(made instanceof Uint8Array) || made.length !== count)
      throw invalid(`random must return a Uint8Array of ${count} bytes`);
    return made;
  };
  return {
    uuid: () => v4({ random: bytes(16) }),
    processId: () => v7({ random: bytes(16), msecs: clock.now() }),
    nonce: () => bytesToHex(bytes(16)),
    bytes,
  };
}

export const platformRandom: Random = (count) => crypto.getRandomValues(new Uint8Array(count));

/** The channel for the notices of one database. */
export function channelName(databaseId: string): string {
  return `holdfast:${databaseId}`;
}

/** The channel for presence: another one, so that neither notices nor presence wait behind the other. */
export function presenceChannelName(databaseId: string): string {
  return `${channelName(databaseId)}:seen`;
}

/** Held exclusively by a host for as long as it lives; watchers ask for it shared, so that none of them hides it from another. */
export function hostLockName(databaseId: string, bootId: string): string {
  return `holdfast:${databaseId}:host:${bootId}`;
}
