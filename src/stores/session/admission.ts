import { accept, type Command, refuse } from "../../corridor/command.js";
import { HoldfastError } from "../../domain/errors.js";
import {
  type InputDurability,
  type InputKind,
  isTerminal,
  type PersistedInput,
  type PolicyDecision,
} from "../../domain/session/input.js";
import type { RuntimeState } from "../../domain/session/session.js";
import type { Reader } from "../../ports/storage.js";
import { loadRow, loadRows } from "../schema.js";
import { ROW_VERSION } from "../table.js";
import { checkRuntime, draftOf, type InputHappening, loadReplaceable, type SessionRef, sortOut, WORK_TABLES } from "./draft.js";
import { loadInput, loadInputKeys } from "./inputs/input-rows.js";
import { abandoned, admitted, coalesced, isIdle, superseded } from "./inputs/inputs.rules.js";
import { semanticsOf } from "./inputs/policy.rules.js";
import type { InputBlob, Rejection } from "./inputs/submission.js";
import type { InputKeyRow, InputRow } from "./inputs/tables.js";
import { acceptsInput, notReady } from "./runtime-state.rules.js";
import type { RuntimeRow } from "./tables.js";

/** The outcome of a submission. */
export type AcceptOutcome =
  /** The input is stored. */
  | { outcome: "accepted"; inputId: string }
  /** Its idempotency key stands for an input that is stored already. This one is not stored. */
  | { outcome: "deduplicated"; inputId: string; existingId: string }
  /** A session does not take such an input. Nothing is stored. */
  | { outcome: "rejected"; reason: string };

export interface AcceptInput extends SessionRef {
  readonly inputId: string;
  /** Made for this call. If the outcome of the first try is unknown, the second try finds its own row by it. */
  readonly ticket: string;
  readonly kind: InputKind;
  readonly persisted: PersistedInput;
  readonly durability: InputDurability;
  readonly idempotencyKey?: string;
  readonly supersessionKey?: string;
  readonly rejection?: Rejection;
  readonly blobs: readonly InputBlob[];
  /** The decisions of the session's policy for an idle and for a busy runtime. Only the command knows which one applies. */
  readonly policy: { readonly idle: PolicyDecision; readonly busy: PolicyDecision };
  /** Whether it begins a run by itself. */
  readonly starts: boolean;
  /** The host that submits it; stored with an ephemeral input. */
  readonly hostId: string;
}

interface AcceptState {
  readonly runtime: RuntimeRow | undefined;
  readonly existing: InputRow | undefined;
  readonly key: InputKeyRow | undefined;
  /** The ended input that the key stands for. If it was given up, the key may be used again. */
  readonly holder: InputRow | undefined;
  /** Keys of ended inputs that may be dropped: those that ended first, and the oldest ones over the limit. */
  readonly endedKeys: readonly InputKeyRow[];
  readonly surplusKeys: readonly InputKeyRow[];
  /** The waiting input that the new one may replace. */
  readonly old: InputRow | undefined;
  readonly oldKeys: readonly InputKeyRow[];
}

const KEY_LIFE_MS = 24 * 60 * 60 * 1000;
const MOST_ENDED_KEYS = 4_096;
/** Keys that one accept drops at most, so that none takes long. */
const KEYS_AT_ONCE = 256;

async function loadAccept(reader: Reader, input: AcceptInput): Promise<AcceptState> {
  const { runtimeId, inputId, idempotencyKey, supersessionKey, kind, policy } = input;
  const mayReplace = isReplacing(policy.idle) || isReplacing(policy.busy);
  const [runtime, existing, old] = await Promise.all([
    loadRow(reader, "runtimes", runtimeId),
    loadInput(reader, runtimeId, inputId),
    mayReplace && supersessionKey !== undefined ? loadReplaceable(reader, runtimeId, kind, supersessionKey) : undefined,
  ]);
  const found = { runtime, existing, old, oldKeys: await loadInputKeys(reader, runtimeId, [old?.record]) };
  if (idempotencyKey === undefined) return { ...found, key: undefined, holder: undefined, endedKeys: [], surplusKeys: [] };
  const surplus = (runtime?.endedKeys ?? 0) - MOST_ENDED_KEYS;
  const prefix = [runtimeId];
  const [key, endedKeys, surplusKeys] = await Promise.all([
    loadRow(reader, "inputKeys", [runtimeId, idempotencyKey]),
    loadRows(reader, "inputKeys", { index: "ended", prefix, limit: KEYS_AT_ONCE }),
    surplus > 0 ? loadRows(reader, "inputKeys", { index: "endedByRank", prefix, limit: surplus }) : [],
  ]);
  // An unreadable input keeps its key.
  const row = key?.endedAtMs === undefined ? undefined : await reader.get("inputs", [runtimeId, key.inputId]);
  return { ...found, key, holder: row && sortOut([row]).live[0], endedKeys, surplusKeys };
}

/** It ended without being consumed, and its caller did not want that. */
function wasGivenUp({ record: { terminalOutcome: end } }: InputRow): boolean {
  return end?.outcomeType === "abandoned" && end.reason !== "cancelled";
}

function isReplacing({ queueMode }: PolicyDecision): boolean {
  return queueMode === "coalesce" || queueMode === "supersede";
}

/** Stores an input. The same write ends the input that it replaces. */
export const acceptInput: Command<
  AcceptInput,
  AcceptState,
  { outcome: AcceptOutcome; happened: readonly InputHappening[]; state: RuntimeState }
> = {
  tables: ["runtimes", "inputs", "inputKeys", "blobs", ...WORK_TABLES],
  load: loadAccept,
  decide(state, input, nowMs) {
    const { runtimeId, inputId } = input;
    const runtime = checkRuntime(state.runtime, input);
    const reply = (outcome: AcceptOutcome, happened: readonly InputHappening[] = []) => ({
      outcome,
      happened,
      state: runtime.state,
    });
    const accepted: AcceptOutcome = { outcome: "accepted", inputId };
    if (state.existing?.ticket === input.ticket) return accept(reply(accepted));
    // A run that drains a retired runtime sets it to "running" meanwhile.
    const effective = runtime.run?.before === "retired" ? "retired" : runtime.state;
    if (!acceptsInput(effective)) return refuse(notReady(effective, "an input"));
    if (input.rejection) return accept(reply({ outcome: "rejected", reason: input.rejection }));

    const isOver = ({ endedAtMs }: InputKeyRow) => endedAtMs !== undefined && endedAtMs < nowMs - KEY_LIFE_MS;
    const { key, holder } = state;
    // The same submission again stands for itself, however its input ended.
    const isAgain = (row: InputKeyRow) => row.idempotencyKey === input.idempotencyKey && row.inputId === inputId;
    const letGo = [...state.endedKeys.filter(isOver), ...state.surplusKeys].filter((row) => !isAgain(row));
    const droppedKeys = new Map(letGo.map((row) => [row.idempotencyKey, row]));
    // A key that is used again is let go of, and stands for the new input, in one write.
    if (key && !isAgain(key) && (isOver(key) || (holder && wasGivenUp(holder)))) droppedKeys.set(key.idempotencyKey, key);
    if (key && !droppedKeys.has(key.idempotencyKey)) {
      const outcome: AcceptOutcome = { outcome: "deduplicated", inputId, existingId: key.inputId };
      return accept(reply(outcome, [{ code: "input.deduplicated", inputId }]));
    }
    if (state.existing) {
      return refuse(new HoldfastError("conflict", `input "${inputId}" is admitted already`, { details: { inputId, runtimeId } }));
    }

    const { old } = state;
    const known = [old, holder].filter((row) => row !== undefined);
    const draft = draftOf(runtime, known, state.oldKeys, nowMs);
    for (const { idempotencyKey } of droppedKeys.values()) draft.write({ table: "inputKeys", drop: [runtimeId, idempotencyKey] });
    const decision = input.policy[isIdle(runtime.state) ? "idle" : "busy"];
    const isFirst = decision.queueMode === "priority";
    const rank = isFirst ? runtime.firstRank - 1 : runtime.nextRank;
    draft.update({
      ...(isFirst ? { firstRank: rank } : { nextRank: rank + 1 }),
      endedKeys: runtime.endedKeys - droppedKeys.size,
    });
    const row = admitted({ ...rowOf(input, decision, rank, nowMs), since: runtime.messageCount }, nowMs);
    if (old && isReplacing(decision)) {
      const isAggregate = decision.queueMode === "coalesce";
      draft.put(isAggregate ? coalesced(old, inputId, nowMs) : superseded(old, inputId, nowMs));
    }
    draft.put(row);
    // Its key stands for another input from now on, so that no view shows it any more.
    if (holder?.givenUpSince !== undefined) draft.put(holder);
    for (const { hash, bytes } of input.blobs) draft.write({ table: "blobs", put: { v: ROW_VERSION, runtimeId, hash, bytes } });
    return draft.done(reply(accepted, [{ code: "input.accepted", inputId }, ...draft.happened]));
  },
  // An ephemeral input may have run, and its row may be gone, before the second try looks for its ticket.
  repeatable: ({ durability }) => durability !== "ephemeral",
};

function rowOf(input: AcceptInput, decision: PolicyDecision, rank: number, nowMs: number): InputRow {
  const { runtimeId, inputId, kind, persisted, durability, idempotencyKey } = input;
  return {
    v: ROW_VERSION,
    runtimeId,
    inputId,
    rank,
    starts: input.starts ? 1 : 0,
    ticket: input.ticket,
    ...(durability === "ephemeral" && { hostId: input.hostId }),
    record: {
      inputId,
      currentState: "accepted",
      policy: { version: decision.policyVersion, decision },
      runtimeSemantics: semanticsOf(kind, decision),
      durability,
      ...(idempotencyKey !== undefined && { idempotencyKey }),
      attemptCount: 0,
      recoveryCount: 0,
      history: [],
      persistedInput: persisted,
      createdAtMs: nowMs,
      updatedAtMs: nowMs,
    },
  };
}

/** Cancels an input. A queued one is abandoned. One that runs is marked, and its executor is told. */
export const cancelInput: Command<
  SessionRef & { inputId: string },
  { runtime: RuntimeRow | undefined; row: InputRow | undefined; keys: readonly InputKeyRow[] },
  readonly InputHappening[]
> = {
  tables: ["runtimes", "inputs", "inputKeys", ...WORK_TABLES],
  async load(reader, { runtimeId, inputId }) {
    const [runtime, row] = await Promise.all([loadRow(reader, "runtimes", runtimeId), loadInput(reader, runtimeId, inputId)]);
    return { runtime, row, keys: await loadInputKeys(reader, runtimeId, [row?.record]) };
  },
  decide({ runtime, row, keys }, input, nowMs) {
    const stored = checkRuntime(runtime, input);
    if (!row || isTerminal(row.record.currentState)) return accept([]);
    const draft = draftOf(stored, [row], keys, nowMs);
    draft.put(row.record.currentState === "queued" ? abandoned(row, "cancelled", nowMs) : { ...row, cancelRequested: 1 });
    return draft.done(draft.happened);
  },
  repeatable: () => true,
};
