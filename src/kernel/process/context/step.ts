import { checkFunction, checkId } from "../../../domain/check.js";
import { HoldfastError } from "../../../domain/errors.js";
import type { JsonValue } from "../../../domain/json.js";
import { ownKey } from "../../../domain/process/own-key.js";
import type { Restarted } from "../../../stores/process/runs/restarts.rules.js";
import { resultOfStep, stepOf, storeStep } from "../../../stores/process/runs/steps.js";
import { loadStep } from "../../../stores/process/waits/step-tries.js";
import type { Json } from "../definition/stored-json.js";
import type { OwnWork } from "./own-work.js";
import { checkStepOptions, createTryStep, type StepOptions, type StepTerms, type StepTriesParts } from "./step-tries.js";

/** What the function of a step gets. */
export interface StepRun {
  /** The step's replay key: pass it to outside services, so that they recognize a repeated call. */
  idempotencyKey: string;
  fencingToken: number;
  /** The attempt of the process, as `context.attempt`. */
  attempt: number;
  /** Aborts as `context.signal` does, and with `timeout` when the time of this call is over. */
  signal: AbortSignal;
}

export interface StepCalls {
  /**
   * Runs `run` and stores its result once per process and key; every later owner gets the stored result. `run` may execute again if its
   * owner died before the result was stored. `undefined` is stored as null. Rejects `invalid` for a result that is no JSON.
   *
   * Without `retry` a `run` that throws stores nothing, and its error is thrown. With it `run` is called again after a pause, and the error
   * of the last try is thrown; a later call of that key, also by a later owner, then rejects `failed` with that error's message and calls
   * no `run`. What no policy tries again: a `NonRetryableError`, a result that cannot be stored, and a call that a cancel request aborted.
   *
   * A `run` that takes longer than `timeoutMs` rejects `timeout`, which counts as a failed try. What comes of it later is dropped.
   */
  step<T>(key: string, run: (step: StepRun) => Promise<T> | T, options?: StepOptions): Promise<Json<T>>;
}

export interface StepParts extends StepTriesParts {
  readonly attempt: number;
  /** No event was stored before this claim: there is no step to look up. */
  readonly fresh: boolean;
  /** Before this claim there was something in the waits table: a step may have been tried. */
  readonly mayWait: boolean;
  /** The process's row as it was claimed. */
  readonly claimed: Restarted & { readonly processId: string };
}

export function stepCalls(parts: StepParts, work: OwnWork): StepCalls {
  const { corridor, limits, processId, attempt, heldLease } = parts;
  const { own } = work;
  /** Keys whose `run` threw here, and of which that is stored. */
  const tried = new Set<string>();
  const tryStep = createTryStep(parts, work, (key) => tried.add(key));

  async function runStep(key: string, run: (step: StepRun) => unknown, terms: StepTerms): Promise<JsonValue> {
    const { event, tries } = await stored(key);
    if (event) return resultOfStep(event);
    if (tries?.last) throw new HoldfastError("failed", tries.last.message, { details: { ...tries.last } });
    const idempotencyKey = ownKey(processId, "step", key).replayKey;
    const { result, isTried } = await tryStep({ key, terms, tries }, (signal) => {
      const { fencingToken } = heldLease.lease;
      return parts.steps.begin(key, () => run({ idempotencyKey, fencingToken, attempt, signal }));
    });
    const step = { ...stepOf(processId, key, result), ...(isTried && { settles: { kind: "step" as const, key } }) };
    const size = JSON.stringify(result).length;
    return await own(() => heldLease.write((lease) => corridor.run(storeStep, { ...step, lease }, { size })));
  }

  async function stored(key: string): Promise<Partial<Awaited<ReturnType<typeof loadStep>>>> {
    const isTried = tried.has(key);
    if (parts.fresh && !isTried && !parts.steps.isStored(key)) return {};
    const mayBeTried = isTried || parts.mayWait;
    const tables = mayBeTried ? ["events", "waits"] : ["events"];
    return await own(() => corridor.query(tables, (reader) => loadStep(reader, parts.claimed, key, mayBeTried)));
  }

  return {
    async step<T>(key: string, run: (step: StepRun) => Promise<T> | T, options: StepOptions = {}) {
      const name = checkId("key", key, limits.idLength);
      checkFunction("run", run);
      const terms = checkStepOptions(options);
      return (await parts.steps.share(name, () => runStep(name, run, terms))) as Json<T>;
    },
  };
}
