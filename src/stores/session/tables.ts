import type { JsonValue } from "../../domain/json.js";
import type { PersistedOpsSnapshot } from "../../domain/session/ops.js";
import type { Message, RunBoundaryReceipt, RuntimeState } from "../../domain/session/session.js";
import { bytes, flag, json, maybe, object, type RowOf, table, text, time, whole } from "../table.js";

/** What a session's runtime stands at; also the number that the next input gets. Every command of a session reads it. */
export const runtimes = table("runtimes", {
  key: ["runtimeId"],
  columns: {
    runtimeId: text,
    /** Absent before the first lifecycle commit, and in what is left of a deleted session. */
    state: maybe(text<RuntimeState>),
    /** Of a session's runtime; a deletion raises it, so that a tab that still has the old session open writes nothing more. */
    incarnation: whole,
    sessionId: maybe(text),
    /** Only while one is under way. */
    run: maybe(object<ActiveRun>),
    /** Of the next input; priority ones are numbered downwards from `firstRank`. */
    nextRank: whole,
    firstRank: whole,
    /** Idempotency keys of ended inputs: over a number the oldest are dropped. */
    endedKeys: whole,
    /** Writes so far that changed inputs: each of these inputs has its number. Absent before the first. */
    inputRevision: maybe(whole),
    /** Of the message rows. */
    messageCount: whole,
    /** SHA-256 hex, chained over the message rows; "" before the first. */
    digest: text,
    /** Members of a snapshot other than its messages, where one was handed over whole. */
    head: maybe(object<{ readonly id: string; readonly [member: string]: JsonValue }>),
    updatedAtMs: time,
  },
});
export type RuntimeRow = RowOf<typeof runtimes>;

export interface ActiveRun {
  readonly runId: string;
  /** The state to go back to. */
  readonly before: RuntimeState;
  readonly inputIds: readonly string[];
  /** What outlives the run when it is tried again: its steps are stored under it. */
  readonly workId: string;
}

/** The list of sessions. A snapshot and its row here are written in one transaction. */
export const sessions = table("sessions", {
  key: ["sessionId"],
  columns: { sessionId: text, runtimeId: text, messageCount: whole, updatedAtMs: time },
});
export type SessionRow = RowOf<typeof sessions>;

/** Bytes that a caller handed over whole; a session's runtime turns them into message rows when it goes on. */
export const snapshots = table("snapshots", {
  key: ["runtimeId"],
  columns: { runtimeId: text, bytes },
});
export type SnapshotRow = RowOf<typeof snapshots>;

export const messages = table("messages", {
  key: ["runtimeId", "position"],
  columns: {
    runtimeId: text,
    /** From 0, without a gap. */
    position: whole,
    message: json<Message>,
  },
});
export type MessageRow = RowOf<typeof messages>;

export const receipts = table("receipts", {
  key: ["runtimeId", "runId", "sequence"],
  columns: { runtimeId: text, runId: text, sequence: whole, receipt: object<RunBoundaryReceipt> },
});
export type ReceiptRow = RowOf<typeof receipts>;

/** A turn's step result; gone when its inputs have ended. */
export const turnSteps = table("turnSteps", {
  key: ["runtimeId", "workId", "stepKey"],
  columns: { runtimeId: text, workId: text, stepKey: text, result: json<JsonValue> },
});
export type TurnStepRow = RowOf<typeof turnSteps>;

/** A tab that has a session open; renewed with its leases, gone with its host. */
export const attachments = table("attachments", {
  key: ["runtimeId", "bootId"],
  indexes: { byBoot: ["bootId", "runtimeId"] },
  columns: {
    runtimeId: text,
    bootId: text,
    hostId: text,
    expiresAtMs: time,
    /** Only while its host holds a Web Lock. */
    locked: maybe(flag),
    /** Only while it has a turn handler. */
    handler: maybe(flag),
  },
});
export type AttachmentRow = RowOf<typeof attachments>;

export const ops = table("ops", {
  key: ["runtimeId"],
  columns: { runtimeId: text, snapshot: object<PersistedOpsSnapshot> },
});
export type OpsRow = RowOf<typeof ops>;
