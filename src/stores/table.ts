import { type ErrorCode, HoldfastError } from "../domain/errors.js";
import type { ColumnType, Row, TableSchema } from "../ports/storage.js";

/** The shape version that this code writes into `v`. A change of shape raises SCHEMA.version too. */
export const ROW_VERSION = 1;

/** What a column may hold: `T` tells the compiler, the function checks each row that is read, `type` tells the storage. */
export interface Column<T, Type extends ColumnType = ColumnType> {
  (value: unknown): value is T;
  readonly type: Type;
}

type ValueOf<C> = C extends Column<infer T> ? T : never;
type Defined = NonNullable<unknown> | null;

/** `text<"a" | "b">` narrows the type only; the check takes any string. */
export const text = kind("text", <T extends string = string>(value: unknown): value is T => typeof value === "string");
export const whole = kind("number", (value): value is number => Number.isSafeInteger(value));
/** Milliseconds since 1970. A clock may give fractions. */
export const time = kind("number", (value): value is number => Number.isFinite(value));
/** 1 stands for true, absence for false: IndexedDB takes no boolean as a key. */
export const flag = kind("number", (value): value is 1 => value === 1);
export const bit = kind("number", (value): value is 0 | 1 => value === 0 || value === 1);
export const json = kind("json", <T extends Defined>(value: unknown): value is T => value !== undefined);
export const object = kind(
  "json",
  <T extends object>(value: unknown): value is T =>
    typeof value === "object" && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value),
);
export const list = kind("json", <T>(value: unknown): value is readonly T[] => Array.isArray(value));
export const bytes = kind("bytes", (value): value is Uint8Array => ArrayBuffer.isView(value));
export const opaque = kind("opaque", (value): value is Defined => value !== undefined);

/** An optional column. */
export function maybe<C extends Column<unknown>>(column: C): Column<ValueOf<C> | undefined, C["type"]> {
  const fits = (value: unknown): value is ValueOf<C> | undefined => value === undefined || column(value);
  return kind<typeof fits, C["type"]>(column.type, fits);
}

function kind<Check extends (value: unknown) => boolean, Type extends ColumnType>(type: Type, fits: Check) {
  return Object.assign(fits, { type });
}

type Columns = Readonly<Record<string, Column<unknown>>>;
/** The names of the columns that a key or an index may use. */
type KeyColumn<C extends Columns> = string &
  { [Name in keyof C]: C[Name]["type"] extends Exclude<ColumnType, "text" | "number"> ? never : Name }[keyof C];

type RowWith<C extends Columns> = Row & {
  readonly [Name in keyof C as undefined extends ValueOf<C[Name]> ? never : Name]: ValueOf<C[Name]>;
} & {
  readonly [Name in keyof C as undefined extends ValueOf<C[Name]> ? Name : never]?: Exclude<ValueOf<C[Name]>, undefined>;
};

export interface Table extends TableSchema {
  readonly name: string;
  readonly columns: Readonly<Record<string, ColumnType>>;
  /** A stored row as this code knows it; one of a newer shape is `version`, one that is broken `read-failed`. */
  read(row: Row): Row;
}

export type RowOf<T extends Table> = ReturnType<T["read"]>;

/** Declares a table once. From it come the type of its rows (`RowOf`), the check of each row that is read, and its shape for the storage. */
export function table<
  const Name extends string,
  const C extends Columns,
  const Key extends readonly KeyColumn<C>[],
  const Indexes extends Readonly<Record<string, readonly KeyColumn<C>[]>> = Record<never, never>,
>(
  name: Name,
  shape: {
    readonly key: Key;
    readonly indexes?: Indexes;
    readonly columns: C;
  },
  /** Checks those members inside its columns that every reader of the row uses. */
  isSoundWithin: (row: RowWith<C>) => boolean = () => true,
) {
  const { key, indexes = {}, columns } = shape;
  const checks = Object.entries(columns);
  return {
    name,
    key,
    indexes: indexes as Indexes,
    columns: Object.fromEntries(checks.map(([column, { type }]) => [column, type])) as { readonly [N in keyof C]: ColumnType },
    read(row: Row): RowWith<C> {
      const fault = (what: string, code: ErrorCode = "read-failed") =>
        new HoldfastError(code, `a row of ${name} ${what}`, {
          details: { table: name, key: JSON.stringify(key.map((column) => row[column] ?? null)) },
        });
      if (typeof row.v !== "number") throw fault("has no shape version");
      if (row.v > ROW_VERSION) throw fault(`was written by a newer holdfast (shape ${row.v}, known ${ROW_VERSION})`, "version");
      for (const [column, fits] of checks) if (!fits(row[column])) throw fault(`has a broken column ${column}`);
      if (!isSoundWithin(row as RowWith<C>)) throw fault("is broken further in");
      return row as RowWith<C>;
    },
  };
}
