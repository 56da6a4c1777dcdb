import type { Corridor } from "../../../corridor/command.js";
import { asHoldfastError, type HoldfastError } from "../../../domain/errors.js";
import type { ProcessAwaitOutput } from "../../../domain/process/process.js";
import { type Retry, rollOf } from "../../../domain/retry.rules.js";
import type { Limits, Timings } from "../../../domain/time.js";
import type { Clock } from "../../../ports/clock.js";
import type { EventMethods } from "../../../stores/process/events.js";
import { releaseLeases } from "../../../stores/process/leases.js";
import { admitPayload } from "../../../stores/process/registration.js";
import { failAttempt } from "../../../stores/process/runs/failed-attempt.js";
import { faultOf } from "../../host/fault.js";
import type { HeldLease } from "../../host/leases/held-lease.js";
import type { Fault } from "../../host/loop-contract.js";
import { isTrouble, storableOutput } from "../ending.js";

interface StoreParts {
  readonly corridor: Corridor;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly timings: Timings;
  readonly stores: Pick<EventMethods, "completeProcess">;
  newNonce(): string;
  fault(fault: Fault): void;
}

/** Stores the output, and tries again while the lease lives: finished work must not be done again because of a short fault. */
export async function storeOutput(parts: StoreParts, heldLease: HeldLease, wanted: ProcessAwaitOutput): Promise<void> {
  const { processId } = heldLease.lease;
  let output = wanted;
  for (;;) {
    try {
      await heldLease.write((lease) => parts.stores.completeProcess(processId, output, { lease }));
      return;
    } catch (thrown) {
      const error = asHoldfastError(thrown, "internal", "the terminal write failed");
      if (heldLease.over) return;
      if (error.code === "terminal" || error.code === "conflict") return await handBack(parts, heldLease);
      const smaller = error.code === "invalid" ? storableOutput(output, error) : undefined;
      if (smaller) {
        // What the handler returned cannot be stored: that is its own mistake.
        if (output.type === "success") parts.fault({ ...faultOf("handler", error, ""), processId });
        output = smaller;
        continue;
      }
      if (!(await isWorthAnotherTry(parts, heldLease, error))) return;
    }
  }
}

/**
 * Stores that the handler threw, and hands the lease back until its next run. Resolves false where there is no next run: then nothing is
 * stored. Tries again while the lease lives.
 */
export async function storeFailedAttempt(
  parts: StoreParts,
  heldLease: HeldLease,
  retry: Retry,
  output: Extract<ProcessAwaitOutput, { type: "failure" }>,
): Promise<boolean> {
  const { code, message } = fitting(output, parts.limits);
  const roll = rollOf(parts.newNonce());
  for (;;) {
    try {
      return await heldLease.write((lease) =>
        parts.corridor.run(failAttempt, { lease, error: { code, message }, backoff: retry, roll }),
      );
    } catch (thrown) {
      const error = asHoldfastError(thrown, "internal", "a failed attempt could not be stored");
      if (heldLease.over || !(await isWorthAnotherTry(parts, heldLease, error))) return true;
    }
  }
}

/** The failure with a message that may be stored. */
function fitting(
  output: Extract<ProcessAwaitOutput, { type: "failure" }>,
  limits: Limits,
): Pick<typeof output, "code" | "message"> {
  try {
    admitPayload(output, "output", limits);
    return output;
  } catch (error) {
    const smaller = storableOutput(output, error as HoldfastError);
    return smaller?.type === "failure" ? smaller : output;
  }
}

/** Waits after trouble of the storage. Resolves false if the lease is lost; throws what is no trouble. */
async function isWorthAnotherTry(parts: StoreParts, heldLease: HeldLease, error: HoldfastError): Promise<boolean> {
  if (!isTrouble(error)) throw error;
  if (!(await heldLease.recheck())) return false;
  tellRunFault(parts, error, heldLease.lease.processId);
  await sleep(parts, parts.timings.leaseRenewMs / 4);
  return true;
}

export async function handBack({ corridor }: Pick<StoreParts, "corridor">, heldLease: HeldLease): Promise<void> {
  await corridor.run(releaseLeases, { leases: [heldLease.lease] });
}

export function sleep({ clock }: Pick<StoreParts, "clock">, ms: number): Promise<void> {
  return new Promise<void>((resolve) => clock.setTimer(resolve, ms));
}

export function tellRunFault(parts: Pick<StoreParts, "fault">, thrown: unknown, processId: string): void {
  parts.fault({ ...faultOf("runner", thrown, "a run failed"), processId });
}
