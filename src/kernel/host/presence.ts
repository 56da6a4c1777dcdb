import { checkList } from "../../domain/check.js";
import { HoldfastError, invalid } from "../../domain/errors.js";
import type { Clock } from "../../ports/clock.js";
import type { Locks } from "../../ports/locks.js";
import type { ChannelFactory } from "../../ports/notices.js";
import type { LivenessStore } from "../../stores/host/liveness.js";
import { createSightings, type Instant, later, type Sightings } from "../../stores/host/liveness.rules.js";
import { chunks, LONGEST_ID, type PresenceMessage, presenceMessageOf, type Said, VERSION } from "./presence-message.js";
import { createPresenceOutbox } from "./presence-outbox.js";
import { createRollCall } from "./presence-roll-call.js";

/**
 * The presence table of this tab or worker, kept in step with those of the others over a channel of its own:
 *
 *     a new one asks -> every page answers with its own agents, its host's last beat and all it knows to be touched
 *     a host beats   -> one small message, whatever the number of its agents
 *
 * Every page of the origin can post. What is not a message of this database is dropped and counted. A message vouches for a bounded time,
 * in a table of bounded size, and no row is ever written from it.
 */
export interface Presence {
  readonly store: LivenessStore;
  /** How many messages were invalid, or came when the table was full. */
  readonly dropped: number;
  /** Tells the other tabs that the host is alive. Throws `unavailable` if no other tab can hear it. */
  beat(bootId: string): void;
  /** Adds agents that this host beats for. */
  join(bootId: string, agentIds: readonly string[]): void;
  leave(bootId: string, agentId: string): void;
  forget(ids: readonly string[]): void;
  /** When a host's last beat was, in epoch milliseconds, while that counts. */
  lastBeat(bootId: string): number | undefined;
  /** The ids of these that were seen just now; undefined if that is not known. */
  aliveOf(ids: readonly string[]): Set<string> | undefined;
  /** Opens the channel, also again. Messages in between are lost, so the table asks anew. */
  open(): void;
  close(): void;
}

interface PresenceParts {
  readonly channel: ChannelFactory | undefined;
  /** The name of the channel. */
  readonly name: string;
  readonly databaseId: string;
  readonly clock: Clock;
  readonly locks: Locks | undefined;
  /** The name of every host's lock begins so, and goes on with its boot id. */
  readonly lockPrefix: string;
  readonly ttlMs: number;
  /** The id of this table, by which it knows its own messages. */
  readonly tableId: string;
  /** The boot id of this table's page; a worker has none, and answers no table. */
  bootId(): string | undefined;
}

/** The table takes no more records than these from others. */
const MOST_RECORDS = 100_000;
const MOST_ASKED = 1_048_576;

export function createPresence(parts: PresenceParts): Presence {
  const { clock, ttlMs, databaseId, tableId } = parts;
  const sightings = createSightings(MOST_RECORDS);
  /** A message had no room: until its time is over, this table does not know which ids are not alive. */
  let completeAtMs = 0;
  let dropped = 0;
  let purgeAt = 1_024;
  let channel: ReturnType<ChannelFactory> | undefined;

  const instant = (): Instant => ({ wallMs: clock.now(), monotonicMs: clock.monotonicMs() });

  /** Purges the table each time it has doubled, so that dead records take no more room than live ones. */
  function tidy(now: Instant): void {
    if (sightings.size < purgeAt) return;
    sightings.purge(now, parts.bootId());
    purgeAt = Math.max(1_024, Math.min(MOST_RECORDS, sightings.size * 2));
  }

  function post(said: Said): void {
    if (!channel) throw noChannel();
    try {
      channel.postMessage({ v: VERSION, of: databaseId, from: tableId, atMs: clock.now(), ...said } satisfies PresenceMessage);
    } catch (error) {
      throw new HoldfastError("unavailable", "the channel to the other tabs failed", { cause: error });
    }
  }

  /** Posts what may be lost: the rows say the same, only later. */
  function hint(said: Said): void {
    try {
      post(said);
    } catch {
      // No other tab hears it.
    }
  }

  const rollCall = createRollCall({ ...parts, ask: () => hint({ asks: true }) });
  const outbox = createPresenceOutbox({ ...parts, sightings, hint, isOpen: () => channel !== undefined });

  function hear(data: unknown): void {
    const message = presenceMessageOf(data, databaseId);
    if (!message) {
      dropped++;
      return;
    }
    if (message.from === tableId) return;
    const now = instant();
    tidy(now);
    const { fits, isContradicted } = take(sightings, message, now, ttlMs, parts.bootId());
    if (message.boot !== undefined && message.answers) rollCall.answered(message.boot);
    if (!fits) {
      dropped++;
      completeAtMs = now.monotonicMs + ttlMs;
    }
    if (message.asks || isContradicted) outbox.answer();
  }

  function connect(): void {
    try {
      channel = parts.channel?.(parts.name);
    } catch {
      // There is no channel then: everything works from the rows.
    }
    if (!channel) return;
    channel.onmessage = ({ data }) => {
      try {
        // A message on an app's own channel may be any object, even one that changes between two looks.
        hear(structuredClone(data));
      } catch {
        dropped++;
      }
    };
    void rollCall.begin();
    outbox.answer();
  }

  function disconnect(): void {
    channel?.close();
    channel = undefined;
    rollCall.end();
    outbox.end();
  }

  function forget(ids: readonly string[]): void {
    for (const id of ids) sightings.forget(id);
    for (const forgotten of chunks(ids)) hint({ forgotten });
  }

  const isComplete = () => rollCall.isComplete && clock.monotonicMs() >= completeAtMs;

  const store: LivenessStore = {
    available: () => channel !== undefined,
    async touch(runtimeId, forMs) {
      if (!channel) throw noChannel();
      checkTouch(runtimeId, forMs);
      const now = instant();
      sightings.touch(runtimeId, later(now, forMs), true);
      tidy(now);
      outbox.touch(runtimeId, forMs);
    },
    async isAliveBatch(runtimeIds) {
      try {
        if (!isComplete()) return { ok: false };
        const ids = checkList("runtimeIds", runtimeIds, MOST_ASKED) as string[];
        const now = instant();
        return { ok: true, alive: new Map(ids.map((id) => [id, sightings.isAlive(id, now)])) };
      } catch {
        return { ok: false };
      }
    },
    async forget(runtimeId) {
      if (typeof runtimeId === "string" && runtimeId !== "") forget([runtimeId]);
    },
  };

  return {
    store,
    get dropped() {
      return dropped;
    },
    beat(bootId) {
      const now = instant();
      sightings.beat(bootId, now.wallMs, later(now, ttlMs), true);
      post({ boot: bootId, beat: { seenAtMs: now.wallMs, ttlMs } });
    },
    join(bootId, agentIds) {
      const now = instant();
      sightings.beat(bootId, now.wallMs, later(now, ttlMs), true);
      outbox.join(bootId, agentIds);
    },
    leave(bootId, agentId) {
      outbox.leave(agentId);
      sightings.leave(bootId, agentId);
      hint({ boot: bootId, left: [agentId] });
    },
    forget,
    lastBeat: (bootId) => sightings.lastBeat(bootId, instant()),
    aliveOf(ids) {
      if (!isComplete()) return undefined;
      const now = instant();
      return new Set(ids.filter((id) => sightings.isAlive(id, now)));
    },
    open() {
      disconnect();
      connect();
      outbox.repeat();
    },
    close: disconnect,
  };
}

function noChannel(): HoldfastError {
  return new HoldfastError("unavailable", "there is no channel to the other tabs");
}

function checkTouch(runtimeId: unknown, forMs: unknown): void {
  if (typeof runtimeId !== "string") throw invalid("runtimeId must be a string");
  if (runtimeId === "") throw invalid("runtimeId must not be empty: empty runtime id");
  if (runtimeId.length > LONGEST_ID) throw invalid(`runtimeId must be at most ${LONGEST_ID} characters long`);
  if (typeof forMs !== "number" || !Number.isFinite(forMs) || forMs <= 0)
    throw invalid("ttlMs must be a finite number above zero");
}

/** Takes a message of another table. `own` is the boot id of this table's page, which knows best which agents are its own. */
function take(
  sightings: Sightings,
  { atMs, boot, beat, touched = [], forgotten = [], left = [], joined = [] }: PresenceMessage,
  now: Instant,
  ttlMs: number,
  own: string | undefined,
): { fits: boolean; isContradicted: boolean } {
  let fits = true;
  let isContradicted = false;
  /** A message counts from when it was sent; a time that is still to come counts as now. */
  const until = (saidAtMs: number, forMs: number) => later(now, Math.min(forMs, ttlMs) - Math.max(0, now.wallMs - saidAtMs));
  for (const [id, forMs] of touched) fits = sightings.touch(id, until(atMs, forMs), false) && fits;
  for (const id of forgotten) {
    if (own !== undefined && sightings.isMember(own, id)) isContradicted = true;
    else sightings.forget(id);
  }
  if (boot === undefined) return { fits, isContradicted };
  if (boot !== own) {
    for (const id of left) sightings.leave(boot, id);
    for (const id of joined) fits = sightings.join(boot, id, false) && fits;
  }
  if (beat) {
    const seenAtMs = Math.min(beat.seenAtMs, now.wallMs);
    fits = sightings.beat(boot, seenAtMs, until(seenAtMs, beat.ttlMs), false) && fits;
  }
  return { fits, isContradicted };
}
