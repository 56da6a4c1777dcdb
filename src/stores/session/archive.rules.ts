import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import { admitJson, type JsonLimits } from "../../domain/admit.js";
import { checkId, checkObject, checkOneOf, checkText, checkWhole } from "../../domain/check.js";
import { HoldfastError, invalid, isHoldfastError } from "../../domain/errors.js";
import { isWellFormed, type JsonValue } from "../../domain/json.js";
import { madeLength } from "../../domain/lease.js";
import type { StoredInputState } from "../../domain/session/input.js";
import { checkInputState } from "../../domain/session/input-record.js";
import { checkMessage } from "../../domain/session/message.js";
import { checkOpsSnapshot, type PersistedOpsSnapshot } from "../../domain/session/ops.js";
import { checkReceipt } from "../../domain/session/receipt.js";
import { checkSessionId, type Message, type RunBoundaryReceipt, type RuntimeState } from "../../domain/session/session.js";
import { admitSnapshot } from "../../domain/session/snapshot.js";
import type { Limits } from "../../domain/time.js";
import type { InputRow } from "./inputs/tables.js";
import { assembleSnapshot, type Head } from "./transcript.rules.js";

/** The content of an exported session: all that another database needs to continue it. Leases, attachments and the current run are left out. */
export interface SessionArchive {
  readonly sessionId: string;
  readonly state: ArchivedState;
  /** The members of its snapshot other than the messages, if it has any. */
  readonly head?: Head;
  readonly messages: readonly Message[];
  /** The bytes of a snapshot that a caller stored. If present, `messages` is empty. */
  readonly snapshot?: Uint8Array;
  readonly inputs: readonly ArchivedInput[];
  readonly receipts: readonly RunBoundaryReceipt[];
  readonly steps: readonly ArchivedStep[];
  readonly appendKeys: readonly ArchivedAppendKey[];
  readonly ops?: PersistedOpsSnapshot;
  readonly blobs: readonly ArchivedBlob[];
  readonly quarantined: readonly ArchivedQuarantine[];
}

/** A run is not exported, so no exported state is "running". */
const STATES = ["initializing", "idle", "retired", "stopped", "destroyed"] as const satisfies readonly RuntimeState[];
export type ArchivedState = (typeof STATES)[number];

/** The record, and the columns beside it that mean something in another database. */
export interface ArchivedInput
  extends Pick<InputRow, "rank" | "starts" | "crashes" | "interruptions" | "workId" | "workSize" | "cancelRequested"> {
  readonly record: StoredInputState;
  /** Its idempotency key still stands for it: the key was not dropped. */
  readonly holdsKey?: 1;
}

interface ArchivedStep {
  readonly workId: string;
  readonly stepKey: string;
  readonly result: JsonValue;
}

/** A key under which an attempt that may be repeated stored a message. */
interface ArchivedAppendKey {
  readonly workId: string;
  readonly appendKey: string;
}

interface ArchivedBlob {
  readonly hash: string;
  readonly bytes: Uint8Array;
}

interface ArchivedQuarantine {
  readonly inputId: string;
  readonly reason: string;
  readonly atMs: number;
  /** null if it was no JSON. */
  readonly row: JsonValue;
}

/** Version 2 has the keys of appended messages. A session without such keys is exported as version 1, which every holdfast takes. */
const VERSION = 2;
/** The largest part of a snapshot on one line, in characters, and of a blob, in bytes. A multiple of 3 bytes: only the last part is padded. */
const PART_CHARACTERS = 262_144;
const PART_BYTES = 196_608;
/** Levels of nesting that a line adds to what an app gave: a message's line, a quarantined row. */
const LEVELS_ABOVE = 5;
/** Bytes that a session may add to an input that is as large as its limit. */
const MORE_BYTES = 4_096;
/** Snapshots and operations have no limit here: they were checked when they were made, and may have grown since. */
const NO_BOUND = { snapshotBytes: Number.MAX_SAFE_INTEGER };
/** The highest rank and count, and the lowest rank if negated. Both can count on from it. */
const MOST_COUNT = 2 ** 52;
const MOST_PARTS = 1_048_576;

/** The lines of an exported session, without line ends. Equal archives give equal lines. */
export function* archiveLines(archive: SessionArchive, exportedAtMs: number): Generator<string> {
  const { sessionId, state, head, messages, snapshot, inputs, receipts, steps, appendKeys, ops, blobs, quarantined } = archive;
  let lines = 0;
  const line = (value: object): string => {
    lines++;
    return JSON.stringify(value);
  };
  yield line({
    holdfast: "session",
    version: appendKeys.length > 0 ? VERSION : 1,
    sessionId,
    state,
    exportedAtMs,
    head,
    counts: countsOf(archive),
  });
  for (const message of messages) yield line({ type: "message", message });
  if (snapshot) {
    const parts = textParts(new TextDecoder("utf-8", { ignoreBOM: true }).decode(snapshot));
    for (const [part, text] of parts.entries()) yield line({ type: "snapshot", part, of: parts.length, text });
  }
  for (const input of inputs) yield line({ type: "input", ...input });
  for (const receipt of receipts) yield line({ type: "receipt", receipt });
  for (const step of steps) yield line({ type: "step", ...step });
  for (const key of appendKeys) yield line({ type: "appendKey", ...key });
  if (ops) yield line({ type: "ops", snapshot: ops });
  for (const { hash, bytes } of blobs) {
    const of = Math.max(1, Math.ceil(bytes.length / PART_BYTES));
    for (let part = 0; part < of; part++) {
      const base64 = base64Of(bytes.subarray(part * PART_BYTES, (part + 1) * PART_BYTES));
      yield line({ type: "blob", hash, part, of, base64 });
    }
  }
  for (const { inputId, reason, atMs, row } of quarantined) yield line({ type: "quarantined", inputId, reason, atMs, row });
  yield line({ type: "end", lines: lines + 1 });
}

type Counts = Record<"messages" | "inputs" | "receipts" | "steps" | "blobs" | "quarantined", number>;

function countsOf({ messages, inputs, receipts, steps, blobs, quarantined }: SessionArchive): Counts {
  return {
    messages: messages.length,
    inputs: inputs.length,
    receipts: receipts.length,
    steps: steps.length,
    blobs: blobs.length,
    quarantined: quarantined.length,
  };
}

/** Splits a text into parts, but never between the two code units of one character. */
function textParts(text: string): string[] {
  const parts: string[] = [];
  for (let from = 0; from < text.length; ) {
    let to = Math.min(from + PART_CHARACTERS, text.length);
    if (!isWellFormed(text.slice(from, to))) to--;
    parts.push(text.slice(from, to));
    from = to;
  }
  return parts;
}

const SLICE = 8_192;

function base64Of(bytes: Uint8Array): string {
  let binary = "";
  for (let at = 0; at < bytes.length; at += SLICE) binary += String.fromCharCode(...bytes.subarray(at, at + SLICE));
  return btoa(binary);
}

function decodeBase64(field: string, base64: unknown): Uint8Array {
  const text = checkText(field, base64, PART_BYTES * 2);
  try {
    return Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
  } catch {
    throw invalid(`${field} must be base64 text`);
  }
}

/**
 * The limits for one line of an import. They take at least all that fits into a session under the given limits: the defaults of an input,
 * ids that holdfast makes, and messages that came from a snapshot may be larger than what an app may pass.
 */
function archiveLimits(limits: Limits): Limits {
  return {
    ...limits,
    idLength: madeLength(limits.idLength),
    payloadBytes: Math.max(limits.payloadBytes, limits.snapshotBytes) + MORE_BYTES,
    depth: limits.depth + LEVELS_ABOVE,
  };
}

/**
 * Changes an archive so that an import takes it. A snapshot that a caller stored may hold any JSON. If a turn has since turned it into a
 * head and messages that an import would refuse, they are exported as a snapshot again. A quarantined row may be no JSON: then it is null.
 */
export function portable(archive: SessionArchive, limits: Limits): SessionArchive {
  const { maxBytes, maxDepth } = boundsOf(archiveLimits(limits));
  const isTaken = (check: () => unknown): boolean => {
    try {
      check();
      return true;
    } catch {
      return false;
    }
  };
  const { sessionId, head, messages, ...rest } = archive;
  const isOwn =
    (!head || isTaken(() => checkHead(head, archiveLimits(limits)))) &&
    messages.every((message) => isTaken(() => checkMessage("message", message, { maxBytes, maxDepth })));
  const quarantined = archive.quarantined.map((one) =>
    isTaken(() => admitJson(one.row, "row", { maxBytes, maxDepth })) ? one : { ...one, row: null },
  );
  if (isOwn) return { ...archive, quarantined };
  return { ...rest, sessionId, messages: [], snapshot: assembleSnapshot(head ?? { id: sessionId }, messages), quarantined };
}

function boundsOf({ payloadBytes, depth }: Limits): JsonLimits {
  return { maxBytes: payloadBytes, maxDepth: depth };
}

/** Reads one line after another, and checks each. Throws `invalid`, which names line and field, or `version` for a file of a newer holdfast. */
interface ArchiveReader {
  line(text: unknown): void;
  /** The archive that the lines were. Throws `invalid` if the last line was not the end. */
  done(): SessionArchive;
}

/** A parsed line: all that is known is that it is an object. */
type Line = Readonly<Record<string, unknown>>;

interface UnfinishedParts<T> {
  readonly name: string;
  readonly of: number;
  readonly parts: T[];
}

interface Header {
  readonly sessionId: string;
  readonly state: ArchivedState;
  readonly head?: Head;
  readonly counts: Counts;
}

export function readArchive(given: Limits): ArchiveReader {
  const limits = archiveLimits(given);
  const bounds = boundsOf(limits);
  const id = (field: string, value: unknown) => checkId(field, value, limits.idLength);
  const json = (field: string, value: unknown) => admitJson(value, field, bounds);

  const messages: Message[] = [];
  const inputs = new Map<string, ArchivedInput>();
  const keys = new Set<string>();
  const receipts = new Map<string, RunBoundaryReceipt>();
  const steps = new Map<string, ArchivedStep>();
  const appendKeys = new Map<string, ArchivedAppendKey>();
  const blobs = new Map<string, ArchivedBlob>();
  const quarantined = new Map<string, ArchivedQuarantine>();
  let header: Header | undefined;
  let snapshot: Uint8Array | undefined;
  let ops: PersistedOpsSnapshot | undefined;
  let unfinished: UnfinishedParts<string | Uint8Array> | undefined;
  let lines = 0;
  let isOver = false;

  /** Adds a part. Returns all parts once the last one was added. */
  function collect<T extends string | Uint8Array>(name: string, { part, of }: Line, take: () => T): T[] | undefined {
    const most = checkWhole("of", of, 1, MOST_PARTS);
    const at = checkWhole("part", part, 0, most - 1);
    if (!unfinished) unfinished = { name, of: most, parts: [] };
    if (unfinished.name !== name || unfinished.of !== most || unfinished.parts.length !== at) {
      throw invalid(`part must be ${unfinished.parts.length} of ${unfinished.of} of the ${unfinished.name}`);
    }
    unfinished.parts.push(take());
    if (unfinished.parts.length < most) return undefined;
    const parts = unfinished.parts as T[];
    unfinished = undefined;
    return parts;
  }

  const LINES: Readonly<Record<string, (line: Line) => void>> = {
    message({ message }) {
      messages.push(checkMessage("message", message, bounds));
    },
    snapshot(line) {
      if (snapshot) throw invalid("type must not be snapshot a second time");
      const parts = collect("snapshot", line, () => checkText("text", line.text, PART_CHARACTERS));
      if (!parts) return;
      snapshot = admitSnapshot("text", joined(parts.map((part) => new TextEncoder().encode(part))), NO_BOUND).bytes;
    },
    input(line) {
      const input = checkArchivedInput(line, limits);
      const { inputId, idempotencyKey } = input.record;
      once("record.inputId", inputs, inputId, input);
      if (!input.holdsKey) return;
      if (idempotencyKey === undefined) throw invalid("holdsKey must be absent of an input without record.idempotencyKey");
      if (keys.has(idempotencyKey)) throw invalid(`holdsKey must be absent: key "${idempotencyKey}" stands for an input before`);
      keys.add(idempotencyKey);
    },
    receipt(line) {
      const receipt = checkReceipt("receipt", line.receipt, limits);
      once("receipt.runId and receipt.sequence", receipts, JSON.stringify([receipt.runId, receipt.sequence]), receipt);
    },
    step({ workId, stepKey, result }) {
      const step = { workId: id("workId", workId), stepKey: id("stepKey", stepKey), result: json("result", result) };
      once("workId and stepKey", steps, JSON.stringify([step.workId, step.stepKey]), step);
    },
    appendKey({ workId, appendKey }) {
      const key = { workId: id("workId", workId), appendKey: id("appendKey", appendKey) };
      once("workId and appendKey", appendKeys, JSON.stringify([key.workId, key.appendKey]), key);
    },
    ops({ snapshot }) {
      if (ops) throw invalid("type must not be ops a second time");
      ops = checkOpsSnapshot("snapshot", snapshot, { ...limits, ...NO_BOUND });
    },
    blob(line) {
      const hash = id("hash", line.hash);
      const parts = collect(`blob "${hash}"`, line, () => decodeBase64("base64", line.base64));
      if (!parts) return;
      const bytes = joined(parts);
      if (bytesToHex(sha256(bytes)) !== hash) throw invalid("hash must be the SHA-256 of the bytes, as lower-case hex");
      once("hash", blobs, hash, { hash, bytes });
    },
    quarantined(line) {
      const inputId = id("inputId", line.inputId);
      once("inputId", quarantined, inputId, {
        inputId,
        reason: checkText("reason", line.reason, limits.payloadBytes),
        atMs: checkWhole("atMs", line.atMs, 0),
        row: json("row", line.row),
      });
    },
    end(line) {
      if (checkWhole("lines", line.lines, 0) !== lines) throw invalid(`lines must be ${lines}`);
      isOver = true;
    },
  };

  function take(text: unknown): void {
    if (typeof text !== "string") throw invalid("it must be a string");
    const line = parsed(text);
    if (!header) {
      header = checkHeader(line, limits, given.idLength);
      return;
    }
    const kind = checkOneOf("type", line.type, Object.keys(LINES));
    if (unfinished && kind !== "snapshot" && kind !== "blob") throw invalid(`type must go on with the ${unfinished.name}`);
    (LINES[kind] as (line: Line) => void)(line);
  }

  return {
    line(text) {
      if (typeof text === "string" && text.trim() === "" && isOver) return;
      lines++;
      if (isOver) throw invalid(`line ${lines} stands behind the end`, { line: lines });
      try {
        take(text);
      } catch (thrown) {
        if (isHoldfastError(thrown) && thrown.code === "version") throw thrown;
        const { message } = thrown as Error;
        throw new HoldfastError("invalid", `line ${lines}: ${message}`, { details: { line: lines }, cause: thrown });
      }
    },
    done() {
      if (!header || !isOver) throw invalid(`line ${lines + 1} is missing: the last one must be the end`, { line: lines + 1 });
      if (snapshot && (messages.length > 0 || header.head)) {
        throw invalid("line 1: a session has a snapshot, or head and messages, not both", { line: 1 });
      }
      const { counts, ...known } = header;
      const archive: SessionArchive = {
        ...known,
        messages,
        ...(snapshot && { snapshot }),
        inputs: [...inputs.values()],
        receipts: [...receipts.values()],
        steps: [...steps.values()],
        appendKeys: [...appendKeys.values()],
        ...(ops && { ops }),
        blobs: [...blobs.values()],
        quarantined: [...quarantined.values()],
      };
      for (const [name, found] of Object.entries(countsOf(archive))) {
        if (counts[name as keyof Counts] !== found) throw invalid(`line 1: counts.${name} must be ${found}`, { line: 1 });
      }
      return archive;
    },
  };
}

function once<T>(field: string, known: Map<string, T>, key: string, value: T): void {
  if (known.has(key)) throw invalid(`${field} must not be that of a line before`);
  known.set(key, value);
}

function parsed(text: string): Line {
  let line: unknown;
  try {
    line = JSON.parse(text);
  } catch {
    throw invalid("it must be JSON");
  }
  checkObject("the line", line);
  return line;
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

function checkHeader(m: Line, limits: Limits, idLength: number): Header {
  if (m.holdfast !== "session") throw invalid('holdfast must be "session": this is no exported session');
  const version = checkWhole("version", m.version, 1);
  if (version > VERSION) {
    throw new HoldfastError("version", `the session was exported by a newer holdfast (version ${version}, known ${VERSION})`);
  }
  checkWhole("exportedAtMs", m.exportedAtMs, 0);
  const names = ["messages", "inputs", "receipts", "steps", "blobs", "quarantined"] as const;
  const { counts } = m;
  checkObject("counts", counts);
  return {
    sessionId: checkSessionId("sessionId", m.sessionId, idLength),
    state: checkOneOf("state", m.state, STATES),
    ...(m.head !== undefined && { head: checkHead(m.head, limits) }),
    counts: Object.fromEntries(names.map((name) => [name, checkWhole(`counts.${name}`, counts[name], 0)])) as Counts,
  };
}

function checkHead(value: unknown, limits: Limits): Head {
  const head: unknown = admitJson(value, "head", boundsOf(limits));
  checkObject("head", head);
  if (typeof head.id !== "string" || head.id === "") throw invalid("head.id must be a non-empty string");
  if (head.messages !== undefined) throw invalid("head.messages must be absent: each is a line");
  return head as unknown as Head;
}

function checkArchivedInput(m: Line, limits: Limits): ArchivedInput {
  const record = checkInputState("record", m.record, limits);
  if (record.durability === "ephemeral")
    throw invalid("record.durability must not be ephemeral: such an input ends with its tab");
  const mark = (field: "cancelRequested" | "holdsKey") =>
    m[field] !== undefined && { [field]: checkWhole(field, m[field], 1, 1) as 1 };
  const count = (field: "crashes" | "interruptions") =>
    m[field] !== undefined && { [field]: checkWhole(field, m[field], 0, MOST_COUNT) };
  return {
    record,
    ...(m.rank !== undefined && { rank: checkWhole("rank", m.rank, -MOST_COUNT, MOST_COUNT) }),
    ...(m.starts !== undefined && { starts: checkWhole("starts", m.starts, 0, 1) as 0 | 1 }),
    ...count("crashes"),
    ...count("interruptions"),
    ...(m.workId !== undefined && { workId: checkId("workId", m.workId, limits.idLength) }),
    ...(m.workSize !== undefined && { workSize: checkWhole("workSize", m.workSize, 1) }),
    ...mark("cancelRequested"),
    ...mark("holdsKey"),
  };
}
