import type { KernelStorage, Key, OpenStorage, Query, Write } from "../../src/ports/storage.js";

/** What one transaction did. */
export interface Seen {
  readonly mode: "read" | "write";
  readonly tables: readonly string[];
  readonly durability: string | undefined;
  readonly gets: string[];
  readonly ranges: string[];
  /** Rows that its reads found. */
  rows: number;
  readonly writes: Write[];
  committed: boolean;
}

/** The points at which a test may interfere. The storage fails with what a hook throws. A hook may also wait. */
export interface Hooks {
  /** Before the transaction opens: if it throws, nothing was written. */
  open?(seen: Seen): void | Promise<void>;
  /** In the open transaction, before its body. */
  begin?(seen: Seen): void | Promise<void>;
  /** In the open transaction, before a read. */
  read?(table: string, where: Key | Query, seen: Seen): void | Promise<void>;
  /** In the open transaction, after its body: if it throws, the transaction is undone. */
  end?(seen: Seen): void | Promise<void>;
  /** After the commit: if it throws, all is stored, but the caller does not learn it. */
  done?(seen: Seen): void | Promise<void>;
}

export interface Probe {
  readonly storage: KernelStorage;
  /** All transactions, even those that failed. */
  readonly seen: Seen[];
  /** A test may replace these at any time. */
  hooks: Hooks;
  /** Rows that were put into a table by transactions that committed. */
  puts(table: string): Record<string, unknown>[];
}

/** A real storage whose transactions are counted, and can be made to fail. Several kernels may open one place, each through a probe of its own. */
export function probe(inner: KernelStorage): Probe {
  const seen: Seen[] = [];
  const made: Probe = {
    seen,
    hooks: {},
    storage: {
      kind: inner.kind,
      ...(inner.keepsKeys && { keepsKeys: true }),
      async open(opening) {
        return watched(await inner.open(opening), made);
      },
    },
    puts: (table) =>
      seen.flatMap(({ committed, writes }) =>
        committed ? writes.flatMap((write) => ("put" in write && write.table === table ? [write.put] : [])) : [],
      ),
  };
  return made;
}

export function watched(open: OpenStorage, made: Pick<Probe, "seen" | "hooks">): OpenStorage {
  return {
    databaseId: open.databaseId,
    durability: open.durability,
    close: () => open.close(),
    async transact(tables, mode, body, durability) {
      const entry: Seen = { mode, tables, durability, gets: [], ranges: [], rows: 0, writes: [], committed: false };
      made.seen.push(entry);
      await made.hooks.open?.(entry);
      const result = await open.transact(
        tables,
        mode,
        async (tx) => {
          await made.hooks.begin?.(entry);
          const value = await body({
            async get(table, key) {
              entry.gets.push(`${table} ${JSON.stringify(key)}`);
              await made.hooks.read?.(table, key, entry);
              const row = await tx.get(table, key);
              if (row) entry.rows++;
              return row;
            },
            async range(table, query) {
              entry.ranges.push(`${table} ${JSON.stringify(query)}`);
              await made.hooks.read?.(table, query, entry);
              const rows = await tx.range(table, query);
              entry.rows += rows.length;
              return rows;
            },
            write(writes) {
              entry.writes.push(...writes);
              tx.write(writes);
            },
          });
          await made.hooks.end?.(entry);
          return value;
        },
        durability,
      );
      entry.committed = true;
      await made.hooks.done?.(entry);
      return result;
    },
  };
}
