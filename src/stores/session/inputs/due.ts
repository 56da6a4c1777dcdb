import { accept, type Command } from "../../../corridor/command.js";
import type { Key, Reader, Row } from "../../../ports/storage.js";
import { isLive } from "../../host/leases.rules.js";
import type { LeaseRow } from "../../host/tables.js";
import { loadRow, readable, TABLES } from "../../schema.js";
import { readLive, type SessionRef } from "../draft.js";
import type { RuntimeRow } from "../tables.js";
import { countAll, withDue } from "./due.rules.js";
import { isSetBack } from "./inputs.rules.js";

/** A session that is due, and whose lease is not held: its owner died, or it has none. */
export interface DueSession {
  readonly runtimeId: string;
  readonly incarnation: number;
  readonly sessionId: string;
  /** The number of the last write to its inputs. */
  readonly revision: number;
}

export interface DueSessions {
  readonly found: readonly DueSession[];
  /** Sessions that are due and whose lease is held, with its expiry. */
  readonly held: ReadonlyMap<string, number>;
  /** When the next session is due, if that time is still to come; in wall time. */
  readonly nextMs: number | undefined;
}

export const DUE_TABLES = ["runtimes", "leases"] as const;

/** Rows of one read. Most looks find few. */
const PAGE = 32;

/** The sessions that wait or run, those first that do so the longest; `most` of them, without those that the caller passes over. */
export async function loadDue(
  reader: Reader,
  how: NonNullable<RuntimeRow["due"]>,
  most: number,
  passes: (runtimeId: string) => boolean,
  now: () => number,
): Promise<DueSessions> {
  const found: DueSession[] = [];
  const held = new Map<string, number>();
  let after: Key | undefined;
  for (;;) {
    const page = await reader.range("runtimes", {
      index: "due",
      prefix: [how],
      limit: PAGE,
      ...(after !== undefined && { after }),
    });
    const rows = readable("runtimes", page).filter(({ runtimeId }) => !passes(runtimeId));
    const nowMs = now();
    const next = rows.find((row) => isAwaited(row, nowMs));
    // Behind it stand later times, and those that were stored before the clock was set back.
    const due = rows.filter((row) => !isAwaited(row, nowMs));
    const leases = await Promise.all(due.map(({ runtimeId }) => loadLease(reader, runtimeId)));
    for (const [at, row] of due.entries()) {
      sort(row, leases[at], { found, held }, nowMs);
      if (found.length === most) return { found, held, nextMs: undefined };
    }
    if (next) return { found, held, nextMs: next.dueAtMs };
    const last = page.at(-1);
    if (!last || page.length < PAGE) return { found, held, nextMs: undefined };
    after = TABLES.runtimes.indexes.due.map((column) => last[column] as string | number);
  }
}

/** The same for these sessions alone. */
export async function loadDueOf(reader: Reader, runtimeIds: readonly string[], now: () => number): Promise<DueSessions> {
  const found: DueSession[] = [];
  const held = new Map<string, number>();
  let nextMs: number | undefined;
  const pairs = await Promise.all(
    runtimeIds.map(async (id) => {
      const row = await reader.get("runtimes", id);
      const [runtime] = readable("runtimes", row ? [row] : []);
      if (runtime?.dueAtMs === undefined) return undefined;
      if (!isAwaited(runtime, now())) return [runtime, await loadLease(reader, id)] as const;
      nextMs = Math.min(runtime.dueAtMs, nextMs ?? runtime.dueAtMs);
      return undefined;
    }),
  );
  for (const pair of pairs) if (pair) sort(...pair, { found, held }, now());
  return { found, held, nextMs };
}

/** Whether the session is due at a time to come: the end of a pause. */
function isAwaited({ dueAtMs = 0, updatedAtMs }: RuntimeRow, nowMs: number): boolean {
  return dueAtMs > nowMs && !isSetBack(updatedAtMs, nowMs);
}

/** An unreadable lease counts as none: the call that opens the session fails on it, and that is told. */
async function loadLease(reader: Reader, runtimeId: string): Promise<LeaseRow | undefined> {
  const row: Row | undefined = await reader.get("leases", runtimeId);
  return readable("leases", row ? [row] : [])[0];
}

function sort(
  { runtimeId, incarnation, sessionId, inputRevision = 0 }: RuntimeRow,
  lease: LeaseRow | undefined,
  { found, held }: { found: DueSession[]; held: Map<string, number> },
  nowMs: number,
): void {
  if (isLive(lease, nowMs)) held.set(runtimeId, lease.expiresAtMs);
  else if (sessionId !== undefined) found.push({ runtimeId, incarnation, sessionId, revision: inputRevision });
}

/** Counts the inputs of a session that an older holdfast stored, so that it need not be opened to know whether something waits in it. */
export const countInputs: Command<
  SessionRef,
  { runtime: RuntimeRow | undefined; found: Awaited<ReturnType<typeof readLive>> },
  void
> = {
  tables: ["runtimes", "inputs"],
  async load(reader, { runtimeId }) {
    const [runtime, found] = await Promise.all([loadRow(reader, "runtimes", runtimeId), readLive(reader, runtimeId)]);
    return { runtime, found };
  },
  decide({ runtime, found }, { incarnation }, nowMs) {
    if (runtime?.incarnation !== incarnation || runtime.liveInputs !== undefined) return accept(undefined);
    const counts = countAll(found.live);
    // What cannot be read makes the session due: the tab that opens it tells why it cannot.
    const bad = found.bad.length;
    const counted = { ...runtime, liveInputs: counts.liveInputs + bad, starters: counts.starters + bad };
    return accept(undefined, [{ table: "runtimes", put: withDue(counted, [], nowMs) }]);
  },
  repeatable: () => true,
};
