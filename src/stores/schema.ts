import { type ErrorCode, HoldfastError } from "../domain/errors.js";
import type { JsonValue } from "../domain/json.js";
import type { ProcessEventSemantics } from "../domain/process/event.js";
import type { ProcessEventType } from "../domain/process/event-type.js";
import {
  type ProcessAwaitOutput,
  type ProcessExternalRef,
  type ProcessHandleDescriptor,
  type ProcessInput,
  type ProcessProgress,
  type ProcessProvenance,
  type ProcessState,
  runnableBy,
} from "../domain/process/process.js";
import type { ProcessScope } from "../domain/scope.js";
import type { StoredInputState } from "../domain/session/input.js";
import type { PersistedOpsSnapshot } from "../domain/session/ops.js";
import type { Message, RunBoundaryReceipt, RuntimeState } from "../domain/session/session.js";
import type { Key, Query, Reader, Row, StorageSchema, TableSchema } from "../ports/storage.js";

/**
 * Tables, keys and indexes on disk; docs/storage-port.md explains them for other programs. A row that every append rewrites
 * stays small and in few indexes: what never changes of a process (its input) is a row of its own.
 * Columns that exist only while something is so (`pendingWake`, `bootId`) keep an index as small as what it finds.
 */
export const TABLES = {
  processes: {
    key: ["processId"],
    indexes: {
      byState: ["state", "processId"],
      runnable: ["runnable", "processId"],
      ended: ["endedAtMs", "processId"],
    },
  },
  registrations: { key: ["processId"], indexes: { bySession: ["sessionId", "processId"] } },
  events: {
    key: ["processId", "sequence"],
    indexes: { pendingWakes: ["processId", "pendingWake"], byReplayKey: ["processId", "replayKey"] },
  },
  grants: {
    key: ["scopeId", "processId"],
    indexes: { byProcess: ["processId", "sessionId", "scopeId"], bySession: ["sessionId", "scopeId", "processId"] },
  },
  leases: { key: ["resource"], indexes: { byBoot: ["bootId", "resource"] } },
  hosts: { key: ["bootId"] },
  farewells: { key: ["bootId"] },
  agents: {
    key: ["agentId"],
    indexes: { byBoot: ["bootId", "agentId"], lone: ["loneSeenAtMs", "agentId"], ended: ["endedAtMs", "agentId"] },
  },
  runtimes: { key: ["runtimeId"] },
  sessions: { key: ["sessionId"] },
  snapshots: { key: ["runtimeId"] },
  messages: { key: ["runtimeId", "position"] },
  inputs: {
    key: ["runtimeId", "inputId"],
    indexes: {
      live: ["runtimeId", "liveRank", "inputId"],
      steers: ["runtimeId", "steerRank", "inputId"],
      starters: ["runtimeId", "starterRank", "inputId"],
      unsettled: ["runtimeId", "unsettledRank", "inputId"],
      replaceable: ["runtimeId", "replaceKey", "liveRank", "inputId"],
      changed: ["runtimeId", "revision"],
    },
  },
  inputKeys: {
    key: ["runtimeId", "idempotencyKey"],
    indexes: { ended: ["runtimeId", "endedAtMs"], endedByRank: ["runtimeId", "endedRank"] },
  },
  receipts: { key: ["runtimeId", "runId", "sequence"] },
  turnSteps: { key: ["runtimeId", "workId", "stepKey"] },
  blobs: { key: ["runtimeId", "hash"] },
  attachments: { key: ["runtimeId", "bootId"], indexes: { byBoot: ["bootId", "runtimeId"] } },
  quarantine: { key: ["runtimeId", "inputId"] },
  ops: { key: ["runtimeId"] },
  sealingKeys: { key: ["name"] },
  sealed: { key: ["name"] },
  floors: { key: ["name"] },
} as const satisfies Record<string, TableSchema>;

export type TableName = keyof typeof TABLES;

/** The columns of an index, in their order; none where the table has no such index. */
export function columnsOf(table: TableName, index: string): readonly string[] {
  const { indexes }: TableSchema = TABLES[table];
  return indexes?.[index] ?? [];
}

export const SCHEMA: StorageSchema = {
  version: 5,
  tables: TABLES,
  lifts: [{ below: 5, table: "processes", index: "byState", prefix: ["running"], lift: withRunnable }],
};

/** A host looks for what it can run in an index of this column, and older rows have none. */
function withRunnable(row: Row): Row {
  const { inputType, handler } = row as ProcessRow;
  const runnable = runnableBy(inputType, handler);
  return runnable === undefined ? row : { ...row, runnable };
}

/** The shape version that this code writes into `v`. A change of shape raises SCHEMA.version too. */
export const ROW_VERSION = 1;

export interface ProcessRow extends Row {
  readonly processId: string;
  readonly registrationHash: string;
  readonly provenance: ProcessProvenance;
  /** The handler that runs it, where one does. */
  readonly handler?: string;
  /** "external" and "session_turn" are not for every host. */
  readonly inputType: ProcessInput["type"];
  /** What a host must have to run it, only while it runs and a host may: how a host finds what it could claim, and reads nothing else. */
  readonly runnable?: string;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
  readonly externalRef?: ProcessExternalRef;
  readonly state: ProcessState;
  /** Both only when it has ended. */
  readonly awaitOutput?: ProcessAwaitOutput;
  readonly endedAtMs?: number;
  readonly progress?: ProcessProgress;
  /** Of the newest event; 0 before the first. */
  readonly lastSequence: number;
  /** The reason of the first cancel request. */
  readonly cancelRequested?: string;
  /** The fencing token under which a lease holder last stored an event. */
  readonly progressFence?: number;
}

/** What may be large and never changes of a process: an append reads it only for a declared event type, and never writes it. */
export interface RegistrationRow extends Row {
  readonly processId: string;
  readonly sessionId: string;
  readonly input: ProcessInput;
  /** Only the declared ones: a later version may add to the core types. */
  readonly eventTypes: readonly ProcessEventType[];
}

export interface EventRow extends Row {
  readonly processId: string;
  readonly sequence: number;
  readonly eventType: string;
  readonly payload: JsonValue;
  /** At most one event of a process has it. In an older database an app's event may have holdfast's own key: holdfast's comes beside it. */
  readonly replayKey?: string;
  readonly semantics?: ProcessEventSemantics;
  readonly occurredAtMs: number;
  /** Of the lease that it was stored under. */
  readonly fencingToken?: number;
  /** Whom its wake went to. */
  readonly wake?: { readonly wakeId: string; readonly target: ProcessScope };
  /** The sequence again, only while its wake is not acknowledged. */
  readonly pendingWake?: number;
}

export interface GrantRow extends Row {
  readonly scopeId: string;
  readonly processId: string;
  readonly sessionId: string;
  readonly descriptor: ProcessHandleDescriptor;
}

/** Kept as long as its process or session: a floor takes the place of its fence then, which must never go back. */
export interface LeaseRow extends Row {
  /** A process id; other kinds of resource have a prefix of their own. */
  readonly resource: string;
  readonly fencingToken: number;
  /** Grants since there is this row. Absent in rows of schemas before 5, where the fence says it. */
  readonly attempts?: number;
  readonly claimedAtMs: number;
  readonly expiresAtMs: number;
  /** Only while it is held. */
  readonly ownerId?: string;
  readonly leaseToken?: string;
  /** Only while it is held by a host's runner: how a dead host's leases are found. */
  readonly hostId?: string;
  readonly bootId?: string;
  /** Only while its host holds a Web Lock: without one, a free lock says nothing of its life. */
  readonly locked?: 1;
  /** Claims in a row, before the last one, that ended out of order and left nothing stored. */
  readonly fruitless: number;
  /** Only after a release by an owner that ended in order. */
  readonly endedInOrder?: 1;
}

/** A page that ended in order and could not wait to hand its leases back. */
export interface FarewellRow extends Row {
  readonly bootId: string;
  readonly hostId: string;
  readonly endedAtMs: number;
}

/** A tab or process, since its last boot. It beats for all its agents in this one row. */
export interface HostRow extends Row {
  readonly bootId: string;
  readonly hostId: string;
  readonly lastSeenAtMs: number;
  /** Only while it holds a Web Lock. */
  readonly locked?: 1;
  /** How many of its agents somebody else registered or deregistered: it looks after them when this changes. */
  readonly moves?: number;
  /** How often it was given up and came back: so many incarnations more have its agents. */
  readonly revivals?: number;
  /** Both only while its agents are offline by it: it went in order, its lock fell free, or it was silent for too long. */
  readonly end?: "left" | "crashed" | "silent";
  readonly endedAtMs?: number;
}

/** What its host's row says of an agent is not written here again: neither beats nor the end of a host touch its agents' rows. */
export interface AgentRow extends Row {
  readonly agentId: string;
  /** Registrations so far. */
  readonly incarnation: number;
  /** Of the first one. */
  readonly registeredAtMs: number;
  readonly lastSeenAtMs: number;
  /** Of the call that registered it last. */
  readonly ticket: string;
  /** Only where a host beats for it; the boot only while it is registered. */
  readonly hostId?: string;
  readonly bootId?: string;
  /** The revivals of its host when it was registered. */
  readonly revivals?: number;
  /** `lastSeenAtMs` again, only while it is registered and no host beats for it. */
  readonly loneSeenAtMs?: number;
  /** Both only when it is over by itself, not by its host. */
  readonly ended?: "deregistered" | "expired";
  readonly endedAtMs?: number;
}

/** What a session's runtime stands at; also the number that the next input gets. Every command of a session reads it. */
export interface RuntimeRow extends Row {
  readonly runtimeId: string;
  /** Absent before the first lifecycle commit, and in what is left of a deleted session. */
  readonly state?: RuntimeState;
  /** Of a session's runtime; a deletion raises it, so that whoever still holds the old session writes nothing more. */
  readonly incarnation: number;
  readonly sessionId?: string;
  /** Only while one is under way. */
  readonly run?: ActiveRun;
  /** Of the next input; priority ones are numbered downwards from `firstRank`. */
  readonly nextRank: number;
  readonly firstRank: number;
  /** Idempotency keys of ended inputs: over a number the oldest are dropped. */
  readonly endedKeys: number;
  /** Writes so far that changed inputs: each of these inputs has its number. Absent before the first. */
  readonly inputRevision?: number;
  /** Of the message rows. */
  readonly messageCount: number;
  /** SHA-256 hex, chained over the message rows; "" before the first. */
  readonly digest: string;
  /** Members of a snapshot other than its messages, where one was handed over whole. */
  readonly head?: { readonly id: string; readonly [member: string]: JsonValue };
  readonly updatedAtMs: number;
}

export interface ActiveRun {
  readonly runId: string;
  /** The state to go back to. */
  readonly before: RuntimeState;
  readonly inputIds: readonly string[];
  /** What outlives the run when it is tried again: its steps are stored under it. */
  readonly workId: string;
}

/** The list of sessions. A snapshot and its row here are written in one transaction. */
export interface SessionRow extends Row {
  readonly sessionId: string;
  readonly runtimeId: string;
  readonly messageCount: number;
  readonly updatedAtMs: number;
}

/** Bytes that a caller handed over whole; a session's runtime turns them into message rows when it goes on. */
export interface SnapshotRow extends Row {
  readonly runtimeId: string;
  readonly bytes: Uint8Array;
}

export interface MessageRow extends Row {
  readonly runtimeId: string;
  /** From 0, without a gap. */
  readonly position: number;
  readonly message: Message;
}

export interface InputRow extends Row {
  readonly runtimeId: string;
  readonly inputId: string;
  /** What every reader gets, as it is. */
  readonly record: StoredInputState;
  /** The order of admission. Absent in rows that a caller handed over: these come last, by id. */
  readonly rank?: number;
  /** The rank again, only while it has not ended. */
  readonly liveRank?: number;
  /** The rank again, only while it waits in the steer lane. */
  readonly steerRank?: number;
  /** The rank again, only while it waits and begins a run by itself. */
  readonly starterRank?: number;
  /** The rank again, only while a recovery may change it: it is under way, or it goes with its host. */
  readonly unsettledRank?: number;
  /** Its lane, kind and supersession key, only while it waits and has one. */
  readonly replaceKey?: string;
  /** The runtime's `inputRevision` of the write that changed it last. */
  readonly revision?: number;
  /** It begins a run by itself, however busy it was when it came. Absent in rows that a caller handed over. */
  readonly starts?: 0 | 1;
  /** Messages of the session when it came. */
  readonly since?: number;
  /** Recoveries in a row without a checkpoint. */
  readonly crashes?: number;
  /** Stages that ended in order before the turn did: they are no failures. */
  readonly interruptions?: number;
  /** What its steps are stored under, and how many inputs were staged with it: a retry runs exactly these. */
  readonly workId?: string;
  readonly workSize?: number;
  readonly cancelRequested?: 1;
  /** Of the call that it came with. */
  readonly ticket?: string;
  /** Of an ephemeral one: it lives as long as that host has the session open. */
  readonly hostId?: string;
}

/** Which input an idempotency key stands for. */
export interface InputKeyRow extends Row {
  readonly runtimeId: string;
  readonly idempotencyKey: string;
  readonly inputId: string;
  /** Both only when that input has ended. */
  readonly endedAtMs?: number;
  readonly endedRank?: number;
}

export interface ReceiptRow extends Row {
  readonly runtimeId: string;
  readonly runId: string;
  readonly sequence: number;
  readonly receipt: RunBoundaryReceipt;
}

/** A turn's step result; gone when its inputs have ended. */
export interface TurnStepRow extends Row {
  readonly runtimeId: string;
  readonly workId: string;
  readonly stepKey: string;
  readonly result: JsonValue;
}

/** Bytes that an input referred to; once per session and content. */
export interface BlobRow extends Row {
  readonly runtimeId: string;
  /** SHA-256 hex. */
  readonly hash: string;
  readonly bytes: Uint8Array;
}

/** A tab that has a session open; renewed with its leases, gone with its host. */
export interface AttachmentRow extends Row {
  readonly runtimeId: string;
  readonly bootId: string;
  readonly hostId: string;
  readonly expiresAtMs: number;
  /** Only while its host holds a Web Lock. */
  readonly locked?: 1;
  /** Only while it has a turn handler. */
  readonly handler?: 1;
}

/** An input row that nobody can go on with, set aside. */
export interface QuarantineRow extends Row {
  readonly runtimeId: string;
  readonly inputId: string;
  readonly reason: string;
  readonly atMs: number;
  readonly row: unknown;
}

export interface OpsRow extends Row {
  readonly runtimeId: string;
  readonly snapshot: PersistedOpsSnapshot;
}

export interface SealingKeyRow extends Row {
  readonly name: string;
  /** Not extractable: the browser keeps it, nobody can read it. */
  readonly key: unknown;
}

/** Either sealed, or plain where the storage is memory and nothing reaches a disk. */
export interface SealedRow extends Row {
  readonly name: string;
  readonly revision: number;
  readonly iv?: Uint8Array;
  readonly sealed?: Uint8Array;
  readonly plain?: Uint8Array;
}

/** The highest number that a removed row of a kind had: a new row of that kind counts on from there. */
export interface FloorRow extends Row {
  readonly name: "leases" | "sealed";
  readonly floor: number;
}

interface Rows {
  processes: ProcessRow;
  registrations: RegistrationRow;
  events: EventRow;
  grants: GrantRow;
  leases: LeaseRow;
  hosts: HostRow;
  farewells: FarewellRow;
  agents: AgentRow;
  runtimes: RuntimeRow;
  sessions: SessionRow;
  snapshots: SnapshotRow;
  messages: MessageRow;
  inputs: InputRow;
  inputKeys: InputKeyRow;
  receipts: ReceiptRow;
  turnSteps: TurnStepRow;
  blobs: BlobRow;
  attachments: AttachmentRow;
  quarantine: QuarantineRow;
  ops: OpsRow;
  sealingKeys: SealingKeyRow;
  sealed: SealedRow;
  floors: FloorRow;
}

export type RowOf<T extends TableName> = Rows[T];

type ColumnType = "string" | "number" | "object" | "list" | "bytes" | "any";

/** What the code cannot go on without; `?` marks a column that may be missing. */
const COLUMNS: Readonly<Record<TableName, Readonly<Record<string, ColumnType | `${ColumnType}?`>>>> = {
  processes: {
    processId: "string",
    registrationHash: "string",
    provenance: "object",
    handler: "string?",
    inputType: "string",
    runnable: "string?",
    createdAtMs: "number",
    updatedAtMs: "number",
    externalRef: "object?",
    state: "string",
    awaitOutput: "object?",
    endedAtMs: "number?",
    progress: "object?",
    lastSequence: "number",
    cancelRequested: "string?",
    progressFence: "number?",
  },
  registrations: { processId: "string", sessionId: "string", input: "object", eventTypes: "list" },
  events: {
    processId: "string",
    sequence: "number",
    eventType: "string",
    payload: "any",
    replayKey: "string?",
    semantics: "object?",
    occurredAtMs: "number",
    wake: "object?",
    fencingToken: "number?",
  },
  grants: { scopeId: "string", processId: "string", sessionId: "string", descriptor: "object" },
  leases: {
    resource: "string",
    fencingToken: "number",
    attempts: "number?",
    claimedAtMs: "number",
    expiresAtMs: "number",
    ownerId: "string?",
    leaseToken: "string?",
    hostId: "string?",
    bootId: "string?",
    fruitless: "number",
  },
  hosts: {
    bootId: "string",
    hostId: "string",
    lastSeenAtMs: "number",
    moves: "number?",
    revivals: "number?",
    end: "string?",
    endedAtMs: "number?",
  },
  farewells: { bootId: "string", hostId: "string", endedAtMs: "number" },
  agents: {
    agentId: "string",
    incarnation: "number",
    registeredAtMs: "number",
    lastSeenAtMs: "number",
    ticket: "string",
    hostId: "string?",
    bootId: "string?",
    revivals: "number?",
    ended: "string?",
    endedAtMs: "number?",
  },
  runtimes: {
    runtimeId: "string",
    state: "string?",
    incarnation: "number",
    sessionId: "string?",
    run: "object?",
    nextRank: "number",
    firstRank: "number",
    endedKeys: "number",
    inputRevision: "number?",
    messageCount: "number",
    digest: "string",
    head: "object?",
    updatedAtMs: "number",
  },
  sessions: { sessionId: "string", runtimeId: "string", messageCount: "number", updatedAtMs: "number" },
  snapshots: { runtimeId: "string", bytes: "bytes" },
  messages: { runtimeId: "string", position: "number", message: "any" },
  inputs: {
    runtimeId: "string",
    inputId: "string",
    record: "object",
    rank: "number?",
    liveRank: "number?",
    steerRank: "number?",
    starterRank: "number?",
    unsettledRank: "number?",
    replaceKey: "string?",
    revision: "number?",
    since: "number?",
    crashes: "number?",
    interruptions: "number?",
    workId: "string?",
    workSize: "number?",
    ticket: "string?",
    hostId: "string?",
  },
  inputKeys: {
    runtimeId: "string",
    idempotencyKey: "string",
    inputId: "string",
    endedAtMs: "number?",
    endedRank: "number?",
  },
  receipts: { runtimeId: "string", runId: "string", sequence: "number", receipt: "object" },
  turnSteps: { runtimeId: "string", workId: "string", stepKey: "string", result: "any" },
  blobs: { runtimeId: "string", hash: "string", bytes: "bytes" },
  attachments: { runtimeId: "string", bootId: "string", hostId: "string", expiresAtMs: "number" },
  quarantine: { runtimeId: "string", inputId: "string", reason: "string", atMs: "number", row: "any" },
  ops: { runtimeId: "string", snapshot: "object" },
  sealingKeys: { name: "string", key: "any" },
  sealed: { name: "string", revision: "number", iv: "bytes?", sealed: "bytes?", plain: "bytes?" },
  floors: { name: "string", floor: "number" },
};

const FITS: Readonly<Record<ColumnType, (value: unknown) => boolean>> = {
  string: (value) => typeof value === "string",
  number: (value) => Number.isFinite(value),
  object: (value) => typeof value === "object" && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value),
  list: Array.isArray,
  bytes: ArrayBuffer.isView,
  any: (value) => value !== undefined,
};

interface ColumnCheck {
  readonly column: string;
  readonly mayMiss: boolean;
  fits(value: unknown): boolean;
}

/** Taken apart once: a row is looked at each time it is read. */
const CHECKS: Record<string, readonly ColumnCheck[]> = Object.fromEntries(
  Object.entries(COLUMNS).map(([table, columns]) => [
    table,
    Object.entries(columns).map(([column, wanted]) => ({
      column,
      mayMiss: wanted.endsWith("?"),
      fits: FITS[wanted.replace("?", "") as ColumnType],
    })),
  ]),
);

/** What is read of a column further in, whatever is asked of its row. */
const INSIDE: { readonly [T in TableName]?: (row: Rows[T]) => boolean } = {
  processes: ({ provenance }) => isScope(provenance.ownerScope),
  registrations: ({ eventTypes }) => eventTypes.every((type) => typeof type?.name === "string"),
  events: ({ wake }) => wake === undefined || (typeof wake.wakeId === "string" && isScope(wake.target)),
};

const isScope = (scope: Partial<ProcessScope> | null | undefined) => typeof scope?.sessionId === "string";

/** A stored row as this code knows it; one of a newer shape is `version`, one that is broken `read-failed`. */
export function readRow<T extends TableName>(table: T, row: Row): Rows[T] {
  const fault = (code: ErrorCode, message: string) =>
    new HoldfastError(code, message, { details: { table, key: keyText(table, row) } });
  if (typeof row.v !== "number") throw fault("read-failed", `a row of ${table} has no shape version`);
  if (row.v > ROW_VERSION)
    throw fault("version", `a row of ${table} was written by a newer holdfast (shape ${row.v}, known ${ROW_VERSION})`);
  for (const { column, mayMiss, fits } of CHECKS[table] as readonly ColumnCheck[]) {
    const value = row[column];
    if (!(value === undefined ? mayMiss : fits(value)))
      throw fault("read-failed", `a row of ${table} has a broken column ${column}`);
  }
  if (INSIDE[table]?.(row as Rows[T]) === false) throw fault("read-failed", `a row of ${table} is broken further in`);
  return row as Rows[T];
}

export async function loadRow<T extends TableName>(reader: Reader, table: T, key: Key): Promise<Rows[T] | undefined> {
  const row = await reader.get(table, key);
  return row === undefined ? undefined : readRow(table, row);
}

export async function loadRows<T extends TableName>(reader: Reader, table: T, query: Query): Promise<Rows[T][]> {
  return (await reader.range(table, query)).map((row) => readRow(table, row));
}

/** For whoever looks at the rows of many owners: one that cannot be read is left to those who can, and harms no other. */
export function readable<T extends TableName>(table: T, rows: readonly Row[]): Rows[T][] {
  return rows.flatMap((row) => {
    try {
      return [readRow(table, row)];
    } catch {
      return [];
    }
  });
}

/** For whoever removes rows: one that cannot be read stays, and keeps none of the others. */
export async function findRow<T extends TableName>(
  reader: Reader,
  table: T,
  key: Key,
): Promise<Rows[T] | "unreadable" | undefined> {
  const row = await reader.get(table, key);
  return row && (readable(table, [row])[0] ?? "unreadable");
}

function keyText(table: TableName, row: Row): string {
  return JSON.stringify(TABLES[table].key.map((column) => row[column] ?? null));
}
