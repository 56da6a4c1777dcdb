import type { JsonValue } from "../../domain/json.js";
import {
  ATTEMPT_FAILED_EVENT,
  RESTARTED_EVENT,
  SIGNAL_EVENT,
  STEP_EVENT,
  STEP_FAILED_EVENT,
  WAITING_EVENT,
} from "../../domain/process/event-type.js";
import type { LeaseRow } from "../../stores/host/tables.js";
import type { EventRow, ProcessRow, WaitRow } from "../../stores/process/tables.js";
import { FLOW_LIMITS, FLOW_TRIES, LEAST_PAUSE_MS } from "../flows.js";
import type { ObservedRows } from "../machine/rows.js";
import { limitKeyOf } from "./starts.js";
import type { RowRule, Trial } from "./trial.js";

interface Sent {
  readonly name: string;
  readonly signalId: string;
  readonly payload: JsonValue;
}

/** What a wait for a signal came to, or a timer: null. */
interface Settled {
  readonly key: string;
  readonly result: { readonly signalId: string; readonly payload: JsonValue; readonly sequence: number } | null;
}

interface Failed {
  readonly key?: string;
  readonly attempt: number;
  readonly retryAtMs?: number;
}

/** An event that a commit stored first. */
const stored = ({ changes }: Trial, eventType: string): EventRow[] =>
  changes<EventRow>("events").flatMap(({ before, after }) => (!before && after?.eventType === eventType ? [after] : []));

const sentBy = ({ payload }: EventRow) => payload as unknown as Sent;
const settledBy = ({ payload }: EventRow) => payload as unknown as Settled;
const failedBy = ({ payload }: EventRow) => payload as unknown as Failed;

/** All events of a process before that sequence, the newest first. */
export function* eventsBefore(rows: ObservedRows, processId: string, sequence: number): Generator<EventRow> {
  for (let earlier = sequence - 1; earlier > 0; earlier--) {
    const event = rows.get<EventRow>("events", processId, earlier);
    if (event) yield event;
  }
}

const signalNameOf = (key: string) => (key.startsWith(":") ? key.split(":")[2] : key.split(":")[0]) ?? "";
const isSignalWait = (key: string) => /^(go|stop):|^:\d+:/.test(key);
const isTimer = (key: string) => key.startsWith("for:") || key.startsWith("until:");

const waitsEnded = (trial: Trial) =>
  stored(trial, STEP_EVENT).flatMap((event) => {
    const { key, result } = settledBy(event);
    return isSignalWait(key) ? [{ event, key, result }] : [];
  });

/** When a timer or a wait must not end before, by what its key says was asked for, and by when it began. */
function earliestEndMs(rows: ObservedRows, { processId, sequence }: EventRow, key: string): number {
  const [kind = "", asked = "0"] = key.split(":");
  if (kind === "until") return Number(asked);
  for (const event of eventsBefore(rows, processId, sequence)) {
    const began = event.payload as { key?: string; dueAtMs?: number } | null;
    if (event.eventType === WAITING_EVENT && began?.key === key) return began.dueAtMs ?? Number.POSITIVE_INFINITY;
  }
  return Number(asked) === 0 ? 0 : Number.POSITIVE_INFINITY;
}

/** The failures of a step, or of the handler, since the process last began anew; the newest first. */
function failuresBefore(rows: ObservedRows, { processId, sequence, eventType }: EventRow, key: string | undefined): Failed[] {
  const found: Failed[] = [];
  for (const event of eventsBefore(rows, processId, sequence)) {
    if (event.eventType === RESTARTED_EVENT) break;
    if (event.eventType === eventType && failedBy(event).key === key) found.push(failedBy(event));
  }
  return found;
}

function wrongFailure({ rows, commit }: Trial, event: EventRow, most: number): string | undefined {
  const { key, attempt, retryAtMs } = failedBy(event);
  const [last, ...older] = failuresBefore(rows, event, key);
  const what = `failure ${attempt} of ${key ?? "the handler"} of ${event.processId}`;
  if (attempt !== older.length + (last ? 2 : 1)) return `${what} comes after ${older.length + (last ? 1 : 0)} others`;
  if (last && last.retryAtMs === undefined) return `${what} comes after the last one`;
  if ((retryAtMs === undefined) !== attempt >= most) return `${what} is ${retryAtMs === undefined ? "" : "not "}the last one`;
  const leastMs = commit.sinceMs + LEAST_PAUSE_MS * 2 ** (attempt - 1);
  return retryAtMs === undefined || retryAtMs >= leastMs
    ? undefined
    : `${what} has a pause until ${retryAtMs}, which is too short`;
}

const isGranted = ({ before, after }: { before: LeaseRow | undefined; after: LeaseRow | undefined }) =>
  after?.leaseToken !== undefined && after.leaseToken !== before?.leaseToken;

/** The processes that a commit changed, and those whose lease, waits or signals it changed. */
function touched({ commit, rows }: Trial): ProcessRow[] {
  const ids = commit.changes.flatMap(({ table, before, after }) => {
    const row = after ?? before;
    if (table === "processes" || table === "waits" || table === "events") return [String(row?.processId)];
    return table === "leases" ? [String(row?.resource)] : [];
  });
  return [...new Set(ids)].flatMap((id) => rows.get<ProcessRow>("processes", id) ?? []);
}

const ofProcess = <R extends { readonly processId: string }>(all: readonly R[], id: string) =>
  all.filter(({ processId }) => processId === id);

/** The rules of processes that sleep, wait for signals, are tried again and are limited. */
export const FLOW_RULES = {
  "a signal is stored once": (trial) =>
    stored(trial, SIGNAL_EVENT).map((event) => {
      const { signalId } = sentBy(event);
      for (const earlier of eventsBefore(trial.rows, event.processId, event.sequence)) {
        if (earlier.eventType === SIGNAL_EVENT && sentBy(earlier).signalId === signalId)
          return `signal ${signalId} of ${event.processId} is event ${earlier.sequence} and event ${event.sequence}`;
      }
      return undefined;
    }),

  "a signal is taken once, in the write of the wait that gets it": (trial) => {
    const { changes, rows } = trial;
    const ended = waitsEnded(trial);
    const marks = changes<EventRow>("events").map(({ before, after }) => {
      if (after?.eventType !== SIGNAL_EVENT) return undefined;
      const { processId, sequence, pendingSignal } = after;
      if (pendingSignal !== undefined && before && before.pendingSignal === undefined)
        return `signal ${sequence} of ${processId} was taken, and waits again`;
      if (pendingSignal === sentBy(after).name || (before && before.pendingSignal === undefined)) return undefined;
      const takers = ended.filter(({ event, result }) => event.processId === processId && result?.sequence === sequence);
      return takers.length === 1 ? undefined : `signal ${sequence} of ${processId} was taken by ${takers.length} waits`;
    });
    const takings = ended.map(({ event, key, result }) => {
      if (!result) return undefined;
      const { processId } = event;
      const signal = rows.get<EventRow>("events", processId, result.sequence);
      const sent = signal?.eventType === SIGNAL_EVENT ? sentBy(signal) : undefined;
      const isSame =
        sent?.signalId === result.signalId &&
        JSON.stringify(sent.payload) === JSON.stringify(result.payload) &&
        sent.name === signalNameOf(key);
      if (!isSame) return `wait ${key} of ${processId} got signal ${result.sequence}, which was not sent so`;
      if (signal?.pendingSignal !== undefined)
        return `wait ${key} of ${processId} got signal ${result.sequence}, which still waits`;
      for (const earlier of eventsBefore(rows, processId, event.sequence)) {
        const is = earlier.eventType === STEP_EVENT ? settledBy(earlier) : undefined;
        if (is && isSignalWait(is.key) && is.result?.sequence === result.sequence)
          return `signal ${result.sequence} of ${processId} was taken by ${is.key} and again by ${key}`;
      }
      return undefined;
    });
    return [...marks, ...takings];
  },

  "a wait takes the oldest signal of its name": (trial) =>
    waitsEnded(trial).map(({ event, key, result }) => {
      if (!result) return undefined;
      for (const { sequence, pendingSignal } of eventsBefore(trial.rows, event.processId, result.sequence))
        if (pendingSignal === signalNameOf(key))
          return `${key} of ${event.processId} took signal ${result.sequence} before ${sequence}`;
      return undefined;
    }),

  "a wait times out only where no signal is stored": (trial) =>
    waitsEnded(trial).map(({ event, key, result }) => {
      if (result) return undefined;
      for (const { sequence, pendingSignal } of eventsBefore(trial.rows, event.processId, event.sequence)) {
        // A signal of the same transaction may have been stored after it timed out.
        const wasThere = trial.was("events", event.processId, sequence) !== undefined;
        if (pendingSignal === signalNameOf(key) && wasThere)
          return `${key} of ${event.processId} timed out, and signal ${sequence} waits`;
      }
      return undefined;
    }),

  "no timer ends before its time": (trial) => [
    ...stored(trial, STEP_EVENT).map((event) => {
      const { key, result } = settledBy(event);
      if (!isTimer(key) && !(isSignalWait(key) && result === null)) return undefined;
      const dueAtMs =
        key.startsWith("go:") || key.startsWith("stop:") || isTimer(key)
          ? earliestEndMs(trial.rows, event, key)
          : Number.POSITIVE_INFINITY;
      return dueAtMs <= trial.commit.untilMs
        ? undefined
        : `${key} of ${event.processId} ended at ${trial.commit.untilMs}, and was due at ${dueAtMs}`;
    }),
    ...stored(trial, WAITING_EVENT).map((event) => {
      const { key, dueAtMs } = event.payload as { key: string; dueAtMs?: number };
      const [kind, asked] = key.split(":");
      if (dueAtMs === undefined || key.startsWith(":")) return undefined;
      const leastMs = kind === "until" ? Number(asked) : trial.commit.sinceMs + Number(asked);
      return dueAtMs >= leastMs ? undefined : `${key} of ${event.processId} is due at ${dueAtMs}, before ${leastMs}`;
    }),
  ],

  "tries are counted, and there are no more than the policy says": (trial) => [
    ...stored(trial, STEP_FAILED_EVENT).map((event) => wrongFailure(trial, event, FLOW_TRIES)),
    ...stored(trial, ATTEMPT_FAILED_EVENT).map((event) => {
      const wrong = wrongFailure(trial, event, Number.POSITIVE_INFINITY);
      const isMore = failedBy(event).attempt >= FLOW_TRIES;
      return wrong ?? (isMore ? `the handler of ${event.processId} is to be tried again after ${FLOW_TRIES} runs` : undefined);
    }),
  ],

  "a parked process is found again when it is due, or woken by an event": (trial) => {
    const { changes, commit, was } = trial;
    // It may have become claimable and been claimed in one transaction.
    const claimed = changes<LeaseRow>("leases").flatMap((change) => (isGranted(change) ? [change.after?.resource] : []));
    const found = changes<ProcessRow>("processes").flatMap(({ after }) =>
      after?.parked === undefined ? [after?.processId] : [],
    );
    return [...new Set([...claimed, ...found])].map((id = "") => {
      const { state, parked, dueAtMs = Number.POSITIVE_INFINITY } = was<ProcessRow>("processes", id) ?? {};
      if (state !== "running" || parked === undefined || dueAtMs <= commit.untilMs) return undefined;
      const isWoken = changes<EventRow>("events").some(({ before, after }) => !before && after?.processId === id);
      return isWoken ? undefined : `${commit.life.name} finds ${id} at ${commit.untilMs}, which is parked until ${dueAtMs}`;
    });
  },

  "a parked process is held by no host": (trial) =>
    touched(trial).map(({ processId, parked }) => {
      const lease = parked === undefined ? undefined : trial.rows.get<LeaseRow>("leases", processId);
      return lease?.leaseToken === undefined
        ? undefined
        : `${processId} is parked, and is held by ${trial.lifeOf(lease.bootId)?.name}`;
    }),

  "a suspended process is found when what it waits for is there": (trial) =>
    touched(trial).map(
      ({ processId, lastSequence, suspended, dueAtMs = Number.POSITIVE_INFINITY, deadlineAtMs = Number.POSITIVE_INFINITY }) => {
        if (!suspended) return undefined;
        const waits = ofProcess(trial.rows.all<WaitRow>("waits"), processId);
        const awaited = new Set(waits.flatMap(({ kind, name }) => (kind === "signal" ? [name] : [])));
        const events = awaited.size === 0 ? [] : [...eventsBefore(trial.rows, processId, lastSequence + 1)];
        const signal = events.find(({ pendingSignal = "" }) => awaited.has(pendingSignal));
        if (signal) return `${processId} is suspended, and signal ${signal.sequence}, which it waits for, is stored`;
        const firstMs = Math.min(deadlineAtMs, ...waits.map((wait) => wait.dueAtMs ?? Number.POSITIVE_INFINITY));
        return dueAtMs <= firstMs
          ? undefined
          : `${processId} is suspended until ${dueAtMs}, and a wait of it is due at ${firstMs}`;
      },
    ),

  "a process that was asked to cancel is not parked": ({ changes }) =>
    changes<ProcessRow>("processes").map(({ after }) =>
      after?.parked !== undefined && after.cancelRequested !== undefined
        ? `${after.processId} is to cancel, and is parked`
        : undefined,
    ),

  "hosts find a running process in one place": ({ changes }) =>
    changes<ProcessRow>("processes").map(({ after }) => {
      if (!after) return undefined;
      const { processId, state, runnable, parked, limited, dueAtMs, suspended, limitKey } = after;
      const places = [runnable, parked, limited].filter((place) => place !== undefined).length;
      if (places !== (state === "running" ? 1 : 0)) return `${processId}, which is ${state}, is found in ${places} places`;
      if (parked === undefined && (dueAtMs !== undefined || suspended))
        return `${processId} is not parked, and has what a parked one has`;
      return (limited === undefined) === (limitKey === undefined)
        ? undefined
        : `${processId} has the key of a limit that holds it not`;
    }),

  "no more runs of a limit than it has places": (trial) => {
    const granted = trial
      .changes<LeaseRow>("leases")
      .flatMap((change) => (isGranted(change) && change.after ? [change.after] : []));
    const ofKey = (lease: LeaseRow) => {
      const process = trial.rows.get<ProcessRow>("processes", lease.resource);
      // Whose end was asked for before its first run needs no place.
      return process?.cancelRequested === undefined ? limitKeyOf(trial.rows, lease.resource) : lease.limitKey;
    };
    return granted.map((lease) => {
      const key = ofKey(lease);
      if (key === undefined) return undefined;
      const held = trial.rows.all<LeaseRow>("leases").filter((other) => other.leaseToken !== undefined && ofKey(other) === key);
      const most = FLOW_LIMITS[key]?.concurrency ?? Number.POSITIVE_INFINITY;
      return held.length <= most
        ? undefined
        : `${held.length} run under ${key}: ${held.map(({ resource }) => resource).join(", ")}`;
    });
  },

  "no more runs of a limit begin than its rate lets": ({ tooSoon }) => [...tooSoon],
} satisfies Readonly<Record<string, RowRule>>;
