import { accept, type Decision } from "../../corridor/command.js";
import { HoldfastError, isHoldfastError } from "../../domain/errors.js";
import { type AbandonReason, type InputKind, isTerminal } from "../../domain/session/input.js";
import type { Change } from "../../ports/notices.js";
import type { Reader, Row, Write } from "../../ports/storage.js";
import { saidFarewell } from "../host/hosts.js";
import { type Host, isLive, released } from "../host/leases.rules.js";
import type { LeaseRow } from "../host/tables.js";
import { loadRow, readable } from "../schema.js";
import { loadInputKeys } from "./inputs/input-rows.js";
import { type InputChange, inputWrites, readInput } from "./inputs/input-rows.rules.js";
import { abandoned, corruption, recovered, replaceKeyOf } from "./inputs/inputs.rules.js";
import type { HandlingMode } from "./inputs/policy.rules.js";
import type { InputKeyRow, InputRow } from "./inputs/tables.js";
import { afterRun } from "./runtime-state.rules.js";
import type { AttachmentRow, RuntimeRow } from "./tables.js";

/** A session as a handle holds it: a deletion raises the incarnation, and the handle is of no use any more. */
export interface SessionRef {
  readonly runtimeId: string;
  readonly incarnation: number;
}

/** A runtime's row while it has a state: a deleted session's has none. */
export interface LiveRuntimeRow extends RuntimeRow {
  readonly state: NonNullable<RuntimeRow["state"]>;
  readonly sessionId: string;
}

export function checkRuntime(row: RuntimeRow | undefined, ref: SessionRef): LiveRuntimeRow {
  if (row?.state === undefined || row.sessionId === undefined || row.incarnation !== ref.incarnation) throw deletedSession(ref);
  return row as LiveRuntimeRow;
}

export function deletedSession({ runtimeId }: SessionRef): HoldfastError {
  return new HoldfastError("not-found", `the session of runtime "${runtimeId}" was deleted`, { details: { runtimeId } });
}

/** What lies around a session's inputs: enough to tell who may go on with it, and what a dead owner left. */
export interface SessionState {
  readonly runtime: RuntimeRow | undefined;
  readonly lease: LeaseRow | undefined;
  /** The lease's host said goodbye. */
  readonly farewell: boolean;
  /** In the order of their admission; without those that cannot be read, which are told when the session is opened. */
  readonly live: readonly InputRow[];
  /** The idempotency keys that these have. */
  readonly keys: readonly InputKeyRow[];
  /** Ids of applied inputs whose receipt is stored. */
  readonly received: ReadonlySet<string>;
  readonly attachments: readonly AttachmentRow[];
}

export const SESSION_STATE_TABLES = [
  "runtimes",
  "leases",
  "farewells",
  "inputs",
  "inputKeys",
  "receipts",
  "attachments",
  "turnSteps",
] as const;

/** `known` are the live rows, or those of them that matter, where they are read already. */
export async function loadSessionState(
  reader: Reader,
  runtimeId: string,
  known?: readonly InputRow[] | Promise<readonly InputRow[]>,
): Promise<SessionState> {
  const [runtime, lease, live, attachments] = await Promise.all([
    loadRow(reader, "runtimes", runtimeId),
    loadRow(reader, "leases", runtimeId),
    known ?? readLive(reader, runtimeId).then(({ live }) => live),
    reader.range("attachments", { prefix: [runtimeId] }),
  ]);
  const [farewell, keys] = await Promise.all([
    saidFarewell(reader, lease?.bootId),
    loadInputKeys(
      reader,
      runtimeId,
      live.map(({ record }) => record),
    ),
  ]);
  const received = new Set<string>();
  for (const { inputId, record } of live) {
    const { currentState, lastRunId, lastBoundarySequence } = record;
    if (!currentState.startsWith("applied") || lastRunId === undefined || lastBoundarySequence === undefined) continue;
    if (await loadRow(reader, "receipts", [runtimeId, lastRunId, lastBoundarySequence])) received.add(inputId);
  }
  return {
    runtime,
    lease,
    farewell,
    live,
    keys,
    received,
    attachments: readable("attachments", attachments),
  };
}

/** An input's row that nobody can go on with. */
export interface BadInput {
  readonly inputId: string;
  readonly row: Row;
  readonly error: HoldfastError;
}

/** The live rows, each read alone: one that cannot be read must not stop the others, nor hide which one it is. */
export async function readLive(reader: Reader, runtimeId: string): Promise<{ live: InputRow[]; bad: BadInput[] }> {
  return sortOut(await reader.range("inputs", { index: "live", prefix: [runtimeId] }));
}

export function sortOut(rows: readonly Row[]): { live: InputRow[]; bad: BadInput[] } {
  const live: InputRow[] = [];
  const bad: BadInput[] = [];
  for (const row of rows) {
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

/** Mostly one waits under a key; those that cannot be gone on with are passed over. */
const FIRST = 8;

/** Whom a new input of this kind and key replaces. */
export async function loadReplaceable(
  reader: Reader,
  runtimeId: string,
  kind: InputKind,
  key: string,
): Promise<InputRow | undefined> {
  const first = async (lane: HandlingMode) => {
    const prefix = [runtimeId, replaceKeyOf(lane, kind, key)];
    return sortOut(await reader.range("inputs", { index: "replaceable", prefix, limit: FIRST })).live[0];
  };
  const [queued, steering] = await Promise.all([first("queue"), first("steer")]);
  return queued ?? steering;
}

/** A tab that looks at a session it has open: what it knows of itself needs no row. */
export interface Attendance {
  readonly host: Host;
  readonly ttlMs: number;
  readonly handler: boolean;
  /** There are Web Locks here: a host that holds one is known to live, or to be dead. */
  readonly hasLocks: boolean;
}

/**
 * Whether a tab still has it open. A host that slept, or was frozen, and still holds its lock is there whatever its row says: when it dies
 * its row goes with it.
 */
export function isAttached({ expiresAtMs, locked }: AttachmentRow, hasLocks: boolean, nowMs: number): boolean {
  return (hasLocks && locked === 1) || expiresAtMs > nowMs;
}

type InputCode = `input.${"queued" | "staged" | "applied" | "consumed" | "superseded" | "coalesced" | "abandoned"}`;

/** Something that became of an input, told by the kernel that did it. */
export interface InputHappening {
  readonly code: InputCode | "input.accepted" | "input.deduplicated";
  readonly inputId: string;
}

/** What a command makes of a session's rows, collected: each row is put once, and the runtime's counters keep in step. */
export interface Draft {
  readonly runtime: LiveRuntimeRow;
  /** As they will be, live ones only, in the order of their admission. */
  readonly live: readonly InputRow[];
  update(changes: Partial<LiveRuntimeRow>): void;
  /** The run is over, and with it the state that it brought. */
  endRun(): void;
  /** It is over, and the state says so already. */
  dropRun(): void;
  put(row: InputRow): void;
  drop(row: InputRow): void;
  write(...writes: Write[]): void;
  readonly isEmpty: boolean;
  /** The runtime's `inputRevision` as it will be. */
  readonly inputRevision: number;
  /** What became of inputs so far, for whoever listens. */
  readonly happened: readonly InputHappening[];
  done<Reply>(reply: Reply, ...changes: Change[]): Decision<Reply>;
}

export function draftOf(stored: LiveRuntimeRow, rows: readonly InputRow[], keys: readonly InputKeyRow[], nowMs: number): Draft {
  let runtime = stored;
  const live = new Map(rows.map((row) => [row.inputId, row]));
  const before = new Map(live);
  /** Absent: it goes. */
  const touched = new Map<string, InputRow | undefined>();
  const others: Write[] = [];
  const happened: InputHappening[] = [];

  const draft: Draft = {
    get runtime() {
      return runtime;
    },
    get live() {
      return [...live.values()];
    },
    update(changes) {
      runtime = { ...runtime, ...changes };
    },
    endRun() {
      if (!runtime.run) return;
      runtime = { ...runtime, state: afterRun(runtime.state, runtime.run.before) };
      draft.dropRun();
    },
    dropRun() {
      const { run: _, ...rest } = runtime;
      runtime = rest;
    },
    put(row) {
      const from = (live.get(row.inputId) ?? before.get(row.inputId))?.record.currentState;
      const { currentState } = row.record;
      if (from === "staged" && currentState === "consumed") happened.push({ code: "input.applied", inputId: row.inputId });
      if (from !== currentState) happened.push({ code: `input.${currentState}` as InputCode, inputId: row.inputId });
      const isOver = isTerminal(row.record.currentState);
      if (isOver) live.delete(row.inputId);
      else live.set(row.inputId, row);
      // An ephemeral input is nobody's business once it has ended.
      touched.set(row.inputId, isOver && row.record.durability === "ephemeral" ? undefined : row);
    },
    drop(row) {
      live.delete(row.inputId);
      touched.set(row.inputId, undefined);
    },
    write(...writes) {
      others.push(...writes);
    },
    get isEmpty() {
      return touched.size === 0 && others.length === 0 && runtime === stored;
    },
    get inputRevision() {
      return (runtime.inputRevision ?? 0) + Math.min(touched.size, 1);
    },
    get happened() {
      return happened;
    },
    done(reply, ...changes) {
      const revision = draft.inputRevision;
      if (touched.size > 0) runtime = { ...runtime, inputRevision: revision };
      const changed: InputChange[] = [...touched].map(([inputId, after]) => ({
        before: before.get(inputId),
        after: after && { ...after, revision },
      }));
      const inputs = inputWrites(changed, keys);
      // Steps are of inputs that may be tried again.
      for (const workId of worksOf(changed)) others.push({ table: "turnSteps", dropPrefix: [stored.runtimeId, workId] });
      if (inputs.endedKeys !== 0) draft.update({ endedKeys: runtime.endedKeys + inputs.endedKeys });
      const writes: Write[] = [...others, ...inputs.writes];
      const told: Change[] = [...changes];
      for (const member of touched.keys()) told.push({ about: "input", id: stored.runtimeId, member, sequence: revision });
      if (runtime !== stored) {
        if (!isSameToLookAt(runtime, stored)) told.push({ about: "runtime", id: stored.runtimeId });
        runtime = { ...runtime, updatedAtMs: nowMs };
        writes.push({ table: "runtimes", put: runtime });
      }
      return accept(reply, writes, told);
    },
  };
  return draft;
}

/** A change that is only counted is not told: every tab that has the session open would read the row for each input that comes. */
function isSameToLookAt(a: RuntimeRow, b: RuntimeRow): boolean {
  return a.state === b.state && a.run?.runId === b.run?.runId && a.digest === b.digest && a.messageCount === b.messageCount;
}

export interface RecoveryReport {
  /** Inputs that live, after it. */
  recovered: number;
  /** Brought back to the queue. */
  requeued: number;
  /** Found with their receipt. */
  consumed: number;
  /** Given up, because their owner died over them too often. */
  abandoned: number;
  /** Ephemeral ones whose tab is gone. */
  dropped: number;
}

/**
 * Takes over what nobody owns any more: only where no lease lives. Every input goes to the phase that the stored facts prove, and the
 * lease that ran out is taken off its row, so that an owner that merely slept finds it gone.
 */
export function recover(
  draft: Draft,
  { lease, farewell, received, attachments }: SessionState,
  self: Pick<Attendance, "host" | "hasLocks">,
  nowMs: number,
): RecoveryReport {
  const report: RecoveryReport = { recovered: 0, requeued: 0, consumed: 0, abandoned: 0, dropped: 0 };
  const inOrder = lease?.endedInOrder === 1 || farewell;
  const hosts = new Set(attachments.filter((row) => isAttached(row, self.hasLocks, nowMs)).map(({ hostId }) => hostId));
  hosts.add(self.host.hostId);
  for (const row of draft.live) {
    if (row.record.durability === "ephemeral" && !(row.hostId !== undefined && hosts.has(row.hostId))) {
      draft.drop(row);
      report.dropped++;
      continue;
    }
    const next = recovered(row, { hasReceipt: received.has(row.inputId), inOrder }, nowMs);
    if (!next) continue;
    draft.put(next);
    if (next.record.currentState === "queued") report.requeued += row.record.currentState === "accepted" ? 0 : 1;
    else report[next.record.currentState === "abandoned" ? "abandoned" : "consumed"]++;
  }
  draft.endRun();
  // Stored by a caller; nothing runs here.
  if (draft.runtime.state === "running") draft.update({ state: "idle" });
  if (lease?.leaseToken !== undefined) draft.write({ table: "leases", put: released(lease, inOrder) });
  report.recovered = draft.live.length;
  return report;
}

export function abandonAll(draft: Draft, reason: AbandonReason, nowMs: number): number {
  const { live } = draft;
  for (const row of live) draft.put(abandoned(row, reason, nowMs));
  return live.length;
}

/** Whoever holds it is refused from now on. */
export function fencedOff(lease: LeaseRow): LeaseRow {
  return { ...released(lease, true), fencingToken: lease.fencingToken + 1 };
}

/**
 * Somebody is at work, or may come back to it: a lease that lives, or one that ran out while its host slept. This host's own executor
 * takes care of what is its own; of another's, executors know when it was waited for long enough.
 */
export function isOwned({ lease, farewell }: Pick<SessionState, "lease" | "farewell">, self: Attendance, nowMs: number): boolean {
  if (lease?.leaseToken === undefined || farewell) return false;
  if (isLive(lease, nowMs)) return true;
  return lease.bootId === self.host.bootId ? self.handler : self.hasLocks && lease.locked === 1;
}

/** Works of which no input can be tried any more. */
function worksOf(changed: readonly InputChange[]): string[] {
  const works = changed.flatMap(({ before, after }) => {
    const isOver = !after || isTerminal(after.record.currentState) || after.workId !== before?.workId;
    return isOver && before?.workId !== undefined ? [before.workId] : [];
  });
  return [...new Set(works)];
}
