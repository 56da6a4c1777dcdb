import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex, utf8ToBytes } from "@noble/hashes/utils.js";
import type { Corridor } from "../../corridor/command.js";
import type { Watch } from "../../corridor/watch.js";
import { HoldfastError } from "../../domain/errors.js";
import type { JsonValue } from "../../domain/json.js";
import type { ProcessRecord } from "../../domain/process/process.js";
import { runtimeIdOf } from "../../domain/runtime-id.js";
import type { InputOutcome } from "../../domain/session/input.js";
import { hashOfJson } from "../../stores/process/processes.rules.js";
import { type AcceptOutcome, cancelInput } from "../../stores/session/admission.js";
import { loadInput } from "../../stores/session/inputs/input-rows.js";
import type { InputSubmission } from "../../stores/session/inputs/submission.js";
import type { SessionTurn } from "../process/run-process.js";
import { untilEnded } from "./inputs/input-end.js";

/**
 * Runs a process that is a turn of a session. Its input is submitted like any other, and the process ends when the input ends. The id of
 * the input comes from the id and the registration of the process: a later owner finds the same input while it is kept, and a process
 * that is registered under the same id after retention removed this one gets another input.
 *
 * `input` is a submission, or a text, which is a prompt; it is stored as a durable one. The result is `{ inputId, runId?, outcome }`.
 */
export async function runSessionTurn(
  parts: { corridor: Corridor; watch: Watch },
  submit: (submission: InputSubmission) => Promise<AcceptOutcome>,
  incarnation: number,
  run: Parameters<SessionTurn>[0],
): Promise<JsonValue> {
  const { corridor, watch } = parts;
  const { record, signal } = run;
  const { input } = record;
  if (input.type !== "session_turn") throw new HoldfastError("internal", `process "${record.id}" is no turn of a session`);
  const runtimeId = runtimeIdOf(input.sessionId);
  const given = typeof input.input === "string" ? { inputType: "prompt", text: input.input } : (input.input as object);
  const ownId = inputIdOf(record);
  const known = await corridor.query(["inputs"], async (reader) => {
    const [own, former] = await Promise.all([ownId, formerInputIdOf(record)].map((id) => loadInput(reader, runtimeId, id)));
    // An input older than the process belonged to an earlier process of the same id.
    return own ?? (former && former.record.createdAtMs >= record.createdAtMs ? former : undefined);
  });
  const inputId = known ? known.inputId : await admit({ ...given, inputId: ownId, durability: "durable" } as InputSubmission);

  async function admit(submission: InputSubmission): Promise<string> {
    const outcome = await submit(submission);
    if (outcome.outcome === "rejected") throw new HoldfastError("invalid", `the input was rejected: ${outcome.reason}`);
    return outcome.outcome === "accepted" ? outcome.inputId : outcome.existingId;
  }

  const ended = (until: AbortSignal) =>
    run.waiting(() => untilEnded({ corridor, watch }, { runtimeId, incarnation }, inputId, until));

  const { record: last } = await ended(signal).catch(async (error: unknown) => {
    if (!isCancel(signal)) throw error;
    await corridor.run(cancelInput, { runtimeId, incarnation, inputId });
    return await ended(run.stopped);
  });
  const end = last?.terminalOutcome;
  if (end?.outcomeType === "abandoned") throw abandonedError(end, signal);
  // The submission may have been a duplicate of an ephemeral input, which leaves no record when it ends.
  return { inputId, ...(last?.lastRunId !== undefined && { runId: last.lastRunId }), outcome: (end ?? null) as JsonValue };
}

/** As long as a UUID: it fits every limit on ids that a UUID fits. */
function inputIdOf({ id, registrationHash }: ProcessRecord): string {
  return `turn-${hashOfJson([id, registrationHash]).slice(0, 31)}`;
}

/** The input's id in a database that an older version wrote. */
function formerInputIdOf({ id }: ProcessRecord): string {
  return `process-${bytesToHex(sha256(utf8ToBytes(id))).slice(0, 28)}`;
}

function isCancel(signal: AbortSignal): boolean {
  const { details } = (signal.reason ?? {}) as { details?: { reason?: unknown } };
  return signal.aborted && details?.reason === "cancel-requested";
}

function abandonedError({ reason }: Extract<InputOutcome, { outcomeType: "abandoned" }>, signal: AbortSignal): unknown {
  if (reason === "cancelled" && isCancel(signal)) return signal.reason;
  const code = typeof reason === "string" ? reason : "max_attempts_exhausted";
  return Object.assign(new Error(`the session gave the input up: ${code}`), { code });
}
