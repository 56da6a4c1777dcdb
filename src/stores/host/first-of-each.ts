import type { Key, Reader, Row } from "../../ports/storage.js";
import { columnsOf, SCHEMA, type TableName } from "../schema.js";

/**
 * The first row of each value in the first column of an index that is not in `prefix`, which is a text: one read for each value, however
 * many rows it has. Stops after `most` values. `behind` and `before` are values: only what lies between them is read.
 */
export async function firstOfEach(
  reader: Reader,
  table: TableName,
  index: string,
  most = Number.POSITIVE_INFINITY,
  {
    prefix = [],
    behind,
    before,
  }: { readonly prefix?: readonly string[]; readonly behind?: string | undefined; readonly before?: string | undefined } = {},
): Promise<Row[]> {
  const [name = "", ...others] = columnsOf(table, index).slice(prefix.length);
  const least = others.map((column) => (SCHEMA.tables[table]?.columns?.[column] === "number" ? 0 : ""));
  // The smallest string behind that value.
  const after = (value: unknown): Key => [...prefix, `${value}\u0000`, ...least];
  const bounds = {
    ...(prefix.length > 0 && { prefix }),
    ...(before !== undefined && { upTo: [...prefix, before, ...least] }),
  };
  const firsts: Row[] = [];
  let from = behind === undefined ? undefined : after(behind);
  while (firsts.length < most) {
    const [row] = await reader.range(table, { index, limit: 1, ...bounds, ...(from !== undefined && { from }) });
    if (!row) break;
    firsts.push(row);
    from = after(row[name]);
  }
  return firsts;
}
