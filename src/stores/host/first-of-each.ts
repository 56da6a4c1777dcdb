import type { Key, Reader, Row } from "../../ports/storage.js";
import { columnsOf, type TableName } from "../schema.js";

/**
 * The first row of each value in the first column of a two-column index: one read for each value, however many rows it has. Stops after
 * `most` values.
 */
export async function firstOfEach(
  reader: Reader,
  table: TableName,
  index: string,
  most = Number.POSITIVE_INFINITY,
): Promise<Row[]> {
  const [name = ""] = columnsOf(table, index);
  const firsts: Row[] = [];
  let from: Key | undefined;
  while (firsts.length < most) {
    const [row] = await reader.range(table, { index, limit: 1, ...(from !== undefined && { from }) });
    if (!row) break;
    firsts.push(row);
    // The smallest string behind that value.
    from = [`${row[name]}\u0000`, ""];
  }
  return firsts;
}
