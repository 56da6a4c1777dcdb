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

/** Tells this tab's listeners what changes in a session. */
interface SessionChanges {
  listen(listener: (change: SessionChange) => void): () => void;
  /** The session was deleted: its listeners are told this, and nothing after it. */
  vanish(): void;
  /** Stops listening. */
  end(): void;
}

interface SessionChangesParts {
  readonly ref: SessionRef;
  readonly sessionId: string;
  readonly corridor: Corridor;
  readonly notices: Notices;
  readonly clock: Clock;
  readonly timings: Pick<Timings, "pollMs">;
  learn(state: RuntimeState): void;
  /** The session was deleted. */
  vanish(): void;
  /** A listener threw. */
  threw(error: unknown): void;
  /** Called with notices of this session, before anything is read. */
  hear(changes: readonly Change[]): void;
}

/** What the last read found, and the listeners know. Single inputs are not in it. */
interface SeenSession {
  readonly state: RuntimeState;
  /** A text that differs when the transcript does. */
  readonly messages: string;
  readonly inputRevision: number;
}

interface Untold {
  /** Ids of inputs that were written without a notice. */
  readonly changed: readonly string[];
  /** Inputs that were told, with their rows as they are now. */
  readonly told: readonly { readonly inputId: string; readonly row: Row | undefined }[];
}

/**
 * The rest after a read, as a multiple of the time that the read took: without it, many tabs of a busy session would do little but read.
 * The rest is a few milliseconds on an idle machine. A session without listeners keeps only `session.state`, so its rest is longer.
 */
const REST_LISTENED = 1;
const REST_UNHEARD = 4;

/** How many told inputs are remembered: their rows may be dropped without a notice. */
const MOST_TOLD = 1_024;

/**
 * Notices say what to read. While a listener is there, the rows are also read at each poll, and changes without a notice are told then:
 * kernels that share no channel with this one are heard in no other way. A hint about state or messages is given after a read, so
 * that whatever is stored later differs from that read and is told later.
 */
export function followSession(parts: SessionChangesParts): SessionChanges {
  const { ref, sessionId, corridor, clock, timings } = parts;
  const { runtimeId, incarnation } = ref;
  const listeners = new Set<(change: SessionChange) => void>();
  let isOver = false;
  let seen: SeenSession | undefined;
  /** Kinds of change that a notice told since the last read. */
  const news = new Set<"state" | "messages">();
  /** Input revisions that notices told, above the last one that was read. */
  const revisions = new Set<number>();
  const told = new Set<string>();
  let cancelPoll = () => {};
  /** The next read is a poll: it looks for inputs as well. */
  let isPollDue = false;

  const tell = (change: SessionChange) => tellEach(listeners, change, parts.threw);

  function tellInput(inputId: string): void {
    if (told.size === MOST_TOLD) told.clear();
    told.add(inputId);
    tell({ type: "input", inputId });
  }

  function tellUntold(untold: Untold): void {
    for (const { inputId, row } of untold.told) {
      // An ephemeral input may still be dropped without a trace; a durable one is found by its revision.
      if (row && isEphemeral(row)) continue;
      told.delete(inputId);
      if (!row) tell({ type: "input", inputId });
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
        const now: SeenSession = { state, messages: `${digest} ${messageCount} ${session?.updatedAtMs}`, inputRevision };
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
      for (const type of types) tell({ type });
      if (untold) tellUntold(untold);
    } catch {
      // The next notice or poll reads again; a call of the session rejects with the error.
    }
  }

  const reads = createPacedReads(clock, look, (tookMs) =>
    Math.min(tookMs * (listeners.size > 0 ? REST_LISTENED : REST_UNHEARD), timings.pollMs),
  );

  function schedulePoll(): void {
    cancelPoll();
    if (listeners.size > 0 && !isOver) cancelPoll = clock.setTimer(() => void poll(), timings.pollMs);
  }

  async function poll(): Promise<void> {
    isPollDue = true;
    await reads.next();
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
    if (news.size > 0) void reads.next();
    parts.hear(ours);
  });

  function end(): void {
    isOver = true;
    stopListening();
    cancelPoll();
    reads.endRest();
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
        // The rest under way is that of a tab without listeners, which is longer.
        reads.endRest();
        void reads.next().then(schedulePoll);
      }
      return () => {
        listeners.delete(own);
        if (listeners.size === 0) cancelPoll();
      };
    },
    vanish() {
      for (const type of ["state", "messages"] as const) tell({ type });
      end();
    },
    end,
  };
}

interface PacedReads {
  /** Resolves after a read that began no earlier than this call. */
  next(): Promise<void>;
  endRest(): void;
}

/** Reads one at a time, with a rest after each. Calls that come meanwhile share one more read: the one under way may have read too early. */
function createPacedReads(clock: Clock, look: () => Promise<void>, restOf: (tookMs: number) => number): PacedReads {
  let looking: Promise<void> | undefined;
  let waiting: Promise<void> | undefined;
  /** When the rest after the last read is over. */
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
