import { HoldfastError } from "../../domain/errors.js";
import { checkReceipt } from "../../domain/session/receipt.js";
import { RUNTIME_STATES, type RunBoundaryReceipt, type RuntimeState } from "../../domain/session/session.js";
import type { AdmittedSnapshot } from "../../domain/session/snapshot.js";
import type { Write } from "../../ports/storage.js";
import type { TableName } from "../schema.js";
import { ROW_VERSION } from "../table.js";
import { NO_LIMITS } from "./inputs/input-rows.rules.js";
import { newRuntime } from "./runtime-state.rules.js";
import type { ReceiptRow, RuntimeRow, SnapshotRow } from "./tables.js";

/** The row after a call; `undefined` if the call changes nothing of it, so that no needless row is made. */
export function nextRuntime(
  stored: RuntimeRow | undefined,
  change: { runtimeId: string; state?: RuntimeState | undefined; endedKeys: number; replaced: boolean; inputRevision?: number },
  nowMs: number,
): RuntimeRow | undefined {
  const { state, endedKeys, replaced, inputRevision } = change;
  const forgets =
    replaced && stored !== undefined && (stored.messageCount > 0 || stored.digest !== "" || stored.head !== undefined);
  if (state === undefined && endedKeys === 0 && !forgets && inputRevision === undefined) return undefined;
  const { head, ...row } = stored ?? newRuntime(change.runtimeId, nowMs);
  return {
    ...row,
    ...(head && !forgets && { head }),
    ...(forgets && { messageCount: 0, digest: "" }),
    ...(state !== undefined && { state }),
    ...(inputRevision !== undefined && { inputRevision }),
    endedKeys: row.endedKeys + endedKeys,
    updatedAtMs: nowMs,
  };
}

/** The snapshot becomes the transcript: the message rows of the old transcript are dropped. */
export function snapshotWrites(runtimeId: string, { bytes, id, messageCount }: AdmittedSnapshot, nowMs: number): Write[] {
  return [
    { table: "snapshots", put: { v: ROW_VERSION, runtimeId, bytes } },
    { table: "messages", dropPrefix: [runtimeId] },
    { table: "sessions", put: { v: ROW_VERSION, sessionId: id, runtimeId, messageCount, updatedAtMs: nowMs } },
  ];
}

export function receiptWrite(runtimeId: string, receipt: RunBoundaryReceipt): Write {
  const { runId, sequence } = receipt;
  return { table: "receipts", put: { v: ROW_VERSION, runtimeId, runId, sequence, receipt } };
}

export function duplicateReceipt({ runId, sequence }: RunBoundaryReceipt): HoldfastError {
  return new HoldfastError("write-failed", `a receipt of run "${runId}" with sequence ${sequence} is stored already`, {
    details: { runId, sequence },
  });
}

export function storedReceipt({ runtimeId, runId, sequence, receipt }: ReceiptRow): RunBoundaryReceipt {
  try {
    return checkReceipt("receipt", receipt, NO_LIMITS);
  } catch (cause) {
    throw broken("receipts", [runtimeId, runId, sequence], cause);
  }
}

export function storedState({ runtimeId, state }: RuntimeRow): RuntimeState | undefined {
  if (state === undefined || RUNTIME_STATES.includes(state)) return state;
  throw broken("runtimes", [runtimeId]);
}

export function storedBytes({ runtimeId, bytes }: SnapshotRow): Uint8Array {
  if (ArrayBuffer.isView(bytes)) return bytes;
  throw broken("snapshots", [runtimeId]);
}

function broken(table: TableName, key: readonly (string | number)[], cause?: unknown): HoldfastError {
  return new HoldfastError("read-failed", `a row of ${table} does not decode`, {
    details: { table, key: JSON.stringify(key) },
    cause,
  });
}
