import { bytesToHex } from "@noble/hashes/utils.js";
import { v4, v7 } from "uuid";
import { invalid } from "../../domain/errors.js";
import type { Clock } from "../../ports/clock.js";

/** Where ids and tokens come from: made before a transaction opens, never inside it. */
export interface Ids {
  /** Random. */
  uuid(): string;
  /** In the order of their making, by the clock. */
  processId(): string;
  /** 128 random bits as hex. */
  nonce(): string;
  bytes(count: number): Uint8Array;
}

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

/** Notices of one database go over one channel, whatever it is called elsewhere. */
export function channelName(databaseId: string): string {
  return `holdfast:${databaseId}`;
}

/** Who was seen just now goes over another, so that neither waits behind the other's. */
export function presenceChannelName(databaseId: string): string {
  return `${channelName(databaseId)}:seen`;
}

/** Held exclusively by a host for as long as it lives; watchers ask for it shared, so that none of them hides it from another. */
export function hostLockName(databaseId: string, bootId: string): string {
  return `holdfast:${databaseId}:host:${bootId}`;
}
