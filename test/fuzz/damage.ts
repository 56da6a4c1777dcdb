import type { Row } from "../../src/ports/storage.js";
import { TABLES, type TableName } from "../../src/stores/schema.js";
import type { Dice } from "../differential/dice.js";

/** The rows that a damage makes of a stored row; empty where it does not apply. */
export type Damage = (table: TableName, row: Row) => Row[];

const WRONG = [
  null,
  undefined,
  0,
  -1,
  0.5,
  Number.NaN,
  1e300,
  "",
  "x",
  "\ud800",
  true,
  [],
  {},
  [null],
  { a: null },
  new Uint8Array(1),
];

/** All declared columns but the key's, also those that the row lacks. */
function columnsOf(table: TableName): string[] {
  const key: readonly string[] = TABLES[table].key;
  return Object.keys(TABLES[table].columns).filter((column) => !key.includes(column));
}

const ownColumnsOf = (table: TableName, row: Row) => columnsOf(table).filter((column) => row[column] !== undefined);

function keyOf(table: TableName, row: Row): Partial<Row> {
  return Object.fromEntries(TABLES[table].key.map((column) => [column, row[column]]));
}

const withColumn = (row: Row, column: string, value: unknown): Row => {
  const { [column]: _, ...rest } = row;
  return (value === undefined ? rest : { ...rest, [column]: value }) as Row;
};

/** Every kind of damage to a row. A kind with many variants has some of them drawn, for each column. */
export const DAMAGES: Readonly<Record<string, (drawn: Dice, variants: number) => Damage>> = {
  "is of a newer version": () => (_, row) => [2, 1e9, Number.POSITIVE_INFINITY].map((v) => ({ ...row, v })),
  "has no version that is one": () => (_, row) => [undefined, null, "1", {}].map((v) => withColumn(row, "v", v)),
  "lost its columns": () => (table, row) => [
    { v: 1, ...keyOf(table, row) },
    ...ownColumnsOf(table, row).map((column) => withColumn(row, column, undefined)),
  ],
  "has other values in its columns": (drawn, variants) => (table, row) =>
    columnsOf(table).flatMap((column) => times(variants, () => withColumn(row, column, drawn.pick(WRONG)))),
  "has other values further in": (drawn, variants) => (table, row) =>
    containersOf(table, row).flatMap((column) => times(variants, () => withColumn(row, column, changed(row[column], drawn)))),
  "was cut short further in": (drawn, variants) => (table, row) =>
    containersOf(table, row).flatMap((column) => times(variants, () => withColumn(row, column, cut(row[column], drawn)))),
};

const containersOf = (table: TableName, row: Row) => columnsOf(table).filter((column) => isContainer(row[column]));
const times = <T>(count: number, make: () => T): T[] => Array.from({ length: count }, make);

function isContainer(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}

/** The value with one member changed, at any depth. */
function changed(value: unknown, drawn: Dice): unknown {
  if (value instanceof Uint8Array) return value.map((byte) => (drawn.chance(1, 4) ? byte ^ 255 : byte));
  if (!isContainer(value) || Object.keys(value).length === 0 || drawn.chance(1, 6)) return drawn.pick(WRONG);
  const name = drawn.pick(Object.keys(value));
  const copy = (Array.isArray(value) ? [...value] : { ...value }) as Record<string, unknown>;
  copy[name] = changed(copy[name], drawn);
  return copy;
}

/** The value with one member removed, at any depth. */
function cut(value: unknown, drawn: Dice): unknown {
  if (value instanceof Uint8Array) return value.slice(0, drawn.below(value.length));
  if (!isContainer(value) || Object.keys(value).length === 0) return undefined;
  const name = drawn.pick(Object.keys(value));
  if (Array.isArray(value)) return value.slice(0, drawn.below(value.length));
  const copy = { ...value } as Record<string, unknown>;
  const less = drawn.chance(1, 2) ? cut(copy[name], drawn) : undefined;
  if (less === undefined) delete copy[name];
  else copy[name] = less;
  return copy;
}
