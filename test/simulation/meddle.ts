import type { KernelStorage, Query, Row, Write } from "../../src/ports/storage.js";

/** Stands between hosts and their rows, and changes what they read or write. */
export interface Meddling {
  row?(table: string, row: Row | undefined, mode: "read" | "write"): Row | undefined;
  rows?(table: string, rows: Row[], mode: "read" | "write"): Row[];
  query?(table: string, query: Query): Query;
  writes?(writes: readonly Write[]): readonly Write[];
}

/** Each host has its own, which may remember what that host did. */
export function meddle(make: (host: string) => Meddling) {
  return (storage: KernelStorage, host: string): KernelStorage => {
    const { row, rows, query: asked, writes } = make(host);
    return {
      kind: storage.kind,
      ...(storage.keepsKeys && { keepsKeys: true }),
      async open(opening) {
        const open = await storage.open(opening);
        return {
          ...open,
          transact: (tables, mode, body, durability) =>
            open.transact(
              tables,
              mode,
              (tx) =>
                body({
                  async get(table, key) {
                    const found = await tx.get(table, key);
                    return row ? row(table, found, mode) : found;
                  },
                  async range(table, query) {
                    const found = await tx.range(table, asked ? asked(table, query) : query);
                    if (rows) return rows(table, found, mode);
                    return row ? found.flatMap((each) => row(table, each, mode) ?? []) : found;
                  },
                  write: (given) => tx.write(writes ? writes(given) : given),
                }),
              durability,
            ),
        };
      },
    };
  };
}

/** Changes the rows that are put into one table; a row is not put if nothing is returned for it. */
export function puts(table: string, change: (row: Row) => Row | undefined): Meddling["writes"] {
  return (writes) =>
    writes.flatMap((write) => {
      if (!("put" in write) || write.table !== table) return [write];
      const put = change(write.put);
      return put ? [{ table, put }] : [];
    });
}
