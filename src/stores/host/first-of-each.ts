import type { Key, Reader, Row } from "../../ports/storage.js";
import { columnsOf, type TableName } from "../schema.js";

/**
 * The first row of each name that leads an index of two columns: one read for each name, however many rows a name has. Ends at `most`
 * names where that is given.
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
    // The first string behind that name.
    from = [`${row[name]}\u0000`, ""];
  }
  return firsts;
}
