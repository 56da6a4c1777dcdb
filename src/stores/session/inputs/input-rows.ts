import { isTerminal, type StoredInputState } from "../../../domain/session/input.js";
import type { Reader } from "../../../ports/storage.js";
import { loadRow } from "../../schema.js";
import { keysOf, readInput } from "./input-rows.rules.js";
import type { InputKeyRow, InputRow } from "./tables.js";

export async function loadInput(reader: Reader, runtimeId: string, inputId: string): Promise<InputRow | undefined> {
  const row = await reader.get("inputs", [runtimeId, inputId]);
  return row && readInput(row);
}

/** All inputs, in the order of their ids by code units. A row that does not decode fails the call, with its id in `details`. */
export async function loadInputs(reader: Reader, runtimeId: string): Promise<InputRow[]> {
  return (await reader.range("inputs", { prefix: [runtimeId] })).map(readInput);
}

/** Rows that are read at once. */
const PAGE = 256;

/** At most `limit` inputs with ids behind `after`, in the order of their ids; only those that have ended, if so asked. */
export async function readInputs(
  reader: Reader,
  runtimeId: string,
  { after, limit, isEnded }: { after: string | undefined; limit: number; isEnded: boolean },
): Promise<InputRow[]> {
  const found: InputRow[] = [];
  let last = after;
  for (;;) {
    const query = { prefix: [runtimeId], limit: PAGE, ...(last !== undefined && { after: [runtimeId, last] }) };
    const rows = (await reader.range("inputs", query)).map(readInput);
    found.push(...rows.filter(({ record }) => !isEnded || isTerminal(record.currentState)));
    last = rows.at(-1)?.inputId;
    if (rows.length < PAGE || found.length >= limit) return found.slice(0, limit);
  }
}

/** The inputs that have not ended, in the order of their admission. Inputs without a rank come last, by id. */
export async function loadLiveInputs(reader: Reader, runtimeId: string): Promise<InputRow[]> {
  return (await reader.range("inputs", { index: "live", prefix: [runtimeId] })).map(readInput);
}

/** The stored key rows that `inputWrites` needs, for the records before and after the change. */
export async function loadInputKeys(
  reader: Reader,
  runtimeId: string,
  records: readonly (StoredInputState | undefined)[],
): Promise<InputKeyRow[]> {
  const rows = await Promise.all(keysOf(records).map((key) => loadRow(reader, "inputKeys", [runtimeId, key])));
  return rows.filter((row) => row !== undefined);
}
