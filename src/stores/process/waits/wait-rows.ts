import type { Reader } from "../../../ports/storage.js";
import { loadRow, loadRows } from "../../schema.js";
import type { ProcessRow, WaitRow } from "../tables.js";

/** What the process waits for, and the tries of its steps. One that never waited costs no read. */
export async function loadWaits(reader: Reader, process: ProcessRow | undefined): Promise<WaitRow[]> {
  return process?.mayWait ? await loadRows(reader, "waits", { prefix: [process.processId] }) : [];
}

export async function loadWait(
  reader: Reader,
  process: ProcessRow | undefined,
  kind: WaitRow["kind"],
  key: string,
): Promise<WaitRow | undefined> {
  return process?.mayWait ? await loadRow(reader, "waits", [process.processId, kind, key]) : undefined;
}
