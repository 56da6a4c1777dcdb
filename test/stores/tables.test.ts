import { describe, expect, it } from "vitest";
import { isHoldfastError } from "../../src/domain/errors.js";
import type { ColumnType, Row } from "../../src/ports/storage.js";
import { readRow, SCHEMA, TABLES, type TableName } from "../../src/stores/schema.js";

const SCOPE = { sessionId: "s" };
/** Values of every kind that a column may hold, and others. The object has all members that any table checks inside a column. */
const VALUES = {
  object: { ownerScope: SCOPE, target: SCOPE, wakeId: "w", when: { atMs: 1 }, start: { name: "x" } },
  text: "x",
  number: 1,
  list: [],
  bytes: new Uint8Array(1),
  null: null,
  boolean: true,
  "not a number": Number.NaN,
};
type Kind = keyof typeof VALUES;
const KINDS = Object.keys(VALUES) as Kind[];

/** For each type of column: the sets of kinds, one of which is exactly what such a column holds. */
const HELD: Readonly<Record<ColumnType, readonly (readonly Kind[])[]>> = {
  text: [["text"]],
  number: [["number"]],
  bytes: [["bytes"]],
  json: [["object"], ["list"], KINDS],
  opaque: [KINDS],
};
/** Columns that may hold any value: an app's own JSON, a broken row, a key of the browser. */
const ANYTHING = ["events.payload", "messages.message", "turnSteps.result", "quarantine.row", "sealingKeys.key"];

const TABLE_NAMES = Object.keys(TABLES) as TableName[];
const COLUMNS = TABLE_NAMES.flatMap((table) =>
  Object.entries<ColumnType>(TABLES[table].columns).map(([column, type]) => ({
    name: `${table}.${column}`,
    table,
    column,
    type,
  })),
);

/** The error with which a read of the row is refused. */
function refusalOf(table: TableName, row: Row): string | undefined {
  try {
    readRow(table, row);
    return undefined;
  } catch (refusal) {
    return isHoldfastError(refusal) ? `${refusal.code}: ${refusal.message}` : String(refusal);
  }
}

const brokenColumn = (table: TableName, column: string) => `read-failed: a row of ${table} has a broken column ${column}`;

const canHold = (table: TableName, row: Row, column: string, value: unknown) =>
  refusalOf(table, { ...row, [column]: value }) !== brokenColumn(table, column);

/** A row with every declared column: each holds the first value that it may hold. */
function fullRow(table: TableName): Row {
  let row: Row = { v: 1 };
  for (const column of Object.keys(TABLES[table].columns)) {
    const value = Object.values(VALUES).find((one) => canHold(table, row, column, one));
    row = { ...row, [column]: value };
  }
  return row;
}

describe.each(TABLE_NAMES)("a row of %s", (table) => {
  it("is read as it is, with every column that is declared", () => {
    expect(readRow(table, fullRow(table))).toEqual(fullRow(table));
  });

  it("is refused without a column of its key", () => {
    for (const column of TABLES[table].key) {
      expect(refusalOf(table, { ...fullRow(table), [column]: undefined })).toBe(brokenColumn(table, column));
    }
  });

  it("is refused with its key where it is of a newer version, or of none", () => {
    const key = JSON.stringify(TABLES[table].key.map((column) => fullRow(table)[column]));
    const read = (v: unknown) => () => readRow(table, { ...fullRow(table), v } as Row);
    expect(read(2)).toThrow(expect.objectContaining({ code: "version", details: { table, key } }));
    expect(read(undefined)).toThrow(expect.objectContaining({ code: "read-failed", details: { table, key } }));
  });
});

it.each([
  ["processes", "provenance", { ownerScope: {} }],
  ["registrations", "eventTypes", [{ name: "note" }, null]],
  ["events", "wake", { wakeId: 1, target: SCOPE }],
  ["events", "wake", { wakeId: "w", target: null }],
  ["schedules", "spec", { when: null, start: { name: "x" } }],
  ["schedules", "spec", { when: { everyMs: "1" }, start: { name: "x" } }],
  ["schedules", "spec", { when: { atMs: 1 } }],
] as const)("a row of %s is refused where its %s is broken further in", (table, column, value) => {
  expect(refusalOf(table, { ...fullRow(table), [column]: value })).toBe(`read-failed: a row of ${table} is broken further in`);
});

it("a storage gets the tables as plain data, every column of a row named", () => {
  expect(structuredClone(SCHEMA.tables)).toEqual(SCHEMA.tables);
  for (const table of TABLE_NAMES) {
    const { key, indexes, columns } = SCHEMA.tables[table] ?? {};
    expect({ key, indexes }).toEqual({ key: TABLES[table].key, indexes: TABLES[table].indexes });
    expect(Object.keys(columns ?? {}).sort()).toEqual(Object.keys(fullRow(table)).sort());
  }
});

describe("a column", () => {
  it.each(COLUMNS)("$name holds what it is declared for, and nothing else", ({ name, table, column, type }) => {
    const kinds = KINDS.filter((kind) => canHold(table, fullRow(table), column, VALUES[kind]));
    expect(HELD[type]).toContainEqual(kinds);
    expect(kinds.length === KINDS.length).toBe(ANYTHING.includes(name));
  });

  const numbers = COLUMNS.filter(({ type }) => type === "number");
  const thoseThatHold = (value: number) => numbers.filter(({ table, column }) => canHold(table, fullRow(table), column, value));

  it("holds a fraction where it is a time, and a whole number where it counts", () => {
    expect(thoseThatHold(0.5)).toEqual(numbers.filter(({ column }) => column.endsWith("Ms")));
    expect(thoseThatHold(1e300)).toEqual(thoseThatHold(0.5));
  });

  it("that is there only while something is so holds a 1", () => {
    const counts = thoseThatHold(7);
    expect(numbers.filter((one) => !counts.includes(one)).map(({ name }) => name)).toEqual([
      "processes.suspended",
      "processes.unclaimed",
      "processes.rated",
      "processes.mayWait",
      "processes.endsChildren",
      "schedules.paused",
      "leases.locked",
      "leases.waiting",
      "leases.endedInOrder",
      "hosts.locked",
      "hosts.turns",
      "inputs.starts",
      "inputs.cancelRequested",
      "attachments.locked",
      "attachments.handler",
    ]);
  });
});

describe("a storage", () => {
  it("is told the type of every column, and those of keys and indexes are text and numbers", () => {
    const { tables } = SCHEMA;
    expect(Object.keys(tables)).toEqual(TABLE_NAMES);
    for (const [table, { key, indexes = {}, columns = {} }] of Object.entries(tables)) {
      const strange = [...key, ...Object.values(indexes).flat()].filter(
        (column) => !/^(text|number)$/.test(columns[column] ?? ""),
      );
      expect([table, strange]).toEqual([table, []]);
    }
    expect(tables.leases?.columns).toMatchObject({ resource: "text", fencingToken: "number", locked: "number" });
    expect(tables.inputs?.columns).toMatchObject({ record: "json", liveRank: "number" });
    expect(tables.sealed?.columns).toMatchObject({ name: "text", plain: "bytes" });
  });
});
