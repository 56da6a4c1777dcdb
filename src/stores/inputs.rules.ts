import { HoldfastError } from "../domain/errors.js";
import {
  type AbandonReason,
  type InputKind,
  type InputPhase,
  isTerminal,
  type PolicyDecision,
  type RuntimeSemantics,
  type StoredInputState,
} from "../domain/input.js";
import type { RuntimeState } from "../domain/session.js";
import { builtInPolicy, type HandlingMode, isConsumedOnAccept, kindOf, laneOf, semanticsOf, startsRun } from "./policy.rules.js";
import type { InputRow } from "./schema.js";

/**
 * An input's life. What is not in the table is refused; whatever has ended stays as it is.
 *
 *     queued --stage--> staged --apply--> applied --> applied_pending_consumption --complete--> consumed
 *     staged --rollback--> queued, or abandoned after three failures        staged --cancel--> abandoned
 *     queued --supersede, coalesce--> superseded, coalesced                 all that lives --abandon--> abandoned
 */
export type InputEvent = "admit" | "stage" | "rollback" | "apply" | "pend" | "complete" | "supersede" | "coalesce" | "abandon";

const TABLE: Readonly<Record<InputEvent, Partial<Record<InputPhase, InputPhase>>>> = {
  admit: { accepted: "queued" },
  stage: { queued: "staged" },
  rollback: { staged: "queued", applied: "queued", applied_pending_consumption: "queued" },
  apply: { staged: "applied" },
  pend: { applied: "applied_pending_consumption" },
  complete: { accepted: "consumed", applied: "consumed", applied_pending_consumption: "consumed" },
  supersede: { queued: "superseded" },
  coalesce: { queued: "coalesced" },
  abandon: {
    accepted: "abandoned",
    queued: "abandoned",
    staged: "abandoned",
    applied: "abandoned",
    applied_pending_consumption: "abandoned",
  },
};

/** Failures, that is attempts that ended with an error, until an input is given up. */
export const MOST_FAILURES = 3;
/** Recoveries in a row without a checkpoint, until an input is held for what crashes its owner. */
export const MOST_CRASHES = 5;

type Changes = Partial<StoredInputState>;

function moved(row: InputRow, event: InputEvent, nowMs: number, reason: string, changes: Changes = {}): InputRow {
  const { record } = row;
  const from = record.currentState;
  const to = TABLE[event][from];
  if (to === undefined) {
    throw new HoldfastError("internal", `input "${record.inputId}" is ${from}: ${event} is refused`, {
      details: { inputId: record.inputId, phase: from, event },
    });
  }
  const history = [...record.history, { timestampMs: nowMs, from, to, reason }];
  return { ...row, record: { ...record, currentState: to, history, updatedAtMs: nowMs, ...changes } };
}

/** Stored as "accepted" for the moment in which nobody sees it: it is queued, or consumed, in the same write. */
export function admitted(row: InputRow, nowMs: number): InputRow {
  const decision = row.record.policy?.decision;
  return decision && isConsumedOnAccept(decision)
    ? moved(row, "complete", nowMs, "consumed on accept", { terminalOutcome: { outcomeType: "consumed" } })
    : moved(row, "admit", nowMs, "admitted");
}

export function staged(
  row: InputRow,
  run: { runId: string; workId: string; inputIds: readonly string[] },
  nowMs: number,
): InputRow {
  const next = moved(row, "stage", nowMs, "run started", {
    attemptCount: row.record.attemptCount + 1,
    lastRunId: run.runId,
  });
  return { ...next, workId: run.workId, workSize: run.inputIds.length };
}

export function superseded(row: InputRow, by: string, nowMs: number): InputRow {
  return moved(row, "supersede", nowMs, `superseded by ${by}`, {
    terminalOutcome: { outcomeType: "superseded", supersededBy: by },
  });
}

export function coalesced(row: InputRow, into: string, nowMs: number): InputRow {
  return moved(row, "coalesce", nowMs, `coalesced into ${into}`, {
    terminalOutcome: { outcomeType: "coalesced", aggregateId: into },
  });
}

/** `cause` is what the last straw was. */
export function abandoned(row: InputRow, reason: AbandonReason, nowMs: number, cause?: string): InputRow {
  const text = typeof reason === "string" ? reason : "max_attempts_exhausted";
  return moved(row, "abandon", nowMs, cause === undefined ? text : `${text}: ${cause}`, {
    terminalOutcome: { outcomeType: "abandoned", reason },
  });
}

/** Applied, pending and consumed in one write: the receipt, the messages and this stand or fall together. */
export function consumed(row: InputRow, sequence: number, nowMs: number): InputRow {
  const applied = moved(row, "apply", nowMs, "boundary applied", { lastBoundarySequence: sequence });
  const pending = moved(applied, "pend", nowMs, "waits for the run to complete");
  return moved(pending, "complete", nowMs, "run completed", { terminalOutcome: { outcomeType: "consumed" } });
}

/** Its run failed. */
export function rolledBack(row: InputRow, cause: string, nowMs: number): InputRow {
  const { attemptCount, recoveryCount } = row.record;
  if (attemptCount - recoveryCount - (row.interruptions ?? 0) >= MOST_FAILURES)
    return abandoned(row, { max_attempts_exhausted: { attempts: attemptCount } }, nowMs, cause);
  const { lastRunId: _, ...record } = row.record;
  const { crashes: __, ...rest } = row;
  return moved({ ...rest, record }, "rollback", nowMs, cause);
}

/** Its run ended in order before its time: no failure and no crash, and the end of a row of crashes. */
export function interrupted(row: InputRow, nowMs: number): InputRow {
  const { crashes: _, ...rest } = row;
  return { ...moved(rest, "rollback", nowMs, "interrupted"), interruptions: (row.interruptions ?? 0) + 1 };
}

/** Its owner died. */
function crashed(row: InputRow, nowMs: number): InputRow {
  const recoveryCount = row.record.recoveryCount + 1;
  const crashes = (row.crashes ?? 0) + 1;
  const counted = { ...row, crashes, record: { ...row.record, recoveryCount } };
  return crashes >= MOST_CRASHES
    ? abandoned(counted, { max_attempts_exhausted: { attempts: row.record.attemptCount } }, nowMs, "its owners died")
    : moved(counted, "rollback", nowMs, "recovered from a crash");
}

export interface Found {
  /** The receipt of its last run and boundary is stored. */
  hasReceipt: boolean;
  /** Its last owner ended in order. */
  inOrder: boolean;
}

/** What an input without an owner becomes; `undefined` where it is what it should be. */
export function recovered(row: InputRow, found: Found, nowMs: number): InputRow | undefined {
  switch (row.record.currentState) {
    case "accepted":
      return admitted(row, nowMs);
    case "staged":
      if (row.cancelRequested) return abandoned(row, "cancelled", nowMs);
      return found.inOrder ? interrupted(row, nowMs) : crashed(row, nowMs);
    case "applied":
    case "applied_pending_consumption": {
      if (found.hasReceipt)
        return moved(row, "complete", nowMs, "its receipt is stored", { terminalOutcome: { outcomeType: "consumed" } });
      const { terminalOutcome: _, ...record } = row.record;
      const uncounted = { ...row, record, interruptions: (row.interruptions ?? 0) + 1 };
      return moved(uncounted, "rollback", nowMs, "its receipt is missing");
    }
    default:
      return undefined;
  }
}

/** Why nobody can go on with a row that has not ended. */
export function corruption({ record }: InputRow): string | undefined {
  if (isTerminal(record.currentState)) return undefined;
  const what = `store corruption: input "${record.inputId}"`;
  if (!record.persistedInput) return `${what} has no persisted input`;
  if (!record.policy) return `${what} is missing runtime admission policy stamp`;
  if (!record.runtimeSemantics) return `${what} is missing runtime execution semantics stamp`;
  const kind = kindOf(record.persistedInput);
  if (!kind) return `${what} follows a peer convention that is not known`;
  return isSameSemantics(record.runtimeSemantics, semanticsOf(kind, record.policy.decision))
    ? undefined
    : `${what} has other runtime execution semantics than its policy and kind derive`;
}

function isSameSemantics(a: RuntimeSemantics, b: RuntimeSemantics): boolean {
  return a.boundary === b.boundary && isSameExecution(a, b);
}

function isSameExecution(a: RuntimeSemantics, b: RuntimeSemantics): boolean {
  return a.executionKind === b.executionKind && a.peerResponseTerminalApplyIntent === b.peerResponseTerminalApplyIntent;
}

/** A queued row that passed `corruption`, with what choosing needs. */
export interface Candidate {
  readonly row: InputRow;
  readonly kind: InputKind;
  readonly decision: PolicyDecision;
  readonly semantics: RuntimeSemantics;
}

export function candidateOf(row: InputRow): Candidate | undefined {
  const { currentState, persistedInput, policy, runtimeSemantics } = row.record;
  const kind = persistedInput && kindOf(persistedInput);
  if (currentState !== "queued" || !kind || !policy || !runtimeSemantics) return undefined;
  return { row, kind, decision: policy.decision, semantics: runtimeSemantics };
}

/** A row that a caller handed over says only how it was treated then: a busy moment's "none" is not "never". */
export function doesStart({ row, kind, decision }: Candidate): boolean {
  if (row.starts !== undefined) return row.starts === 1;
  return startsRun(decision) || startsRun(builtInPolicy({ kind, idle: true }));
}

/**
 * The inputs of the next run, out of live rows in the order of their admission. The steer lane goes before the queue; an input that
 * never wakes anybody waits for one that does, unless no more will come (`isDraining`). What was staged together is tried again together:
 * its steps are of exactly these inputs.
 */
export function chooseBatch(rows: readonly InputRow[], isDraining: boolean): InputRow[] {
  const queued = rows.map(candidateOf).filter((candidate) => candidate !== undefined);
  if (!isDraining && !queued.some(doesStart)) return [];
  const steer = queued.filter(({ decision }) => laneOf(decision) === "steer");
  const lane = steer.length > 0 ? steer : queued;
  const [first] = lane;
  const batch: InputRow[] = [];
  for (const candidate of lane) {
    if (!first || !runsWith(candidate, first)) break;
    batch.push(candidate.row);
    if (isLast(candidate)) break;
  }
  return batch;
}

/** Both of one lane. */
function runsWith({ row, decision, semantics }: Candidate, first: Candidate): boolean {
  const isSameBoundary = laneOf(decision) === "queue" || semantics.boundary === first.semantics.boundary;
  return isSameBoundary && isSameExecution(semantics, first.semantics) && row.workId === first.row.workId;
}

function isLast({ kind, decision }: Candidate): boolean {
  return kind === "prompt" && laneOf(decision) === "queue";
}

/**
 * Whether a batch of this lane ends among these rows, the first ones of it: whatever stands before, between or behind them, no batch goes
 * further than they do. Only of rows that stay as they are until it is chosen.
 */
export function endsBatch(rows: readonly InputRow[], lane: HandlingMode): boolean {
  const waiting = rows.map(candidateOf).filter((candidate) => candidate !== undefined && laneOf(candidate.decision) === lane);
  const [first] = waiting;
  return waiting.some((candidate) => candidate && first && (isLast(candidate) || !runsWith(candidate, first)));
}

/** What the steps of these inputs are stored under, where exactly they were tried before. */
export function workOf(batch: readonly InputRow[]): string | undefined {
  const [first] = batch;
  return first?.workSize === batch.length ? first.workId : undefined;
}

/** Whom a new input with this key replaces: the first that waits, the queue before the steer lane. */
export function findSuperseded(rows: readonly InputRow[], kind: InputKind, supersessionKey: string): InputRow | undefined {
  for (const lane of LANES) {
    const key = replaceKeyOf(lane, kind, supersessionKey);
    const match = rows.find((row) => replaceKeyIn(row) === key);
    if (match) return match;
  }
  return undefined;
}

/** In the order in which a new input looks for whom it replaces. */
export const LANES = ["queue", "steer"] as const satisfies HandlingMode[];

/** No kind has a blank in its name. */
export function replaceKeyOf(lane: HandlingMode, kind: InputKind, supersessionKey: string): string {
  return `${lane} ${kind} ${supersessionKey}`;
}

export function replaceKeyIn(row: InputRow): string | undefined {
  const waiting = candidateOf(row);
  const key = row.record.persistedInput?.supersessionKey;
  return waiting && typeof key === "string" ? replaceKeyOf(laneOf(waiting.decision), waiting.kind, key) : undefined;
}

export function isIdle(state: RuntimeState): boolean {
  return state === "idle" || state === "attached" || state === "initializing";
}
