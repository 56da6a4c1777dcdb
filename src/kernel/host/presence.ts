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
 * The table of sightings of this tab or worker, kept in step with the others' over a channel of its own:
 *
 *     a new one asks -> every page answers with its own agents, its host's last beat and all it knows to be touched
 *     a host beats   -> one small message, whatever the number of its agents
 *
 * Every page of the origin can post: what is not a message of this database is dropped and counted, and what is one vouches for a bounded
 * time, in a table of bounded size, which no row is ever written from.
 */
export interface Presence {
  readonly store: LivenessStore;
  /** Messages that were none, or came when the table was full. */
  readonly dropped: number;
  /** "Its host lives." Throws `unavailable` where no other tab can hear it. */
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

export interface PresenceParts {
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
  /** Of the page that this table is in; a worker has none, and answers no table. */
  bootId(): string | undefined;
}

/** Beyond so many, what others say is not taken. */
const MOST_RECORDS = 100_000;
const MOST_ASKED = 1_048_576;

export function createPresence(parts: PresenceParts): Presence {
  const { clock, ttlMs, databaseId, tableId } = parts;
  const sightings = createSightings(MOST_RECORDS);
  /** Something was said that there was no room for: until it is over by itself, this table does not know who is not alive. */
  let completeAtMs = 0;
  let dropped = 0;
  let purgeAt = 1_024;
  let channel: ReturnType<ChannelFactory> | undefined;

  const instant = (): Instant => ({ wallMs: clock.now(), monotonicMs: clock.monotonicMs() });

  /** Each time that it has doubled, so that records of the dead take no more room than those of the living. */
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

  /** It may be lost: the rows say the same, only later. */
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

  function open(): void {
    try {
      channel = parts.open?.(parts.name);
    } catch {
      // Then there is none: everything works from the rows.
    }
    if (!channel) return;
    channel.onmessage = ({ data }) => {
      try {
        // Where the channel is the app's own, a message may be anything, and at the next look something else.
        hear(structuredClone(data));
      } catch {
        dropped++;
      }
    };
    void rollCall.begin();
    outbox.answer();
  }

  function close(): void {
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
      close();
      open();
      outbox.repeat();
    },
    close,
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

/** Takes what another table said. `own` is the boot id of the page that this table is in: which agents belong to it, it knows best itself. */
function take(
  sightings: Sightings,
  { atMs, boot, beat, touched = [], forgotten = [], left = [], joined = [] }: PresenceMessage,
  now: Instant,
  ttlMs: number,
  own: string | undefined,
): { fits: boolean; isContradicted: boolean } {
  let fits = true;
  let isContradicted = false;
  /** It counts from when it was said, and a moment that is still to come is now. */
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
