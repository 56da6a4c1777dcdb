import type { Corridor } from "../../corridor/command.js";
import { refuseAborted, type Shared, type Watch } from "../../corridor/watch.js";
import { argumentOf } from "../../domain/argument.js";
import { checkId, checkSignal, checkText, checkWhole, optionsOf } from "../../domain/check.js";
import { copyOf } from "../../domain/copy.js";
import { HoldfastError } from "../../domain/errors.js";
import type { JsonValue } from "../../domain/json.js";
import type { ProcessLease } from "../../domain/lease.js";
import type { ProcessEvent } from "../../domain/process/event.js";
import type { ProcessAwaitOutput, ProcessRecord } from "../../domain/process/process.js";
import type { Limits } from "../../domain/time.js";
import type { DeclaredTypes } from "../../stores/process/declared-types.js";
import { readEvents, requestCancel } from "../../stores/process/events.js";
import type { ProcessMethods } from "../../stores/process/processes.js";
import { unknownProcess } from "../../stores/process/processes.rules.js";
import { isFormerEnd } from "../../stores/process/runs/restarts.rules.js";
import type { ProcessRow } from "../../stores/process/tables.js";
import { loadRow } from "../../stores/schema.js";
import type { Lazy } from "../lazy.js";
import type { EventsOf, NamesOf, OutputOf, PayloadOf, Schemas, SignalsOf } from "./definition/definition.js";

export interface WaitMethods {
  /**
   * The first event of the type behind the sequence: a stored one at once, else the next that comes, in whichever tab. Rejects `terminal`
   * where the process has ended without one, `not-found`, `aborted`, `closed`.
   */
  waitEventAfter(
    processId: string,
    eventType: string,
    afterSequence: number,
    options?: { signal?: AbortSignal },
  ): Promise<ProcessEvent>;
  /** The end of the process, in whichever tab it comes; at once when it has ended. Rejects `not-found`, `aborted`, `closed`. */
  awaitProcess(processId: string, options?: { signal?: AbortSignal }): Promise<ProcessAwaitOutput>;
}

export interface SignalMethods {
  /** The same as `signal` of the process's handle. */
  signal(processId: string, name: string, payload?: unknown, options?: SignalOptions): Promise<void>;
}

/**
 * A process seen from outside: read it, wait for it, follow its events, ask it to cancel. A start by a definition gives a handle with the
 * definition's types.
 */
export interface ProcessHandle<Output = JsonValue, Signals = Schemas, _Events = Schemas> {
  readonly id: string;
  /** The process as it is stored, or `undefined`. */
  record(): Promise<ProcessRecord | undefined>;
  /**
   * Resolves with what its handler returned when it has completed. Rejects `failed` (its message; `details` is `{ class, code, message }`)
   * or `cancelled` (its message) when it ended so, and `not-found`, `aborted`, `closed`.
   */
  result(options?: { signal?: AbortSignal }): Promise<Output>;
  /** Resolves with how it ended, whatever that is. Rejects `not-found`, `aborted`, `closed`. */
  outcome(options?: { signal?: AbortSignal }): Promise<ProcessAwaitOutput>;
  /**
   * Stored events, then new ones as they are stored, without gap or repeat. Reads 256 at a time. Ends after the terminal event. Once the
   * signal is aborted, the next step of the iteration rejects `aborted`, whatever is stored.
   */
  events(options?: { after?: number; signal?: AbortSignal }): AsyncIterable<ProcessEvent>;
  /**
   * Stores a signal for a wait of the process, in whichever tab that runs; none is lost, and none is taken twice. The same `signalId` (default: a
   * fresh UUID) with the same name and payload changes nothing: repeat a call with an unknown outcome under its own id. Rejects `conflict` where
   * the id stands for another signal, `not-found`, `terminal` where the process has ended, and `invalid`, also for a name or payload that the
   * process's definition refuses, where this kernel has it.
   */
  signal<K extends NamesOf<Signals>>(name: K, ...payload: SignalArguments<PayloadOf<Signals, K>>): Promise<void>;
  /** Stores the request, once per reason; the handler decides how the process ends. */
  cancel(reason?: string): Promise<void>;
  /**
   * Runs a process that failed or was cancelled again, under its id. Stored steps, timers and waits answer at once; a step whose last try
   * failed begins anew. `from` is the key of a step that was stored or that failed: it, and what runs stored after it, is forgotten; what others sent is not.
   * Children stay as they are. Rejects `conflict` where it runs, has completed or is a turn of a session, `not-found` for an unknown
   * process or step.
   */
  restart(options?: { from?: string }): Promise<void>;
}

/** The payload may be left out where its type takes null or `undefined`: it is null then. */
export type SignalArguments<Payload> = null extends Payload
  ? [payload?: Payload, options?: SignalOptions]
  : undefined extends Payload
    ? [payload?: Payload, options?: SignalOptions]
    : [payload: Payload, options?: SignalOptions];

/** The options of a signal. */
export interface SignalOptions {
  /** Names the signal among those of its process. */
  signalId?: string;
}

/** The handle that a start of `D` gives. */
export type HandleOf<D> = ProcessHandle<OutputOf<D>, SignalsOf<D>, EventsOf<D>>;

const PAGE = 256;

interface HandleWaitParts {
  corridor: Corridor;
  watch: Watch;
  limits: Limits;
}

export interface HandleParts extends HandleWaitParts {
  readonly restarts: Lazy<RestartCode>;
  newNonce(): string;
}

/** The code for restarts. A page that restarts nothing does not load it. */
interface RestartCode {
  restart(
    parts: Pick<HandleParts, "corridor" | "newNonce">,
    fenced: HandleBounds["fenced"],
    processId: string,
    from: string | undefined,
  ): Promise<void>;
}

/** What sends signals. Its code is loaded with the first signal. */
export interface SignalSender extends SignalParts {
  readonly signals: Lazy<{ sendSignal(parts: SignalParts, route: SignalRoute, given: readonly unknown[]): Promise<void> }>;
}

export interface SignalParts {
  readonly corridor: Corridor;
  readonly limits: Limits;
  /** What this host runs, by name. */
  readonly handlers: ReadonlyMap<string, { readonly signals?: Schemas | undefined }>;
  newSignalId(): string;
  readonly declared: DeclaredTypes;
}

/** Who sends a signal, and to what. */
export interface SignalRoute extends Pick<HandleBounds, "fenced"> {
  readonly processId: string;
  /** What the process was started by, if that is known: a definition, a name or a request. */
  readonly startedBy?: unknown;
}

/** The process's row. Waits share this read under the name "row". */
export function processRow(corridor: Corridor, processId: string): Promise<ProcessRow | undefined> {
  return corridor.query(["processes"], (reader) => loadRow(reader, "processes", processId));
}

/** The events behind `cursor`. Waits at the same cursor share one read. */
function pageAfter(corridor: Corridor, shared: Shared, processId: string, cursor: number) {
  return shared(`events ${cursor}`, () =>
    corridor.query(["processes", "events"], (reader) => readEvents(reader, processId, cursor, PAGE)),
  );
}

export function waitMethods({ corridor, watch, limits }: HandleWaitParts): WaitMethods {
  const id = (field: string, value: unknown) => checkId(field, value, limits.idLength);
  return {
    async waitEventAfter(processId, eventType, afterSequence, options = {}) {
      const known = id("processId", processId);
      const wanted = id("eventType", eventType);
      const signal = checkSignal("options.signal", optionsOf("waitEventAfter", options, ["signal"]).signal);
      let cursor = checkWhole("afterSequence", afterSequence, 0);
      const read = async (shared: Shared) => {
        for (;;) {
          const { process, events } = await pageAfter(corridor, shared, known, cursor);
          const match = events.find((event) => event.eventType === wanted);
          if (match) return copyOf(match);
          cursor = events.at(-1)?.sequence ?? cursor;
          if (events.length === PAGE) continue;
          if (process.state !== "running") {
            throw new HoldfastError("terminal", `process "${known}" is already terminal and stored no event "${wanted}"`);
          }
          return undefined;
        }
      };
      return await watch.until(known, read, signal);
    },
    async awaitProcess(processId, options = {}) {
      const known = id("processId", processId);
      const signal = checkSignal("options.signal", optionsOf("awaitProcess", options, ["signal"]).signal);
      const read = async (shared: Shared) => {
        const process = await shared("row", () => processRow(corridor, known));
        if (!process) throw unknownProcess(known);
        return copyOf(process.awaitOutput);
      };
      return await watch.until(known, read, signal);
    },
  };
}

export type HandleStores = Pick<ProcessMethods, "getProcess"> & Pick<WaitMethods, "awaitProcess">;

function successOf(output: ProcessAwaitOutput): JsonValue {
  if (output.type === "success") return output.value;
  const { type, message } = output;
  if (type === "cancelled") throw new HoldfastError("cancelled", message);
  throw new HoldfastError("failed", message, { details: { class: output.class, code: output.code, message } });
}

/** What a handler's context adds to its handles; other handles have none of it. */
export interface HandleBounds {
  /** Wraps every wait: the handler gives its slot back until the wait is over. */
  waiting<T>(wait: () => Promise<T>): Promise<T>;
  /** Ends every wait, whatever the caller's own signal says. */
  readonly signal?: AbortSignal;
  /** Calls a write with the lease that fences it. */
  fenced(write: (lease?: ProcessLease) => Promise<void>): Promise<void>;
}

const UNBOUND: HandleBounds = { waiting: (wait) => wait(), fenced: (write) => write() };

export function processHandle(
  parts: HandleParts & SignalSender & { stores: HandleStores },
  id: string,
  startedBy?: unknown,
  bounds: HandleBounds = UNBOUND,
): ProcessHandle {
  const { corridor, watch, stores } = parts;
  const { waiting, fenced } = bounds;
  const within = (given: AbortSignal | undefined) =>
    bounds.signal && given ? AbortSignal.any([bounds.signal, given]) : (bounds.signal ?? given);

  async function* follow(options: unknown): AsyncGenerator<ProcessEvent, void, void> {
    const m = optionsOf("events", options, ["after", "signal"]);
    const signal = within(checkSignal("options.signal", m.signal));
    let cursor = m.after === undefined ? 0 : checkWhole("options.after", m.after, 0);
    const read = async (shared: Shared) => {
      const page = await pageAfter(corridor, shared, id, cursor);
      return page.events.length > 0 || page.process.state !== "running" ? page : undefined;
    };
    for (;;) {
      const { process, events } = await waiting(() => watch.until(id, read, signal));
      if (events.length === 0) return;
      for (const event of events) {
        // The reason why the handler's run ended says more than `aborted`.
        bounds.signal?.throwIfAborted();
        refuseAborted(signal);
        cursor = event.sequence;
        yield copyOf(event);
        if (event.semantics.terminal && !isFormerEnd(event, process)) return;
      }
    }
  }

  async function outcome(options: { signal?: AbortSignal } = {}, call = "outcome"): Promise<ProcessAwaitOutput> {
    const signal = within(checkSignal("options.signal", optionsOf(call, options, ["signal"]).signal));
    return await waiting(() => stores.awaitProcess(id, signal ? { signal } : {}));
  }

  return {
    id,
    record: () => stores.getProcess(id),
    result: async (options) => successOf(await outcome(options, "result")),
    outcome: (options) => outcome(options),
    events: (options = {}) => follow(options),
    async signal(...given) {
      const args = given.map(argumentOf);
      const { sendSignal } = await parts.signals.load();
      await sendSignal(parts, { processId: id, startedBy, fenced }, args);
    },
    async cancel(reason) {
      const given = reason === undefined ? {} : { reason: checkText("reason", reason, parts.limits.idLength) };
      await fenced((lease) => corridor.run(requestCancel, { processId: id, ...given, ...(lease && { lease }) }));
    },
    async restart(options = {}) {
      const { from: given } = optionsOf("restart", options, ["from"]);
      const from = given === undefined ? undefined : checkId("options.from", given, parts.limits.idLength);
      await (await parts.restarts.load()).restart(parts, fenced, id, from);
    },
  };
}
