import type { Corridor } from "../../corridor/command.js";
import type { RuntimeState } from "../../domain/session/session.js";
import type { Timings } from "../../domain/time.js";
import type { Clock } from "../../ports/clock.js";
import { tellEach } from "../../ports/listeners.js";
import type { Change, Notices } from "../../ports/notices.js";
import type { Reader, Row } from "../../ports/storage.js";
import { loadRow, readable } from "../../stores/schema.js";
import type { SessionRef } from "../../stores/session/draft.js";

/** A hint that something changed, in any tab: read again. */
export type SessionChange = { type: "messages" | "state" } | { type: "input"; inputId: string };

/** What became of a session, as this tab hears of it. */
export interface SessionChanges {
  listen(listener: (change: SessionChange) => void): () => void;
  /** The session is gone: the listeners are told, and hear nothing more. */
  vanish(): void;
  /** Nothing is heard any more. */
  end(): void;
}

export interface SessionChangesParts {
  readonly ref: SessionRef;
  readonly sessionId: string;
  readonly corridor: Corridor;
  readonly notices: Notices;
  readonly clock: Clock;
  readonly timings: Pick<Timings, "pollMs">;
  learn(state: RuntimeState): void;
  /** The session was deleted. */
  vanish(): void;
  /** Before anything is read. */
  hear(changes: readonly Change[]): void;
}

/** What the listeners know of, but for single inputs. */
interface Seen {
  readonly state: RuntimeState;
  /** Another text for each other transcript. */
  readonly messages: string;
  readonly inputRevision: number;
}

interface Untold {
  /** Inputs of writes that no notice told. */
  readonly changed: readonly string[];
  /** Those that were told, as they are now. */
  readonly told: readonly { readonly inputId: string; readonly row: Row | undefined }[];
}

/**
 * After a read the next one waits, as many times as long as that one took: many tabs of a busy session would do little else than read. On a
 * machine that is idle it is a few milliseconds. Where nothing listens, only `session.state` is kept, which is as it was read last.
 */
const REST_LISTENED = 1;
const REST_UNHEARD = 4;

/** Inputs that were told and may go without leaving a row: so many are remembered. */
const MOST_TOLD = 1_024;

/**
 * Notices say what to read. While something listens, the rows are read now and then as well, and what no notice told is told then: of
 * kernels that share no channel with this one nothing else is heard. A hint is given after what it is about was read: what is stored
 * later differs from that, and is told later.
 */
export function followSession(parts: SessionChangesParts): SessionChanges {
  const { ref, sessionId, corridor, clock, timings } = parts;
  const { runtimeId, incarnation } = ref;
  const listeners = new Set<(change: SessionChange) => void>();
  let isOver = false;
  let seen: Seen | undefined;
  /** Told by a notice since it was read. */
  const news = new Set<"state" | "messages">();
  /** Writes that changed inputs and were told by notices, behind the last one that was looked for. */
  const revisions = new Set<number>();
  const told = new Set<string>();
  let cancelPoll = () => {};
  /** The next read looks for inputs as well. */
  let isPollDue = false;

  function tellInput(inputId: string): void {
    if (told.size === MOST_TOLD) told.clear();
    told.add(inputId);
    tellEach(listeners, { type: "input", inputId });
  }

  function tellUntold(untold: Untold): void {
    for (const { inputId, row } of untold.told) {
      // It may go without a row yet; every other one is found by its number.
      if (row && isEphemeral(row)) continue;
      told.delete(inputId);
      if (!row) tellEach(listeners, { type: "input", inputId });
    }
    for (const inputId of untold.changed) tellInput(inputId);
  }

  async function readUntold(reader: Reader, from: number, to: number): Promise<Untold | undefined> {
    let first = from + 1;
    while (first <= to && revisions.has(first)) first++;
    if (first > to) return undefined;
    const [rows, left] = await Promise.all([
      reader.range("inputs", { index: "changed", prefix: [runtimeId], from: [runtimeId, first] }),
      Promise.all([...told].map(async (inputId) => ({ inputId, row: await reader.get("inputs", [runtimeId, inputId]) }))),
    ]);
    const untold = rows.filter(({ revision }) => !revisions.has(Number(revision)));
    return { changed: untold.map(({ inputId }) => String(inputId)), told: left };
  }

  async function look(): Promise<void> {
    if (isOver) return;
    const from = isPollDue ? seen?.inputRevision : undefined;
    isPollDue = false;
    try {
      const tables = ["runtimes", "sessions", ...(from === undefined ? [] : ["inputs"])];
      const found = await corridor.query(tables, async (reader) => {
        const [row, session] = await Promise.all([loadRow(reader, "runtimes", runtimeId), reader.get("sessions", sessionId)]);
        if (row?.state === undefined || row.incarnation !== incarnation) return undefined;
        const { state, digest, messageCount, inputRevision = 0 } = row;
        const now: Seen = { state, messages: `${digest} ${messageCount} ${session?.updatedAtMs}`, inputRevision };
        return { now, untold: from === undefined ? undefined : await readUntold(reader, from, inputRevision) };
      });
      if (isOver) return;
      if (!found) return parts.vanish();
      const { now, untold } = found;
      if (seen && seen.state !== now.state) news.add("state");
      if (seen && seen.messages !== now.messages) news.add("messages");
      seen = { ...now, ...(seen && from === undefined && { inputRevision: seen.inputRevision }) };
      for (const revision of revisions) if (revision <= seen.inputRevision) revisions.delete(revision);
      parts.learn(now.state);
      const types = [...news];
      news.clear();
      for (const type of types) tellEach(listeners, { type });
      if (untold) tellUntold(untold);
    } catch {
      // The next notice, poll or call tells it.
    }
  }

  const looks = createLooks(clock, look, (tookMs) =>
    Math.min(tookMs * (listeners.size > 0 ? REST_LISTENED : REST_UNHEARD), timings.pollMs),
  );

  function schedulePoll(): void {
    cancelPoll();
    if (listeners.size > 0 && !isOver) cancelPoll = clock.setTimer(() => void poll(), timings.pollMs);
  }

  async function poll(): Promise<void> {
    isPollDue = true;
    await looks.next();
    schedulePoll();
  }

  const stopListening = parts.notices.subscribe((changes) => {
    const ours = changes.filter(({ id }) => id === runtimeId);
    if (ours.length === 0) return;
    for (const { about, member, sequence } of ours) {
      if (about === "messages") news.add("messages");
      else if (about === "runtime") news.add("state");
      else if (about === "input" && member !== undefined) {
        if (listeners.size === 0) continue;
        if (sequence !== undefined) revisions.add(sequence);
        tellInput(member);
      }
    }
    if (news.size > 0) void looks.next();
    parts.hear(ours);
  });

  function end(): void {
    isOver = true;
    stopListening();
    cancelPoll();
    looks.endRest();
    listeners.clear();
  }

  return {
    listen(listener) {
      const own = (change: SessionChange) => listener(change);
      listeners.add(own);
      if (listeners.size === 1) {
        seen = undefined;
        revisions.clear();
        told.clear();
        // Its rest is the one of a tab where nothing listens.
        looks.endRest();
        void looks.next().then(schedulePoll);
      }
      return () => {
        listeners.delete(own);
        if (listeners.size === 0) cancelPoll();
      };
    },
    vanish() {
      for (const type of ["state", "messages"] as const) tellEach(listeners, { type });
      end();
    },
    end,
  };
}

interface Looks {
  /** Resolves after a look that began after this call. */
  next(): Promise<void>;
  endRest(): void;
}

/** One at a time, and a rest behind each: what comes meanwhile may be about what was read already, and is one more for all of it. */
function createLooks(clock: Clock, look: () => Promise<void>, restOf: (tookMs: number) => number): Looks {
  let looking: Promise<void> | undefined;
  let waiting: Promise<void> | undefined;
  /** The rest behind the last look is over then. */
  let restedMs = clock.monotonicMs();
  let wake = () => {};

  async function rest(): Promise<void> {
    const ms = restedMs - clock.monotonicMs();
    if (ms <= 0) return;
    let cancel = () => {};
    await new Promise<void>((resolve) => {
      wake = resolve;
      cancel = clock.setTimer(resolve, ms);
    });
    cancel();
  }

  function next(): Promise<void> {
    const sinceMs = clock.monotonicMs();
    if (!looking && !waiting && sinceMs >= restedMs) {
      looking = look().finally(() => {
        looking = undefined;
        const nowMs = clock.monotonicMs();
        restedMs = nowMs + restOf(nowMs - sinceMs);
      });
      return looking;
    }
    waiting ??= (looking ?? Promise.resolve()).then(rest).then(() => {
      waiting = undefined;
      return next();
    });
    return waiting;
  }

  return {
    next,
    endRest() {
      restedMs = 0;
      wake();
    },
  };
}

function isEphemeral(row: Row): boolean {
  return readable("inputs", [row]).some(({ record }) => record.durability === "ephemeral");
}
