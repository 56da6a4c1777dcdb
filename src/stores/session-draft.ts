import { HoldfastError } from "../domain/errors.js";
import { type AbandonReason, isTerminal } from "../domain/input.js";
import type { Change } from "../ports/notices.js";
import type { Reader, Write } from "../ports/storage.js";
import { accept, type Decision } from "./command.js";
import { loadInputKeys, loadLiveInputs } from "./input-rows.js";
import { type InputChange, inputWrites } from "./input-rows.rules.js";
import { abandoned, recovered } from "./inputs.rules.js";
import { isLive, released } from "./leases.rules.js";
import { afterRun } from "./runtime-state.rules.js";
import {
  type AttachmentRow,
  type InputKeyRow,
  type InputRow,
  type LeaseRow,
  loadRow,
  type RuntimeRow,
  readable,
} from "./schema.js";

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

export function checkRuntime(row: RuntimeRow | undefined, { runtimeId, incarnation }: SessionRef): LiveRuntimeRow {
  if (row?.state === undefined || row.sessionId === undefined || row.incarnation !== incarnation) {
    throw new HoldfastError("not-found", `the session of runtime "${runtimeId}" was deleted`, { details: { runtimeId } });
  }
  return row as LiveRuntimeRow;
}

/** What lies around a session's inputs: enough to tell who may go on with it, and what a dead owner left. */
export interface Surroundings {
  readonly runtime: RuntimeRow | undefined;
  readonly lease: LeaseRow | undefined;
  /** The lease's host said goodbye. */
  readonly farewell: boolean;
  /** In the order of their admission. */
  readonly live: readonly InputRow[];
  /** The idempotency keys that these have. */
  readonly keys: readonly InputKeyRow[];
  /** Ids of applied inputs whose receipt is stored. */
  readonly received: ReadonlySet<string>;
  readonly attachments: readonly AttachmentRow[];
}

export const SURROUNDINGS = ["runtimes", "leases", "hosts", "inputs", "inputKeys", "receipts", "attachments"] as const;

/** `known` are the live rows, where they were read already. */
export async function loadSurroundings(reader: Reader, runtimeId: string, known?: readonly InputRow[]): Promise<Surroundings> {
  const [runtime, lease, live, attachments] = await Promise.all([
    loadRow(reader, "runtimes", runtimeId),
    loadRow(reader, "leases", runtimeId),
    known ?? loadLiveInputs(reader, runtimeId),
    reader.range("attachments", { prefix: [runtimeId] }),
  ]);
  const [farewell, keys] = await Promise.all([
    lease?.bootId === undefined ? undefined : reader.get("hosts", lease.bootId),
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
    farewell: farewell !== undefined,
    live,
    keys,
    received,
    attachments: readable("attachments", attachments),
  };
}

export function isAttached({ expiresAtMs }: AttachmentRow, nowMs: number): boolean {
  return expiresAtMs > nowMs;
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
  done<Reply>(reply: Reply, ...changes: Change[]): Decision<Reply>;
}

export function draftOf(stored: LiveRuntimeRow, rows: readonly InputRow[], keys: readonly InputKeyRow[], nowMs: number): Draft {
  let runtime = stored;
  const live = new Map(rows.map((row) => [row.inputId, row]));
  const before = new Map(live);
  /** Absent: it goes. */
  const touched = new Map<string, InputRow | undefined>();
  const others: Write[] = [];

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
    done(reply, ...changes) {
      const changed: InputChange[] = [...touched].map(([inputId, after]) => ({ before: before.get(inputId), after }));
      const inputs = inputWrites(changed, keys);
      if (inputs.endedKeys !== 0) draft.update({ endedKeys: runtime.endedKeys + inputs.endedKeys });
      const writes: Write[] = [...others, ...inputs.writes];
      const told: Change[] = [...changes];
      for (const member of touched.keys()) told.push({ about: "input", id: stored.runtimeId, member });
      if (runtime !== stored) {
        runtime = { ...runtime, updatedAtMs: nowMs };
        writes.push({ table: "runtimes", put: runtime });
        told.push({ about: "runtime", id: stored.runtimeId });
      }
      return accept(reply, writes, told);
    },
  };
  return draft;
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
export function recover(draft: Draft, { lease, farewell, received, attachments }: Surroundings, nowMs: number): RecoveryReport {
  const report: RecoveryReport = { recovered: 0, requeued: 0, consumed: 0, abandoned: 0, dropped: 0 };
  const inOrder = lease?.endedInOrder === 1 || farewell;
  const boots = new Set(attachments.filter((row) => isAttached(row, nowMs)).map(({ bootId }) => bootId));
  for (const row of draft.live) {
    if (row.record.durability === "ephemeral" && !(row.bootId !== undefined && boots.has(row.bootId))) {
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

/** Somebody is at work: a live lease whose host has not said goodbye. */
export function isOwned({ lease, farewell }: Pick<Surroundings, "lease" | "farewell">, nowMs: number): boolean {
  return isLive(lease, nowMs) && !farewell;
}
