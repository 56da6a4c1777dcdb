import { RESTARTED_EVENT, STEP_EVENT } from "../../domain/process/event-type.js";
import { isRuntimeId } from "../../domain/runtime-id.js";
import { isTerminal } from "../../domain/session/input.js";
import type { AgentRow, FloorRow, HostRow, LeaseRow } from "../../stores/host/tables.js";
import type { EventRow, GrantRow, ProcessRow } from "../../stores/process/tables.js";
import type { InputKeyRow, InputRow } from "../../stores/session/inputs/tables.js";
import type { MessageRow, ReceiptRow, RuntimeRow, TurnStepRow } from "../../stores/session/tables.js";
import type { SealedRow } from "../../stores/vault/tables.js";
import type { ObservedRows } from "../machine/rows.js";
import { FLOW_RULES } from "./flow-rules.js";
import { SCHEDULE_RULES } from "./schedule-rules.js";
import type { RowRule, Trial } from "./trial.js";

const TERMINAL_STATES: ReadonlySet<unknown> = new Set(["completed", "failed", "cancelled"]);
const MOST_OWNER_DEATHS = 5;
/** Tries of the policy that holds where an app names none. */
const MOST_TRIES = 3;
/** A clock may be corrected by so much, and the pauses that it began stay. */
const SMALL_CORRECTION_MS = 1_000;
/** What the history of an input gives as the reason where a try of it ended and nothing failed. */
const NO_FAILURES: ReadonlySet<string> = new Set(["interrupted", "recovered from a crash"]);

/** The lease was live at some moment of the transaction: no more can be told from outside. */
const wasLive = (lease: LeaseRow | undefined, { commit }: Trial): lease is LeaseRow =>
  lease?.leaseToken !== undefined && lease.expiresAtMs > commit.sinceMs;

export const ROW_RULES: Readonly<Record<string, RowRule>> = {
  "a fencing token only grows, and with every grant": ({ changes, rows, was }) =>
    changes<LeaseRow>("leases").map(({ before, after }) => {
      const floor = rows.get<FloorRow>("floors", "leases")?.floor ?? 0;
      if (!after) {
        const isKept = floor >= (before?.fencingToken ?? 0);
        return isKept ? undefined : `the lease row of ${before?.resource} is gone, and the floor ${floor} is below its fence`;
      }
      const fence = before?.fencingToken ?? was<FloorRow>("floors", "leases")?.floor ?? 0;
      const isGrant = after.leaseToken !== undefined && after.leaseToken !== before?.leaseToken;
      // A token grows by more than one if another command of the same transaction raised it, too.
      if (isGrant && after.fencingToken <= fence)
        return `${after.resource} was granted under fence ${after.fencingToken}, after ${fence}`;
      if (after.fencingToken < fence) return `the fence of ${after.resource} went from ${fence} back to ${after.fencingToken}`;
      return undefined;
    }),

  "a lease that ran out is not renewed": (trial) =>
    trial.changes<LeaseRow>("leases").map(({ before, after }) => {
      const isRenewal = after?.leaseToken !== undefined && after.leaseToken === before?.leaseToken;
      if (!isRenewal || !before || before.expiresAtMs > trial.commit.sinceMs) return undefined;
      return `${trial.commit.life.name} renewed the lease of ${after.resource}, which ran out at ${before.expiresAtMs}`;
    }),

  "no live lease is taken from its holder": (trial) =>
    trial.changes<LeaseRow>("leases").map(({ before, after }) => {
      if (before?.leaseToken === undefined || after?.leaseToken === before.leaseToken) return undefined;
      // The lease is over by the one clock of all hosts, at the end of the transaction if not at its begin.
      if (before.expiresAtMs <= trial.commit.untilMs) return undefined;
      const holder = trial.lifeOf(before.bootId);
      if (!holder || holder === trial.commit.life || holder.state === "gone" || holder.isLeaving) return undefined;
      if (trial.isOver(before.resource)) return undefined;
      return `${trial.commit.life.name} took the live lease of ${before.resource} from ${holder.name}`;
    }),

  "an expired lease of a host that is well is left to it": (trial) =>
    trial.changes<LeaseRow>("leases").map(({ before, after }) => {
      if (before?.leaseToken === undefined || after?.leaseToken === before.leaseToken || before.locked !== 1) return undefined;
      const holder = trial.lifeOf(before.bootId);
      if (!trial.hasLocks || holder === trial.commit.life || !trial.isWell(holder, 2 * trial.leaseTtlMs)) return undefined;
      if (trial.isOver(before.resource)) return undefined;
      return `${trial.commit.life.name} took the lease of ${before.resource} from ${holder?.name}, which is well`;
    }),

  "no write is accepted under a stale fence": (trial) => {
    const { commit, changes, rows, was } = trial;
    const held = (resource: string) => was<LeaseRow>("leases", resource);
    const isOwn = (lease: LeaseRow | undefined) => wasLive(lease, trial) && trial.lifeOf(lease.bootId) === commit.life;
    const events = changes<EventRow>("events").map(({ before, after }) => {
      if (before || after?.fencingToken === undefined) return undefined;
      const lease = held(after.processId);
      if (lease?.fencingToken === after.fencingToken && isOwn(lease)) return undefined;
      return `${commit.life.name} stored event ${after.sequence} of ${after.processId} under fence ${after.fencingToken}; the lease is ${leaseText(lease)}`;
    });
    const progress = changes<ProcessRow>("processes").map(({ before, after }) => {
      if (!after?.progress || after.progress.atMs === before?.progress?.atMs) return undefined;
      return isOwn(held(after.processId))
        ? undefined
        : `${commit.life.name} stored progress of ${after.processId} without its lease`;
    });
    const turns = [...changes<MessageRow>("messages"), ...changes<ReceiptRow>("receipts"), ...changes<TurnStepRow>("turnSteps")];
    const ofTurns = turns.map(({ after }) => {
      if (!after) return undefined;
      const runtimeId = String(after.runtimeId);
      const lease = held(runtimeId);
      // A transcript that was handed over whole becomes rows as its next turn begins.
      const granted = rows.get<LeaseRow>("leases", runtimeId);
      const isBegun = granted?.leaseToken !== lease?.leaseToken && isOwn(granted);
      return isOwn(lease) || isBegun
        ? undefined
        : `${commit.life.name} wrote a turn of ${runtimeId}; the lease is ${leaseText(lease)}`;
    });
    return [...events, ...progress, ...ofTurns];
  },

  "a live lease that its holder hands back ended in order, and counts for nothing": (trial) =>
    trial.changes<LeaseRow>("leases").map(({ before, after }) => {
      if (!before || !after) return undefined;
      // The count of a session's owners is never looked at.
      if (!isRuntimeId(after.resource) && before.endedInOrder && after.fruitless > before.fruitless)
        return `the owner of ${after.resource} ended in order, and was counted as one that died`;
      const isHandedBack = before.leaseToken !== undefined && after.leaseToken === undefined;
      if (!isHandedBack || before.expiresAtMs <= trial.commit.untilMs) return undefined;
      if (after.endedInOrder || trial.lifeOf(before.bootId) !== trial.commit.life) return undefined;
      return `${trial.commit.life.name} handed the lease of ${after.resource} back as one that died`;
    }),

  "what was refused is not stored": ({ changes }) =>
    changes<EventRow>("events").map(({ after }) =>
      after && String(after.payload).startsWith("refused:")
        ? `${after.payload} is event ${after.sequence} of ${after.processId}`
        : undefined,
    ),

  "what was appended once is stored once": ({ changes, rows }) =>
    changes<EventRow>("events").map(({ before, after }) => {
      if (before || !after || !String(after.payload).startsWith("once:")) return undefined;
      const { processId, payload, sequence } = after;
      for (let earlier = 1; earlier < sequence; earlier++) {
        if (rows.get<EventRow>("events", processId, earlier)?.payload === payload)
          return `${payload} is stored as event ${earlier} and as event ${sequence} of ${processId}`;
      }
      return undefined;
    }),

  "a transfer is all or nothing": ({ changes, rows }) => {
    const grants = changes<GrantRow>("grants");
    const moved = grants.flatMap(({ before, after }) => (before && !after && before.descriptor.kind !== "loan" ? [before] : []));
    return [...new Set(moved.map(({ descriptor }) => descriptor.label))].map((label) => {
      const of = (row: GrantRow | undefined) => row?.descriptor.label === label;
      const left = moved.filter(of);
      if (left[0]?.descriptor.kind === "kept") return `parcel ${label} was handed over without what is not there`;
      const put = grants.filter(({ before, after }) => !before && of(after));
      const scopes = new Set(
        rows
          .all<GrantRow>("grants")
          .filter(of)
          .map(({ scopeId }) => scopeId),
      );
      if (put.length === left.length && scopes.size === 1) return undefined;
      return `parcel ${label} was handed over by parts: ${left.length} of it went, and ${put.length} came`;
    });
  },

  "sequences are dense": ({ changes, rows, was }) => [
    ...changes<EventRow>("events").map(({ before, after }) => {
      if (!after)
        return rows.get("processes", String(before?.processId)) && `event ${before?.sequence} of ${before?.processId} is gone`;
      if (before) return isSameEvent(before, after) ? undefined : `event ${after.sequence} of ${after.processId} was changed`;
      if (after.sequence === 1 || rows.get("events", after.processId, after.sequence - 1)) return undefined;
      return `event ${after.sequence} of ${after.processId} stands behind a gap`;
    }),
    ...changes<ProcessRow>("processes").map(({ after }) => {
      if (!after) return undefined;
      const { processId, lastSequence } = after;
      const isLast =
        (lastSequence === 0 || rows.get("events", processId, lastSequence)) && !rows.get("events", processId, lastSequence + 1);
      const grew = lastSequence >= (was<ProcessRow>("processes", processId)?.lastSequence ?? 0);
      return isLast && grew ? undefined : `${processId} counts ${lastSequence} events, which is not how many there are`;
    }),
  ],

  "a replay key is stored once": ({ changes, rows }) =>
    changes<EventRow>("events").map(({ before, after }) => {
      if (before || after?.replayKey === undefined) return undefined;
      const { processId, replayKey, sequence } = after;
      for (let earlier = 1; earlier < sequence; earlier++) {
        const event = rows.get<EventRow>("events", processId, earlier);
        if (event?.replayKey === replayKey && !isForgottenEvent(rows, event))
          return `${replayKey} is stored as event ${earlier} and as event ${sequence}`;
      }
      return undefined;
    }),

  "each step's result is stored once": ({ changes, rows }) =>
    changes<EventRow>("events").map(({ before, after }) => {
      if (before || after?.eventType !== STEP_EVENT) return undefined;
      const { key } = after.payload as { key: string };
      for (let earlier = 1; earlier < after.sequence; earlier++) {
        const event = rows.get<EventRow>("events", after.processId, earlier);
        if (event?.eventType === STEP_EVENT && (event.payload as { key: string }).key === key && !isForgottenEvent(rows, event))
          return `step ${key} of ${after.processId} is stored as event ${earlier} and as event ${after.sequence}`;
      }
      return undefined;
    }),

  "a process ends once": ({ changes, rows }) => [
    ...changes<ProcessRow>("processes").map(({ before, after }) => {
      if (!before || !TERMINAL_STATES.has(before.state)) return undefined;
      const isRestarted = changes<EventRow>("events").some(
        (event) => !event.before && event.after?.eventType === RESTARTED_EVENT && event.after.processId === before.processId,
      );
      if (isRestarted && before.state !== "completed") return undefined;
      if (after?.state === before.state && JSON.stringify(after.awaitOutput) === JSON.stringify(before.awaitOutput))
        return undefined;
      return `${before.processId} had ended as ${before.state} and is ${after?.state ?? "gone"}`;
    }),
    ...changes<EventRow>("events").map(({ before, after }) => {
      if (before || !after?.semantics?.terminal) return undefined;
      for (let earlier = after.sequence - 1; earlier > 0; earlier--) {
        const event = rows.get<EventRow>("events", after.processId, earlier);
        if (event?.eventType === RESTARTED_EVENT) break;
        if (event?.semantics?.terminal)
          return `${after.processId} ended with event ${earlier} and again with event ${after.sequence}`;
      }
      const { state } = rows.get<ProcessRow>("processes", after.processId) ?? {};
      return state === after.semantics.terminal.state ? undefined : `${after.processId} ended and is ${state}`;
    }),
  ],

  "a stored input stays, and ends once": ({ changes, rows }) =>
    changes<InputRow>("inputs").map(({ before, after }) => {
      if (!before) return undefined;
      const { inputId, record } = before;
      if (!after) {
        if (record.durability === "ephemeral" || !rows.get("runtimes", before.runtimeId)) return undefined;
        return `input ${inputId} is gone`;
      }
      if (!isTerminal(record.currentState) || after.record.currentState === record.currentState) return undefined;
      return `input ${inputId} was ${record.currentState} and is ${after.record.currentState}`;
    }),

  "an input is given up when five owners died over it": ({ changes }) =>
    changes<InputRow>("inputs").map(({ before, after }) => {
      if (!before || !after || after.record.recoveryCount === before.record.recoveryCount) return undefined;
      const died = (before.crashes ?? 0) + 1;
      const { currentState, terminalOutcome } = after.record;
      const isGivenUp = terminalOutcome?.outcomeType === "abandoned" && typeof terminalOutcome.reason === "object";
      // The end of the input may have been asked for in the same transaction.
      const isRight = died < MOST_OWNER_DEATHS ? !isGivenUp : currentState === "abandoned";
      if (after.crashes === died && isRight) return undefined;
      return `over input ${after.inputId}, which is ${currentState}, ${died} owners died, and ${after.crashes} are counted`;
    }),

  "an input is not run before its pause is over": ({ changes, commit }) =>
    changes<InputRow>("inputs").map(({ before, after }) => {
      const { retryAtMs, updatedAtMs = 0 } = before?.record ?? {};
      if (retryAtMs === undefined || after?.record.currentState !== "staged" || retryAtMs <= commit.untilMs) return undefined;
      // A clock that was set back since then ends the pause.
      if (commit.sinceMs < updatedAtMs - SMALL_CORRECTION_MS) return undefined;
      return `${commit.life.name} runs input ${after.inputId} at ${commit.untilMs}, which is paused until ${retryAtMs}`;
    }),

  "an input is not run after its last try failed": ({ changes }) =>
    changes<InputRow>("inputs").map(({ before, after }) => {
      if (after?.record.currentState !== "staged" || before?.record.lastRunId === after.record.lastRunId) return undefined;
      const failures = after.record.history.filter(
        ({ from, to, reason = "" }) => from === "staged" && to === "queued" && !NO_FAILURES.has(reason),
      ).length;
      return failures < MOST_TRIES ? undefined : `input ${after.inputId} is run again after ${failures} failures`;
    }),

  "an input whose end was asked for is not run again": ({ changes }) =>
    changes<InputRow>("inputs").map(({ before, after }) => {
      if (!before?.cancelRequested || !after || isTerminal(after.record.currentState)) return undefined;
      const isAgain =
        after.record.currentState !== before.record.currentState || after.record.lastRunId !== before.record.lastRunId;
      return isAgain ? `input ${after.inputId} was cancelled and is ${after.record.currentState} again` : undefined;
    }),

  "an input replaces what waits under its key": ({ changes, rows, was }) =>
    changes<InputRow>("inputs").map(({ before, after }) => {
      const key = after && !before && replacingKey(after);
      if (!key) return undefined;
      const ofKey = rows.all<InputRow>("inputs").filter((row) => row.runtimeId === after.runtimeId && replacingKey(row) === key);
      const waits = (row: InputRow | undefined) => row?.record.currentState === "queued";
      const waited = ofKey.filter((row) => waits(was("inputs", row.runtimeId, row.inputId)));
      // Inputs that were handed back in the same transaction, behind this one.
      const returned = ofKey.filter(({ inputId }) => {
        const state = was<InputRow>("inputs", after.runtimeId, inputId)?.record.currentState;
        return state !== undefined && state !== "queued";
      });
      const most = Math.max(1, waited.length) + returned.filter(waits).length;
      const waiting = ofKey.filter(waits);
      return waiting.length > most ? `input ${after.inputId} waits beside ${waiting.length - 1} that it replaces` : undefined;
    }),

  "an idempotency key stands for its input": ({ changes, rows, was }) => [
    ...changes<InputRow>("inputs").map(({ before, after }) => {
      const key = after?.record.idempotencyKey;
      if (!after || key === undefined || (isTerminal(after.record.currentState) && after.record.durability === "ephemeral"))
        return undefined;
      const stored = rows.get<InputKeyRow>("inputKeys", after.runtimeId, key);
      const isItsOwn = !before || was<InputKeyRow>("inputKeys", after.runtimeId, key)?.inputId === after.inputId;
      if (!isItsOwn) return undefined;
      const { terminalOutcome: end } = after.record;
      const mayBeUsedAgain = end?.outcomeType === "abandoned" && end.reason !== "cancelled";
      const isNew = (inputId: string) => was("inputs", after.runtimeId, inputId) === undefined;
      // The key of an input that was given up stands for the input that was submitted under it in this commit.
      if (mayBeUsedAgain && stored && stored.inputId !== after.inputId && isNew(stored.inputId)) return undefined;
      if (stored?.inputId !== after.inputId) return `${key} does not stand for input ${after.inputId}`;
      const isOver = isTerminal(after.record.currentState);
      return (stored.endedAtMs !== undefined) === isOver
        ? undefined
        : `${key} does not tell whether input ${after.inputId} ended`;
    }),
    ...changes<RuntimeRow>("runtimes").map(({ after }) => {
      if (!after) return undefined;
      const ended = rows
        .all<InputKeyRow>("inputKeys")
        .filter(({ runtimeId, endedAtMs }) => runtimeId === after.runtimeId && endedAtMs !== undefined);
      return ended.length === after.endedKeys ? undefined : `${after.runtimeId} counts ${after.endedKeys} keys of ended inputs`;
    }),
  ],

  "an input that was run has a receipt of the same write": ({ changes, rows }) =>
    changes<InputRow>("inputs").map(({ before, after }) => {
      const isRun = after?.record.currentState === "consumed" && after.record.attemptCount > 0;
      if (!isRun || before?.record.currentState === "consumed") return undefined;
      const { runtimeId, inputId, record } = after;
      const { lastRunId = "", lastBoundarySequence = -1 } = record;
      const receipt = rows.get<ReceiptRow>("receipts", runtimeId, lastRunId, lastBoundarySequence);
      if (receipt?.receipt.contributingInputIds.includes(inputId)) return undefined;
      return `input ${inputId} is consumed by run ${lastRunId}, which has no receipt of it`;
    }),

  "an input has one receipt": ({ changes, rows }) => [
    ...changes<ReceiptRow>("receipts").flatMap(({ before, after }) => {
      if (before) return [`the receipt of run ${before.runId} was changed`];
      return (after?.receipt.contributingInputIds ?? []).map((inputId) => {
        const receipts = rows.all<ReceiptRow>("receipts").filter(({ runtimeId }) => runtimeId === after?.runtimeId);
        const times = receipts.filter(({ receipt }) => receipt.contributingInputIds.includes(inputId)).length;
        if (times !== 1) return `input ${inputId} has ${times} receipts`;
        const input = rows.get<InputRow>("inputs", String(after?.runtimeId), inputId);
        // An ephemeral input is gone with its end.
        return !input || input.record.currentState === "consumed"
          ? undefined
          : `input ${inputId} has a receipt and is ${input.record.currentState}`;
      });
    }),
    ...changes<InputRow>("inputs").map(({ before, after }) => {
      if (after?.record.currentState !== "staged" || before?.record.currentState === "staged") return undefined;
      const receipt = rows
        .all<ReceiptRow>("receipts")
        .find((row) => row.runtimeId === after.runtimeId && row.receipt.contributingInputIds.includes(after.inputId));
      return receipt && `input ${after.inputId} is run again, and has the receipt of run ${receipt.runId}`;
    }),
  ],

  "a transcript has no gap": ({ changes, rows }) =>
    changes<RuntimeRow>("runtimes").map(({ after }) => {
      if (!after) return undefined;
      const { runtimeId, messageCount } = after;
      const isWhole =
        (messageCount === 0 || rows.get("messages", runtimeId, messageCount - 1)) &&
        !rows.get("messages", runtimeId, messageCount);
      return isWhole ? undefined : `${runtimeId} counts ${messageCount} messages, which is not how many there are`;
    }),

  "no host is taken for dead while it lives": (trial) =>
    trial.changes<HostRow>("hosts").map(({ before, after }) => {
      if (!after?.end || before?.end === after.end) return undefined;
      const life = trial.lifeOf(after.bootId);
      if (!life || life === trial.commit.life || life.isLeaving || life.state === "gone") return undefined;
      if (after.end !== "silent") return `${life.name} lives, and its agents went offline as of a host that ${after.end}`;
      return trial.isWell(life, trial.staleAfterMs) ? `${life.name} beats, and its agents went offline` : undefined;
    }),

  "no agent that is beaten for goes offline": (trial) =>
    trial.changes<AgentRow>("agents").map(({ before, after }) => {
      if (!after) return `agent ${before?.agentId} is gone`;
      if (after.ended !== "expired" || before?.ended === "expired") return undefined;
      const life = trial.lifeOf(before?.bootId);
      return trial.isWell(life, trial.staleAfterMs)
        ? `agent ${after.agentId} of ${life?.name}, which beats, went offline`
        : undefined;
    }),

  "an agent's incarnations only grow": ({ changes }) =>
    changes<AgentRow>("agents").map(({ before, after }) => {
      if (!before || !after || after.incarnation >= before.incarnation) return undefined;
      return `agent ${after.agentId} went from incarnation ${before.incarnation} back to ${after.incarnation}`;
    }),

  "a sealed record is changed by one who knew what it was": ({ changes, was }) =>
    changes<SealedRow>("sealed").map(({ before, after }) => {
      const revision = before?.revision ?? was<FloorRow>("floors", "sealed")?.floor ?? 0;
      return after && after.revision !== revision + 1
        ? `${after.name} went from revision ${revision} to ${after.revision}`
        : undefined;
    }),

  ...FLOW_RULES,
  ...SCHEDULE_RULES,
};

/** The key under which an input replaces others; undefined if its kind replaces none. */
function replacingKey({ record }: InputRow): string | undefined {
  const { persistedInput, policy } = record;
  const queueMode = policy?.decision.queueMode;
  if (queueMode !== "supersede" && queueMode !== "coalesce") return undefined;
  return `${persistedInput?.inputType} ${persistedInput?.supersessionKey}`;
}

/** Whether a restart of the process forgot what the event says. */
function isForgottenEvent(rows: ObservedRows, { processId, sequence }: EventRow): boolean {
  const forgotten = rows.get<ProcessRow>("processes", processId)?.restarts?.forgotten ?? [];
  return forgotten.some(([first, last]) => first <= sequence && sequence <= last);
}

function isSameEvent(before: EventRow, after: EventRow): boolean {
  const { pendingWake: _, pendingSignal: _1, ...was } = before;
  const { pendingWake: _2, pendingSignal: _3, ...is } = after;
  return JSON.stringify(was) === JSON.stringify(is);
}

function leaseText(lease: LeaseRow | undefined): string {
  if (lease?.leaseToken === undefined) return "free";
  return `held by ${lease.hostId} under fence ${lease.fencingToken} until ${lease.expiresAtMs}`;
}
