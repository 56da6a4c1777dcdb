import type { Clock } from "../../ports/clock.js";
import type { Sightings } from "../../stores/host/liveness.rules.js";
import { chunks, isId, type Said } from "./presence-message.js";

/** Tells the other tables about this page: each change once, everything when it is asked, and its agents now and then again. */
interface PresenceOutbox {
  join(bootId: string, agentIds: readonly string[]): void;
  leave(agentId: string): void;
  touch(id: string, ttlMs: number): void;
  /** Tells all that this page knows; a worker has no page and tells nothing. */
  answer(): void;
  /** Tells its agents again and again from now on, while there is a channel. */
  repeat(): void;
  end(): void;
}

interface PresenceOutboxParts {
  readonly clock: Clock;
  readonly ttlMs: number;
  readonly sightings: Sightings;
  hint(said: Said): void;
  /** There is a channel. */
  isOpen(): boolean;
  bootId(): string | undefined;
}

/** One answer in this time serves all tables that ask; an answer of many messages takes as many times that. */
const ANSWER_GAP_MS = 100;

export function createPresenceOutbox(parts: PresenceOutboxParts): PresenceOutbox {
  const { clock, ttlMs, sightings, hint } = parts;
  /** The agents of this page, whatever other tables say. */
  const members = new Set<string>();
  /** Changes of one moment go in one message. */
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
    // A host that registers an agent is alive.
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

  /** Tells all agents again now and then: what was lost, or was told falsely by another table, does not stay so. */
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
