import { checkList } from "../../domain/check.js";
import { HoldfastError, invalid } from "../../domain/errors.js";
import type { Clock } from "../../ports/clock.js";
import type { Locks } from "../../ports/locks.js";
import type { ChannelFactory } from "../../ports/notices.js";
import type { LivenessStore } from "../../stores/host/liveness.js";
import { createSightings, type Instant, later } from "../../stores/host/liveness.rules.js";
import { chunks, isId, LONGEST_ID, type Message, messageOf, type Said, VERSION } from "./presence-message.js";
import { heldLocks } from "./web-lock.js";

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
const ANSWER_MS = 250;
/** However many ask, one answer in this time serves them all; one of many messages in as many times that. */
const ANSWER_GAP_MS = 100;

export function createGossip(parts: GossipParts): Gossip {
  const { clock, ttlMs, databaseId, tableId } = parts;
  const sightings = createSightings(MOST_RECORDS);
  /** This page's, whatever the others say. */
  const members = new Set<string>();
  let channel: ReturnType<ChannelFactory> | undefined;
  let known = false;
  /** Hosts that have not answered yet. */
  let awaited: Set<string> | undefined;
  /** Answered before it was known who is there. */
  const answeredEarly = new Set<string>();
  let cancelWait = () => {};
  let cancelGap: (() => void) | undefined;
  let askedAgain = false;
  /** What is said of one moment goes in one message. */
  let joining: string[] = [];
  let touching = new Map<string, number>();
  let isFlushing = false;
  let cancelRepeat: (() => void) | undefined;
  /** Something was said that there was no room for: until it is over by itself, nobody knows who is not alive. */
  let completeAtMs = 0;
  let dropped = 0;
  let purgeAt = 1_024;

  const instant = (): Instant => ({ wallMs: clock.now(), monotonicMs: clock.monotonicMs() });

  function post(said: Said): void {
    if (!channel) throw new HoldfastError("unavailable", "there is no channel to the other tabs");
    try {
      channel.postMessage({ v: VERSION, of: databaseId, from: tableId, atMs: clock.now(), ...said } satisfies Message);
    } catch (error) {
      throw new HoldfastError("unavailable", "the channel to the other tabs failed", { cause: error });
    }
  }

  /** A hint that nobody hears is one that nobody has to. */
  function hint(said: Said): void {
    try {
      post(said);
    } catch {
      // The rows say the same, only later.
    }
  }

  function connect(): void {
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
    void ask();
  }

  /** Whoever is alone knows all there is. Without locks nobody knows who is there: the first answer is taken for all. */
  async function ask(): Promise<void> {
    const asked = channel;
    known = false;
    awaited = undefined;
    cancelWait();
    cancelWait = clock.setTimer(learned, ANSWER_MS);
    hint({ asks: true });
    const held = await heldLocks(parts.locks);
    if (!held || channel !== asked || known) return;
    const own = parts.bootId();
    const hosts = [...held]
      .filter((name) => name.startsWith(parts.lockPrefix))
      .map((name) => name.slice(parts.lockPrefix.length));
    awaited = new Set(hosts.filter((bootId) => bootId !== own && !answeredEarly.has(bootId)));
    if (awaited.size === 0) learned();
  }

  function learned(): void {
    known = channel !== undefined;
    answeredEarly.clear();
    cancelWait();
  }

  function answered(bootId: string): void {
    if (known) return;
    if (!parts.locks) return learned();
    answeredEarly.add(bootId);
    awaited?.delete(bootId);
    if (awaited?.size === 0) learned();
  }

  function answer(): void {
    const boot = parts.bootId();
    if (boot === undefined) return;
    if (cancelGap) {
      askedAgain = true;
      return;
    }
    const now = instant();
    const parcels = chunks(sightings.touched(now));
    cancelGap = clock.setTimer(() => {
      cancelGap = undefined;
      if (!askedAgain) return;
      askedAgain = false;
      answer();
    }, ANSWER_GAP_MS * Math.max(1, parcels.length));
    tellMembers();
    for (const touched of parcels) hint({ touched });
    const seenAtMs = sightings.lastBeat(boot, now);
    hint({ boot, answers: true, ...(seenAtMs !== undefined && { beat: { seenAtMs, ttlMs } }) });
  }

  function hear(data: unknown): void {
    const message = messageOf(data, databaseId);
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
    // Who belongs to this page, nobody knows better.
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
    if (boot !== undefined && message.answers) answered(boot);
    if (!fits) {
      dropped++;
      completeAtMs = now.monotonicMs + ttlMs;
    }
    if (message.asks || mine.length > 0) answer();
  }

  /** Each time that it has doubled, so that records of the dead take no more room than those of the living. */
  function tidy(now: Instant): void {
    if (sightings.size < purgeAt) return;
    sightings.purge(now, parts.bootId());
    purgeAt = Math.max(1_024, Math.min(MOST_RECORDS, sightings.size * 2));
  }

  function flushLater(): void {
    if (isFlushing) return;
    isFlushing = true;
    queueMicrotask(flush);
  }

  function flush(): void {
    isFlushing = false;
    const touched = chunks([...touching]);
    touching = new Map();
    for (const some of touched) hint({ touched: some });
    const joined = chunks(joining);
    joining = [];
    const boot = parts.bootId();
    // Who registers an agent lives.
    const beat = { seenAtMs: clock.now(), ttlMs };
    if (boot !== undefined) for (const some of joined) hint({ boot, beat, joined: some });
  }

  /** Now and then all of them again: what was lost, or said by somebody who was not asked, does not stay so. */
  function repeatLater(): void {
    const boot = parts.bootId();
    if (cancelRepeat || !channel || boot === undefined || members.size === 0) return;
    cancelRepeat = clock.setTimer(() => {
      cancelRepeat = undefined;
      tellMembers();
      repeatLater();
    }, ttlMs / 2);
  }

  function tellMembers(): void {
    const boot = parts.bootId();
    if (boot === undefined) return;
    for (const id of members) sightings.join(boot, id, true);
    for (const joined of chunks([...members].filter(isId))) hint({ boot, joined });
  }

  function disconnect(): void {
    channel?.close();
    channel = undefined;
    known = false;
    cancelWait();
    cancelGap?.();
    cancelGap = undefined;
    cancelRepeat?.();
    cancelRepeat = undefined;
  }

  function forget(ids: readonly string[]): void {
    for (const id of ids) sightings.forget(id);
    for (const forgotten of chunks(ids)) hint({ forgotten });
  }

  const isComplete = () => known && clock.monotonicMs() >= completeAtMs;

  function aliveOf(ids: readonly string[]): Set<string> | undefined {
    if (!isComplete()) return undefined;
    const now = instant();
    return new Set(ids.filter((id) => sightings.isAlive(id, now)));
  }

  return {
    store: {
      available: () => channel !== undefined,
      async touch(runtimeId, forMs) {
        if (!channel) throw new HoldfastError("unavailable", "there is no channel to the other tabs");
        if (typeof runtimeId !== "string") throw invalid("runtimeId must be a string");
        if (runtimeId === "") throw invalid("runtimeId must not be empty: empty runtime id");
        if (runtimeId.length > LONGEST_ID) throw invalid(`runtimeId must be at most ${LONGEST_ID} characters long`);
        if (typeof forMs !== "number" || !Number.isFinite(forMs) || forMs <= 0)
          throw invalid("ttlMs must be a finite number above zero");
        const now = instant();
        sightings.touch(runtimeId, later(now, forMs), true);
        tidy(now);
        touching.set(runtimeId, forMs);
        flushLater();
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
    },
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
      for (const id of agentIds) {
        members.add(id);
        sightings.join(bootId, id, true);
      }
      joining.push(...agentIds.filter(isId));
      flushLater();
      repeatLater();
    },
    leave(bootId, agentId) {
      members.delete(agentId);
      sightings.leave(bootId, agentId);
      hint({ boot: bootId, left: [agentId] });
    },
    forget,
    lastBeat: (bootId) => sightings.lastBeat(bootId, instant()),
    aliveOf,
    open() {
      disconnect();
      connect();
      if (channel) answer();
      repeatLater();
    },
    close: disconnect,
  };
}

function partition<T>(list: readonly T[], isFirst: (item: T) => boolean): [T[], T[]] {
  const [first, second]: [T[], T[]] = [[], []];
  for (const item of list) (isFirst(item) ? first : second).push(item);
  return [first, second];
}
