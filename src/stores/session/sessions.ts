import { accept, type Command, refuse } from "../../corridor/command.js";
import { HoldfastError, isHoldfastError } from "../../domain/errors.js";
import type { RuntimeState } from "../../domain/session/session.js";
import type { Reader, Write } from "../../ports/storage.js";
import { leaseChange } from "../host/leases.rules.js";
import { loadRow, loadRows, readable } from "../schema.js";
import { ROW_VERSION } from "../table.js";
import {
  type Attachment,
  abandonAll,
  type BadInput,
  checkRuntime,
  draftOf,
  fencedOff,
  type InputHappening,
  isAttached,
  isOwned,
  type LiveRuntimeRow,
  loadSessionState,
  type RecoveryReport,
  readLive,
  recover,
  SESSION_STATE_TABLES,
  type SessionRef,
  type SessionState,
} from "./draft.js";
import { countAll } from "./inputs/due.rules.js";
import { rankWrites, readInput } from "./inputs/input-rows.rules.js";
import type { InputKeyRow } from "./inputs/tables.js";
import { after, newRuntime, notReady, type RuntimeCommand } from "./runtime-state.rules.js";
import type { AttachmentRow, RuntimeRow, SessionRow } from "./tables.js";

interface OpenSession {
  readonly runtimeId: string;
  readonly sessionId: string;
  /** Puts unusable input rows into quarantine instead of failing on them. */
  readonly quarantine: boolean;
  readonly attachment: Attachment;
  /** Opens this life of the session only. Where it was deleted, the call is refused with `not-found` and makes none. */
  readonly incarnation?: number;
}

export interface OpenedSession {
  readonly incarnation: number;
  readonly state: RuntimeState;
  /** Absent if another tab's executor owns the session: then nothing is recovered. */
  readonly recovery?: RecoveryReport;
  readonly quarantined: readonly { inputId: string; reason: string }[];
  readonly happened: readonly InputHappening[];
}

interface OpenState {
  readonly sessionState: SessionState;
  readonly session: SessionRow | undefined;
  readonly bad: readonly BadInput[];
  /** The rows of the idempotency keys that stand for them. */
  readonly badKeys: readonly InputKeyRow[];
}

/**
 * Makes a session's runtime, or continues the stored one: the states retired, stopped and destroyed survive a restart. If no executor
 * owns the session, the inputs that a dead owner left are recovered in the same write, all or none.
 */
export const openSession: Command<OpenSession, OpenState, OpenedSession> = {
  tables: [...SESSION_STATE_TABLES, "sessions", "quarantine"],
  async load(reader, { runtimeId, sessionId, quarantine }) {
    const { live, bad } = await readLive(reader, runtimeId);
    if (quarantine) bad.push(...(await readBrokenEnded(reader, runtimeId)));
    const badIds = new Set(bad.map(({ inputId }) => inputId));
    const keys = badIds.size === 0 ? [] : await loadRows(reader, "inputKeys", { prefix: [runtimeId] });
    const badKeys = keys.filter(({ inputId }) => badIds.has(inputId));
    const [sessionState, session] = await Promise.all([
      loadSessionState(reader, runtimeId, live),
      loadRow(reader, "sessions", sessionId),
    ]);
    return { sessionState, session, bad, badKeys };
  },
  decide(state, input, nowMs) {
    const { runtimeId, sessionId, attachment } = input;
    const { sessionState, bad } = state;
    if (input.incarnation !== undefined) checkRuntime(sessionState.runtime, { runtimeId, incarnation: input.incarnation });
    if (bad[0] && !input.quarantine) return refuse(bad[0].error);
    const stored: RuntimeRow = sessionState.runtime ?? newRuntime(runtimeId, nowMs);
    const runtimeState = stored.state ?? "idle";
    const runtime: LiveRuntimeRow = { ...stored, sessionId, state: runtimeState };
    if ((runtimeState === "stopped" || runtimeState === "destroyed") && sessionState.live.length > 0) {
      const message = `store corruption: the stored state ${runtimeState} conflicts with ${sessionState.live.length} active inputs`;
      return refuse(new HoldfastError("read-failed", message, { details: { runtimeId } }));
    }
    const draft = draftOf(runtime, sessionState.live, sessionState.keys, nowMs);
    for (const { inputId, row, error } of bad) {
      draft.write({ table: "quarantine", put: { v: ROW_VERSION, runtimeId, inputId, reason: error.message, atMs: nowMs, row } });
      draft.write({ table: "inputs", drop: [runtimeId, inputId] });
      // A write to inputs like any other: what waits for the end of this one is told.
      draft.drop({ inputId });
    }
    draft.write(...rankWrites(sessionState.live));
    // Counted anew: rows of older schemas were never counted, and unusable ones are left out from now on.
    const counts = countAll(sessionState.live);
    if (stored.liveInputs !== counts.liveInputs || stored.starters !== counts.starters) draft.update(counts);
    // An idempotency key must stand for an input that is stored.
    for (const { idempotencyKey } of state.badKeys) draft.write({ table: "inputKeys", drop: [runtimeId, idempotencyKey] });
    const ended = state.badKeys.filter(({ endedRank }) => endedRank !== undefined).length;
    if (ended > 0) draft.update({ endedKeys: draft.runtime.endedKeys - ended });
    for (const row of sessionState.attachments)
      if (!isAttached(row, attachment.hasLocks, nowMs)) draft.write({ table: "attachments", drop: [runtimeId, row.bootId] });
    draft.write(attachmentWrite(runtimeId, attachment, nowMs));
    const recovery = isOwned(sessionState, attachment, nowMs) ? undefined : recover(draft, sessionState, attachment, nowMs);
    if (draft.runtime.state === "initializing") draft.update({ state: "idle" });
    // The runtime is new, or its row lacks what only a session's runtime has: then the row is written.
    if (stored.state === undefined || stored.sessionId === undefined) draft.update({});
    if (!state.session) {
      const { messageCount } = draft.runtime;
      draft.write({ table: "sessions", put: { v: ROW_VERSION, sessionId, runtimeId, messageCount, updatedAtMs: nowMs } });
    }
    const reply: OpenedSession = {
      incarnation: runtime.incarnation,
      state: draft.runtime.state,
      ...(recovery && { recovery }),
      happened: draft.happened,
      quarantined: bad.map(({ inputId, error }) => ({ inputId, reason: error.message })),
    };
    return draft.done(reply, leaseChange(runtimeId));
  },
  repeatable: () => true,
};

/** Ended rows that do not decode. They are looked for only if the caller wants unusable rows in quarantine: they block no turn. */
async function readBrokenEnded(reader: Reader, runtimeId: string): Promise<BadInput[]> {
  const rows = await reader.range("inputs", { prefix: [runtimeId] });
  return rows.flatMap((row) => {
    if (row.liveRank !== undefined) return [];
    try {
      readInput(row);
      return [];
    } catch (error) {
      if (!isHoldfastError(error) || error.code !== "read-failed") throw error;
      return [{ inputId: String(row.inputId), row, error }];
    }
  });
}

function attachmentRow(runtimeId: string, { host, ttlMs, handler }: Attachment, nowMs: number): AttachmentRow {
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

function attachmentWrite(runtimeId: string, attachment: Attachment, nowMs: number): Write {
  return { table: "attachments", put: attachmentRow(runtimeId, attachment, nowMs) };
}

/** Stores the tab's attachment again: its host has a new boot, or the tab got or lost its turn handler. */
export const putAttachment: Command<SessionRef & { attachment: Attachment }, RuntimeRow | undefined, void> = {
  tables: ["runtimes", "attachments"],
  load: (reader, { runtimeId }) => loadRow(reader, "runtimes", runtimeId),
  decide(runtime, input, nowMs) {
    checkRuntime(runtime, input);
    return accept(undefined, [attachmentWrite(input.runtimeId, input.attachment, nowMs)], [leaseChange(input.runtimeId)]);
  },
  repeatable: () => true,
};

export const dropAttachment: Command<{ runtimeId: string; bootId: string }, void, void> = {
  tables: ["attachments"],
  load: async () => undefined,
  decide: (_, { runtimeId, bootId }) => accept(undefined, [{ table: "attachments", drop: [runtimeId, bootId] }]),
  repeatable: () => true,
};

export interface ChangeRuntime extends SessionRef {
  readonly command: Exclude<RuntimeCommand, "run">;
  readonly attachment: Attachment;
}

export interface RuntimeChange {
  readonly state: RuntimeState;
  readonly abandoned: number;
  /** Inputs that still wait or run. */
  readonly pending: number;
  readonly happened: readonly InputHappening[];
}

/** Retire, reset, shutdown, destroy, recycle: each is one write, which also abandons the inputs that it ends. */
export const changeRuntime: Command<ChangeRuntime, SessionState & { isAttended: boolean }, RuntimeChange> = {
  tables: [...SESSION_STATE_TABLES, "hosts"],
  async load(reader, { runtimeId, command }) {
    const hosts = command === "retire" ? readable("hosts", await reader.range("hosts", {})) : [];
    const isAttended = hosts.some(({ turns, end }) => turns === 1 && end === undefined);
    return { ...(await loadSessionState(reader, runtimeId)), isAttended };
  },
  decide(state, input, nowMs) {
    const { command, runtimeId, attachment } = input;
    const draft = draftOf(checkRuntime(state.runtime, input), state.live, state.keys, nowMs);
    const { lease } = state;
    const isBusy = isOwned(state, attachment, nowMs);
    if (!isBusy) recover(draft, state, attachment, nowMs);
    const next = after(command, draft.runtime.state);
    if (next instanceof HoldfastError) return refuse(next);
    const isRunning = draft.runtime.run !== undefined;
    if (isRunning && (command === "reset" || command === "recycle")) return refuse(notReady("running", command));
    draft.update({ state: next });

    let abandoned = 0;
    if (command === "retire") {
      const isServed = (row: AttachmentRow) => row.handler === 1 && isAttached(row, attachment.hasLocks, nowMs);
      const hasLoop = isRunning || state.isAttended || attachment.handler || state.attachments.some(isServed);
      if (!hasLoop) abandoned = abandonAll(draft, "retired", nowMs);
    } else if (command !== "recycle") {
      abandoned = abandonAll(draft, REASON[command], nowMs);
    }
    if (command === "shutdown" || command === "destroy") {
      // The executor loses its lease: its later writes are refused.
      draft.dropRun();
      if (isBusy && lease) draft.write({ table: "leases", put: fencedOff(lease) });
    }
    const reply = { state: next, abandoned, pending: draft.live.length, happened: draft.happened };
    return draft.done(reply, leaseChange(runtimeId));
  },
};

const REASON = { reset: "reset", shutdown: "stopped", destroy: "destroyed" } as const;
