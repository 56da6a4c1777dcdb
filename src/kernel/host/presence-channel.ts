import { HoldfastError } from "../../domain/errors.js";
import type { Clock } from "../../ports/clock.js";
import type { ChannelFactory } from "../../ports/notices.js";
import { type PresenceMessage, type Said, VERSION } from "./presence-message.js";

/** The channel between tables of sightings. Each message says of which database it is, from which table, and when it was sent. */
export interface PresenceChannel {
  readonly isOpen: boolean;
  open(): void;
  close(): void;
  /** Throws `unavailable` where no other tab can hear it. */
  post(said: Said): void;
  /** The same for what the rows say too, only later: it may be lost. */
  hint(said: Said): void;
}

export interface PresenceChannelParts {
  readonly open: ChannelFactory | undefined;
  /** Of the channel. */
  readonly name: string;
  readonly databaseId: string;
  readonly clock: Clock;
  /** Of this table, for its own echo. */
  readonly tableId: string;
  hear(data: unknown): void;
}

export function createPresenceChannel(parts: PresenceChannelParts): PresenceChannel {
  const { databaseId, tableId, clock } = parts;
  let channel: ReturnType<ChannelFactory> | undefined;

  function post(said: Said): void {
    if (!channel) throw noChannel();
    try {
      channel.postMessage({ v: VERSION, of: databaseId, from: tableId, atMs: clock.now(), ...said } satisfies PresenceMessage);
    } catch (error) {
      throw new HoldfastError("unavailable", "the channel to the other tabs failed", { cause: error });
    }
  }

  return {
    get isOpen() {
      return channel !== undefined;
    },
    open() {
      try {
        channel = parts.open?.(parts.name);
      } catch {
        // Then there is none: everything works from the rows.
      }
      if (channel) channel.onmessage = ({ data }) => parts.hear(data);
    },
    close() {
      channel?.close();
      channel = undefined;
    },
    post,
    hint(said) {
      try {
        post(said);
      } catch {
        // The rows say the same, only later.
      }
    },
  };
}

export function noChannel(): HoldfastError {
  return new HoldfastError("unavailable", "there is no channel to the other tabs");
}
