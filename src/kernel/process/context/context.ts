import { checkId, optionsOf } from "../../../domain/check.js";
import type { JsonValue } from "../../../domain/json.js";
import type { ProcessEvent, ProcessEventAppendRequest } from "../../../domain/process/event.js";
import type { LimitSpec } from "../../../domain/process/limit.js";
import { childId } from "../../../domain/process/own-key.js";
import { argsOf, type ProcessInput, type ProcessRecord } from "../../../domain/process/process.js";
import type { RetryPolicy } from "../../../domain/retry.rules.js";
import type { ProcessScope } from "../../../domain/scope.js";
import type { EventAppender } from "../../../stores/process/events.js";
import { isUnmarkedChild } from "../../../stores/process/processes.js";
import type { HeldLease } from "../../host/leases/held-lease.js";
import type { NamesOf, PayloadOf, ProcessDefinition, Schemas } from "../definition/definition.js";
import type { HandleOf, ProcessHandle } from "../handle.js";
import type { StartArguments, StartOptions, StartOptionsOf, StartRequest } from "../start-request.js";
import { type AllCalls, allCalls } from "./all.js";
import { createOwnWork } from "./own-work.js";
import { createProgress } from "./progress.js";
import { type StepCalls, type StepParts, stepCalls } from "./step.js";
import { type WaitCallParts, type WaitCalls, waitCalls } from "./waits.js";

/**
 * What a handler gets. Its writes are fenced by the lease that it runs under: once the lease is lost, they change nothing. The types of a
 * definition's context are those of its schemas; in a handler without a definition, any name and payload passes.
 */
export interface ProcessContext<Input = JsonValue | undefined, Events = Schemas, Signals = Schemas>
  extends StepCalls,
    AllCalls,
    WaitCalls<Signals> {
  readonly record: ProcessRecord;
  readonly input: ProcessInput;
  /** What the definition's schema makes of the stored `args` (a task's, or those of a tool call), anew for each run; without a schema, the stored ones. */
  readonly args: Input;
  /** 1 for the first owner, one more for every later claim. */
  readonly attempt: number;
  /** Aborts on a cancel request, a lost lease and the kernel's close; its reason is a HoldfastError. */
  readonly signal: AbortSignal;
  /**
   * Appends an event. Without a replay key a later owner that runs the handler again appends it again. A payload must fit the schema that
   * the definition declares for the event, else `invalid`; it is stored as it was given.
   */
  emit<K extends NamesOf<Events>>(
    eventType: K,
    payload: PayloadOf<Events, K>,
    options?: { replayKey?: string; wakeTarget?: ProcessScope },
  ): Promise<ProcessEvent>;
  /** Sets `record.progress`; at most one write a second, no event. Throws `invalid` for an argument, and the reason of the run's end after it. */
  progress(done: number, total?: number, note?: string): void;
  /**
   * Starts a child, as `kernel.start` does. Its default id is `<processId>/<key>`, with `%` and `/` of the key encoded, so a later owner
   * finds the same child.
   */
  start<D extends ProcessDefinition>(key: string, definition: D, ...options: StartOptionsOf<D>): Promise<HandleOf<D>>;
  /** The same by the name of a handler. */
  start(key: string, name: string, options?: StartOptions): Promise<ProcessHandle>;
  /** The same with a request, which may be of any kind. */
  start(key: string, request: StartRequest): Promise<ProcessHandle>;
  /** A handle of any process. Each wait on it gives the handler's slot back until the wait is over. */
  process(processId: string): ProcessHandle;
}

/** A handler without a definition. What it returns is stored as the process's output; `undefined` as null, and what is no JSON fails the process. */
export type ProcessHandler = (context: ProcessContext) => unknown;

/** A handler with what `defineProcess` takes beside `run`. */
export interface ProcessHandlerWithTerms {
  run: ProcessHandler;
  retry?: RetryPolicy;
  timeoutMs?: number;
  suspendAfterMs?: number;
  limit?: LimitSpec;
}

export interface ContextParts extends Omit<StepParts & WaitCallParts, "processId"> {
  readonly appendEvent: EventAppender;
  /** The lease for writes that are neither step nor event. */
  readonly progressLease: HeldLease;
  readonly record: ProcessRecord;
  /** `key` is given where the child's id does not contain it unchanged. */
  startChild(what: StartArguments, child: { id: string; key?: string }): Promise<ProcessHandle>;
  processHandle(processId: string): ProcessHandle;
  /** Called with each error that the context itself throws. */
  raised(error: unknown): void;
  /** Wraps the context's own work: the run is not suspended meanwhile. */
  during<T>(work: () => Promise<T>, mayBeLook: true): Promise<T>;
}

export function createContext(parts: ContextParts): { context: ProcessContext; flushProgress(): Promise<void> } {
  const { corridor, limits, record, attempt, heldLease, signal } = parts;
  const processId = record.id;
  const work = createOwnWork(heldLease, parts.raised, parts.during);
  const { own, raise } = work;
  const progress = createProgress({ ...parts, heldLease: parts.progressLease });

  const context: ProcessContext = {
    record,
    input: record.input,
    args: argsOf(record.input),
    attempt,
    signal,
    ...stepCalls({ ...parts, processId }, work),
    ...allCalls(heldLease, work),
    ...waitCalls({ ...parts, processId }, work),
    async emit(eventType, payload, options = {}) {
      const { replayKey, wakeTarget } = optionsOf("emit", options, ["replayKey", "wakeTarget"]);
      const judged = parts.definition?.payloadOf(eventType, payload, replayKey);
      const isDeclared = judged !== undefined;
      // Only a promise is awaited: calls that a handler makes at once keep their order.
      const admitted = judged instanceof Promise ? await judged.catch(raise) : judged;
      const given = { eventType, payload: isDeclared ? admitted : payload, replayKey, wakeTarget };
      const request = given as ProcessEventAppendRequest;
      return (await own(() => heldLease.write((lease) => parts.appendEvent(processId, { ...request, lease }, { isDeclared }))))
        .event;
    },
    progress(done, total, note) {
      if (heldLease.over) raise(heldLease.over);
      progress.report(done, total, note);
    },
    async start(key: string, ...what: readonly [unknown, unknown?]) {
      const name = checkId("key", key, limits.idLength);
      const { id, formerId } = childId(processId, name);
      return await own(async () => {
        if (formerId === id) return await parts.startChild(what, { id });
        const isThere = await corridor.query(["processes"], (reader) => isUnmarkedChild(reader, processId, formerId));
        return await parts.startChild(what, isThere ? { id: formerId } : { id, key: name });
      });
    },
    process: (id) => parts.processHandle(checkId("processId", id, limits.idLength)),
  };

  return { context, flushProgress: progress.flush };
}
