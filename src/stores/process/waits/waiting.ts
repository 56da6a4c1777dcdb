import { accept, type Decision } from "../../../corridor/command.js";
import { HoldfastError } from "../../../domain/errors.js";
import type { JsonValue } from "../../../domain/json.js";
import type { ProcessLease } from "../../../domain/lease.js";
import { STEP_EVENT, WAITING_EVENT } from "../../../domain/process/event-type.js";
import { ownKey } from "../../../domain/process/own-key.js";
import { shownWaitKey } from "../../../domain/process/wait.js";
import type { Reader, Write } from "../../../ports/storage.js";
import { awoken, fence } from "../../host/leases.rules.js";
import type { LeaseRow } from "../../host/tables.js";
import { loadRow } from "../../schema.js";
import { ROW_VERSION } from "../../table.js";
import { loadReplay } from "../events.js";
import { type Appended, type AppendInput, append, eventChange } from "../events.rules.js";
import { unknownProcess } from "../processes.rules.js";
import type { EventRow, ProcessRow, WaitRow } from "../tables.js";
import { loadWait } from "./wait-rows.js";
import { dropWait, putWait } from "./waits.rules.js";

/** The tables of a command that begins or ends a wait. */
export const WAIT_TABLES = ["processes", "leases", "events", "waits"] as const;

/** A wait of a run, under its lease. `key` is the stored one. */
export interface WaitOf {
  readonly processId: string;
  readonly kind: "timer" | "signal";
  readonly key: string;
  /** The name of the awaited signal. */
  readonly name?: string;
  readonly lease: ProcessLease;
}

/** What is stored of a wait. */
export interface WaitState {
  readonly process: ProcessRow;
  readonly lease: LeaseRow | undefined;
  /** The event that holds its result. */
  readonly ended: EventRow | undefined;
  readonly row: WaitRow | undefined;
  /** The event that tells of its beginning; read only where there is no row. */
  readonly began: EventRow | undefined;
}

export function endOfWait({ processId, kind, key, lease }: WaitOf, result: JsonValue = null): AppendInput {
  const { replayKey } = ownKey(processId, kind === "timer" ? "sleep" : "wait", key);
  const payload = { key: kind === "timer" ? key : shownWaitKey(key), result };
  return { processId, eventType: STEP_EVENT, payload, own: true, replayKey, lease };
}

export function beginningOfWait({ processId, kind, key, name, lease }: WaitOf, dueAtMs?: number): AppendInput {
  const { replayKey } = ownKey(processId, "waiting", `${kind}:${key}`);
  const payload = {
    key: kind === "timer" ? key : shownWaitKey(key),
    kind,
    ...(name !== undefined && { name }),
    ...(dueAtMs !== undefined && { dueAtMs }),
  };
  return { processId, eventType: WAITING_EVENT, payload, own: true, replayKey, lease };
}

export async function loadWaiting(reader: Reader, wait: WaitOf): Promise<WaitState> {
  const { processId, kind, key } = wait;
  const reading = loadRow(reader, "processes", processId);
  const [process, lease, ended] = await Promise.all([
    reading,
    loadRow(reader, "leases", processId),
    loadReplay(reader, endOfWait(wait), reading),
  ]);
  if (!process) throw unknownProcess(processId);
  const row = ended ? undefined : await loadWait(reader, process, kind, key);
  const began = ended || row ? undefined : await loadReplay(reader, beginningOfWait(wait), process);
  return { process, lease, ended, row, began };
}

/** When the wait ends by itself, as it was stored when it first began; undefined where it never began before. */
export function storedDue({ row, began }: WaitState): { dueAtMs?: number } | undefined {
  if (row) return row.dueAtMs === undefined ? {} : { dueAtMs: row.dueAtMs };
  if (!began) return undefined;
  const { dueAtMs } = began.payload as { dueAtMs?: number };
  return dueAtMs === undefined ? {} : { dueAtMs };
}

/** Stores that the run waits, once per wait. A process that was restarted may know its beginning, and have no row of it. */
export function beginWait<Reply>(
  state: WaitState,
  wait: WaitOf,
  dueAtMs: number | undefined,
  reply: Reply,
  nowMs: number,
): Decision<Reply> {
  const { process, row, began, lease } = state;
  const { processId, kind, key, name } = wait;
  if (row && row.name === name) return accept(reply);
  refuseUnheld(state, wait, nowMs);
  const put = putWait({
    v: ROW_VERSION,
    processId,
    kind,
    key,
    sinceMs: row?.sinceMs ?? began?.occurredAtMs ?? nowMs,
    ...(dueAtMs !== undefined && { dueAtMs }),
    ...(name !== undefined && { name }),
  });
  const marked: ProcessRow = { ...process, mayWait: 1 };
  if (row || began) {
    const writes: Write[] = [{ table: "processes", put: marked }, put, ...awoken(lease)];
    return accept(reply, writes, [{ about: "record", id: processId }]);
  }
  const rows = { process: marked, eventTypes: undefined, lease, replayed: undefined };
  const { writes, result } = append(rows, beginningOfWait(wait, dueAtMs), undefined, nowMs) as Appended;
  return accept(reply, [...writes, put], [eventChange(result.event)]);
}

/** Stores what the wait came to, and that nothing waits under its key any more. */
export function endWait<Reply>(
  state: WaitState,
  wait: WaitOf,
  result: JsonValue,
  reply: Reply,
  nowMs: number,
  more: readonly Write[] = [],
): Decision<Reply> {
  const { process, row, lease } = state;
  refuseUnheld(state, wait, nowMs);
  const rows = { process, eventTypes: undefined, lease, replayed: undefined };
  const appended = append(rows, endOfWait(wait, result), undefined, nowMs) as Appended;
  const writes = [...appended.writes, ...(row ? [dropWait(row)] : []), ...more];
  return accept(reply, writes, [eventChange(appended.result.event)]);
}

/** Throws unless the process runs under the wait's lease. */
export function refuseUnheld({ process, lease: row }: WaitState, { lease }: WaitOf, nowMs: number): void {
  const held = fence(row, lease, nowMs);
  if (held instanceof HoldfastError) throw held;
  if (process.state === "running") return;
  const { processId, state } = process;
  throw new HoldfastError("terminal", `process "${processId}" is already terminal: ${state}`, { details: { state } });
}
