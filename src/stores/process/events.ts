import { accept, afterPreparing, type Command, type Corridor, type Decision, refuse } from "../../corridor/command.js";
import { checkId, checkWhole, membersOf, optionsOf } from "../../domain/check.js";
import { invalid } from "../../domain/errors.js";
import type { JsonValue } from "../../domain/json.js";
import { checkLease, type ProcessLease } from "../../domain/lease.js";
import type { ProcessEvent, ProcessEventAppendRequest, ProcessEventAppendResult } from "../../domain/process/event.js";
import { CANCEL_REQUESTED, mayBeDeclared } from "../../domain/process/event-type.js";
import { restOfOwnKey } from "../../domain/process/own-key.js";
import type { ProcessAwaitOutput, ProcessRecord } from "../../domain/process/process.js";
import { checkScope } from "../../domain/scope.js";
import type { Limits } from "../../domain/time.js";
import type { Change } from "../../ports/notices.js";
import type { Reader, Write } from "../../ports/storage.js";
import { leaseChange, placeChange, released } from "../host/leases.rules.js";
import { loadRow, loadRows } from "../schema.js";
import { type DeclaredTypes, declaredTypes } from "./declared-types.js";
import { endChildren, loadChildren } from "./ends/children.js";
import {
  type Appended,
  type AppendInput,
  type AppendState,
  append,
  asOutput,
  cancelOf,
  endOf,
  eventChange,
  eventOf,
  eventTypeOf,
  isOwn,
  OUTPUT_MEMBERS,
  type PayloadVerdict,
} from "./events.rules.js";
import type { PayloadSchemas } from "./payload-schema.js";
import { processRecordOf, unknownProcess } from "./processes.rules.js";
import { admitPayload } from "./registration.js";
import { afterCancel } from "./runs/claimable.rules.js";
import { countingEvent, keyedSince, type Restarted } from "./runs/restarts.rules.js";
import type { EventRow, ProcessRow, RegistrationRow } from "./tables.js";

export const APPEND_TABLES = ["processes", "registrations", "events", "leases", "waits"] as const;

export async function loadAppend(reader: Reader, request: AppendInput, declared?: DeclaredTypes): Promise<AppendState> {
  const { processId, eventType, lease } = request;
  const reading = loadRow(reader, "processes", processId);
  const [process, eventTypes, leaseRow, replayed] = await Promise.all([
    reading,
    mayBeDeclared(eventType) ? declared?.load(reader, processId, reading) : undefined,
    lease ? loadRow(reader, "leases", lease.processId) : undefined,
    loadReplay(reader, request, reading),
  ]);
  // An event that ends nothing does not read what ends with the process.
  const isEnd = eventTypeOf(eventType, eventTypes)?.semantics?.terminal !== undefined || endsBy(eventType, process);
  const children = isEnd ? await loadChildren(reader, process) : [];
  return { process, eventTypes, lease: leaseRow, replayed, children };
}

/** The event that counts under the input's replay key, if there is one. The process's row tells what a restart forgot. */
export async function loadReplay(
  reader: Reader,
  request: AppendInput,
  of: Restarted | undefined | Promise<Restarted | undefined>,
): Promise<EventRow | undefined> {
  const [process, first] = await Promise.all([of, loadReplays(reader, request)]);
  const keyed = keyedSince(request, process);
  const rows = keyed === request ? first : await loadReplays(reader, keyed);
  return countingEvent(request.own ? rows.filter((row) => isOwn(row, request)) : rows, process);
}

async function loadReplays(reader: Reader, { processId, replayKey, formerKey }: AppendInput): Promise<EventRow[]> {
  const found = [replayKey, formerKey === replayKey ? undefined : formerKey].map((key) =>
    key === undefined ? [] : loadRows(reader, "events", { index: "byReplayKey", prefix: [processId, key] }),
  );
  return (await Promise.all(found)).flat();
}

/** The input with the declared types that are cached, and the verdict on its payload. */
type Appending = AppendInput & { schemas: PayloadSchemas; declared: DeclaredTypes; judged: { verdict?: PayloadVerdict } };

export const appendEvent: Command<Appending, AppendState, ProcessEventAppendResult> = {
  tables: APPEND_TABLES,
  load: (reader, input) => loadAppend(reader, input, input.declared),
  decide(state, { schemas, declared: _, judged, ...request }, nowMs) {
    const appended = append(state, request, judged.verdict, nowMs);
    if ("unjudged" in appended) {
      const { registrationHash, type } = appended.unjudged;
      return afterPreparing(async () => {
        judged.verdict = (await schemas.load()).judge(registrationHash, type, request.payload);
      });
    }
    return acceptEvent(appended, appended.result, state, nowMs);
  },
  repeatable: ({ replayKey }) => replayKey !== undefined,
};

export function acceptEvent<Reply>(appended: Appended, reply: Reply, state: AppendState, nowMs: number): Decision<Reply> {
  const { writes, changes } = withChildren(appended, state, nowMs);
  return accept(reply, writes, changes);
}

/**
 * What is written of the event, and what becomes of the processes that end with this one. A cancel request may end the process at once: both
 * events are one write. A replay changes nothing.
 */
function withChildren(
  appended: Appended,
  { process, children }: AppendState,
  nowMs: number,
): { writes: Write[]; changes: Change[] } {
  const { event } = appended.result;
  const end =
    appended.writes.length > 0 && endsBy(event.eventType, process) ? endAsCancelled(appended.process, nowMs) : undefined;
  const written = [appended, ...(end ? [end] : [])].filter(({ writes }) => writes.length > 0);
  const isEnd = written.some(({ result }) => result.event.semantics.terminal);
  const below = endChildren(isEnd ? children : [], nowMs);
  const isWoken = process?.parked !== undefined && written.at(-1)?.process.runnable !== undefined;
  return {
    writes: [...written.flatMap(({ writes }) => writes), ...below.writes],
    changes: [
      ...written.map(({ result }) => eventChange(result.event)),
      ...(isWoken ? [leaseChange(process.processId)] : []),
      ...below.changes,
    ],
  };
}

/** Whether this event is a cancel request that ends the process at once. */
function endsBy(eventType: string, process: ProcessRow | undefined): process is ProcessRow {
  return eventType === CANCEL_REQUESTED && process !== undefined && afterCancel(process) === "ended";
}

function endAsCancelled(process: ProcessRow, nowMs: number): Appended {
  const end = endOf(process.processId, { type: "cancelled", message: process.cancelRequested ?? "" });
  return appendOwn({ process, eventTypes: undefined, lease: undefined, replayed: undefined }, end, nowMs);
}

/** Appends an event of holdfast's own. It is always judged, because core types have no schema. */
export function appendOwn(state: AppendState, request: AppendInput, nowMs: number): Appended {
  return append(state, request, undefined, nowMs) as Appended;
}

/** Appends the terminal event. Under a lease, the same transaction releases the lease. */
export const completeProcess: Command<
  AppendInput,
  { append: AppendState; registration: RegistrationRow | undefined },
  ProcessRecord
> = {
  tables: APPEND_TABLES,
  async load(reader, input) {
    const [state, registration] = await Promise.all([
      loadAppend(reader, input),
      loadRow(reader, "registrations", input.processId),
    ]);
    return { append: state, registration };
  },
  decide({ append: state, registration }, input, nowMs) {
    const appended = appendOwn(state, input, nowMs);
    const { writes, changes } = withChildren(appended, state, nowMs);
    if (input.lease && state.lease?.leaseToken !== undefined) {
      writes.push({ table: "leases", put: released(state.lease, true) });
      changes.push({ ...leaseChange(input.processId), member: "ended" }, ...placeChange(state.lease));
    }
    // A process always has its registration. If a broken database lacks it, `processRecordOf` throws.
    return accept(processRecordOf(appended.process, registration as RegistrationRow), writes, changes);
  },
  repeatable: () => true,
};

/** Asks a process to cancel, once per reason. A given lease is the one of another process: the request is refused if that lease is lost. */
export const requestCancel: Command<{ processId: string; reason?: string; lease?: ProcessLease }, AppendState, void> = {
  tables: APPEND_TABLES,
  load: (reader, input) => loadAppend(reader, cancelAppend(input)),
  decide(state, input, nowMs) {
    return acceptEvent(appendOwn(state, cancelAppend(input), nowMs), undefined, state, nowMs);
  },
  repeatable: () => true,
};

function cancelAppend({ processId, reason, lease }: { processId: string; reason?: string; lease?: ProcessLease }): AppendInput {
  return { ...cancelOf(processId, reason), ...(lease && { lease }) };
}

/** Takes a wake off the list of pending wakes. Nothing else of the event changes. A sequence that is no pending wake changes nothing. */
export const ackWake: Command<
  { processId: string; sequence: number },
  { process: ProcessRow | undefined; event: EventRow | undefined },
  void
> = {
  tables: ["processes", "events"],
  async load(reader, { processId, sequence }) {
    const [process, event] = await Promise.all([
      loadRow(reader, "processes", processId),
      loadRow(reader, "events", [processId, sequence]),
    ]);
    return { process, event };
  },
  decide({ process, event }, { processId }) {
    if (!process) return refuse(unknownProcess(processId));
    if (event?.pendingWake === undefined) return accept(undefined);
    const { pendingWake: _, ...acknowledged } = event;
    return accept(undefined, [{ table: "events", put: acknowledged as EventRow }]);
  },
  repeatable: () => true,
};

/** Events behind a sequence, and the process's row at the same moment. */
interface EventPage {
  process: ProcessRow;
  events: ProcessEvent[];
}

export async function readEvents(reader: Reader, processId: string, afterSequence: number, limit?: number): Promise<EventPage> {
  const [process, rows] = await Promise.all([
    loadRow(reader, "processes", processId),
    loadRows(reader, "events", { prefix: [processId], after: [processId, afterSequence], ...(limit !== undefined && { limit }) }),
  ]);
  if (!process) throw unknownProcess(processId);
  return { process, events: rows.map((row) => eventOf(process, row)) };
}

export interface EventMethods {
  /**
   * Appends an event behind the stored ones. A replay key that is stored with the same event gives that event again. Rejects `not-found`,
   * `terminal` where the process has ended, `conflict` where the replay key stands for another event, `lease-lost` where `request.lease` is
   * not the live one, `invalid` for a type that the process has not or a payload that its schema refuses. Nothing is written then.
   */
  appendEvent(processId: string, request: ProcessEventAppendRequest): Promise<ProcessEventAppendResult>;
  /** The events behind the sequence, in order; 0 for all. `limit` is a number of events; default: all. Rejects `not-found`. */
  eventsAfter(processId: string, afterSequence: number, options?: { limit?: number }): Promise<ProcessEvent[]>;
  /** The events behind the sequence that wake a scope and are not acknowledged. Rejects `not-found`. */
  wakeEventsAfter(processId: string, afterSequence: number): Promise<ProcessEvent[]>;
  /** Acknowledges the wake of the event, so that it is not listed again. What is acknowledged already changes nothing. Rejects `not-found`. */
  ackWake(processId: string, sequence: number): Promise<void>;
  /**
   * Ends the process with this output. The same output again gives the same record. Rejects `terminal` where it ended otherwise, `lease-lost`
   * where `options.lease` is not the live one, `not-found`, `invalid`.
   */
  completeProcess(
    processId: string,
    output: ProcessAwaitOutput<unknown>,
    options?: { lease?: ProcessLease },
  ): Promise<ProcessRecord>;
}

/** `appendEvent`, and what a handler's context adds to it. */
export type EventAppender = (
  processId: string,
  request: ProcessEventAppendRequest,
  emitted?: {
    /** The definition that runs declares the event type. */
    isDeclared: boolean;
  },
) => Promise<ProcessEventAppendResult>;

export function eventAppender(
  corridor: Corridor,
  limits: Limits,
  schemas: PayloadSchemas,
  declared = declaredTypes(),
): EventAppender {
  /** The verdict by the event types that are cached for the process; absent if they or the schema engine are not loaded. */
  function judgedAhead(processId: string, eventType: string, payload: JsonValue): { verdict?: PayloadVerdict } {
    const { registrationHash = "", eventTypes } = declared.known(processId) ?? {};
    const type = eventTypes?.find(({ name }) => name === eventType);
    const verdict = type && schemas.engine?.judge(registrationHash, type, payload);
    return verdict ? { verdict } : {};
  }

  return async (processId, request, emitted) => {
    // The arguments of `emit` are no members of a request.
    const [field, option] = emitted ? ["", "options."] : ["request.", "request."];
    const known = checkId("processId", processId, limits.idLength);
    const m = membersOf("request", request, ["eventType", "payload", "replayKey", "wakeTarget", "lease"]);
    const eventType = checkId(`${field}eventType`, m.eventType, limits.idLength);
    const payload = admitPayload(m.payload, `${field}payload`, limits);
    const input: Appending = {
      processId: known,
      eventType,
      payload,
      ...(m.replayKey !== undefined && { replayKey: checkReplayKey(`${option}replayKey`, known, m.replayKey, limits) }),
      ...(m.wakeTarget !== undefined && { wakeTarget: checkScope(`${option}wakeTarget`, m.wakeTarget, limits.idLength) }),
      ...(m.lease !== undefined && { lease: leaseFor(known, "request.lease", m.lease, limits) }),
      isDeclared: emitted?.isDeclared === true,
      schemas,
      declared,
      judged: judgedAhead(known, eventType, payload),
    };
    return await corridor.run(appendEvent, input, { size: payloadSize(payload) });
  };
}

export function eventMethods(corridor: Corridor, limits: Limits, append: EventAppender): EventMethods {
  const id = (field: string, value: unknown) => checkId(field, value, limits.idLength);
  return {
    appendEvent: (processId, request) => append(processId, request),
    async completeProcess(processId, output, options = {}) {
      const known = id("processId", processId);
      const { lease } = optionsOf("completeProcess", options, ["lease"]);
      const admitted = admitPayload(output, "output", limits);
      const awaitOutput = asOutput(admitted);
      if (!awaitOutput)
        throw invalid(
          "output must be a success with a value, a failure with class, code and message, or a cancelled with a message",
        );
      const { required, json } = OUTPUT_MEMBERS[awaitOutput.type];
      membersOf("output", admitted, ["type", ...required, ...json]);
      const end = endOf(known, awaitOutput);
      const input: AppendInput = {
        ...end,
        ...(lease !== undefined && { lease: leaseFor(known, "options.lease", lease, limits) }),
      };
      return await corridor.run(completeProcess, input, { size: payloadSize(end.payload) });
    },
    async eventsAfter(processId, afterSequence, options = {}) {
      const known = id("processId", processId);
      const after = checkWhole("afterSequence", afterSequence, 0);
      const { limit } = optionsOf("eventsAfter", options, ["limit"]);
      const most = limit === undefined ? undefined : checkWhole("options.limit", limit, 0);
      return (await corridor.query(["processes", "events"], (reader) => readEvents(reader, known, after, most))).events;
    },
    async wakeEventsAfter(processId, afterSequence) {
      const known = id("processId", processId);
      const after = checkWhole("afterSequence", afterSequence, 0);
      return await corridor.query(["processes", "events"], async (reader) => {
        const [process, rows] = await Promise.all([
          loadRow(reader, "processes", known),
          loadRows(reader, "events", { index: "pendingWakes", prefix: [known], after: [known, after] }),
        ]);
        if (!process) throw unknownProcess(known);
        return rows.map((row) => eventOf(process, row));
      });
    },
    async ackWake(processId, sequence) {
      await corridor.run(ackWake, { processId: id("processId", processId), sequence: checkWhole("sequence", sequence, 0) });
    },
  };
}

/** The limit does not count the prefix with the process id that holdfast's own keys have. */
function checkReplayKey(field: string, processId: string, value: unknown, limits: Limits): string {
  const rest = typeof value === "string" ? restOfOwnKey(processId, value) : undefined;
  const uncounted = rest === undefined ? 0 : (value as string).length - rest.length + "terminal:".length;
  return checkId(field, value, limits.idLength + uncounted);
}

/** A lease fences only its own process. */
function leaseFor(processId: string, field: string, value: unknown, limits: Limits): ProcessLease {
  const lease = checkLease(field, value, limits.idLength);
  if (lease.processId !== processId) throw invalid(`${field}.processId must be the process that is written to`);
  return lease;
}

/** Characters, near enough to bound a group. */
function payloadSize(payload: JsonValue): number {
  return JSON.stringify(payload).length;
}
