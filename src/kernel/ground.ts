import type { Corridor } from "../corridor/command.js";
import { broadcastNotices } from "../corridor/notices.js";
import { createCorridor } from "../corridor/run.js";
import { asHoldfastError } from "../domain/errors.js";
import type { Timings } from "../domain/time.js";
import type { Clock } from "../ports/clock.js";
import type { Locks } from "../ports/locks.js";
import type { ChannelFactory, Notices } from "../ports/notices.js";
import type { OpenStorage } from "../ports/storage.js";
import { TABLES } from "../stores/schema.js";
import { channelName, hostLockName, presenceChannelName } from "./host/ids.js";
import { createPresence, type Presence } from "./host/presence.js";

export interface KernelGroundParts {
  readonly storage: OpenStorage;
  readonly clock: Clock;
  readonly timings: Timings;
  readonly channel: ChannelFactory | undefined;
  readonly locks: Locks | undefined;
  /** The id by which the presence table knows its own messages. */
  readonly tableId: string;
  /** The page's boot id; a worker has none. */
  bootId(): string | undefined;
}

/** What a kernel stands on once its storage is open, and what the worker of its loop stands on, over a connection of its own. */
export interface KernelGround extends KernelGroundParts {
  readonly databaseId: string;
  readonly notices: Notices;
  readonly corridor: Corridor;
  readonly presence: Presence;
  /** Waits for what is under way, but not for ever: a storage that hangs must not keep an app from ending. */
  close(): Promise<void>;
}

const MOST_CLOSE_MS = 5_000;

/** Rejects `unavailable` if the channel cannot be opened. */
export async function layGround(parts: KernelGroundParts): Promise<KernelGround> {
  const { storage, clock, channel } = parts;
  const { databaseId } = storage;
  const notices = await orUnavailable("channel", () => broadcastNotices(channelName(databaseId), channel));
  const corridor = createCorridor({ storage, tables: TABLES, notices, clock });
  const presence = createPresence({
    ...parts,
    name: presenceChannelName(databaseId),
    databaseId,
    lockPrefix: hostLockName(databaseId, ""),
    ttlMs: parts.timings.livenessTtlMs,
  });
  return {
    ...parts,
    databaseId,
    notices,
    corridor,
    presence,
    async close() {
      presence.close();
      await soon(clock, corridor.close());
      notices.close();
    },
  };
}

export async function orUnavailable<T>(what: string, open: () => T | Promise<T>): Promise<T> {
  try {
    return await open();
  } catch (error) {
    throw asHoldfastError(error, "unavailable", `the ${what} could not be opened`);
  }
}

/** Waits for `work`, but not for ever: what takes longer goes on by itself. */
export async function soon(clock: Clock, work: Promise<void>): Promise<void> {
  let cancel = () => {};
  const late = new Promise<void>((resolve) => {
    cancel = clock.setTimer(resolve, MOST_CLOSE_MS);
  });
  try {
    await Promise.race([work, late]);
  } finally {
    cancel();
  }
}
