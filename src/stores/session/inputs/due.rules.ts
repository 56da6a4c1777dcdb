import { isTerminal } from "../../../domain/session/input.js";
import type { RuntimeRow } from "../tables.js";
import type { InputChange } from "./input-rows.rules.js";
import { doesStart, queuedInputOf } from "./inputs.rules.js";
import type { InputRow } from "./tables.js";

/**
 * A session's runtime row counts its live inputs, and says whether the session is due: a run of it is under way, or an input waits that
 * begins one. Tabs find due sessions by an index, and the list of sessions reads no inputs. Rows of schemas before 6 were never counted:
 * their sessions are uncounted until they are opened, or a tab counts them that looks for sessions that are due.
 */
type InputCounts = Required<Pick<RuntimeRow, "liveInputs" | "starters">>;

function recounted({ liveInputs, starters }: InputCounts, changes: readonly InputChange[]): InputCounts {
  function count(row: InputRow | undefined, by: 1 | -1): void {
    if (!row || isTerminal(row.record.currentState)) return;
    liveInputs += by;
    const waiting = queuedInputOf(row);
    if (row.record.currentState !== "queued" || (waiting && doesStart(waiting))) starters += by;
  }
  for (const { before, after } of changes) {
    count(before, -1);
    count(after, 1);
  }
  return { liveInputs, starters };
}

export function countAll(live: readonly InputRow[]): InputCounts {
  return recounted(
    { liveInputs: 0, starters: 0 },
    live.map((after) => ({ after })),
  );
}

/**
 * The row after changes of its inputs. `dueAtMs` begins anew when the session begins to wait or to run: the longest wait is the oldest
 * time. With `pausedUntilMs` nothing that waits may begin before that time, and then it is due; that holds until an input changes.
 */
export function withDue<R extends RuntimeRow>(
  stored: R,
  changes: readonly InputChange[],
  nowMs: number,
  pausedUntilMs?: number,
): R {
  const { due: was, dueAtMs, ...row } = stored;
  const { liveInputs, starters = 0 }: RuntimeRow = stored;
  const counts = liveInputs !== undefined && recounted({ liveInputs, starters }, changes);
  const due = dueOf({ ...row, ...counts } as R);
  if (due === undefined) return { ...row, ...counts } as R;
  const sinceMs = due === was && dueAtMs !== undefined ? dueAtMs : nowMs;
  const knownMs = changes.length > 0 ? Math.min(sinceMs, nowMs) : sinceMs;
  return { ...row, ...counts, due, dueAtMs: (due === "waiting" ? pausedUntilMs : undefined) ?? knownMs } as R;
}

function dueOf({ state, sessionId, run, liveInputs, starters }: RuntimeRow): RuntimeRow["due"] {
  if (sessionId === undefined || state === undefined || state === "stopped" || state === "destroyed") return undefined;
  if (run) return "running";
  if (liveInputs === undefined) return "uncounted";
  // A retired session also runs the inputs that begin no run by themselves.
  return starters || (state === "retired" && liveInputs) ? "waiting" : undefined;
}
