import type { Reader, Write } from "../../ports/storage.js";
import { loadRow } from "../schema.js";
import { ROW_VERSION } from "../table.js";
import type { FloorRow } from "./tables.js";

/**
 * A floor keeps a number from going back after the rows that counted it were removed. All rows of a kind share one floor, so that a
 * removed row leaves nothing of its own behind. A floor is read only when a new row is made.
 */
export async function loadFloor(reader: Reader, name: FloorRow["name"]): Promise<number> {
  return (await loadRow(reader, "floors", name))?.floor ?? 0;
}

/** The write that raises the floor; it belongs to the transaction that removes rows with these numbers. */
export function raiseFloor(name: FloorRow["name"], floor: number, removed: readonly number[]): Write[] {
  const highest = removed.reduce((most, number) => Math.max(most, number), floor);
  return highest === floor ? [] : [{ table: "floors", put: { v: ROW_VERSION, name, floor: highest } }];
}
