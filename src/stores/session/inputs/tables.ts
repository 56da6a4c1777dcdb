import type { StoredInputState } from "../../../domain/session/input.js";
import { bit, bytes, flag, maybe, object, opaque, type RowOf, table, text, time, whole } from "../../table.js";

export const inputs = table("inputs", {
  key: ["runtimeId", "inputId"],
  indexes: {
    live: ["runtimeId", "liveRank", "inputId"],
    steers: ["runtimeId", "steerRank", "inputId"],
    starters: ["runtimeId", "starterRank", "inputId"],
    unsettled: ["runtimeId", "unsettledRank", "inputId"],
    replaceable: ["runtimeId", "replaceKey", "liveRank", "inputId"],
    changed: ["runtimeId", "revision"],
    givenUp: ["runtimeId", "givenUpSince", "rank", "inputId"],
  },
  columns: {
    runtimeId: text,
    inputId: text,
    /** The record, as every reader gets it. */
    record: object<StoredInputState>,
    /** The order of admission. Absent in rows that a caller stored: these come last, by id. */
    rank: maybe(whole),
    /** The rank again, only while the input has not ended. */
    liveRank: maybe(whole),
    /** The rank again, only while the input waits in the steer lane. */
    steerRank: maybe(whole),
    /** The rank again, only while the input waits and begins a run by itself. */
    starterRank: maybe(whole),
    /** The rank again, only while a recovery may change the input: it is under way, or it is ephemeral. */
    unsettledRank: maybe(whole),
    /** Its lane, kind and supersession key, only while it waits and has such a key. */
    replaceKey: maybe(text),
    /** The runtime's `inputRevision` after the write that last changed the input. */
    revision: maybe(whole),
    /** Whether it begins a run by itself, even if the runtime was busy when it came. Absent in rows that a caller stored. */
    starts: maybe(bit),
    /** How many messages the session had when the input came. */
    since: maybe(whole),
    /** The same number, only while the input was given up and its idempotency key, if it has one, stands for no other input. */
    givenUpSince: maybe(whole),
    /** Consecutive recoveries without a checkpoint. */
    crashes: maybe(whole),
    /** Attempts that were interrupted in order. They are no failures. */
    interruptions: maybe(whole),
    /** The key of its steps, and how many inputs were staged together: a retry runs exactly these. */
    workId: maybe(text),
    workSize: maybe(whole),
    cancelRequested: maybe(flag),
    /** The ticket of the call that stored it. */
    ticket: maybe(text),
    /** Only for an ephemeral input: it is dropped when that host no longer has the session open. */
    hostId: maybe(text),
  },
});
export type InputRow = RowOf<typeof inputs>;

/** The input that an idempotency key stands for. */
export const inputKeys = table("inputKeys", {
  key: ["runtimeId", "idempotencyKey"],
  indexes: { ended: ["runtimeId", "endedAtMs"], endedByRank: ["runtimeId", "endedRank"] },
  columns: {
    runtimeId: text,
    idempotencyKey: text,
    inputId: text,
    /** Both only after that input has ended. */
    endedAtMs: maybe(time),
    endedRank: maybe(whole),
  },
});
export type InputKeyRow = RowOf<typeof inputKeys>;

/** Bytes that inputs refer to; stored once per session and content. */
export const blobs = table("blobs", {
  key: ["runtimeId", "hash"],
  columns: {
    runtimeId: text,
    /** SHA-256 as hex. */
    hash: text,
    bytes,
  },
});

/** Input rows that no run can use. */
export const quarantine = table("quarantine", {
  key: ["runtimeId", "inputId"],
  columns: { runtimeId: text, inputId: text, reason: text, atMs: time, row: opaque },
});
