import { accept, type Decision } from "../../corridor/command.js";
import { HoldfastError, isHoldfastError } from "../../domain/errors.js";
import { type AbandonReason, type InputKind, isTerminal } from "../../domain/session/input.js";
import type { Change } from "../../ports/notices.js";
import type { Reader, Row, Write } from "../../ports/storage.js";
import { saidFarewell } from "../host/hosts.js";
import { type Host, isLive, released } from "../host/leases.rules.js";
import type { LeaseRow } from "../host/tables.js";
import { loadRow, readable } from "../schema.js";
import { withDue } from "./inputs/due.rules.js";
import { loadInputKeys } from "./inputs/input-rows.js";
import { type InputChange, inputWrites, readInput } from "./inputs/input-rows.rules.js";
import { abandoned, corruption, recovered, replaceKeyOf } from "./inputs/inputs.rules.js";
import type { HandlingMode } from "./inputs/policy.rules.js";
import type { InputKeyRow, InputRow } from "./inputs/tables.js";
import { afterRun } from "./runtime-state.rules.js";
import type { AttachmentRow, RuntimeRow } from "./tables.js";

/** A session as a tab's object refers to it. A deletion raises the incarnation, and then every command with this reference is refused. */
export interface SessionRef {
  readonly runtimeId: string;
  readonly incarnation: number;
}

/** The runtime row of a session that exists. The row of a deleted session has no state. */
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

/** What is stored of a session: enough to tell which executor may continue it, and what a dead owner left. */
export interface SessionState {
  readonly runtime: RuntimeRow | undefined;
  readonly lease: LeaseRow | undefined;
  /** Whether the lease's host left a farewell. */
  readonly farewell: boolean;
  /** Live inputs in the order of their admission. Unreadable rows are left out; they are reported when the session is opened. */
  readonly live: readonly InputRow[];
  /** The rows of their idempotency keys. */
  readonly keys: readonly InputKeyRow[];
  /** Ids of applied inputs whose receipt is stored. */
  readonly received: ReadonlySet<string>;
  readonly attachments: readonly AttachmentRow[];
}

/** What attempts at the same inputs have in common; by work id. */
export const WORK_TABLES = ["turnSteps", "turnKeys"] as const;

export const SESSION_STATE_TABLES = [
  "runtimes",
  "leases",
  "farewells",
  "inputs",
  "inputKeys",
  "receipts",
  "attachments",
  ...WORK_TABLES,
] as const;

/** `known` are the live rows that matter, if the caller has read them. */
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

/** An input's row that is unreadable or corrupt, so that no executor can run it. */
export interface BadInput {
  readonly inputId: string;
  readonly row: Row;
  readonly error: HoldfastError;
}

/** Reads each live row alone: an unreadable one must not stop the others, and its id must be known. */
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

/** Rows read under one key. Mostly there is only one; unusable rows are skipped. */
const FIRST = 8;

/** The waiting input that a new input of this kind and supersession key replaces. */
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

/** The attachment of the calling tab: what the tab knows of itself needs no row. */
export interface Attachment {
  readonly host: Host;
  readonly ttlMs: number;
  readonly handler: boolean;
  /** Whether this platform has Web Locks: they tell whether a host that holds one lives. */
  readonly hasLocks: boolean;
}

/**
 * Whether an attachment still counts. A sleeping or frozen host that holds its lock is still attached, even if the row has expired: when
 * the host dies, the row is removed.
 */
export function isAttached({ expiresAtMs, locked }: AttachmentRow, hasLocks: boolean, nowMs: number): boolean {
  return (hasLocks && locked === 1) || expiresAtMs > nowMs;
}

type InputCode = `input.${"queued" | "staged" | "applied" | "consumed" | "superseded" | "coalesced" | "abandoned"}`;

/** A change of an input, told to listeners by the kernel that made it. */
export interface InputHappening {
  readonly code: InputCode | "input.accepted" | "input.deduplicated";
  readonly inputId: string;
}

/** Collects what a command changes of a session's rows: each row is put once, and the runtime's counters stay in step. */
export interface Draft {
  readonly runtime: LiveRuntimeRow;
  /** The live inputs as they will be, in the order of their admission. */
  readonly live: readonly InputRow[];
  update(changes: Partial<LiveRuntimeRow>): void;
  /** Removes the run and returns to the state before it. */
  endRun(): void;
  /** Removes the run and leaves the state as it is. */
  dropRun(): void;
  /** Nothing that waits may begin before this time. */
  pauseUntil(atMs: number): void;
  put(row: InputRow): void;
  drop(row: Pick<InputRow, "inputId">): void;
  write(...writes: Write[]): void;
  readonly isEmpty: boolean;
  /** The runtime's `inputRevision` as it will be. */
  readonly inputRevision: number;
  /** The changes of inputs so far, for listeners. */
  readonly happened: readonly InputHappening[];
  done<Reply>(reply: Reply, ...changes: Change[]): Decision<Reply>;
}

export function draftOf(stored: LiveRuntimeRow, rows: readonly InputRow[], keys: readonly InputKeyRow[], nowMs: number): Draft {
  let runtime = stored;
  const live = new Map(rows.map((row) => [row.inputId, row]));
  const before = new Map(live);
  /** `undefined`: the row is dropped. */
  const touched = new Map<string, InputRow | undefined>();
  const others: Write[] = [];
  let pausedUntilMs: number | undefined;
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
    pauseUntil(atMs) {
      pausedUntilMs = atMs;
      if (runtime.due === "waiting" && runtime.dueAtMs !== atMs) draft.update({ dueAtMs: atMs });
    },
    put(row) {
      const from = (live.get(row.inputId) ?? before.get(row.inputId))?.record.currentState;
      const { currentState } = row.record;
      if (from === "staged" && currentState === "consumed") happened.push({ code: "input.applied", inputId: row.inputId });
      if (from !== currentState) happened.push({ code: `input.${currentState}` as InputCode, inputId: row.inputId });
      const isOver = isTerminal(row.record.currentState);
      if (isOver) live.delete(row.inputId);
      else live.set(row.inputId, row);
      // An ephemeral input leaves no row once it has ended.
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
      // Steps and keys are kept only for inputs that may be tried again.
      for (const workId of worksOf(changed))
        for (const table of WORK_TABLES) others.push({ table, dropPrefix: [stored.runtimeId, workId] });
      if (inputs.endedKeys !== 0) draft.update({ endedKeys: runtime.endedKeys + inputs.endedKeys });
      const writes: Write[] = [...others, ...inputs.writes];
      const told: Change[] = [...changes];
      for (const member of touched.keys()) told.push({ about: "input", id: stored.runtimeId, member, sequence: revision });
      if (runtime !== stored) {
        if (!isSameToLookAt(runtime, stored)) told.push({ about: "runtime", id: stored.runtimeId });
        runtime = withDue({ ...runtime, updatedAtMs: nowMs }, changed, nowMs, pausedUntilMs);
        writes.push({ table: "runtimes", put: runtime });
      }
      return accept(reply, writes, told);
    },
  };
  return draft;
}

/** Whether only counters differ. Such a change is not told: every tab that has the session open would read the row for each new input. */
function isSameToLookAt(a: RuntimeRow, b: RuntimeRow): boolean {
  return a.state === b.state && a.run?.runId === b.run?.runId && a.digest === b.digest && a.messageCount === b.messageCount;
}

/** What became of the inputs that a dead tab left. Counts of inputs. */
export interface RecoveryReport {
  /** Inputs that are live after the recovery. */
  recovered: number;
  /** Inputs that went back to the queue. */
  requeued: number;
  /** Inputs whose receipt was stored. */
  consumed: number;
  /** Inputs that were given up, because their owners died too often while they ran. */
  abandoned: number;
  /** Ephemeral inputs whose tab is gone. */
  dropped: number;
}

/**
 * Recovers the inputs of a session without an owner; only if no lease is live. Each input goes to the phase that the stored facts prove.
 * A lease that ran out is released, so that an owner that merely slept finds it gone.
 */
export function recover(
  draft: Draft,
  { lease, farewell, received, attachments }: SessionState,
  self: Pick<Attachment, "host" | "hasLocks">,
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
  // A caller stored this state; no run is under way.
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

/** Releases the lease and raises its fencing token: every later write of its holder is refused. */
export function fencedOff(lease: LeaseRow): LeaseRow {
  return { ...released(lease, true), fencingToken: lease.fencingToken + 1 };
}

/**
 * Whether an executor owns the session: its lease is live, or it ran out while its host slept and may return. This host's own executor
 * continues what is its own. For a lease of another host, executors decide when they have waited long enough.
 */
export function isOwned({ lease, farewell }: Pick<SessionState, "lease" | "farewell">, self: Attachment, nowMs: number): boolean {
  if (lease?.leaseToken === undefined || farewell) return false;
  if (isLive(lease, nowMs)) return true;
  return lease.bootId === self.host.bootId ? self.handler : self.hasLocks && lease.locked === 1;
}

/** The work ids under which no input can be tried again. */
function worksOf(changed: readonly InputChange[]): string[] {
  const works = changed.flatMap(({ before, after }) => {
    const isOver = !after || isTerminal(after.record.currentState) || after.workId !== before?.workId;
    return isOver && before?.workId !== undefined ? [before.workId] : [];
  });
  return [...new Set(works)];
}
