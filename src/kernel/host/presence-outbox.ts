import type { Clock } from "../../ports/clock.js";
import type { Sightings } from "../../stores/host/liveness.rules.js";
import { chunks, isId, type Said } from "./presence-message.js";

/** What a page says of itself to the other tables: each thing once, all of it when it is asked, and its agents now and then again. */
export interface PresenceOutbox {
  join(bootId: string, agentIds: readonly string[]): void;
  leave(agentId: string): void;
  touch(id: string, ttlMs: number): void;
  /** Says all that this page knows; a worker, which has none, says nothing. */
  answer(): void;
  /** From now on its agents are said again and again, while there is a channel. */
  repeat(): void;
  end(): void;
}

export interface PresenceOutboxParts {
  readonly clock: Clock;
  readonly ttlMs: number;
  readonly sightings: Sightings;
  hint(said: Said): void;
  /** There is a channel. */
  isOpen(): boolean;
  bootId(): string | undefined;
}

/** However many ask, one answer in this time serves them all; one of many messages in as many times that. */
const ANSWER_GAP_MS = 100;

export function createPresenceOutbox(parts: PresenceOutboxParts): PresenceOutbox {
  const { clock, ttlMs, sightings, hint } = parts;
  /** This page's, whatever the others say. */
  const members = new Set<string>();
  /** What is said of one moment goes in one message. */
  let joining: string[] = [];
  let touching = new Map<string, number>();
  let isFlushing = false;
  let cancelRepeat: (() => void) | undefined;
  let cancelGap: (() => void) | undefined;
  let askedAgain = false;

  function flush(): void {
    isFlushing = false;
    const touched = chunks([...touching]);
    touching = new Map();
    for (const some of touched) hint({ touched: some });
    const joined = chunks(joining);
    joining = [];
    const boot = parts.bootId();
    // A host that registers an agent lives.
    const beat = { seenAtMs: clock.now(), ttlMs };
    if (boot !== undefined) for (const some of joined) hint({ boot, beat, joined: some });
  }

  function flushLater(): void {
    if (isFlushing) return;
    isFlushing = true;
    queueMicrotask(flush);
  }

  function tellMembers(): void {
    const boot = parts.bootId();
    if (boot === undefined) return;
    for (const id of members) sightings.join(boot, id, true);
    for (const joined of chunks([...members].filter(isId))) hint({ boot, joined });
  }

  /** Now and then all of them again: what was lost, or said by a table that was not asked, does not stay so. */
  function repeat(): void {
    if (cancelRepeat || !parts.isOpen() || parts.bootId() === undefined || members.size === 0) return;
    cancelRepeat = clock.setTimer(() => {
      cancelRepeat = undefined;
      tellMembers();
      repeat();
    }, ttlMs / 2);
  }

  function answer(): void {
    const boot = parts.bootId();
    if (boot === undefined) return;
    if (cancelGap) {
      askedAgain = true;
      return;
    }
    const now = { wallMs: clock.now(), monotonicMs: clock.monotonicMs() };
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

  return {
    join(bootId, agentIds) {
      for (const id of agentIds) {
        members.add(id);
        sightings.join(bootId, id, true);
      }
      joining.push(...agentIds.filter(isId));
      flushLater();
      repeat();
    },
    leave: (agentId) => void members.delete(agentId),
    touch(id, forMs) {
      touching.set(id, forMs);
      flushLater();
    },
    answer,
    repeat,
    end() {
      cancelGap?.();
      cancelGap = undefined;
      cancelRepeat?.();
      cancelRepeat = undefined;
    },
  };
}
