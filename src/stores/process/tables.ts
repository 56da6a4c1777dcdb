import type { JsonValue } from "../../domain/json.js";
import type { ProcessEventSemantics } from "../../domain/process/event.js";
import type { ProcessEventType } from "../../domain/process/event-type.js";
import type {
  ProcessAwaitOutput,
  ProcessExternalRef,
  ProcessHandleDescriptor,
  ProcessInput,
  ProcessProgress,
  ProcessProvenance,
  ProcessState,
} from "../../domain/process/process.js";
import type { ProcessAttempts } from "../../domain/process/wait.js";
import type { ProcessScope } from "../../domain/scope.js";
import { flag, json, list, maybe, object, type RowOf, table, text, time, whole } from "../table.js";

export const processes = table(
  "processes",
  {
    key: ["processId"],
    indexes: {
      byState: ["state", "processId"],
      runnable: ["runnable", "processId"],
      ended: ["endedAtMs", "processId"],
      cancelling: ["cancelling", "processId"],
      endsWith: ["endsWith", "processId"],
      external: ["externalAtMs", "processId"],
      due: ["parked", "dueAtMs", "processId"],
      limited: ["limited", "limitKey", "createdAtMs", "processId"],
      overdue: ["limited", "deadlineAtMs", "processId"],
    },
    columns: {
      processId: text,
      registrationHash: text,
      provenance: object<ProcessProvenance>,
      /** The name of the handler that runs it, if a handler does. */
      handler: maybe(text),
      /** Not every host runs "external" and "session_turn". */
      inputType: text<ProcessInput["type"]>,
      /** What a host needs to run it, only while the process runs and a host may claim it. A host finds by this what it could claim, and reads nothing else. */
      runnable: maybe(text),
      /** `runnable` instead of there, while no host may claim it: before `dueAtMs`; without that, until a write makes it claimable. */
      parked: maybe(text),
      /** Only while it is parked: from when on a host may claim it. */
      dueAtMs: maybe(time),
      /** Only while it is parked: its run gave the handler up and waits for what the waits table holds. */
      suspended: maybe(flag),
      /** `runnable` instead of there, while a limit holds it back. */
      limited: maybe(text),
      /** Both only while a limit holds it back: the key of the limit, and since when. */
      limitKey: maybe(text),
      limitedAtMs: maybe(time),
      /** Only while a limit holds it back: no owner ever claimed it, so a cancel request ends it at once. */
      unclaimed: maybe(flag),
      /** Only while it runs: a claim of it was counted for the rate of a limit. The next one counts only after its handler threw. */
      rated: maybe(flag),
      /** Only while it runs: there may be rows of it in the waits table. */
      mayWait: maybe(flag),
      /** Only while it runs: when it ends as failed, counted from its first claim. */
      deadlineAtMs: maybe(time),
      /** The runs whose handlers threw and that are followed by another run. `retryAtMs`: only in the pause before that. */
      attempts: maybe(object<FailedAttempts>),
      /** No host claims it before. It stays as it was given. */
      startAtMs: maybe(time),
      restarts: maybe(object<Restarts>),
      createdAtMs: time,
      updatedAtMs: time,
      /** `updatedAtMs` again, only while an external process runs. */
      externalAtMs: maybe(time),
      externalRef: maybe(object<ProcessExternalRef>),
      state: text<ProcessState>,
      /** Both only after it has ended. */
      awaitOutput: maybe(object<ProcessAwaitOutput>),
      endedAtMs: maybe(time),
      progress: maybe(object<ProcessProgress>),
      /** The sequence of the newest event; 0 before the first. */
      lastSequence: whole,
      /** The reason of the first cancel request. */
      cancelRequested: maybe(text),
      /** `runnable` again, only if it was asked to cancel. */
      cancelling: maybe(text),
      /** The id of the process at whose end it is cancelled, only while it runs. */
      endsWith: maybe(text),
      /** Only while it runs: there may be processes that end with it. */
      endsChildren: maybe(flag),
      /** The fencing token under which a lease holder last stored an event. */
      progressFence: maybe(whole),
    },
  },
  ({ provenance }) => isScope(provenance.ownerScope),
);
export type ProcessRow = RowOf<typeof processes>;

/** The restarts of a process that had ended. */
export interface Restarts {
  readonly count: number;
  /** Of the newest restart: ends before it are ends no more. */
  readonly sequence: number;
  /** Of the command of the newest restart. */
  readonly nonce: string;
  /** First and last sequence of each interval in which the events of runs count as absent. */
  readonly forgotten: readonly (readonly [number, number])[];
}

export interface FailedAttempts extends ProcessAttempts {
  /** When the last of them failed. */
  readonly atMs: number;
}

/**
 * What a running process waits for, and how often a step of it was tried. A row goes with the result of its key, and all go with the end of
 * the process.
 */
export const waits = table("waits", {
  key: ["processId", "kind", "key"],
  columns: {
    processId: text,
    /** `step`: the tries of a step; it waits only before its `dueAtMs`. */
    kind: text<"timer" | "signal" | "step">,
    /** The key of the wait or step. */
    key: text,
    sinceMs: time,
    /** When a timer or a pause between tries ends, and when a wait for a signal times out. */
    dueAtMs: maybe(time),
    /** The name of the awaited signal. */
    name: maybe(text),
    /** How often the step was tried and threw. */
    failed: maybe(whole),
  },
});
export type WaitRow = RowOf<typeof waits>;

/** When runs of a limit's key began, where the limit has a rate. */
export const rates = table(
  "rates",
  {
    key: ["limitKey"],
    indexes: { over: ["overAtMs", "limitKey"] },
    columns: {
      limitKey: text,
      /** The last claims that counted, the oldest first: as many as the highest count that the key was judged by. */
      claimsAtMs: list<number>,
      /** No window has one of the claims in it from then on. */
      overAtMs: time,
    },
  },
  ({ claimsAtMs }) => claimsAtMs.every((atMs) => Number.isFinite(atMs)),
);
export type RateRow = RowOf<typeof rates>;

/** The parts of a process that may be large and never change. An append reads them only for a declared event type, and never writes them. */
export const registrations = table(
  "registrations",
  {
    key: ["processId"],
    indexes: { bySession: ["sessionId", "processId"] },
    columns: {
      processId: text,
      sessionId: text,
      input: object<ProcessInput>,
      /** Only the declared types: a later version may add core types. */
      eventTypes: list<ProcessEventType>,
    },
  },
  ({ eventTypes }) => eventTypes.every((type) => typeof type?.name === "string"),
);
export type RegistrationRow = RowOf<typeof registrations>;

export const events = table(
  "events",
  {
    key: ["processId", "sequence"],
    indexes: {
      pendingWakes: ["processId", "pendingWake"],
      byReplayKey: ["processId", "replayKey"],
      pendingSignals: ["processId", "pendingSignal", "sequence"],
    },
    columns: {
      processId: text,
      sequence: whole,
      eventType: text,
      payload: json<JsonValue>,
      /**
       * One event of a process counts under a given key: the newest that no restart forgot. In an older database an app's event may have
       * holdfast's own key: then holdfast's event has it, too.
       */
      replayKey: maybe(text),
      semantics: maybe(object<ProcessEventSemantics>),
      occurredAtMs: time,
      /** The fencing token of the lease that it was stored under. */
      fencingToken: maybe(whole),
      /** The id of its wake and the scope that the wake is for. */
      wake: maybe(object<{ readonly wakeId: string; readonly target: ProcessScope }>),
      /** The sequence again, only while its wake is not acknowledged. */
      pendingWake: maybe(whole),
      /** The name of the signal that it is, only while no wait has taken it. */
      pendingSignal: maybe(text),
    },
  },
  ({ wake }) => wake === undefined || (typeof wake.wakeId === "string" && isScope(wake.target)),
);
export type EventRow = RowOf<typeof events>;

export const grants = table("grants", {
  key: ["scopeId", "processId"],
  indexes: { byProcess: ["processId", "sessionId", "scopeId"], bySession: ["sessionId", "scopeId", "processId"] },
  columns: { scopeId: text, processId: text, sessionId: text, descriptor: object<ProcessHandleDescriptor> },
});
export type GrantRow = RowOf<typeof grants>;

function isScope(scope: Partial<ProcessScope> | null | undefined): boolean {
  return typeof scope?.sessionId === "string";
}
