import { HoldfastError, isHoldfastError } from "../domain/errors.js";
import type { RuntimeState } from "../domain/session.js";
import type { Reader, Row, Write } from "../ports/storage.js";
import { accept, type Command, refuse } from "./command.js";
import { readInput } from "./input-rows.rules.js";
import { corruption } from "./inputs.rules.js";
import type { Host } from "./leases.rules.js";
import { after, notReady, type RuntimeCommand } from "./runtime-state.rules.js";
import {
  type AttachmentRow,
  type InputRow,
  loadRow,
  ROW_VERSION,
  type RuntimeRow,
  readable,
  type SessionRow,
  type SnapshotRow,
} from "./schema.js";
import {
  abandonAll,
  checkRuntime,
  draftOf,
  fencedOff,
  isAttached,
  isOwned,
  type LiveRuntimeRow,
  loadSurroundings,
  type RecoveryReport,
  recover,
  type SessionRef,
  SURROUNDINGS,
  type Surroundings,
} from "./session-draft.js";
import { leaseChange, liftInto } from "./turns.js";

/** A tab that has a session open. */
export interface Attendance {
  readonly host: Host;
  readonly ttlMs: number;
  readonly handler: boolean;
}

export interface OpenSession {
  readonly runtimeId: string;
  readonly sessionId: string;
  /** Sets rows aside that nobody can go on with, instead of failing on them. */
  readonly quarantine: boolean;
  readonly attendance: Attendance;
}

export interface OpenedSession {
  readonly incarnation: number;
  readonly state: RuntimeState;
  /** Absent where another tab's executor is at work: what is under way is its own. */
  readonly recovery?: RecoveryReport;
  readonly quarantined: readonly { inputId: string; reason: string }[];
}

interface OpenState {
  readonly around: Surroundings;
  readonly session: SessionRow | undefined;
  readonly snapshot: SnapshotRow | undefined;
  readonly bad: readonly BadInput[];
}

interface BadInput {
  readonly inputId: string;
  readonly row: Row;
  readonly error: HoldfastError;
}

/** The live rows, each read alone: one that cannot be read must not hide which one it is. */
async function readLive(reader: Reader, runtimeId: string): Promise<{ live: InputRow[]; bad: BadInput[] }> {
  const live: InputRow[] = [];
  const bad: BadInput[] = [];
  for (const row of await reader.range("inputs", { index: "live", prefix: [runtimeId] })) {
    const inputId = String(row.inputId);
    try {
      const read = readInput(row);
      const reason = corruption(read);
      if (reason === undefined) live.push(read);
      else bad.push({ inputId, row, error: new HoldfastError("read-failed", reason, { details: { table: "inputs", inputId } }) });
    } catch (error) {
      if (!isHoldfastError(error) || error.code !== "read-failed") throw error;
      bad.push({ inputId, row, error });
    }
  }
  return { live, bad };
}

/**
 * Makes a session's runtime, or takes up the stored one: retired, stopped and destroyed survive a restart. Where nobody is at work,
 * what a dead owner left is recovered in the same write, all or nothing.
 */
export const openSession: Command<OpenSession, OpenState, OpenedSession> = {
  tables: [...SURROUNDINGS, "sessions", "snapshots", "messages", "quarantine"],
  async load(reader, { runtimeId, sessionId }) {
    const { live, bad } = await readLive(reader, runtimeId);
    const [around, session, snapshot] = await Promise.all([
      loadSurroundings(reader, runtimeId, live),
      loadRow(reader, "sessions", sessionId),
      loadRow(reader, "snapshots", runtimeId),
    ]);
    return { around, session, snapshot, bad };
  },
  decide(state, input, nowMs) {
    const { runtimeId, sessionId, attendance } = input;
    const { around, bad } = state;
    if (bad[0] && !input.quarantine) return refuse(bad[0].error);
    const stored: RuntimeRow = around.runtime ?? {
      v: ROW_VERSION,
      runtimeId,
      incarnation: 0,
      nextRank: 0,
      firstRank: 0,
      endedKeys: 0,
      messageCount: 0,
      digest: "",
      updatedAtMs: nowMs,
    };
    const runtimeState = stored.state ?? "idle";
    const runtime: LiveRuntimeRow = { ...stored, sessionId, state: runtimeState };
    if ((runtimeState === "stopped" || runtimeState === "destroyed") && around.live.length > 0) {
      const message = `store corruption: the stored state ${runtimeState} conflicts with ${around.live.length} active inputs`;
      return refuse(new HoldfastError("read-failed", message, { details: { runtimeId } }));
    }
    const draft = draftOf(runtime, around.live, around.keys, nowMs);
    for (const { inputId, row, error } of bad) {
      draft.write({ table: "quarantine", put: { v: ROW_VERSION, runtimeId, inputId, reason: error.message, atMs: nowMs, row } });
      draft.write({ table: "inputs", drop: [runtimeId, inputId] });
    }
    draft.write(attachmentWrite(runtimeId, attendance, nowMs));
    const attended = { ...around, attachments: [...around.attachments, attachmentOf(runtimeId, attendance, nowMs)] };
    // An owner that sleeps gets its time to come back; executors know when that is over.
    const isAsleep = around.lease?.locked === 1 && !around.farewell && around.lease.bootId !== attendance.host.bootId;
    const isBusy = isAsleep || isOwned(around, nowMs);
    const recovery = isBusy ? undefined : recover(draft, attended, nowMs);
    if (state.snapshot && !isBusy) liftInto(draft, state.snapshot);
    if (draft.runtime.state === "initializing") draft.update({ state: "idle" });
    // Made here, or found without what only a session has.
    if (stored.state === undefined || stored.sessionId === undefined) draft.update({});
    if (!state.session) {
      const { messageCount } = draft.runtime;
      draft.write({ table: "sessions", put: { v: ROW_VERSION, sessionId, runtimeId, messageCount, updatedAtMs: nowMs } });
    }
    const reply: OpenedSession = {
      incarnation: runtime.incarnation,
      state: draft.runtime.state,
      ...(recovery && { recovery }),
      quarantined: bad.map(({ inputId, error }) => ({ inputId, reason: error.message })),
    };
    return draft.done(reply, leaseChange(runtimeId));
  },
  repeatable: () => true,
};

function attachmentOf(runtimeId: string, { host, ttlMs, handler }: Attendance, nowMs: number): AttachmentRow {
  const { bootId, hostId, locked } = host;
  return {
    v: ROW_VERSION,
    runtimeId,
    bootId,
    hostId,
    expiresAtMs: nowMs + ttlMs,
    ...(locked && { locked: 1 as const }),
    ...(handler && { handler: 1 as const }),
  };
}

function attachmentWrite(runtimeId: string, attendance: Attendance, nowMs: number): Write {
  return { table: "attachments", put: attachmentOf(runtimeId, attendance, nowMs) };
}

/** A tab opened the session anew after its host did, or got or lost its turn handler. */
export const attendSession: Command<SessionRef & { attendance: Attendance }, RuntimeRow | undefined, void> = {
  tables: ["runtimes", "attachments"],
  load: (reader, { runtimeId }) => loadRow(reader, "runtimes", runtimeId),
  decide(runtime, input, nowMs) {
    checkRuntime(runtime, input);
    return accept(undefined, [attachmentWrite(input.runtimeId, input.attendance, nowMs)], [leaseChange(input.runtimeId)]);
  },
  repeatable: () => true,
};

export const leaveSession: Command<{ runtimeId: string; bootId: string }, void, void> = {
  tables: ["attachments"],
  load: async () => undefined,
  decide: (_, { runtimeId, bootId }) => accept(undefined, [{ table: "attachments", drop: [runtimeId, bootId] }]),
  repeatable: () => true,
};

/** With the host's leases, so that one transaction carries both. */
export const renewAttachments: Command<{ host: Host; ttlMs: number }, AttachmentRow[], void> = {
  tables: ["attachments"],
  load: async (reader, { host }) =>
    readable("attachments", await reader.range("attachments", { index: "byBoot", prefix: [host.bootId] })),
  decide: (rows, { host, ttlMs }, nowMs) =>
    accept(
      undefined,
      rows.map((row) => ({
        table: "attachments",
        put: { ...row, expiresAtMs: nowMs + ttlMs, ...(host.locked && { locked: 1 as const }) },
      })),
    ),
  repeatable: () => true,
};

export type ChangeRuntime = SessionRef & { readonly command: Exclude<RuntimeCommand, "run"> };

export interface RuntimeChange {
  readonly state: RuntimeState;
  readonly abandoned: number;
  /** Those that still wait or run. */
  readonly pending: number;
}

/** Retire, reset, stop, destroy, recycle: each is one write; what it ends is ended in it. */
export const changeRuntime: Command<ChangeRuntime, Surroundings, RuntimeChange> = {
  tables: SURROUNDINGS,
  load: (reader, { runtimeId }) => loadSurroundings(reader, runtimeId),
  decide(state, input, nowMs) {
    const { command, runtimeId } = input;
    const draft = draftOf(checkRuntime(state.runtime, input), state.live, state.keys, nowMs);
    const { lease } = state;
    const isBusy = isOwned(state, nowMs);
    if (!isBusy) recover(draft, state, nowMs);
    const next = after(command, draft.runtime.state);
    if (next instanceof HoldfastError) return refuse(next);
    const isRunning = draft.runtime.run !== undefined;
    if (isRunning && (command === "reset" || command === "recycle")) return refuse(notReady("running", command));
    draft.update({ state: next });

    let abandoned = 0;
    if (command === "retire") {
      const hasLoop = isRunning || state.attachments.some((row) => row.handler === 1 && isAttached(row, nowMs));
      if (!hasLoop) abandoned = abandonAll(draft, "retired", nowMs);
    } else if (command !== "recycle") {
      abandoned = abandonAll(draft, REASON[command], nowMs);
    }
    if (command === "stop" || command === "destroy") {
      // The executor goes with it: whatever it still does is refused.
      draft.dropRun();
      if (isBusy && lease) draft.write({ table: "leases", put: fencedOff(lease) });
    }
    return draft.done({ state: next, abandoned, pending: draft.live.length }, leaseChange(runtimeId));
  },
};

const REASON = { reset: "reset", stop: "stopped", destroy: "destroyed" } as const;
