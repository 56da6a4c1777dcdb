import type { Corridor } from "../../../corridor/command.js";
import { checkWhole, optionsOf } from "../../../domain/check.js";
import { HoldfastError } from "../../../domain/errors.js";
import type { JsonValue } from "../../../domain/json.js";
import { checkRetry, isRetried, pauseAfter, type Retry, type RetryPolicy, rollOf } from "../../../domain/retry.rules.js";
import type { Limits } from "../../../domain/time.js";
import type { Clock } from "../../../ports/clock.js";
import { admitPayload } from "../../../stores/process/registration.js";
import { type StepTries, storeFailedTry } from "../../../stores/process/waits/step-tries.js";
import type { HeldLease } from "../../host/leases/held-lease.js";
import { storableCause } from "../ending.js";
import type { RunWaits } from "../waits/run-waits.js";
import type { OwnWork } from "./own-work.js";
import type { RunningSteps } from "./running-steps.js";

/** How often a step is tried, and how long a try may take. */
export interface StepOptions {
  /**
   * A `run` that throws is called again, after a pause that is stored: a later owner goes on counting, and waits only for the rest of the
   * pause. The pause gives the handler's slot back.
   */
  retry?: RetryPolicy;
  /** How long one call of `run` may take, in milliseconds, 1 and up. Default: no limit. */
  timeoutMs?: number;
}

/** Checked options. */
export interface StepTerms {
  readonly retry: Retry | undefined;
  readonly timeoutMs: number | undefined;
}

export function checkStepOptions(options: unknown): StepTerms {
  const { retry, timeoutMs } = optionsOf("step", options, ["retry", "timeoutMs"]);
  return {
    retry: retry === undefined ? undefined : checkRetry("options.retry", retry),
    timeoutMs: timeoutMs === undefined ? undefined : checkWhole("options.timeoutMs", timeoutMs, 1),
  };
}

/** Calls `call` until it succeeds, and gives its result. Each failure that has another try, or was the last, is stored. */
export type TryStep = (
  step: { readonly key: string; readonly terms: StepTerms; readonly tries: StepTries | undefined },
  call: (signal: AbortSignal) => Promise<unknown>,
) => Promise<{ result: JsonValue; isTried: boolean }>;

export interface StepTriesParts {
  readonly corridor: Corridor;
  readonly clock: Clock;
  newNonce(): string;
  readonly limits: Limits;
  readonly processId: string;
  readonly heldLease: HeldLease;
  readonly signal: AbortSignal;
  readonly steps: RunningSteps;
  readonly waits: RunWaits;
  /** Whether it is trouble with the storage or the lease, which the context itself threw. */
  isRaisedTrouble(error: unknown): boolean;
}

export function createTryStep(parts: StepTriesParts, { own }: OwnWork, tried: (key: string) => void): TryStep {
  const { clock, corridor, limits, processId, heldLease, signal, steps, waits } = parts;

  return async ({ key, terms: { retry, timeoutMs }, tries }, call) => {
    let failed = tries?.failed ?? 0;
    let retryAtMs = tries?.retryAtMs;
    // A step that begins after a cancel request, as for a cleanup, is tried again as any other.
    const wasAborted = signal.aborted;
    const isCancelled = () => signal.aborted && !wasAborted;

    async function pause(dueAtMs: number): Promise<void> {
      const settle = async () => {
        if (isCancelled()) throw signal.reason;
        return clock.now() < dueAtMs ? undefined : { answer: undefined };
      };
      await steps.pausing(() => waits.until({ kind: "retry", key, dueAtMs }, settle));
    }

    async function store(error: unknown, isLast: boolean): Promise<number | undefined> {
      const failure = { key, attempt: failed, ...storableCause(error, "the step") };
      const pauseMs = isLast || !retry ? undefined : pauseAfter(retry, failed, rollOf(parts.newNonce()));
      const stored = await own(() =>
        heldLease.write((lease) => corridor.run(storeFailedTry, { processId, failure, pauseMs, lease })),
      );
      tried(key);
      return stored.retryAtMs;
    }

    for (;;) {
      if (retryAtMs !== undefined) await pause(retryAtMs);
      await own(async () => {});
      let isReturned = false;
      try {
        const value = await timed(key, timeoutMs, call);
        isReturned = true;
        return { result: admitPayload(value ?? null, `the result of step "${key}"`, limits), isTried: failed > 0 };
      } catch (error) {
        if (!retry || heldLease.over || parts.isRaisedTrouble(error) || isCancelled()) throw error;
        failed++;
        // What was returned and cannot be stored is the step's own mistake, which another call would make again.
        retryAtMs = await store(error, isReturned || failed >= retry.attempts || !isRetried(retry, error));
        if (retryAtMs === undefined) throw error;
      }
    }
  };

  async function timed(
    key: string,
    timeoutMs: number | undefined,
    call: (signal: AbortSignal) => Promise<unknown>,
  ): Promise<unknown> {
    if (timeoutMs === undefined) return await call(signal);
    const own = new AbortController();
    let cancel = () => {};
    const isOver = new Promise<never>((_, reject) => {
      cancel = clock.setTimer(() => {
        const message = `step "${key}" took longer than ${timeoutMs} ms`;
        const reason = new HoldfastError("timeout", message, { details: { key, timeoutMs } });
        // Before what listens to the signal rejects.
        reject(reason);
        own.abort(reason);
      }, timeoutMs);
    });
    try {
      return await Promise.race([call(AbortSignal.any([signal, own.signal])), isOver]);
    } finally {
      cancel();
    }
  }
}
