import type { Corridor } from "../../../corridor/command.js";
import type { Watch } from "../../../corridor/watch.js";
import { guarded } from "../../../domain/admit.js";
import { checkFlag, checkId, checkOneOf, checkSignal, checkWhole, optionsOf, someMembersOf } from "../../../domain/check.js";
import { type HoldfastError, invalid } from "../../../domain/errors.js";
import type { InputOutcomeReport, StoredInputState } from "../../../domain/session/input.js";
import type { Limits } from "../../../domain/time.js";
import { loadOwner } from "../../../stores/host/hosts.js";
import { loadRow } from "../../../stores/schema.js";
import type { AcceptOutcome } from "../../../stores/session/admission.js";
import { checkRuntime, type SessionRef } from "../../../stores/session/draft.js";
import { loadLiveInputs, readInputs } from "../../../stores/session/inputs/input-rows.js";
import { type EndedInput, goneInput, untilEnded } from "./input-end.js";

/** What an app reads of a session's inputs, and who runs them. Loaded when it is first used. */
export interface InputReads {
  /**
   * The inputs of the session, in the order of their ids by UTF-16 code units; ids that the session makes are in the order of their making.
   * `live`: only those that have not ended, all of which are read whatever the limit, or only those that have. `after`: an input id; those behind it. `limit`: at most so many.
   */
  inputs(filter?: { live?: boolean; after?: string; limit?: number }): Promise<StoredInputState[]>;
  /** The host whose lease on the session is live: it runs a turn. */
  owner(): Promise<{ hostId: string; fencingToken: number; expiresAtMs: number } | undefined>;
  /**
   * Resolves when the input has ended, in whatever tab, at once if it has already. Takes its id, or what `submit` resolved with:
   * of "deduplicated" the end of the input that is stored is awaited, "rejected" is `invalid`. Rejects `not-found` for an unknown input, and for an
   * ephemeral one that has left no trace: it ended before the call, or without a run; `read-failed` for one in quarantine; `aborted` by
   * the signal; `closed` when this object is.
   */
  outcome(input: string | AcceptOutcome, options?: { signal?: AbortSignal }): Promise<InputOutcomeReport>;
}

interface InputReadsParts {
  readonly corridor: Corridor;
  readonly watch: Watch;
  readonly limits: Limits;
  readonly ref: SessionRef;
  /** Aborts when the session's object is closed; its reason is the error. */
  readonly closing: AbortSignal;
  /** The Web Lock of that boot is free. */
  isDead(bootId: string): Promise<boolean>;
}

export function inputReads(parts: InputReadsParts): InputReads {
  const { corridor, watch, limits, ref, closing } = parts;
  const { runtimeId } = ref;
  return {
    async inputs(filter = {}) {
      const m = optionsOf("inputs", filter, ["live", "after", "limit"], "filter");
      const live = m.live === undefined ? undefined : checkFlag("filter.live", m.live);
      const after = m.after === undefined ? undefined : checkId("filter.after", m.after, limits.idLength);
      const limit = m.limit === undefined ? Number.MAX_SAFE_INTEGER : checkWhole("filter.limit", m.limit, 1);
      return await corridor.query(["runtimes", "inputs"], async (reader) => {
        checkRuntime(await loadRow(reader, "runtimes", runtimeId), ref);
        if (!live)
          return (await readInputs(reader, runtimeId, { after, limit, isEnded: live === false })).map(({ record }) => record);
        const records = (await loadLiveInputs(reader, runtimeId)).map(({ record }) => record);
        const behind = records.filter(({ inputId }) => after === undefined || inputId > after);
        return behind.sort((a, b) => (a.inputId < b.inputId ? -1 : 1)).slice(0, limit);
      });
    },
    async owner() {
      const lease = await corridor.query(["runtimes", "leases", "farewells"], async (reader, now) => {
        const [runtime, owner] = await Promise.all([loadRow(reader, "runtimes", runtimeId), loadOwner(reader, runtimeId, now)]);
        checkRuntime(runtime, ref);
        return owner;
      });
      if (lease?.hostId === undefined) return undefined;
      const { hostId, bootId, locked, fencingToken, expiresAtMs } = lease;
      if (locked && bootId !== undefined && (await parts.isDead(bootId))) return undefined;
      return { hostId, fencingToken, expiresAtMs };
    },
    async outcome(input, options = {}) {
      const id = awaitedId(input, limits);
      const signal = checkSignal("options.signal", optionsOf("outcome", options, ["signal"]).signal);
      const until = signal ? guarded("options.signal", () => AbortSignal.any([signal, closing])) : closing;
      try {
        return reportOf(id, await untilEnded({ corridor, watch }, ref, id, until));
      } catch (error) {
        throw closing.aborted && !signal?.aborted ? (closing.reason as HoldfastError) : error;
      }
    },
  };
}

/** The id of the input whose end is awaited. */
function awaitedId(input: unknown, limits: Limits): string {
  if (typeof input !== "object") return checkId("input", input, limits.idLength);
  const m = someMembersOf("input", input, ["outcome", "inputId", "existingId", "reason"]);
  const outcome = checkOneOf("input.outcome", m.outcome, ["accepted", "deduplicated", "rejected"]);
  if (outcome === "rejected") throw invalid(`input must be one that was stored; it was rejected: ${String(m.reason)}`);
  const field = outcome === "accepted" ? "inputId" : "existingId";
  return checkId(`input.${field}`, m[field], limits.idLength);
}

function reportOf(inputId: string, ended: EndedInput): InputOutcomeReport {
  const { record, runId = record?.lastRunId } = ended;
  const of = (outcome: InputOutcomeReport["outcome"], more: Partial<InputOutcomeReport> = {}): InputOutcomeReport => ({
    outcome,
    ...more,
    ...(runId !== undefined && { runId }),
    ...(record?.interrupted && { interrupted: true }),
  });
  if (!record) {
    if (runId === undefined) throw goneInput(inputId, ended);
    return of("completed");
  }
  const end = record.terminalOutcome;
  switch (end?.outcomeType) {
    case "superseded":
      return of("superseded", { by: end.supersededBy });
    case "coalesced":
      return of("coalesced", { by: end.aggregateId });
    case "abandoned":
      if (end.reason === "cancelled") return of("cancelled");
      return typeof end.reason === "string"
        ? of("abandoned", { reason: end.reason })
        : of("failed", record.error === undefined ? {} : { error: record.error });
    default:
      return of("completed");
  }
}
