import type { Corridor } from "../../../corridor/command.js";
import { checkFunction, checkId, optionsOf } from "../../../domain/check.js";
import type { JsonValue } from "../../../domain/json.js";
import { ownKey } from "../../../domain/process/own-key.js";
import type { Limits } from "../../../domain/time.js";
import { loadReplay, resultOfStep, stepOf, storeStep } from "../../../stores/process/events.js";
import { admitPayload } from "../../../stores/process/registration.js";
import type { Restarted } from "../../../stores/process/runs/restarts.rules.js";
import type { HeldLease } from "../../host/leases/held-lease.js";
import type { Json } from "../definition/stored-json.js";
import type { RunWaits } from "../waits/run-waits.js";
import type { OwnWork } from "./own-work.js";
import type { RunningSteps } from "./running-steps.js";

/** What the function of a step gets. */
export interface StepRun {
  /** The step's replay key: pass it to outside services, so that they recognize a repeated call. */
  idempotencyKey: string;
  fencingToken: number;
  attempt: number;
  signal: AbortSignal;
}

export interface StepCalls {
  /**
   * Runs `run` and stores its result once per process and key; every later owner gets the stored result. `run` may execute again if its
   * owner died before the result was stored. A `run` that throws stores nothing. `undefined` is stored as null. Rejects `invalid` for a
   * result that is no JSON.
   */
  step<T>(key: string, run: (step: StepRun) => Promise<T> | T): Promise<Json<T>>;
}

export interface StepParts {
  readonly corridor: Corridor;
  readonly limits: Limits;
  readonly processId: string;
  readonly attempt: number;
  /** No event was stored before this claim: there is no step to look up. */
  readonly fresh: boolean;
  /** The process's row as it was claimed. */
  readonly claimed: Restarted;
  readonly heldLease: HeldLease;
  readonly signal: AbortSignal;
  readonly steps: RunningSteps;
  readonly waits: RunWaits;
}

export function stepCalls(parts: StepParts, { own }: OwnWork): StepCalls {
  const { corridor, limits, processId, attempt, heldLease, signal } = parts;

  async function runStep(key: string, run: (step: StepRun) => unknown): Promise<JsonValue> {
    if (!parts.fresh || parts.steps.isStored(key)) {
      const event = await own(() =>
        corridor.query(["events"], (reader) => loadReplay(reader, stepOf(processId, key, null), parts.claimed)),
      );
      if (event) return resultOfStep(event);
    }
    await own(async () => {});
    const { fencingToken } = heldLease.lease;
    const idempotencyKey = ownKey(processId, "step", key).replayKey;
    const value = await parts.steps.begin(key, () => run({ idempotencyKey, fencingToken, attempt, signal }));
    const result = admitPayload(value ?? null, `the result of step "${key}"`, limits);
    const step = stepOf(processId, key, result);
    const size = JSON.stringify(result).length;
    return await own(() => heldLease.write((lease) => corridor.run(storeStep, { ...step, lease }, { size })));
  }

  return {
    async step<T>(key: string, run: (step: StepRun) => Promise<T> | T, options: unknown = {}) {
      const name = checkId("key", key, limits.idLength);
      checkFunction("run", run);
      optionsOf("step", options, []);
      return (await parts.steps.share(name, () => runStep(name, run))) as Json<T>;
    },
  };
}
