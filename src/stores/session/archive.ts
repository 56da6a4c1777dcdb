import { accept, type Command, type Corridor, refuse } from "../../corridor/command.js";
import { HoldfastError } from "../../domain/errors.js";
import type { JsonValue } from "../../domain/json.js";
import type { ProcessSessionDeleteReport } from "../../domain/process/process.js";
import { isRuntimeId, runtimeIdOf } from "../../domain/runtime-id.js";
import { isTerminal } from "../../domain/session/input.js";
import type { Message, RuntimeState } from "../../domain/session/session.js";
import { messagesIn, parseSnapshot } from "../../domain/session/snapshot.js";
import type { Change } from "../../ports/notices.js";
import type { Reader, Write } from "../../ports/storage.js";
import { loadFloor, raiseFloor } from "../host/floors.js";
import { loadOwner, saidFarewell } from "../host/hosts.js";
import { isLive, leaseChange } from "../host/leases.rules.js";
import type { LeaseRow } from "../host/tables.js";
import { requestCancel } from "../process/events.js";
import { deleteSessionProcessState, type Revoked } from "../process/handles.js";
import { loadRow, loadRows, readable, type TableName } from "../schema.js";
import { ROW_VERSION } from "../table.js";
import type { ArchivedInput, ArchivedState, SessionArchive } from "./archive.rules.js";
import { WORK_TABLES } from "./draft.js";
import { countAll, withDue } from "./inputs/due.rules.js";
import { loadInputs } from "./inputs/input-rows.js";
import { type InputChange, inputWrites } from "./inputs/input-rows.rules.js";
import { recovered } from "./inputs/inputs.rules.js";
import type { InputRow } from "./inputs/tables.js";
import { readSnapshot } from "./ops.js";
import { receiptWrite, storedBytes, storedReceipt } from "./runtime.rules.js";
import { newRuntime } from "./runtime-state.rules.js";
import type { RuntimeRow, SessionRow, SnapshotRow } from "./tables.js";
import { chainDigest } from "./transcript.rules.js";
import { messageWrites } from "./turns.js";

/** An entry of the list of sessions. */
export interface SessionSummary {
  sessionId: string;
  /** `rt:session:<sessionId>`, or the id that a program chose which drives the session itself. */
  runtimeId: string;
  /** The stored state. A session whose runtime never ran is "idle". */
  state: RuntimeState;
  messageCount: number;
  /** How many inputs have not ended: they wait, or a run is under way with them. */
  waiting: number;
  /** A host that lives runs a turn of it. */
  running: boolean;
  updatedAtMs: number;
}

/** `lockedBy`: the boot whose lease makes it run, if that held its Web Lock then. */
type ListedSession = SessionSummary & { readonly lockedBy?: string | undefined };

/** All sessions, in the order of their ids. An unreadable row is left out and hides no other. */
export function listSessions(corridor: Corridor): Promise<ListedSession[]> {
  const tables = ["sessions", "runtimes", "leases", "farewells", "inputs"] as const;
  return corridor.query(tables, async (reader, now) => {
    const sessions = readable("sessions", await reader.range("sessions", {}));
    const found = await Promise.all(
      sessions.map(async ({ sessionId, runtimeId, messageCount, updatedAtMs }) => {
        const row = await reader.get("runtimes", runtimeId);
        const [runtime] = row ? readable("runtimes", [row]) : [];
        if (row && !runtime) return undefined;
        const [waiting, owner] = await Promise.all([
          runtime?.liveInputs ?? countLive(reader, runtimeId),
          runtime?.run && loadOwner(reader, runtimeId, now),
        ]);
        return {
          sessionId,
          runtimeId,
          state: runtime?.state ?? "idle",
          messageCount,
          waiting,
          running: owner !== undefined,
          lockedBy: owner?.locked && owner.bootId,
          updatedAtMs: Math.max(updatedAtMs, runtime?.updatedAtMs ?? 0),
        };
      }),
    );
    return found.filter((session) => session !== undefined);
  });
}

/** For a session that was never opened since its inputs are counted, and for one that a program drives itself. */
async function countLive(reader: Reader, runtimeId: string): Promise<number> {
  return (await reader.range("inputs", { index: "live", prefix: [runtimeId] })).length;
}

/**
 * Where a session is stored: under its own runtime id, or under the id that a program chose which drives the session itself. The second
 * is looked at only if nothing is stored under the first.
 */
interface Home {
  readonly runtimeId: string;
  readonly session: SessionRow | undefined;
  readonly runtime: RuntimeRow | undefined;
  readonly snapshot: SnapshotRow | undefined;
}

const HOME_TABLES = ["sessions", "runtimes", "snapshots"] as const satisfies readonly TableName[];

async function loadHome(reader: Reader, sessionId: string): Promise<Home | undefined> {
  const session = await loadRow(reader, "sessions", sessionId);
  const at = async (runtimeId: string): Promise<Home> => {
    const [runtime, snapshot] = await Promise.all([
      loadRow(reader, "runtimes", runtimeId),
      loadRow(reader, "snapshots", runtimeId),
    ]);
    return { runtimeId, session, runtime, snapshot };
  };
  const own = await at(runtimeIdOf(sessionId));
  if (own.runtime?.state !== undefined || own.snapshot) return own;
  const elsewhere = session && chosenElsewhere(session);
  const other = elsewhere === undefined ? undefined : await at(elsewhere);
  if (other && isOf(other.snapshot, sessionId)) return other;
  return session && own;
}

/** The runtime id that a program chose. The own runtime id of another session is never taken for one. */
function chosenElsewhere({ runtimeId }: SessionRow): string | undefined {
  return isRuntimeId(runtimeId) ? undefined : runtimeId;
}

/** Whether the snapshot is of that session: a later snapshot under the same runtime id may be of another one. */
function isOf(snapshot: SnapshotRow | undefined, sessionId: string): boolean {
  return snapshot !== undefined && parseSnapshot(storedBytes(snapshot))?.id === sessionId;
}

function unknownSession(sessionId: string): HoldfastError {
  return new HoldfastError("not-found", `there is no session "${sessionId}"`, { details: { sessionId } });
}

/** The stored messages from position `from` on. It does not matter whether a tab has the session open. */
export function readMessages(corridor: Corridor, sessionId: string, from: number): Promise<Message[]> {
  return corridor.query([...HOME_TABLES, "messages"], async (reader) => {
    const home = await loadHome(reader, sessionId);
    if (!home) throw unknownSession(sessionId);
    if (home.snapshot) return messagesIn(storedBytes(home.snapshot)).slice(from);
    const { runtimeId } = home;
    const rows = await loadRows(reader, "messages", {
      prefix: [runtimeId],
      ...(from > 0 && { after: [runtimeId, from - 1] }),
    });
    return rows.map(({ message }) => message);
  });
}

/** Reads all of a session that an export holds, at one moment. Inputs under way are read as a recovery would leave them. Ephemeral inputs are left out. */
export function readSession(corridor: Corridor, sessionId: string): Promise<{ archive: SessionArchive; atMs: number }> {
  const tables: readonly TableName[] = [
    ...HOME_TABLES,
    "messages",
    "inputs",
    "inputKeys",
    "receipts",
    ...WORK_TABLES,
    "blobs",
    "quarantine",
    "ops",
    "leases",
    "farewells",
  ];
  return corridor.query(tables, async (reader, now) => {
    const home = await loadHome(reader, sessionId);
    if (!home) throw unknownSession(sessionId);
    const { runtimeId, runtime, snapshot } = home;
    const query = { prefix: [runtimeId] };
    const [messages, rows, keys, receipts, steps, appendKeys, blobs, quarantined, ops, lease] = await Promise.all([
      snapshot ? [] : loadRows(reader, "messages", query),
      loadInputs(reader, runtimeId),
      loadRows(reader, "inputKeys", query),
      loadRows(reader, "receipts", query),
      loadRows(reader, "turnSteps", query),
      loadRows(reader, "turnKeys", query),
      loadRows(reader, "blobs", query),
      loadRows(reader, "quarantine", query),
      readSnapshot(reader, runtimeId),
      loadExecutorLease(reader, runtimeId),
    ]);
    const farewell = await saidFarewell(reader, lease?.bootId);
    const atMs = now();
    const received = new Set(receipts.map(({ runId, sequence }) => JSON.stringify([runId, sequence])));
    // A live owner, asleep or not, did not crash while it ran these inputs.
    const inOrder = isLive(lease, atMs) || lease?.locked === 1 || farewell || lease?.endedInOrder === 1;
    const inputs = rows
      .filter(({ record }) => record.durability !== "ephemeral")
      .map((row) => {
        const { lastRunId, lastBoundarySequence } = row.record;
        const hasReceipt = received.has(JSON.stringify([lastRunId, lastBoundarySequence]));
        return recovered(row, { hasReceipt, inOrder }, atMs) ?? row;
      });
    const holders = new Set(keys.map(({ inputId }) => inputId));
    const works = retriedWorks(inputs);
    const whole = snapshot && storedBytes(snapshot);
    const archive: SessionArchive = {
      sessionId,
      state: archivedState(runtime),
      ...(!whole && runtime?.head && { head: runtime.head }),
      messages: messages.map(({ message }) => message),
      ...(whole && { snapshot: whole }),
      inputs: inputs.map((row) => archivedInput(row, holders.has(row.inputId))),
      receipts: receipts.map(storedReceipt),
      steps: steps.filter(({ workId }) => works.has(workId)).map(({ workId, stepKey, result }) => ({ workId, stepKey, result })),
      appendKeys: appendKeys.filter(({ workId }) => works.has(workId)).map(({ workId, appendKey }) => ({ workId, appendKey })),
      ...(ops && { ops }),
      blobs: blobs.map(({ hash, bytes }) => ({ hash, bytes })),
      quarantined: quarantined.map(({ inputId, reason, atMs, row }) => ({ inputId, reason, atMs, row: row as JsonValue })),
    };
    return { archive, atMs };
  });
}

/** The work ids of attempts that a retry can repeat with exactly the same inputs. No retry uses the steps of others. */
function retriedWorks(inputs: readonly InputRow[]): ReadonlySet<string | undefined> {
  const live = inputs.filter(({ record }) => !isTerminal(record.currentState));
  const sizeOf = (workId: string | undefined) => live.filter((row) => row.workId === workId).length;
  return new Set(live.filter(({ workId, workSize }) => sizeOf(workId) === workSize).map(({ workId }) => workId));
}

/** The executor's lease. Under an id that a program chose, the lease may be one of a process. */
async function loadExecutorLease(reader: Reader, runtimeId: string): Promise<LeaseRow | undefined> {
  return isRuntimeId(runtimeId) ? await loadRow(reader, "leases", runtimeId) : undefined;
}

/** The runtime's state without its run: while a run is under way, the state before it. */
function archivedState(runtime: RuntimeRow | undefined): ArchivedState {
  const { state = "idle", run } = runtime ?? {};
  if (state !== "running" && state !== "attached") return state;
  const before = run?.before ?? "idle";
  return before === "running" || before === "attached" ? "idle" : before;
}

function archivedInput(row: InputRow, holdsKey: boolean): ArchivedInput {
  const { record, rank, starts, crashes, interruptions, workId, workSize, cancelRequested } = row;
  return {
    record,
    ...(rank !== undefined && { rank }),
    ...(starts !== undefined && { starts }),
    ...(crashes !== undefined && { crashes }),
    ...(interruptions !== undefined && { interruptions }),
    ...(workId !== undefined && { workId }),
    ...(workSize !== undefined && { workSize }),
    ...(cancelRequested !== undefined && { cancelRequested }),
    ...(holdsKey && record.idempotencyKey !== undefined && { holdsKey: 1 as const }),
  };
}

/** The writes that make a session. What depends on stored rows is added in the transaction. */
interface ImportSession {
  readonly sessionId: string;
  /** The runtime's row; its incarnation and its time are set in the transaction. */
  readonly runtime: RuntimeRow;
  readonly messageCount: number;
  readonly writes: readonly Write[];
  /** About how many characters the writes store. */
  readonly size: number;
}

export function prepareImport(archive: SessionArchive): ImportSession {
  const { sessionId, state, head, messages, snapshot, receipts, steps, appendKeys, ops, blobs, quarantined } = archive;
  const runtimeId = runtimeIdOf(sessionId);
  const base = { v: ROW_VERSION, runtimeId };
  const changes = archive.inputs.map((input) => importedChange(input, runtimeId));
  const inputs = inputWrites(changes, []);
  const ranks = archive.inputs.map(({ rank = 0 }) => rank);
  const put = (table: TableName, row: Record<string, unknown>): Write => ({ table, put: { ...base, ...row } });
  return {
    sessionId,
    runtime: {
      ...newRuntime(runtimeId, 0),
      state,
      sessionId,
      nextRank: archive.inputs.reduce((next, { rank = -1 }) => Math.max(next, rank + 1), 0),
      firstRank: ranks.reduce((first, rank) => Math.min(first, rank), 0),
      endedKeys: inputs.endedKeys,
      ...countAll(changes.flatMap(({ after }) => after ?? [])),
      messageCount: messages.length,
      digest: chainDigest("", messages),
      ...(head && { head }),
    },
    messageCount: snapshot ? messagesIn(snapshot).length : messages.length,
    writes: [
      ...(snapshot ? [put("snapshots", { bytes: snapshot })] : []),
      ...messageWrites(runtimeId, 0, messages),
      ...inputs.writes,
      ...receipts.map((receipt) => receiptWrite(runtimeId, receipt)),
      ...steps.map((step) => put("turnSteps", { ...step })),
      ...appendKeys.map((key) => put("turnKeys", { ...key })),
      ...(ops ? [put("ops", { snapshot: ops })] : []),
      ...blobs.map((blob) => put("blobs", { ...blob })),
      ...quarantined.map((row) => put("quarantine", { ...row })),
    ],
    // Counted one by one: together they may be longer than a string can be.
    size:
      messages.reduce((sum, message) => sum + JSON.stringify(message).length, 0) +
      (snapshot?.length ?? 0) +
      blobs.reduce((sum, { bytes }) => sum + bytes.length, 0),
  };
}

function importedChange({ holdsKey, record, ...columns }: ArchivedInput, runtimeId: string): InputChange {
  const after: InputRow = { v: ROW_VERSION, runtimeId, inputId: record.inputId, record, ...columns };
  return { after, keyless: holdsKey === undefined };
}

interface ImportState {
  readonly runtime: RuntimeRow | undefined;
  readonly isTaken: boolean;
}

const ARCHIVED = [
  "sessions",
  "runtimes",
  "snapshots",
  "messages",
  "inputs",
  "inputKeys",
  "receipts",
  ...WORK_TABLES,
  "blobs",
  "quarantine",
  "ops",
] as const satisfies readonly TableName[];

/**
 * Stores a whole session, if nothing of it is stored yet. It takes the incarnation that a deletion left, so that tabs with the deleted
 * session open stay refused.
 */
export const importSession: Command<ImportSession, ImportState, { sessionId: string }> = {
  tables: ARCHIVED,
  async load(reader, { sessionId, runtime: { runtimeId } }) {
    const one = { prefix: [runtimeId], limit: 1 };
    const [runtime, session, snapshot, ops, ...ranges] = await Promise.all([
      loadRow(reader, "runtimes", runtimeId),
      reader.get("sessions", sessionId),
      reader.get("snapshots", runtimeId),
      reader.get("ops", runtimeId),
      reader.range("messages", one),
      reader.range("inputs", one),
      reader.range("receipts", one),
    ]);
    const isTaken =
      Boolean(session ?? snapshot ?? ops) || runtime?.state !== undefined || ranges.some(({ length }) => length > 0);
    return { runtime, isTaken };
  },
  decide({ runtime: stored, isTaken }, { sessionId, runtime, messageCount, writes }, nowMs) {
    if (isTaken) {
      return refuse(new HoldfastError("conflict", `the session "${sessionId}" exists already`, { details: { sessionId } }));
    }
    const { runtimeId } = runtime;
    const row = withDue({ ...runtime, incarnation: stored?.incarnation ?? 0, updatedAtMs: nowMs }, [], nowMs);
    return accept(
      { sessionId },
      [
        ...writes,
        { table: "runtimes", put: row },
        { table: "sessions", put: { v: ROW_VERSION, sessionId, runtimeId, messageCount, updatedAtMs: nowMs } },
      ],
      sessionChanges(runtimeId),
    );
  },
};

function sessionChanges(runtimeId: string): Change[] {
  return [
    { about: "runtime", id: runtimeId },
    { about: "messages", id: runtimeId },
    { about: "ops", id: runtimeId },
  ];
}

const CANCEL_REASON = "session deleted";

interface DeleteState {
  readonly homes: readonly { runtimeId: string; runtime: RuntimeRow | undefined; lease: LeaseRow | undefined }[];
  readonly revoked: Revoked;
  /** By process id: the running processes, which may have to be asked to cancel. */
  readonly cancels: ReadonlyMap<string, Awaited<ReturnType<typeof requestCancel.load>>>;
  readonly floor: number;
}

/**
 * Removes all that belongs to a session, and its entry in the list. What stays is its runtime row without a state, in the next incarnation.
 * The executor's lease is dropped, and the floor keeps its fencing token. If there is no such session, nothing changes.
 */
export const deleteSession: Command<{ sessionId: string }, DeleteState, ProcessSessionDeleteReport> = {
  tables: [
    ...new Set<string>([
      ...ARCHIVED,
      "attachments",
      "leases",
      "floors",
      ...deleteSessionProcessState.tables,
      ...requestCancel.tables,
    ]),
  ],
  async load(reader, { sessionId }) {
    const session = await loadRow(reader, "sessions", sessionId);
    const ids = [runtimeIdOf(sessionId)];
    const elsewhere = session && chosenElsewhere(session);
    if (elsewhere !== undefined && isOf(await loadRow(reader, "snapshots", elsewhere), sessionId)) ids.push(elsewhere);
    const homes = await Promise.all(
      ids.map(async (runtimeId) => ({
        runtimeId,
        runtime: await loadRow(reader, "runtimes", runtimeId),
        lease: await loadExecutorLease(reader, runtimeId),
      })),
    );
    const floor = homes.some(({ lease }) => lease) ? await loadFloor(reader, "leases") : 0;
    const revoked = await deleteSessionProcessState.load(reader, { sessionId });
    const running = revoked.processes.flatMap(({ process }) => (process?.state === "running" ? [process.processId] : []));
    const cancels = await Promise.all(
      running.map(async (processId) => {
        return [processId, await requestCancel.load(reader, { processId, reason: CANCEL_REASON })] as const;
      }),
    );
    return { homes, revoked, cancels: new Map(cancels), floor };
  },
  decide({ homes, revoked, cancels, floor }, { sessionId }, nowMs) {
    const grants = deleteSessionProcessState.decide(revoked, { sessionId }, nowMs);
    if (grants.kind !== "accept") return grants;
    const writes: Write[] = [...grants.writes, { table: "sessions", drop: sessionId }];
    const changes: Change[] = [...grants.changes];
    for (const processId of grants.reply.cancelProcessIds) {
      const state = cancels.get(processId);
      const asked = state && requestCancel.decide(state, { processId, reason: CANCEL_REASON }, nowMs);
      if (asked?.kind !== "accept") return asked ?? refuse(new HoldfastError("internal", `process "${processId}" was not read`));
      writes.push(...asked.writes);
      changes.push(...asked.changes);
    }
    const fences: number[] = [];
    for (const { runtimeId, runtime, lease } of homes) {
      writes.push(...dropsOf(runtimeId));
      if (runtime) writes.push({ table: "runtimes", put: tombstoneOf(runtime, nowMs) });
      if (lease) writes.push({ table: "leases", drop: runtimeId });
      if (lease) fences.push(lease.fencingToken);
      changes.push(...sessionChanges(runtimeId), leaseChange(runtimeId));
    }
    writes.push(...raiseFloor("leases", floor, fences));
    return accept(grants.reply, writes, changes);
  },
  repeatable: () => true,
};

function dropsOf(runtimeId: string): Write[] {
  const ranges: readonly TableName[] = [
    "messages",
    "inputs",
    "inputKeys",
    "receipts",
    ...WORK_TABLES,
    "blobs",
    "attachments",
    "quarantine",
  ];
  return [
    ...ranges.map((table): Write => ({ table, dropPrefix: [runtimeId] })),
    { table: "snapshots", drop: runtimeId },
    { table: "ops", drop: runtimeId },
  ];
}

/** The row that stays after a deletion. If the session was deleted before, the incarnation stays: no tab has it open. */
function tombstoneOf({ runtimeId, incarnation, state }: RuntimeRow, nowMs: number): RuntimeRow {
  return { ...newRuntime(runtimeId, nowMs), incarnation: incarnation + (state === undefined ? 0 : 1) };
}
