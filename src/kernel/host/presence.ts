import { checkList } from "../../domain/check.js";
import { invalid } from "../../domain/errors.js";
import type { Clock } from "../../ports/clock.js";
import type { Locks } from "../../ports/locks.js";
import type { ChannelFactory } from "../../ports/notices.js";
import type { LivenessStore } from "../../stores/host/liveness.js";
import { createSightings, type Instant, later } from "../../stores/host/liveness.rules.js";
import { createPresenceChannel, noChannel } from "./presence-channel.js";
import { chunks, LONGEST_ID, presenceMessageOf } from "./presence-message.js";
import { createPresenceOutbox } from "./presence-outbox.js";
import { createRollCall } from "./presence-roll-call.js";

/**
 * The table of sightings of this tab or worker, kept in step with the others' over a channel of its own:
 *
 *     a new one asks -> every page answers with its own agents, its host's last beat and all it knows to be touched
 *     a host beats   -> one small message, whatever the number of its agents
 *
 * Anybody of the origin can post: what is not a message of this database is dropped and counted, and what is one vouches for a bounded
 * time, in a table of bounded size, which no row is ever written from.
 */
export interface Gossip {
  readonly store: LivenessStore;
  /** Messages that were none, or came when the table was full. */
  readonly dropped: number;
  /** "Its host lives." Throws `unavailable` where nobody can hear it. */
  beat(bootId: string): void;
  /** Agents that this host beats for. */
  join(bootId: string, agentIds: readonly string[]): void;
  leave(bootId: string, agentId: string): void;
  forget(ids: readonly string[]): void;
  /** When a host was last heard to beat, while that counts. */
  lastBeat(bootId: string): number | undefined;
  /** Whether any of these was seen just now; nothing where that is not known. */
  aliveOf(ids: readonly string[]): Set<string> | undefined;
  /** Again, too: what was said in between is lost, so it asks anew. */
  open(): void;
  close(): void;
}

export interface GossipParts {
  readonly open: ChannelFactory | undefined;
  /** Of the channel. */
  readonly name: string;
  readonly databaseId: string;
  readonly clock: Clock;
  readonly locks: Locks | undefined;
  /** Every host lock's name begins so, and goes on with its boot id. */
  readonly lockPrefix: string;
  readonly ttlMs: number;
  /** Who this is, for its own echo. */
  readonly tableId: string;
  /** Of the page that this table is in; a worker has none, and answers nobody. */
  bootId(): string | undefined;
}

/** Beyond so many, what others say is not taken. */
const MOST_RECORDS = 100_000;
const MOST_ASKED = 1_048_576;

export function createGossip(parts: GossipParts): Gossip {
  const { clock, ttlMs, databaseId, tableId } = parts;
  const sightings = createSightings(MOST_RECORDS);
  /** Something was said that there was no room for: until it is over by itself, this table does not know who is not alive. */
  let completeAtMs = 0;
  let dropped = 0;
  let purgeAt = 1_024;

  const instant = (): Instant => ({ wallMs: clock.now(), monotonicMs: clock.monotonicMs() });

  /** Each time that it has doubled, so that records of the dead take no more room than those of the living. */
  function tidy(now: Instant): void {
    if (sightings.size < purgeAt) return;
    sightings.purge(now, parts.bootId());
    purgeAt = Math.max(1_024, Math.min(MOST_RECORDS, sightings.size * 2));
  }

  const channel = createPresenceChannel({
    ...parts,
    hear(data) {
      try {
        // Where the channel is the app's own, a message may be anything, and at the next look something else.
        hear(structuredClone(data));
      } catch {
        dropped++;
      }
    },
  });
  const rollCall = createRollCall({ ...parts, ask: () => channel.hint({ asks: true }) });
  const outbox = createPresenceOutbox({ ...parts, channel, sightings });

  function hear(data: unknown): void {
    const message = presenceMessageOf(data, databaseId);
    if (!message) {
      dropped++;
      return;
    }
    if (message.from === tableId) return;
    const now = instant();
    /** It counts from when it was said, and a moment that is still to come is now. */
    const until = (saidAtMs: number, forMs: number) => later(now, Math.min(forMs, ttlMs) - Math.max(0, now.wallMs - saidAtMs));
    const own = parts.bootId();
    const { boot, beat, forgotten = [] } = message;
    tidy(now);
    let fits = true;
    for (const [id, forMs] of message.touched ?? []) fits = sightings.touch(id, until(message.atMs, forMs), false) && fits;
    // Which agents belong to this page, this page knows best.
    const [mine, others] = partition(forgotten, (id) => own !== undefined && sightings.isMember(own, id));
    for (const id of others) sightings.forget(id);
    if (boot !== undefined && boot !== own) {
      for (const id of message.left ?? []) sightings.leave(boot, id);
      for (const id of message.joined ?? []) fits = sightings.join(boot, id, false) && fits;
    }
    if (boot !== undefined && beat) {
      const seenAtMs = Math.min(beat.seenAtMs, now.wallMs);
      fits = sightings.beat(boot, seenAtMs, until(seenAtMs, beat.ttlMs), false) && fits;
    }
    if (boot !== undefined && message.answers) rollCall.answered(boot);
    if (!fits) {
      dropped++;
      completeAtMs = now.monotonicMs + ttlMs;
    }
    if (message.asks || mine.length > 0) outbox.answer();
  }

  function close(): void {
    channel.close();
    rollCall.end();
    outbox.end();
  }

  function forget(ids: readonly string[]): void {
    for (const id of ids) sightings.forget(id);
    for (const forgotten of chunks(ids)) channel.hint({ forgotten });
  }

  const isComplete = () => rollCall.isComplete && clock.monotonicMs() >= completeAtMs;

  function aliveOf(ids: readonly string[]): Set<string> | undefined {
    if (!isComplete()) return undefined;
    const now = instant();
    return new Set(ids.filter((id) => sightings.isAlive(id, now)));
  }

  const store: LivenessStore = {
    available: () => channel.isOpen,
    async touch(runtimeId, forMs) {
      if (!channel.isOpen) throw noChannel();
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
      channel.post({ boot: bootId, beat: { seenAtMs: now.wallMs, ttlMs } });
    },
    join(bootId, agentIds) {
      const now = instant();
      sightings.beat(bootId, now.wallMs, later(now, ttlMs), true);
      outbox.join(bootId, agentIds);
    },
    leave(bootId, agentId) {
      outbox.leave(agentId);
      sightings.leave(bootId, agentId);
      channel.hint({ boot: bootId, left: [agentId] });
    },
    forget,
    lastBeat: (bootId) => sightings.lastBeat(bootId, instant()),
    aliveOf,
    open() {
      close();
      channel.open();
      if (channel.isOpen) {
        void rollCall.begin();
        outbox.answer();
      }
      outbox.repeat();
    },
    close,
  };
}

function checkTouch(runtimeId: unknown, forMs: unknown): void {
  if (typeof runtimeId !== "string") throw invalid("runtimeId must be a string");
  if (runtimeId === "") throw invalid("runtimeId must not be empty: empty runtime id");
  if (runtimeId.length > LONGEST_ID) throw invalid(`runtimeId must be at most ${LONGEST_ID} characters long`);
  if (typeof forMs !== "number" || !Number.isFinite(forMs) || forMs <= 0)
    throw invalid("ttlMs must be a finite number above zero");
}

function partition<T>(list: readonly T[], isFirst: (item: T) => boolean): [T[], T[]] {
  const [first, second]: [T[], T[]] = [[], []];
  for (const item of list) (isFirst(item) ? first : second).push(item);
  return [first, second];
}
