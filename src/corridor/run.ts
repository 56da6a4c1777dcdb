import { copyOf } from "../domain/copy.js";
import { asHoldfastError, HoldfastError } from "../domain/errors.js";
import type { Clock } from "../ports/clock.js";
import type { Change, Notices } from "../ports/notices.js";
import type { Key, OpenStorage, Query, Reader, Row, TableSchema, Transaction, Write } from "../ports/storage.js";
import { type Command, type Corridor, type Decision, type RunOptions, refuse } from "./command.js";

/**
 * The corridor: the one way of every command of every store, and the only caller of the storage.
 *
 *     load (reads)  ->  decide (pure)  ->  writes as data  ->  commit  ->  one notice
 *
 * Commands that wait while a transaction is open go together in the next one, over the union of their tables. All loads run
 * at once and fill a row cache; then, one by one, each loads again from the cache and decides on what those before it wrote.
 * A command that throws or refuses has written nothing; the others of its group do not notice.
 */
export interface CorridorParts {
  readonly storage: OpenStorage;
  readonly tables: Readonly<Record<string, TableSchema>>;
  readonly notices: Notices;
  readonly clock: Clock;
}

const MOST_COMMANDS = 256;
const MOST_CHARACTERS = 1_048_576;
const MOST_PREPARATIONS = 3;

/** A command on its way; what it is of is known to its own functions alone. */
interface Passenger {
  readonly command: Command<unknown, unknown, unknown>;
  readonly input: unknown;
  readonly size: number;
  preparations: number;
  resolve(reply: unknown): void;
  reject(error: unknown): void;
}

export function createCorridor(parts: CorridorParts): Corridor & { close(): Promise<void> } {
  const { storage, tables, notices, clock } = parts;
  const waiting: Passenger[] = [];
  const underway = new Set<Promise<void>>();
  let draining = false;
  let closed = false;

  function board(passenger: Passenger): void {
    if (closed) return passenger.reject(new HoldfastError("closed", "the kernel is closed"));
    waiting.push(passenger);
    if (draining) return;
    draining = true;
    // A microtask later, so that calls of one burst share the first transaction too.
    track(Promise.resolve().then(drain));
  }

  async function drain(): Promise<void> {
    try {
      while (waiting.length > 0) await carry(nextGroup());
    } finally {
      draining = false;
    }
  }

  function nextGroup(): Passenger[] {
    let characters = 0;
    let count = 0;
    for (const passenger of waiting) {
      characters += passenger.size;
      if (count > 0 && (count === MOST_COMMANDS || characters > MOST_CHARACTERS)) break;
      count++;
    }
    return waiting.splice(0, count);
  }

  /** What a failed transaction leaves to be tried again comes next, one after another: never a call within a call, which would grow. */
  async function carry(group: Passenger[]): Promise<void> {
    const next = [group];
    for (let tried = next.shift(); tried; tried = next.shift()) next.unshift(...(await attempt(tried)));
  }

  /** One transaction. Resolves with the groups that are to be tried again. */
  async function attempt(group: Passenger[]): Promise<Passenger[][]> {
    let decisions: Decision<unknown>[];
    try {
      const scope = [...new Set(group.flatMap(({ command }) => command.tables))];
      const relaxed = group.every(({ command }) => command.durability === "relaxed");
      decisions = await storage.transact(scope, "write", (tx) => decideAll(tx, group), relaxed ? "relaxed" : undefined);
    } catch (failure) {
      return afterFailure(group, asHoldfastError(failure, "write-failed", "the transaction failed"));
    }
    // Answers before what is only told. The callers go on in a later microtask: the notice is out by then.
    for (const [at, passenger] of group.entries()) arrive(passenger, decisions[at] as Decision<unknown>, group.length > 1);
    notices.publish(changesOf(decisions));
    return [];
  }

  async function decideAll(tx: Transaction, group: Passenger[]): Promise<Decision<unknown>[]> {
    const rows = new RowCache(tx, tables);
    if (group.length > 1) await Promise.allSettled(group.map(({ command, input }) => command.load(rows, input)));
    const decisions: Decision<unknown>[] = [];
    let nowMs: number | undefined;
    for (const { command, input } of group) {
      let decision: Decision<unknown>;
      try {
        const state = await command.load(rows, input);
        // Only now: a transaction may have waited long for its turn, and what is live is judged at the moment of the write.
        nowMs ??= clock.now();
        decision = command.decide(state, input, nowMs);
        if (decision.kind === "accept") rows.stage(decision.writes);
      } catch (thrown) {
        decision = refuse(asHoldfastError(thrown, "internal", "a command failed"));
      }
      if (rows.failure !== undefined) throw rows.failure;
      decisions.push(decision);
    }
    rows.flush();
    return decisions;
  }

  function arrive(passenger: Passenger, decision: Decision<unknown>, shared: boolean): void {
    if (decision.kind === "refuse") return passenger.reject(decision.error);
    // Commands of one group may have read the same row: no caller gets hold of what another one holds.
    if (decision.kind === "accept") return passenger.resolve(shared ? copyOf(decision.reply) : decision.reply);
    if (++passenger.preparations > MOST_PREPARATIONS)
      return passenger.reject(new HoldfastError("internal", "a command is never prepared"));
    track(decision.prepare().then(() => board(passenger), passenger.reject));
  }

  /** Nothing was written, or it is not known. A command that the group's failure was not about must not fail with it. */
  function afterFailure(group: Passenger[], failure: HoldfastError): Passenger[][] {
    const unknown = detail(failure, "outcome") === "unknown";
    const again = unknown
      ? group.filter(({ command, input }) => command.repeatable?.(input))
      : detail(failure, "reason") === "frozen" || (group.length > 1 && isAbort(failure))
        ? group
        : [];
    for (const passenger of group) if (!again.includes(passenger)) passenger.reject(failure);
    return again.map((passenger) => [unknown ? onceMore(passenger) : passenger]);
  }

  /** A second unknown outcome is told to the caller: going round for ever would hide it. */
  function onceMore(passenger: Passenger): Passenger {
    return { ...passenger, command: { ...passenger.command, repeatable: () => false } };
  }

  function track(work: Promise<void>): void {
    underway.add(work);
    void work.finally(() => underway.delete(work));
  }

  return {
    run<Input, State, Reply>(command: Command<Input, State, Reply>, input: Input, options: RunOptions = {}): Promise<Reply> {
      return new Promise<Reply>((resolve, reject) => {
        const passenger: Passenger = {
          command: command as unknown as Command<unknown, unknown, unknown>,
          input,
          size: options.size ?? 0,
          preparations: 0,
          resolve: resolve as (reply: unknown) => void,
          reject,
        };
        if (options.atOnce && !closed) track(carry([passenger]));
        else board(passenger);
      });
    },
    async query(scope, read) {
      if (closed) throw new HoldfastError("closed", "the kernel is closed");
      try {
        return await storage.transact(scope, "read", (tx) => read(tx, () => clock.now()));
      } catch (thrown) {
        // A row that is broken further in than anybody looked.
        throw asHoldfastError(thrown, "read-failed", "what is stored could not be read");
      }
    },
    async close() {
      closed = true;
      await Promise.allSettled(underway);
      await storage.close();
    },
  };
}

/** Each row is read once and written once per group. What is known of a range holds until a write may have changed it. */
class RowCache implements Reader {
  readonly #tx: Transaction;
  readonly #tables: Readonly<Record<string, TableSchema>>;
  readonly #rows = new Map<string, { readonly table: string; readonly key: Key; readonly row: Promise<Row | undefined> }>();
  /** By table, which any write to it empties. */
  readonly #ranges = new Map<string, Map<string, Promise<Row[]>>>();
  /** By table, the rows under one whole key of an index, which only a row that has or had that key can change. */
  readonly #lookups = new Map<string, Map<string, Promise<Row[]>>>();
  /** By the name of a row, the lookups that found it. */
  readonly #foundBy = new Map<string, string[]>();
  readonly #staged = new Map<string, Write>();
  readonly #unwritten = new Set<string>();
  /** Set when the transaction itself failed, which no command may swallow. */
  failure: unknown;

  constructor(tx: Transaction, tables: Readonly<Record<string, TableSchema>>) {
    this.#tx = tx;
    this.#tables = tables;
  }

  get(table: string, key: Key): Promise<Row | undefined> {
    const name = nameOf(table, key);
    const known = this.#rows.get(name);
    if (known) return known.row;
    const row = this.#watched(this.#tx.get(table, key));
    this.#rows.set(name, { table, key, row });
    return row;
  }

  range(table: string, query: Query): Promise<Row[]> {
    const lookup = this.#lookupOf(table, query);
    const ofTable = within(lookup === undefined ? this.#ranges : this.#lookups, table);
    const name = lookup ?? JSON.stringify(query);
    const known = ofTable.get(name);
    if (known) return known;
    if (this.#unwritten.has(table)) this.flush();
    const rows = this.#watched(this.#tx.range(table, query));
    ofTable.set(name, rows);
    if (lookup !== undefined) void rows.then((found) => this.#noteFound(table, lookup, found), ignored);
    return rows;
  }

  stage(writes: readonly Write[]): void {
    for (const write of writes) {
      this.#ranges.delete(write.table);
      if ("dropPrefix" in write) {
        this.#lookups.delete(write.table);
        this.flush();
        this.#write([write]);
        for (const [name, { table, key }] of this.#rows)
          if (table === write.table && startsWith(key, write.dropPrefix)) this.#rows.delete(name);
        continue;
      }
      const key = "put" in write ? this.#keyOf(write.table, write.put) : write.drop;
      const name = nameOf(write.table, key);
      this.#forgetLookups(write, name);
      this.#unwritten.add(write.table);
      this.#staged.set(name, write);
      this.#rows.set(name, { table: write.table, key, row: Promise.resolve("put" in write ? write.put : undefined) });
    }
  }

  flush(): void {
    this.#write([...this.#staged.values()]);
    this.#staged.clear();
    this.#unwritten.clear();
  }

  /** The name of a query that asks for one whole key of an index. */
  #lookupOf(table: string, { index, prefix, ...bounds }: Query): string | undefined {
    if (index === undefined || prefix === undefined || Object.keys(bounds).length > 0) return undefined;
    return prefix.length === this.#tables[table]?.indexes?.[index]?.length ? nameOf(index, prefix) : undefined;
  }

  #noteFound(table: string, lookup: string, found: readonly Row[]): void {
    for (const row of found) {
      const name = nameOf(table, this.#keyOf(table, row));
      this.#foundBy.set(name, [...(this.#foundBy.get(name) ?? []), lookup]);
    }
  }

  #forgetLookups(write: Write, name: string): void {
    const lookups = this.#lookups.get(write.table);
    if (!lookups) return;
    for (const lookup of this.#foundBy.get(name) ?? []) lookups.delete(lookup);
    if (!("put" in write)) return;
    // Only tables with indexes have lookups.
    for (const [index, columns] of Object.entries((this.#tables[write.table] as Required<TableSchema>).indexes))
      lookups.delete(nameOf(index, valuesOf(write.put, columns)));
  }

  /** One that is refused at once may have taken a part: then nothing of this transaction may stay. */
  #write(writes: readonly Write[]): void {
    try {
      this.#tx.write(writes);
    } catch (thrown) {
      this.failure ??= thrown;
      throw thrown;
    }
  }

  #keyOf(table: string, row: Row): Key {
    const parts = valuesOf(row, (this.#tables[table] as TableSchema).key);
    return parts.length === 1 ? (parts[0] as string | number) : parts;
  }

  #watched<T>(read: Promise<T>): Promise<T> {
    read.catch((failure: unknown) => {
      this.failure ??= failure;
    });
    return read;
  }
}

function changesOf(decisions: readonly Decision<unknown>[]): Change[] {
  const changes = new Map<string, Change>();
  for (const decision of decisions) {
    if (decision.kind !== "accept") continue;
    for (const change of decision.changes) changes.set(JSON.stringify([change.about, change.id, change.member]), change);
  }
  return [...changes.values()];
}

function ignored(): void {}

function within<T>(maps: Map<string, Map<string, T>>, name: string): Map<string, T> {
  const known = maps.get(name) ?? new Map<string, T>();
  maps.set(name, known);
  return known;
}

function valuesOf(row: Row, columns: readonly string[]): (string | number)[] {
  return columns.map((column) => row[column] as string | number);
}

function nameOf(kind: string, key: Key): string {
  return `${kind} ${JSON.stringify(key)}`;
}

function startsWith(key: Key, prefix: readonly (string | number)[]): boolean {
  const parts = typeof key === "object" ? key : [key];
  return prefix.every((part, at) => parts[at] === part);
}

function detail({ details }: HoldfastError, name: string): unknown {
  return (details as Record<string, unknown> | null | undefined)?.[name];
}

/** The transaction was undone for a reason that may lie in one of its commands; a closed or missing storage fails each alone too. */
function isAbort({ code }: HoldfastError): boolean {
  return code !== "closed" && code !== "version" && code !== "unavailable";
}
