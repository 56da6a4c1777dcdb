import { HoldfastError } from "../../../domain/errors.js";
import {
  type AbandonReason,
  type InputKind,
  type InputPhase,
  isTerminal,
  type PolicyDecision,
  type RuntimeSemantics,
  type StoredInputState,
} from "../../../domain/session/input.js";
import type { RuntimeState } from "../../../domain/session/session.js";
import { builtInPolicy, type HandlingMode, isConsumedOnAccept, kindOf, laneOf, semanticsOf, startsRun } from "./policy.rules.js";
import type { InputRow } from "./tables.js";

/**
 * The life of an input. What is not in the table is refused. An input that has ended never changes again.
 *
 *     queued --stage--> staged --apply--> applied --> applied_pending_consumption --complete--> consumed
 *     staged --rollback--> queued, or abandoned after the last try        staged --cancel--> abandoned
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

/** After so many consecutive recoveries without a checkpoint, an input counts as the cause of the crashes and is given up. */
export const MOST_CRASHES = 5;

type Changes = Partial<StoredInputState>;

export function transition(row: InputRow, event: InputEvent, nowMs: number, reason: string, changes: Changes = {}): InputRow {
  const { record } = row;
  const from = record.currentState;
  const to = TABLE[event][from];
  if (to === undefined) {
    throw new HoldfastError("internal", `input "${record.inputId}" is ${from}: ${event} is refused`, {
      details: { inputId: record.inputId, phase: from, event },
    });
  }
  const history = [...record.history, { timestampMs: nowMs, from, to, reason }];
  // A pause ends with the wait, and what failed before does not count once the input is consumed.
  const { retryAtMs: _, error, ...kept } = record;
  const known = { ...kept, ...(error !== undefined && to !== "consumed" && { error }) };
  return { ...row, record: { ...known, currentState: to, history, updatedAtMs: nowMs, ...changes } };
}

/** Moves an accepted input to the queue, or to consumed. That happens in the write that stores it, so no reader sees "accepted". */
export function admitted(row: InputRow, nowMs: number): InputRow {
  const decision = row.record.policy?.decision;
  return decision && isConsumedOnAccept(decision)
    ? transition(row, "complete", nowMs, "consumed on accept", { terminalOutcome: { outcomeType: "consumed" } })
    : transition(row, "admit", nowMs, "admitted");
}

export function superseded(row: InputRow, by: string, nowMs: number): InputRow {
  return transition(row, "supersede", nowMs, `superseded by ${by}`, {
    terminalOutcome: { outcomeType: "superseded", supersededBy: by },
  });
}

export function coalesced(row: InputRow, into: string, nowMs: number): InputRow {
  return transition(row, "coalesce", nowMs, `coalesced into ${into}`, {
    terminalOutcome: { outcomeType: "coalesced", aggregateId: into },
  });
}

/** `cause` is the last error: it is stored, and added to the reason in the history. */
export function abandoned(row: InputRow, reason: AbandonReason, nowMs: number, cause?: string): InputRow {
  const text = typeof reason === "string" ? reason : "max_attempts_exhausted";
  return transition(row, "abandon", nowMs, cause === undefined ? text : `${text}: ${cause}`, {
    terminalOutcome: { outcomeType: "abandoned", reason },
    ...(cause !== undefined && { error: cause }),
  });
}

/** How the input was given up, if it was: after too many attempts, or by `cancel`. */
export function givenUpAs({ terminalOutcome }: StoredInputState): "failed" | "cancelled" | undefined {
  if (terminalOutcome?.outcomeType !== "abandoned") return undefined;
  const { reason } = terminalOutcome;
  if (typeof reason === "object") return "failed";
  return reason === "cancelled" ? "cancelled" : undefined;
}

/** The row after its run was interrupted in order. This is no failure and no crash, and crashes are counted from zero again. */
export function interrupted(row: InputRow, nowMs: number): InputRow {
  const { crashes: _, ...rest } = row;
  return { ...transition(rest, "rollback", nowMs, "interrupted"), interruptions: (row.interruptions ?? 0) + 1 };
}

/** The row after its owner died. */
function crashed(row: InputRow, nowMs: number): InputRow {
  const recoveryCount = row.record.recoveryCount + 1;
  const crashes = (row.crashes ?? 0) + 1;
  const counted = { ...row, crashes, record: { ...row.record, recoveryCount } };
  return crashes >= MOST_CRASHES
    ? abandoned(counted, { max_attempts_exhausted: { attempts: row.record.attemptCount } }, nowMs, "its owners died")
    : transition(counted, "rollback", nowMs, "recovered from a crash");
}

interface RecoveryFacts {
  /** Whether the receipt of its last run and boundary is stored. */
  hasReceipt: boolean;
  /** Whether its last owner ended in order. */
  inOrder: boolean;
}

/** The row of an input whose owner is gone, after its recovery. `undefined` if it needs none. */
export function recovered(row: InputRow, found: RecoveryFacts, nowMs: number): InputRow | undefined {
  switch (row.record.currentState) {
    case "accepted":
      return admitted(row, nowMs);
    case "staged":
      if (row.cancelRequested) return abandoned(row, "cancelled", nowMs);
      return found.inOrder ? interrupted(row, nowMs) : crashed(row, nowMs);
    case "applied":
    case "applied_pending_consumption": {
      if (found.hasReceipt)
        return transition(row, "complete", nowMs, "its receipt is stored", { terminalOutcome: { outcomeType: "consumed" } });
      const { terminalOutcome: _, ...record } = row.record;
      const uncounted = { ...row, record, interruptions: (row.interruptions ?? 0) + 1 };
      return transition(uncounted, "rollback", nowMs, "its receipt is missing");
    }
    default:
      return undefined;
  }
}

/** Why no executor can run a row that has not ended; absent if one can. */
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

export function isSameExecution(a: RuntimeSemantics, b: RuntimeSemantics): boolean {
  return a.executionKind === b.executionKind && a.peerResponseTerminalApplyIntent === b.peerResponseTerminalApplyIntent;
}

/** Whether the input waits for its next attempt, and none may begin yet. Its lane waits behind it. */
export function isPaused({ record: { retryAtMs, updatedAtMs } }: InputRow, nowMs: number): boolean {
  return retryAtMs !== undefined && nowMs < retryAtMs && !isSetBack(updatedAtMs, nowMs);
}

/** A clock that is corrected may go back by so much at once. */
const CORRECTION_MS = 1_000;

/** Whether the wall clock was set back since that time was stored: then a later time that was stored with it is no end of a wait. */
export function isSetBack(storedAtMs: number, nowMs: number): boolean {
  return nowMs < storedAtMs - CORRECTION_MS;
}

/** A queued row that is not corrupt, with what the choice of a batch needs. */
export interface QueuedInput {
  readonly row: InputRow;
  readonly kind: InputKind;
  readonly decision: PolicyDecision;
  readonly semantics: RuntimeSemantics;
}

export function queuedInputOf(row: InputRow): QueuedInput | undefined {
  const { currentState, persistedInput, policy, runtimeSemantics } = row.record;
  const kind = persistedInput && kindOf(persistedInput);
  if (currentState !== "queued" || !kind || !policy || !runtimeSemantics) return undefined;
  return { row, kind, decision: policy.decision, semantics: runtimeSemantics };
}

/**
 * Whether the input begins a run by itself. A row that a caller stored holds only the decision of that moment: "none" for a busy runtime
 * does not mean "never".
 */
export function doesStart({ row, kind, decision }: QueuedInput): boolean {
  if (row.starts !== undefined) return row.starts === 1;
  return startsRun(decision) || startsRun(builtInPolicy({ kind, idle: true }));
}

/**
 * The key by which a new input finds the one that it replaces: the first that waits under it, in the queue before the steer lane. The
 * name of a kind has no blank.
 */
export function replaceKeyOf(lane: HandlingMode, kind: InputKind, supersessionKey: string): string {
  return `${lane} ${kind} ${supersessionKey}`;
}

export function replaceKeyIn(row: InputRow): string | undefined {
  const waiting = queuedInputOf(row);
  const key = row.record.persistedInput?.supersessionKey;
  return waiting && typeof key === "string" ? replaceKeyOf(laneOf(waiting.decision), waiting.kind, key) : undefined;
}

export function isIdle(state: RuntimeState): boolean {
  return state === "idle" || state === "attached" || state === "initializing";
}
