import { accept, type Command, refuse } from "../../../corridor/command.js";
import { HoldfastError } from "../../../domain/errors.js";
import type { JsonValue } from "../../../domain/json.js";
import type { ProcessLease } from "../../../domain/lease.js";
import { ATTEMPT_FAILED_EVENT } from "../../../domain/process/event-type.js";
import { ownKey } from "../../../domain/process/own-key.js";
import { type Backoff, pauseAfter } from "../../../domain/retry.rules.js";
import { fence, placeChange, released } from "../../host/leases.rules.js";
import type { LeaseRow } from "../../host/tables.js";
import { loadRow } from "../../schema.js";
import { type Appended, append, eventChange } from "../events.rules.js";
import { unknownProcess } from "../processes.rules.js";
import type { ProcessRow } from "../tables.js";
import { parkedChanges } from "./claimable.rules.js";
import { failedAttempts, pausedAfter } from "./failed-attempt.rules.js";
import { unrated } from "./limits.rules.js";

export interface FailAttempt {
  readonly lease: ProcessLease;
  readonly error: { readonly code: string; readonly message: string };
  readonly backoff: Backoff;
  /** A random number from 0 to 1. */
  readonly roll: number;
}

/**
 * Stores that a run's handler threw, hands its lease back and parks the process until the next run, in one write. Replies false and writes
 * nothing if there is no further run: the policy allows no more, or the process was asked to cancel.
 */
export const failAttempt: Command<FailAttempt, { process: ProcessRow | undefined; lease: LeaseRow | undefined }, boolean> = {
  tables: ["processes", "events", "leases"],
  async load(reader, { lease: { processId } }) {
    const [process, lease] = await Promise.all([loadRow(reader, "processes", processId), loadRow(reader, "leases", processId)]);
    return { process, lease };
  },
  decide({ process, lease: row }, { lease, error, backoff, roll }, nowMs) {
    const { processId } = lease;
    if (!process) return refuse(unknownProcess(processId));
    if (isPausedBy(process, row, lease)) {
      // Its first commit told nothing: no reply came.
      const event = { about: "event" as const, id: processId, sequence: process.lastSequence };
      return accept(true, [], [event, ...parkedChanges(process)]);
    }
    const held = fence(row, lease, nowMs);
    if (held instanceof HoldfastError) return refuse(held);
    const attempt = failedAttempts(process) + 1;
    if (process.state !== "running" || process.cancelRequested !== undefined || attempt >= backoff.attempts) return accept(false);
    const retryAtMs = Math.min(nowMs + pauseAfter(backoff, attempt, roll), Number.MAX_SAFE_INTEGER);
    const payload: JsonValue = { attempt, message: error.message, code: error.code, retryAtMs };
    const appended = append(
      { process, eventTypes: undefined, lease: held, replayed: undefined },
      {
        processId,
        eventType: ATTEMPT_FAILED_EVENT,
        payload,
        own: true,
        lease,
        ...ownKey(processId, "attempt_failed", `${attempt}`),
      },
      undefined,
      nowMs,
    ) as Appended;
    const paused = pausedAfter(unrated(appended.process), { lastError: error, retryAtMs }, nowMs);
    return accept(
      true,
      [...appended.writes, { table: "processes", put: paused }, { table: "leases", put: released(held, true) }],
      [eventChange(appended.result.event), ...parkedChanges(paused), ...placeChange(held)],
    );
  },
  repeatable: () => true,
};

/** The first commit of a write that is repeated parked the process and released its own lease, and no host claimed it since. */
function isPausedBy(process: ProcessRow, row: LeaseRow | undefined, lease: ProcessLease): boolean {
  return (
    process.attempts?.retryAtMs !== undefined &&
    process.progressFence === lease.fencingToken &&
    row?.fencingToken === lease.fencingToken &&
    row.leaseToken === undefined
  );
}
