import type { Corridor } from "../../corridor/command.js";
import { checkFunction, checkId, checkText, optionsOf } from "../../domain/check.js";
import { invalid } from "../../domain/errors.js";
import type { JsonValue } from "../../domain/json.js";
import type { ProcessEvent, ProcessEventAppendRequest } from "../../domain/process/event.js";
import { childId, ownKey } from "../../domain/process/own-key.js";
import type { ProcessInput, ProcessRecord } from "../../domain/process/process.js";
import type { ProcessScope } from "../../domain/scope.js";
import type { Limits } from "../../domain/time.js";
import type { Clock } from "../../ports/clock.js";
import { type EventAppender, loadReplay, resultOfStep, stepOf, storeStep } from "../../stores/process/events.js";
import { isUnmarkedChild } from "../../stores/process/processes.js";
import { admitPayload } from "../../stores/process/registration.js";
import { setProgress } from "../../stores/process/runs/progress.js";
import type { HeldLease } from "../host/leases/held-lease.js";
import type { NamesOf, PayloadOf, ProcessDefinition, Schemas } from "./definition/definition.js";
import type { SchemasInRun } from "./definition/run-schemas.js";
import type { Json } from "./definition/stored-json.js";
import type { HandleOf, ProcessHandle } from "./handle.js";
import type { RunningSteps } from "./running-steps.js";
import type { StartArguments, StartOptions, StartOptionsOf, StartRequest } from "./start-request.js";

/** What the function of a step gets. */
export interface StepRun {
  /** The step's replay key: pass it to outside services, so that they recognize a repeated call. */
  idempotencyKey: string;
  fencingToken: number;
  attempt: number;
  signal: AbortSignal;
}

/**
 * What a handler gets. Its writes are fenced by the lease that it runs under: once the lease is lost, they change nothing. The types of a
 * definition's context are those of its schemas; in a handler without a definition, any name and payload passes.
 */
export interface ProcessContext<Input = JsonValue | undefined, Events = Schemas, _Signals = Schemas> {
  readonly record: ProcessRecord;
  readonly input: ProcessInput;
  /** What the definition's schema makes of the stored `args` (a task's, or those of a tool call), anew for each run; without a schema, the stored ones. */
  readonly args: Input;
  /** 1 for the first owner, one more for every later claim. */
  readonly attempt: number;
  /** Aborts on a cancel request, a lost lease and the kernel's close; its reason is a HoldfastError. */
  readonly signal: AbortSignal;
  /**
   * Runs `run` and stores its result once per process and key; every later owner gets the stored result. `run` may execute again if its
   * owner died before the result was stored. A `run` that throws stores nothing. `undefined` is stored as null. Rejects `invalid` for a
   * result that is no JSON.
   */
  step<T>(key: string, run: (step: StepRun) => Promise<T> | T): Promise<Json<T>>;
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

export interface ContextParts {
  readonly corridor: Corridor;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly appendEvent: EventAppender;
  /** There if the definition that runs has schemas. */
  readonly definition: SchemasInRun | undefined;
  readonly record: ProcessRecord;
  readonly attempt: number;
  /** No event was stored before this claim: there is no step to look up. */
  readonly fresh: boolean;
  readonly heldLease: HeldLease;
  readonly signal: AbortSignal;
  /** `key` is given where the child's id does not contain it unchanged. */
  startChild(what: StartArguments, child: { id: string; key?: string }): Promise<ProcessHandle>;
  processHandle(processId: string): ProcessHandle;
  readonly steps: RunningSteps;
  /** Called with each error that the context itself throws. */
  raised(error: unknown): void;
}

const PROGRESS_MS = 1_000;

export function createContext(parts: ContextParts): { context: ProcessContext; flushProgress(): Promise<void> } {
  const { corridor, clock, limits, record, attempt, heldLease, signal } = parts;
  const processId = record.id;

  function raise(error: unknown): never {
    parts.raised(error);
    throw error;
  }

  /** Marks errors of `work` as the context's own: they are no failure of the handler's. */
  async function own<T>(work: () => Promise<T>): Promise<T> {
    try {
      if (heldLease.over) throw heldLease.over;
      return await work();
    } catch (error) {
      raise(error);
    }
  }

  async function runStep(key: string, run: (step: StepRun) => unknown): Promise<JsonValue> {
    if (!parts.fresh || parts.steps.isStored(key)) {
      const event = await own(() => corridor.query(["events"], (reader) => loadReplay(reader, stepOf(processId, key, null))));
      if (event) return resultOfStep(event);
    }
    await own(async () => {});
    const { fencingToken } = heldLease.lease;
    const idempotencyKey = ownKey(processId, "step", key).replayKey;
    const value = await parts.steps.begin(key, () => run({ idempotencyKey, fencingToken, attempt, signal }));
    const result = admitPayload(value ?? null, `the result of step "${key}"`, limits);
    const step = stepOf(processId, key, result);
    const size = JSON.stringify(result).length;
    const kept = await own(() => heldLease.write((lease) => corridor.run(storeStep, { ...step, lease }, { size })));
    return kept;
  }

  let latest: { done: number; total?: number; note?: string } | undefined;
  let writing: Promise<void> | undefined;
  let cancelPause: (() => void) | undefined;

  function writeProgress(): Promise<void> {
    if (!latest) return Promise.resolve();
    const progress = latest;
    latest = undefined;
    const write = async () => {
      try {
        await heldLease.write((lease) => corridor.run(setProgress, { progress, lease }));
      } catch {
        // Progress is only for display. A lost lease or a broken storage fails the next step.
      }
    };
    writing = write();
    return writing;
  }

  function pause(): void {
    cancelPause = clock.setTimer(() => {
      cancelPause = undefined;
      if (!latest) return;
      pause();
      void writeProgress();
    }, PROGRESS_MS);
  }

  const context: ProcessContext = {
    record,
    input: record.input,
    args: argsOf(record.input),
    attempt,
    signal,
    async step<T>(key: string, run: (step: StepRun) => Promise<T> | T, options: unknown = {}) {
      const name = checkId("key", key, limits.idLength);
      checkFunction("run", run);
      optionsOf("step", options, []);
      return (await parts.steps.share(name, () => runStep(name, run))) as Json<T>;
    },
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
      if (heldLease.over) {
        parts.raised(heldLease.over);
        throw heldLease.over;
      }
      latest = checkProgress(done, total, note, limits);
      if (cancelPause) return;
      void writeProgress();
      pause();
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

  return {
    context,
    async flushProgress() {
      cancelPause?.();
      await writing;
      await writeProgress();
    },
  };
}

/** The arguments of a task or a tool call. */
function argsOf(input: ProcessInput): JsonValue | undefined {
  return input.type === "task" ? input.args : input.type === "tool_call" ? input.call.args : undefined;
}

function checkProgress(
  done: unknown,
  total: unknown,
  note: unknown,
  limits: Limits,
): { done: number; total?: number; note?: string } {
  const amount = (field: string, value: unknown) => {
    if (typeof value !== "number" || !Number.isFinite(value) || value < 0) throw invalid(`${field} must be a number from 0 up`);
    return value;
  };
  return {
    done: amount("done", done),
    ...(total !== undefined && { total: amount("total", total) }),
    ...(note !== undefined && { note: checkText("note", note, limits.idLength) }),
  };
}
