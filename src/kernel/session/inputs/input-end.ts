import type { Corridor } from "../../../corridor/command.js";
import type { Shared, Watch } from "../../../corridor/watch.js";
import { HoldfastError } from "../../../domain/errors.js";
import { isTerminal, type StoredInputState } from "../../../domain/session/input.js";
import type { Change } from "../../../ports/notices.js";
import type { Reader } from "../../../ports/storage.js";
import { loadRow, loadRows } from "../../../stores/schema.js";
import { deletedSession, type SessionRef } from "../../../stores/session/draft.js";
import { loadInput } from "../../../stores/session/inputs/input-rows.js";
import type { RuntimeRow } from "../../../stores/session/tables.js";

/** What is known of an input that has ended. An ephemeral one leaves no record; then `runId` is the run that consumed it, if one did. */
export interface EndedInput {
  readonly record?: StoredInputState;
  readonly runId?: string;
  /** It was stored when the wait read it first. */
  readonly wasThere: boolean;
  /** Why it was set aside: no run can use it. */
  readonly quarantined?: string;
}

/**
 * Waits until an input has ended, in whatever tab. All waits of a session in this tab share one read of its row. Rejects `not-found` once
 * the session is deleted.
 */
export async function untilEnded(
  { corridor, watch }: { corridor: Corridor; watch: Watch },
  ref: SessionRef,
  inputId: string,
  signal?: AbortSignal,
): Promise<EndedInput> {
  const { runtimeId } = ref;
  const loadRuntime = (reader: Reader) => loadRow(reader, "runtimes", runtimeId);
  /** A number that every write to inputs raises. */
  const revisionOf = (runtime: RuntimeRow | undefined): number => {
    if (runtime?.incarnation !== ref.incarnation || runtime.state === undefined) throw deletedSession(ref);
    return runtime.inputRevision ?? 0;
  };
  /** The last revision at which the input had not ended, and when it was made. */
  let seen: { revision: number; createdAtMs: number } | undefined;

  const read = async (shared: Shared): Promise<EndedInput | undefined> => {
    if (seen && revisionOf(await shared("runtime", () => corridor.query(["runtimes"], loadRuntime))) === seen.revision)
      return undefined;
    const { revision, row } = await corridor.query(["runtimes", "inputs"], async (reader) => {
      const [runtime, row] = await Promise.all([loadRuntime(reader), loadInput(reader, runtimeId, inputId)]);
      return { revision: revisionOf(runtime), row };
    });
    if (row && isTerminal(row.record.currentState)) return { record: row.record, wasThere: true };
    if (row) {
      seen = { revision, createdAtMs: row.record.createdAtMs };
      return undefined;
    }
    const since = seen?.createdAtMs;
    return await corridor.query(["receipts", "quarantine"], async (reader) => {
      const quarantined = (await loadRow(reader, "quarantine", [runtimeId, inputId]))?.reason;
      if (quarantined !== undefined) return { wasThere: true, quarantined };
      const runId = since === undefined ? undefined : await consumedBy(reader, runtimeId, inputId, since);
      return { wasThere: since !== undefined, ...(runId !== undefined && { runId }) };
    });
  };
  /** Notices of other inputs are left out: there may be as many as inputs that are waited for. */
  const concerns = ({ about, member }: Change) => about === "runtime" || (about === "input" && member === inputId);
  return await watch.until(runtimeId, read, signal, concerns);
}

/** The clocks of two tabs may differ by less than this. */
const SLACK_MS = 60_000;

/** The run whose receipt names the input, among those that are no older than it: a run's id begins with the time of its making. */
async function consumedBy(reader: Reader, runtimeId: string, inputId: string, createdAtMs: number): Promise<string | undefined> {
  const time = Math.max(0, Math.floor(createdAtMs) - SLACK_MS)
    .toString(16)
    .padStart(12, "0");
  const from = [runtimeId, `${time.slice(0, 8)}-${time.slice(8)}`];
  const receipts = await loadRows(reader, "receipts", { prefix: [runtimeId], from });
  return receipts.find(({ receipt }) => receipt.contributingInputIds.includes(inputId))?.runId;
}

/** The input left no row. */
export function goneInput(inputId: string, { wasThere, quarantined }: EndedInput): HoldfastError {
  if (quarantined !== undefined)
    return new HoldfastError("read-failed", `the input "${inputId}" was set aside: ${quarantined}`, { details: { inputId } });
  const what = wasThere
    ? `the ephemeral input "${inputId}" ended without a run and left nothing`
    : `there is no input "${inputId}"`;
  return new HoldfastError("not-found", what, { details: { inputId } });
}
