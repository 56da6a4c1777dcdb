import { accept, type Command, refuse } from "../../../corridor/command.js";
import { HoldfastError } from "../../../domain/errors.js";
import type { JsonValue } from "../../../domain/json.js";
import type { ProcessLease } from "../../../domain/lease.js";
import { STEP_FAILED_EVENT } from "../../../domain/process/event-type.js";
import { ownKey } from "../../../domain/process/own-key.js";
import type { Reader } from "../../../ports/storage.js";
import { loadRow } from "../../schema.js";
import { ROW_VERSION } from "../../table.js";
import { APPEND_TABLES, appendOwn, loadAppend, loadReplay } from "../events.js";
import { type AppendInput, type AppendState, eventChange } from "../events.rules.js";
import type { Restarted } from "../runs/restarts.rules.js";
import { stepOf } from "../runs/steps.js";
import type { EventRow, WaitRow } from "../tables.js";
import { putWait } from "./waits.rules.js";

/** A try of a step that threw: the payload of its event. Without `retryAtMs` it was the last one. */
export interface StepFailure {
  readonly key: string;
  /** 1 for the first try of the step. */
  readonly attempt: number;
  readonly message: string;
  readonly code?: string;
  readonly retryAtMs?: number;
}

/** The tries of a step that threw, of which at least one is stored. */
export interface StepTries {
  readonly failed: number;
  /** The next try begins no earlier. Absent after the last one. */
  readonly retryAtMs?: number;
  /** The last try, after which there is no other. */
  readonly last?: StepFailure;
}

interface FailedTry {
  readonly processId: string;
  readonly failure: Omit<StepFailure, "retryAtMs">;
  /** The pause before the next try, in milliseconds; absent after the last one. */
  readonly pauseMs: number | undefined;
  readonly lease: ProcessLease;
}

/** Stores a try that threw, and from when on the next one may begin. */
export const storeFailedTry: Command<FailedTry, AppendState, { retryAtMs?: number }> = {
  tables: APPEND_TABLES,
  load: (reader, { processId, failure, lease }) => loadAppend(reader, { ...failedOf(processId, failure), lease }),
  decide(state, { processId, failure, pauseMs, lease }, nowMs) {
    const { process, replayed } = state;
    const marked = process && { ...process, mayWait: 1 as const };
    // The same command again, since its reply was lost: the time of its first write holds.
    const retryAtMs = replayed ? storedFailure(replayed).retryAtMs : pauseMs === undefined ? undefined : nowMs + pauseMs;
    const due = retryAtMs === undefined ? {} : { retryAtMs };
    const appended = appendOwn({ ...state, process: marked }, { ...failedOf(processId, { ...failure, ...due }), lease }, nowMs);
    if (appended.writes.length === 0) return accept(due);
    if (process?.state !== "running")
      return refuse(new HoldfastError("terminal", `process "${processId}" is already terminal: ${process?.state}`));
    const row: WaitRow = {
      v: ROW_VERSION,
      processId,
      kind: "step",
      key: failure.key,
      sinceMs: nowMs,
      ...(retryAtMs !== undefined && { dueAtMs: retryAtMs }),
      failed: failure.attempt,
    };
    return accept(due, [...appended.writes, putWait(row)], [eventChange(appended.result.event)]);
  },
  repeatable: () => true,
};

/** What is stored of a step: its result, or the tries that threw. Without `mayBeTried` no try is looked for. */
export async function loadStep(
  reader: Reader,
  process: Restarted & { readonly processId: string },
  key: string,
  mayBeTried: boolean,
): Promise<{ event: EventRow | undefined; tries: StepTries | undefined }> {
  const { processId } = process;
  const [event, row] = await Promise.all([
    loadReplay(reader, stepOf(processId, key, null), process),
    mayBeTried ? loadRow(reader, "waits", [processId, "step", key]) : undefined,
  ]);
  if (event || !row) return { event, tries: undefined };
  const { failed = 0, dueAtMs } = row;
  if (dueAtMs !== undefined) return { event, tries: { failed, retryAtMs: dueAtMs } };
  const failure = { key, attempt: failed, message: `step "${key}" failed` };
  const stored = await loadReplay(reader, failedOf(processId, failure), process);
  return { event, tries: { failed, last: stored ? storedFailure(stored) : failure } };
}

export function failedOf(processId: string, failure: StepFailure): AppendInput {
  const { key, attempt } = failure;
  const payload = failure as unknown as JsonValue;
  return {
    processId,
    eventType: STEP_FAILED_EVENT,
    payload,
    own: true,
    ...ownKey(processId, "step_failed", `${attempt}:${key}`),
  };
}

function storedFailure({ payload }: EventRow): StepFailure {
  return payload as unknown as StepFailure;
}
