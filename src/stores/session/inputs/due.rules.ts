import { isTerminal } from "../../../domain/session/input.js";
import type { RuntimeRow } from "../tables.js";
import type { InputChange } from "./input-rows.rules.js";
import { doesStart, queuedInputOf } from "./inputs.rules.js";
import type { InputRow } from "./tables.js";

/**
 * A session's runtime row counts its live inputs, and says whether the session is due: a run of it is under way, or an input waits that
 * begins one. Tabs find due sessions by an index, and the list of sessions reads no inputs. Rows of schemas before 6 were never counted:
 * their sessions are due until they are opened, which counts them.
 */
type Counts = Required<Pick<RuntimeRow, "liveInputs" | "starters">>;

function countsOf(row: InputRow | undefined): Counts {
  if (!row || isTerminal(row.record.currentState)) return { liveInputs: 0, starters: 0 };
  const waiting = queuedInputOf(row);
  const isUnderWay = row.record.currentState !== "queued";
  return { liveInputs: 1, starters: isUnderWay || (waiting && doesStart(waiting)) ? 1 : 0 };
}

export function countAll(live: readonly InputRow[]): Counts {
  const counts = live.map(countsOf);
  return {
    liveInputs: counts.reduce((sum, { liveInputs }) => sum + liveInputs, 0),
    starters: counts.reduce((sum, { starters }) => sum + starters, 0),
  };
}

/** The row after changes of its inputs. `dueAtMs` begins anew when the session begins to wait or to run: the longest wait is the oldest time. */
export function withDue<R extends RuntimeRow>(row: R, changes: readonly InputChange[], nowMs: number): R {
  const { due: was, dueAtMs = nowMs, ...counted } = recounted(row, changes);
  const due = dueOf(counted as R);
  return (due === undefined ? counted : { ...counted, due, dueAtMs: due === was ? dueAtMs : nowMs }) as R;
}

function recounted<R extends RuntimeRow>(row: R, changes: readonly InputChange[]): R {
  const { liveInputs, starters = 0 } = row;
  if (liveInputs === undefined) return row;
  let counts: Counts = { liveInputs, starters };
  for (const { before, after } of changes) {
    const [was, is] = [countsOf(before), countsOf(after)];
    counts = {
      liveInputs: counts.liveInputs + is.liveInputs - was.liveInputs,
      starters: counts.starters + is.starters - was.starters,
    };
  }
  return { ...row, ...counts };
}

function dueOf({ state, sessionId, run, liveInputs, starters = 0 }: RuntimeRow): RuntimeRow["due"] {
  if (sessionId === undefined || state === undefined || state === "stopped" || state === "destroyed") return undefined;
  if (run) return "running";
  if (liveInputs === undefined) return "waiting";
  // A retired session also runs the inputs that begin no run by themselves.
  return starters > 0 || (state === "retired" && liveInputs > 0) ? "waiting" : undefined;
}
