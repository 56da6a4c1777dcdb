import type { JsonValue } from "../../domain/json.js";
import type { PersistedOpsSnapshot } from "../../domain/session/ops.js";
import type { Message, RunBoundaryReceipt, RuntimeState } from "../../domain/session/session.js";
import { bytes, flag, json, maybe, object, type RowOf, table, text, time, whole } from "../table.js";

/** The state of a session's runtime, and its counters. Every command of a session reads this row. */
export const runtimes = table("runtimes", {
  key: ["runtimeId"],
  indexes: { due: ["due", "dueAtMs", "runtimeId"] },
  columns: {
    runtimeId: text,
    /** Absent before the first lifecycle commit, and after the session was deleted. */
    state: maybe(text<RuntimeState>),
    /** A deletion of the session raises it, so that a tab that still has the old session open writes nothing more. */
    incarnation: whole,
    sessionId: maybe(text),
    /** Only while a run is under way. */
    run: maybe(object<ActiveRun>),
    /** The rank of the next input. Priority inputs are numbered downwards from `firstRank`. */
    nextRank: whole,
    firstRank: whole,
    /** How many idempotency keys of ended inputs are stored. Over a limit the oldest are dropped. */
    endedKeys: whole,
    /** Counts the writes that changed inputs. Each changed input stores the number of its last write. Absent before the first. */
    inputRevision: maybe(whole),
    /** How many inputs have not ended. Absent in rows of schemas before 6 until their session is opened. */
    liveInputs: maybe(whole),
    /** How many of these are under way or begin a run by themselves. */
    starters: maybe(whole),
    /** Both only while a run is under way, an input waits that begins one, or that is unknown: the time since when. */
    due: maybe(text<"waiting" | "running" | "uncounted">),
    dueAtMs: maybe(time),
    /** How many message rows there are. */
    messageCount: whole,
    /** SHA-256 as hex, chained over the message rows; "" before the first. */
    digest: text,
    /** The members, other than the messages, of a snapshot that a caller stored. */
    head: maybe(object<{ readonly id: string; readonly [member: string]: JsonValue }>),
    updatedAtMs: time,
  },
});
export type RuntimeRow = RowOf<typeof runtimes>;

export interface ActiveRun {
  readonly runId: string;
  /** The state that the runtime returns to after the run. */
  readonly before: RuntimeState;
  readonly inputIds: readonly string[];
  /** The key of the run's steps. A retry with the same inputs has the same one. */
  readonly workId: string;
}

/** The list of sessions. A snapshot and its session's row are written in one transaction. */
export const sessions = table("sessions", {
  key: ["sessionId"],
  columns: { sessionId: text, runtimeId: text, messageCount: whole, updatedAtMs: time },
});
export type SessionRow = RowOf<typeof sessions>;

/** The bytes of a snapshot that a caller stored. The session's next turn turns them into message rows. */
export const snapshots = table("snapshots", {
  key: ["runtimeId"],
  columns: { runtimeId: text, bytes },
});
export type SnapshotRow = RowOf<typeof snapshots>;

export const messages = table("messages", {
  key: ["runtimeId", "position"],
  columns: {
    runtimeId: text,
    /** Counts from 0, without gaps. */
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

/** The result of one step of a turn. Removed when the turn's inputs have ended. */
export const turnSteps = table("turnSteps", {
  key: ["runtimeId", "workId", "stepKey"],
  columns: { runtimeId: text, workId: text, stepKey: text, result: json<JsonValue> },
});
export type TurnStepRow = RowOf<typeof turnSteps>;

/** A key under which a turn appended a message that is stored. Removed when the turn's inputs have ended. */
export const turnKeys = table("turnKeys", {
  key: ["runtimeId", "workId", "appendKey"],
  columns: { runtimeId: text, workId: text, appendKey: text },
});

/** An attachment: a tab has a session open. It is renewed with the leases of its host, and removed with that host. */
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
    /** Only while the tab has a turn handler for the session. */
    handler: maybe(flag),
  },
});
export type AttachmentRow = RowOf<typeof attachments>;

export const ops = table("ops", {
  key: ["runtimeId"],
  columns: { runtimeId: text, snapshot: object<PersistedOpsSnapshot> },
});
