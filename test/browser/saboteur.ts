// Harms transactions of the real browser: the first one of a command at its first request, the next one at its second, and
// so on, until a transaction has no request left and passes.

export type Rows = Readonly<Record<string, readonly Record<string, unknown>[]>>;

/** The way in which a transaction fails. */
export type Harm =
  /** The transaction is aborted directly after the request. */
  | "aborted"
  /** The request fails by itself, when later requests and the commit are already asked for. */
  | "failing"
  /** The browser finds no space. */
  | "full"
  /** The browser refuses the write itself, for lack of space, once. A read fails with the same error a moment later. */
  | "refused"
  /** The transaction commits, and the connection is lost before its answer arrives. Only the first one. */
  | "unheard";

export const CODES = {
  aborted: "write-failed",
  failing: "write-failed",
  full: "quota-exceeded",
  refused: "quota-exceeded",
} as const;

/** Each command is known by the tables of its transaction. */
const COMMANDS = {
  open: (over: Over) => over("quarantine") && over("attachments") && !over("blobs"),
  accept: (over: Over) => over("blobs") && !over("quarantine"),
  begin: (over: Over) => over("attachments") && over("messages") && !over("sessions"),
  step: (over: Over) => over("turnSteps") && !over("inputs"),
  checkpoint: (over: Over) => over("sessions") && over("messages") && !over("receipts"),
  commit: (over: Over) => over("sessions") && over("messages") && over("receipts") && !over("blobs"),
  end: (over: Over) => over("turnSteps") && over("snapshots") && !over("messages"),
  change: (over: Over) => over("attachments") && over("receipts") && !over("sessions") && !over("messages"),
  delete: (over: Over) => over("blobs") && over("grants"),
  import: (over: Over) => over("blobs") && over("quarantine") && !over("grants"),
} as const;

type Over = (table: string) => boolean;
export type CommandName = keyof typeof COMMANDS;

export interface Sweep {
  /** The rows after each harmed transaction, read before another write. */
  readonly left: readonly Promise<Rows>[];
  /** A transaction passed: nothing more is harmed. */
  readonly passed: boolean;
}

interface Trap {
  readonly at: number;
  readonly how: Harm;
  requests: number;
}

interface Armed {
  readonly command: CommandName;
  readonly how: Harm;
  readonly left: Promise<Rows>[];
  /** The number of requests that are left alone in the first transaction. */
  readonly skip: number;
  /** The largest number of transactions that are harmed. */
  readonly most: number;
  passed: boolean;
  read(): Promise<Rows>;
}

let armed: Armed | undefined;
const traps = new WeakMap<IDBTransaction, Trap>();

export function harm(
  command: CommandName,
  how: Harm,
  read: () => Promise<Rows>,
  skip = 0,
  most = Number.POSITIVE_INFINITY,
): Sweep {
  armed = { command, how, left: [], skip, most, passed: false, read };
  return armed;
}

const make = IDBDatabase.prototype.transaction;
const add = IDBObjectStore.prototype.add;
const commit = IDBTransaction.prototype.commit;

function transaction(this: IDBDatabase, ...args: Parameters<typeof make>): IDBTransaction {
  const made = make.apply(this, args);
  const sweep = armed;
  if (made.mode !== "readwrite" || !sweep || sweep.passed || sweep.left.length >= sweep.most) return made;
  if (!COMMANDS[sweep.command]((table) => made.objectStoreNames.contains(table))) return made;
  const { how, left, skip, read } = sweep;
  traps.set(made, { at: skip + left.length + 1, how, requests: 0 });
  made.addEventListener("abort", () => void left.push(read()));
  made.addEventListener("complete", (event) => {
    sweep.passed = true;
    if (how !== "unheard") return;
    event.stopImmediatePropagation();
    endsWith(made, "UnknownError");
    made.onabort?.(new Event("abort"));
  });
  return made;
}

function endsWith(tx: IDBTransaction, name: string): void {
  Object.defineProperty(tx, "error", { value: new DOMException("made by a test", name) });
}

/** A request that fails because its key is there already. */
function failing(store: IDBObjectStore): IDBRequest {
  const columns = typeof store.keyPath === "string" ? [store.keyPath] : (store.keyPath as string[]);
  const row = Object.fromEntries(columns.map((column) => [column, "\u0000"]));
  add.call(store, row);
  return add.call(store, row);
}

function requested<R>(tx: IDBTransaction, store: IDBObjectStore | undefined, ask: () => R, isWrite = false): R | IDBRequest {
  const trap = traps.get(tx);
  if (!trap || ++trap.requests !== trap.at) return ask();
  switch (trap.how) {
    case "aborted": {
      const asked = ask();
      tx.abort();
      return asked;
    }
    case "failing":
      return failing(store ?? tx.objectStore(tx.objectStoreNames[0] as string));
    case "refused":
      if (isWrite) throw new DOMException("made by a test", "QuotaExceededError");
      return undone();
    case "full":
      return undone();
    case "unheard":
      return ask();
  }

  function undone(): R {
    const asked = ask();
    endsWith(tx, "QuotaExceededError");
    tx.abort();
    return asked;
  }
}

const WRITES: ReadonlySet<string> = new Set(["put", "delete", "clear"]);

type Methods = Record<string, (...args: unknown[]) => IDBRequest>;

function watchStore(names: readonly (keyof IDBObjectStore & string)[]): void {
  const methods = IDBObjectStore.prototype as unknown as Methods;
  for (const name of names) {
    const method = methods[name] as Methods[string];
    methods[name] = function (this: IDBObjectStore, ...args) {
      return requested(this.transaction, this, () => method.apply(this, args), WRITES.has(name));
    };
  }
}

function watchIndex(names: readonly (keyof IDBIndex & string)[]): void {
  const methods = IDBIndex.prototype as unknown as Methods;
  for (const name of names) {
    const method = methods[name] as Methods[string];
    methods[name] = function (this: IDBIndex, ...args) {
      return requested(this.objectStore.transaction, this.objectStore, () => method.apply(this, args));
    };
  }
}

/** Watches for the whole file; a transaction that is not armed runs as usual. */
export function watchTransactions(): void {
  IDBDatabase.prototype.transaction = transaction;
  watchStore(["get", "getAll", "put", "delete", "clear", "openCursor"]);
  watchIndex(["get", "getAll", "openCursor"]);
  // The last point to harm: every request was answered, and the commit fails.
  IDBTransaction.prototype.commit = function () {
    const trap = traps.get(this);
    const atCommit = trap && trap.requests + 1 === trap.at;
    requested(this, undefined, () => undefined);
    if (atCommit && trap.how !== "failing") return;
    commit.call(this);
  };
}

/** The database without holdfast. */
export interface Bare {
  read(): Promise<Rows>;
  /** Puts the database back to these rows. */
  restore(rows: Rows): Promise<void>;
  close(): void;
}

export async function openBare(name: string): Promise<Bare> {
  const request = indexedDB.open(name);
  const database = await answer(request);
  const tables = [...database.objectStoreNames];
  return {
    async read() {
      const tx = database.transaction(tables);
      const rows = await Promise.all(tables.map((table) => answer(tx.objectStore(table).getAll())));
      return Object.fromEntries(tables.map((table, at) => [table, rows[at] as Record<string, unknown>[]]));
    },
    async restore(rows) {
      const tx = database.transaction(tables, "readwrite");
      for (const table of tables) {
        tx.objectStore(table).clear();
        for (const row of rows[table] ?? []) tx.objectStore(table).put(row);
      }
      await new Promise((resolve, reject) => {
        tx.oncomplete = resolve;
        tx.onabort = () => reject(tx.error);
      });
    },
    close: () => database.close(),
  };
}

export function answer<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
