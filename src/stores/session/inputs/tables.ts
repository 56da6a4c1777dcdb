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
  },
  columns: {
    runtimeId: text,
    inputId: text,
    /** What every reader gets, as it is. */
    record: object<StoredInputState>,
    /** The order of admission. Absent in rows that a caller handed over: these come last, by id. */
    rank: maybe(whole),
    /** The rank again, only while it has not ended. */
    liveRank: maybe(whole),
    /** The rank again, only while it waits in the steer lane. */
    steerRank: maybe(whole),
    /** The rank again, only while it waits and begins a run by itself. */
    starterRank: maybe(whole),
    /** The rank again, only while a recovery may change it: it is under way, or it goes with its host. */
    unsettledRank: maybe(whole),
    /** Its lane, kind and supersession key, only while it waits and has one. */
    replaceKey: maybe(text),
    /** The runtime's `inputRevision` of the write that changed it last. */
    revision: maybe(whole),
    /** It begins a run by itself, however busy it was when it came. Absent in rows that a caller handed over. */
    starts: maybe(bit),
    /** Messages of the session when it came. */
    since: maybe(whole),
    /** Recoveries in a row without a checkpoint. */
    crashes: maybe(whole),
    /** Stages that ended in order before the turn did: they are no failures. */
    interruptions: maybe(whole),
    /** What its steps are stored under, and how many inputs were staged with it: a retry runs exactly these. */
    workId: maybe(text),
    workSize: maybe(whole),
    cancelRequested: maybe(flag),
    /** Of the call that it came with. */
    ticket: maybe(text),
    /** Of an ephemeral one: it lives as long as that host has the session open. */
    hostId: maybe(text),
  },
});
export type InputRow = RowOf<typeof inputs>;

/** Which input an idempotency key stands for. */
export const inputKeys = table("inputKeys", {
  key: ["runtimeId", "idempotencyKey"],
  indexes: { ended: ["runtimeId", "endedAtMs"], endedByRank: ["runtimeId", "endedRank"] },
  columns: {
    runtimeId: text,
    idempotencyKey: text,
    inputId: text,
    /** Both only when that input has ended. */
    endedAtMs: maybe(time),
    endedRank: maybe(whole),
  },
});
export type InputKeyRow = RowOf<typeof inputKeys>;

/** Bytes that an input referred to; once per session and content. */
export const blobs = table("blobs", {
  key: ["runtimeId", "hash"],
  columns: {
    runtimeId: text,
    /** SHA-256 hex. */
    hash: text,
    bytes,
  },
});
export type BlobRow = RowOf<typeof blobs>;

/** An input row that no run can go on with, set aside. */
export const quarantine = table("quarantine", {
  key: ["runtimeId", "inputId"],
  columns: { runtimeId: text, inputId: text, reason: text, atMs: time, row: opaque },
});
export type QuarantineRow = RowOf<typeof quarantine>;
