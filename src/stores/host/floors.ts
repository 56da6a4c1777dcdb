import type { Reader, Write } from "../../ports/storage.js";
import { loadRow } from "../schema.js";
import { ROW_VERSION } from "../table.js";
import type { FloorRow } from "./tables.js";

/**
 * Numbers that must never go back although the rows that counted them are removed: one floor for all rows of a kind, so that what is
 * removed leaves nothing behind. Only a row that is made anew reads it.
 */
export async function loadFloor(reader: Reader, name: FloorRow["name"]): Promise<number> {
  return (await loadRow(reader, "floors", name))?.floor ?? 0;
}

/** What belongs to the transaction that removes rows with these numbers. */
export function raiseFloor(name: FloorRow["name"], floor: number, removed: readonly number[]): Write[] {
  const highest = removed.reduce((most, number) => Math.max(most, number), floor);
  return highest === floor ? [] : [{ table: "floors", put: { v: ROW_VERSION, name, floor: highest } }];
}
