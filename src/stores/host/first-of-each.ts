import type { Key, Reader, Row } from "../../ports/storage.js";
import { columnsOf, TABLES, type TableName } from "../schema.js";

/**
 * The first row of each value in the first column of an index that is not in `prefix`: one read for each value, however many rows it has.
 * Stops after `most` values. With `after`, a row of the last value that is known, it begins behind that value.
 */
export async function firstOfEach(
  reader: Reader,
  table: TableName,
  index: string,
  most = Number.POSITIVE_INFINITY,
  prefix: readonly string[] = [],
  after?: Row,
): Promise<Row[]> {
  const columns = columnsOf(table, index);
  const name = columns[prefix.length] ?? "";
  const types: Readonly<Record<string, string>> = TABLES[table].columns;
  const least = columns.slice(prefix.length + 1).map((column) => (types[column] === "number" ? 0 : ""));
  /** Where the smallest string behind the row's value would be. */
  const behind = (row: Row): Key => [...prefix, `${row[name]}\u0000`, ...least];
  const firsts: Row[] = [];
  let from = after && behind(after);
  while (firsts.length < most) {
    const [row] = await reader.range(table, {
      index,
      limit: 1,
      ...(prefix.length > 0 && { prefix }),
      ...(from !== undefined && { from }),
    });
    if (!row) break;
    firsts.push(row);
    from = behind(row);
  }
  return firsts;
}
