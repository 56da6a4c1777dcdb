import { type Backoff, pauseAfter } from "../../domain/retry.rules.js";
import {
  abandoned,
  doesStart,
  isPaused,
  isSameExecution,
  type QueuedInput,
  queuedInputOf,
  transition,
} from "./inputs/inputs.rules.js";
import { type HandlingMode, laneOf } from "./inputs/policy.rules.js";
import type { InputRow } from "./inputs/tables.js";

/**
 * Chooses the inputs of the next run out of live rows, which are in the order of their admission. The steer lane goes before the queue,
 * and a lane waits while its first input is paused. An input that starts no run waits for one that does, in a lane that does not wait,
 * unless no more will come (`isDraining`). Inputs that were staged together are tried again together, because the steps of that attempt belong to exactly these
 * inputs.
 */
export function chooseBatch(rows: readonly InputRow[], isDraining: boolean, nowMs: number): InputRow[] {
  const queued = rows.map(queuedInputOf).filter((candidate) => candidate !== undefined);
  const lanes = (["steer", "queue"] as const).map((mode) => queued.filter(({ decision }) => laneOf(decision) === mode));
  // What stands behind a paused input wakes nothing either.
  const open = lanes.filter(([first]) => first && !isPaused(first.row, nowMs));
  const wakes = (candidate: QueuedInput) => doesStart(candidate) && !isPaused(candidate.row, nowMs);
  if (!isDraining && !open.flat().some(wakes)) return [];
  const [lane = []] = open;
  const [first] = lane;
  const batch: InputRow[] = [];
  for (const candidate of lane) {
    if (!first || !runsWith(candidate, first)) break;
    batch.push(candidate.row);
    if (isLast(candidate)) break;
  }
  return batch;
}

/** Whether two inputs of one lane may run together. */
function runsWith({ row, decision, semantics }: QueuedInput, first: QueuedInput): boolean {
  const isSameBoundary = laneOf(decision) === "queue" || semantics.boundary === first.semantics.boundary;
  return isSameBoundary && isSameExecution(semantics, first.semantics) && row.workId === first.row.workId;
}

function isLast({ kind, decision }: QueuedInput): boolean {
  return kind === "prompt" && laneOf(decision) === "queue";
}

/**
 * Whether these rows are enough to choose a batch of this lane: whatever other rows stand before, between or behind them, the batch ends
 * among them. Holds only for rows that do not change before the batch is chosen.
 */
export function endsBatch(rows: readonly InputRow[], lane: HandlingMode): boolean {
  const waiting = rows.map(queuedInputOf).filter((candidate) => candidate !== undefined && laneOf(candidate.decision) === lane);
  const [first] = waiting;
  return waiting.some((candidate) => candidate && first && (isLast(candidate) || !runsWith(candidate, first)));
}

/** The work id of an earlier attempt with exactly these inputs, if there was one. */
export function workOf(batch: readonly InputRow[]): string | undefined {
  const [first] = batch;
  return first?.workSize === batch.length ? first.workId : undefined;
}

export function staged(
  row: InputRow,
  run: { runId: string; workId: string; inputIds: readonly string[] },
  nowMs: number,
): InputRow {
  const next = transition(row, "stage", nowMs, "run started", {
    attemptCount: row.record.attemptCount + 1,
    lastRunId: run.runId,
  });
  return { ...next, workId: run.workId, workSize: run.inputIds.length };
}

/** Applied, pending and consumed in one step: the same write stores the receipt and the messages. */
export function consumed(row: InputRow, sequence: number, nowMs: number): InputRow {
  const applied = transition(row, "apply", nowMs, "boundary applied", { lastBoundarySequence: sequence });
  const pending = transition(applied, "pend", nowMs, "waits for the run to complete");
  return transition(pending, "complete", nowMs, "run completed", { terminalOutcome: { outcomeType: "consumed" } });
}

/** Why a turn failed, and what the tab that ran it makes of that. */
export interface TurnFailure {
  readonly cause: string;
  /** No further attempt can help. */
  readonly isFinal: boolean;
  readonly backoff: Backoff;
  /** A random number from 0 to 1. */
  readonly roll: number;
}

/** The rows of a batch after its run failed: queued again with one pause for all, or abandoned after the last attempt. */
export function rolledBack(rows: readonly InputRow[], failure: TurnFailure, nowMs: number): InputRow[] {
  const { cause, isFinal, backoff, roll } = failure;
  const isOver = (row: InputRow) => isFinal || failuresOf(row) >= backoff.attempts;
  const most = Math.max(0, ...rows.filter((row) => !isOver(row)).map(failuresOf));
  const retryAtMs = Math.min(Math.round(nowMs) + pauseAfter(backoff, most, roll), Number.MAX_SAFE_INTEGER);
  return rows.map((row) => {
    const { attemptCount, lastRunId: _, ...record } = row.record;
    if (isOver(row)) return abandoned(row, { max_attempts_exhausted: { attempts: attemptCount } }, nowMs, cause);
    const { crashes: __, ...rest } = row;
    return transition({ ...rest, record: { ...record, attemptCount } }, "rollback", nowMs, cause, { error: cause, retryAtMs });
  });
}

/** Attempts that ended with an error. */
function failuresOf({ record, interruptions = 0 }: InputRow): number {
  return record.attemptCount - record.recoveryCount - interruptions;
}
