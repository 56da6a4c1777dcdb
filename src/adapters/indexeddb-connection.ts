import type { Dexie } from "dexie";
import { asHoldfastError, HoldfastError } from "../domain/errors.js";
import type { StorageOpening, StorageSchema } from "../ports/storage.js";

/**
 * What a connection is made with. Dexie makes, upgrades and watches the database. A guard keeps this code out of databases that
 * are not its own.
 */
export interface ConnectOptions {
  readonly opening: StorageOpening;
  readonly openTimeoutMs: number;
  readonly factory: IDBFactory;
  readonly ranges: typeof IDBKeyRange;
}

export interface Connection {
  readonly database: IDBDatabase;
  readonly databaseId: string;
  /** Running transactions end first. */
  close(): void;
}

interface Signals {
  lost(connection: Connection): void;
  /** Another connection deletes or upgrades the database. This connection is already closed. */
  outdated(why: UnusableDatabase): void;
}

/** `knownId` is the id of a database that was open before: only that one is opened, and it is neither made nor upgraded. */
export async function connect(options: ConnectOptions, knownId: string, signals: Signals): Promise<Connection> {
  const { name, schema, newDatabaseId, onState } = options.opening;
  let over = false;
  let dexie: Dexie | undefined;
  const close = () => {
    over = true;
    dexie?.close();
  };
  let endUpgrade = () => {};
  let isUpgradeTold = false;
  const tellUpgrade = () => {
    if (!isUpgradeTold) onState("upgrading");
    isUpgradeTold = true;
  };
  const patience = startPatience(options, tellUpgrade);
  const gate = gateTo(options, knownId, {
    isOver: () => over,
    // An upgrade that is cut off is undone, and the next opening would get no further. So it has no deadline.
    onUpgrade(oldVersion) {
      patience.end();
      if (oldVersion === 0) return;
      const held = upgradeLock().then(({ holdUpgrade }) => holdUpgrade(name));
      endUpgrade = () => void held.then((release) => release()).catch(() => undefined);
      tellUpgrade();
    },
  });

  async function open(): Promise<Connection> {
    const library = await import("dexie");
    dexie = new library.Dexie(name, { indexedDB: gate, IDBKeyRange: options.ranges, addons: [], autoOpen: false });
    const version = dexie.version(schema.version).stores(dexieTables(schema));
    version.upgrade(async (tx) => {
      const guards = tx.table(GUARD_TABLE);
      const guard = checkGuard(await guards.get(GUARD_KEY), options.opening, knownId);
      for (const { below, table, index, prefix = [], lift } of schema.lifts ?? []) {
        if (guard.schemaVersion >= below) continue;
        const rows = tx.table(table);
        const columns = index === undefined ? undefined : schema.tables[table]?.indexes?.[index];
        // An array sorts after every string and number.
        const found = columns ? rows.where(keyPathOf(columns)).between(prefix, [...prefix, []]) : rows;
        await rows.bulkPut((await found.toArray()).map(lift));
      }
      await guards.put({ ...guard, schemaVersion: schema.version });
    });
    dexie.on("populate", (tx) => {
      const guard: Guard = { key: GUARD_KEY, v: GUARD_VERSION, schemaVersion: schema.version, databaseId: newDatabaseId };
      return tx.table(GUARD_TABLE).add(guard);
    });
    // A listener that returns false turns off Dexie's defaults: a warning on the console, and a new opening by Dexie itself.
    dexie.on("blocked", () => {
      onState("blocked");
      return false;
    });
    dexie.on("versionchange", ({ newVersion }) => {
      close();
      signals.outdated(unusable(name, newVersion ? "newer" : "deleted"));
      return false;
    });
    await dexie.open();
    const { databaseId } = checkGuard(await gate.guard, options.opening, knownId);
    const connection = { database: dexie.backendDB(), databaseId, close };
    dexie.on("close", () => {
      if (!over) signals.lost(connection);
    });
    return connection;
  }

  try {
    return await Promise.race([open(), patience.over]);
  } catch (failure) {
    close();
    // Dexie wraps the browser's error and repeats its message. It throws null where the browser gives no reason.
    const cause = (failure as { inner?: unknown } | null)?.inner ?? failure ?? new DOMException("it was aborted", "AbortError");
    throw gate.unusable ?? asHoldfastError(cause, "unavailable", `the database ${name} cannot be opened`);
  } finally {
    patience.end();
    endUpgrade();
  }
}

/** Loaded on demand: few openings need it. */
const upgradeLock = () => import("./upgrade-lock.js");

/** Time to load the code and to query the lock service. */
const LOCK_QUERY_MS = 1_000;

/** The deadline of an opening, extended while another tab upgrades: the browser runs that first, and does not report it. */
function startPatience(
  { opening: { name }, openTimeoutMs }: ConnectOptions,
  tellUpgrade: () => void,
): { over: Promise<never>; end(): void } {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let isEnded = false;
  let reject = (_: HoldfastError) => {};
  const over = new Promise<never>((_, rejected) => {
    reject = rejected;
  });
  const giveUp = () => {
    const message = `opening the database ${name} took longer than ${openTimeoutMs} ms`;
    reject(new HoldfastError("unavailable", message, { details: { reason: "open-timeout" } }));
  };

  async function look(): Promise<void> {
    timer = setTimeout(giveUp, LOCK_QUERY_MS);
    const isUpgraded = await upgradeLock()
      .then(({ isUpgradedElsewhere }) => isUpgradedElsewhere(name))
      .catch(() => false);
    clearTimeout(timer);
    if (isEnded) return;
    if (!isUpgraded) return giveUp();
    tellUpgrade();
    wait();
  }

  function wait(): void {
    timer = setTimeout(() => void look(), openTimeoutMs);
  }

  wait();
  return {
    over,
    end() {
      isEnded = true;
      clearTimeout(timer);
    },
  };
}

/**
 * The factory that Dexie gets. Dexie opens whatever it finds: a newer database without naming a version, one with other tables by
 * raising its version, one of another program by upgrading it. This factory opens this version or fails.
 */
function gateTo(
  { factory, opening: { name, schema } }: ConnectOptions,
  knownId: string,
  { isOver, onUpgrade }: { isOver(): boolean; onUpgrade(oldVersion: number): void },
) {
  const native = schema.version * 10;
  const gate = {
    unusable: undefined as UnusableDatabase | undefined,
    guard: undefined as Promise<unknown> | undefined,
    open(_name: string, version?: number): IDBOpenDBRequest {
      if (version !== native) throw unusable(name, version === undefined ? "newer" : "foreign");
      const request = factory.open(name, native);
      // Added before Dexie's own listeners, so that it can stop the event before they see it.
      request.addEventListener("upgradeneeded", (event) => {
        if (event.oldVersion === 0 && knownId) gate.unusable = unusable(name, "deleted");
        if (!gate.unusable && !isOver()) return onUpgrade(event.oldVersion);
        event.stopImmediatePropagation();
        request.transaction?.abort();
      });
      request.addEventListener("success", (event) => {
        if (isOver()) {
          event.stopImmediatePropagation();
          request.result.close();
        } else {
          // Read while Dexie compares the tables.
          gate.guard = readGuard(request.result);
        }
      });
      return request;
    },
    // Dexie keeps a list of databases in a database of its own where this method is missing.
    databases: async (): Promise<IDBDatabaseInfo[]> => [],
  };
  return gate;
}

export const GUARD_TABLE = "meta";
const GUARD_KEY = "guard";
const GUARD_VERSION = 1;

/** The only row of its table. The transactions that make and upgrade the tables also write this row. */
interface Guard {
  readonly key: typeof GUARD_KEY;
  readonly v: number;
  readonly schemaVersion: number;
  readonly databaseId: string;
}

export function readGuard(database: IDBDatabase): Promise<unknown> {
  const guard = new Promise<unknown>((resolve, reject) => {
    if (!database.objectStoreNames.contains(GUARD_TABLE)) return resolve(undefined);
    answered(database.transaction(GUARD_TABLE).objectStore(GUARD_TABLE).get(GUARD_KEY), resolve, reject);
  });
  // Dexie may fail first. Then the promise is not awaited, and its rejection must not be reported as unhandled.
  guard.catch(() => undefined);
  return guard;
}

/** The database's id; undefined if the row is no guard. */
export function guardIdIn(row: unknown): string | undefined {
  const { schemaVersion, databaseId } = (row ?? {}) as Partial<Guard>;
  return typeof schemaVersion === "number" && typeof databaseId === "string" ? databaseId : undefined;
}

function checkGuard(row: unknown, { name, schema }: StorageOpening, knownId: string): Guard {
  const guard = (row ?? {}) as Guard;
  if (guardIdIn(row) === undefined) throw unusable(name, "foreign");
  if (guard.v > GUARD_VERSION || guard.schemaVersion > schema.version) throw unusable(name, "newer");
  if (knownId && guard.databaseId !== knownId) throw unusable(name, "replaced");
  return guard;
}

/** The database must not be touched, by this call or a later one. */
export class UnusableDatabase extends HoldfastError {}

const UNUSABLE_REASONS = {
  newer: "was written by a newer holdfast",
  deleted: "was deleted",
  replaced: "was deleted and made again: it is another one now",
  foreign: "was made by another program, or its tables are not those of its version",
};

export function unusable(name: string, reason: keyof typeof UNUSABLE_REASONS): UnusableDatabase {
  return new UnusableDatabase(
    reason === "newer" ? "version" : "unavailable",
    `the database ${name} ${UNUSABLE_REASONS[reason]}`,
    {
      details: { reason },
    },
  );
}

function dexieTables({ tables }: StorageSchema): Record<string, string> {
  const described: Record<string, string> = { [GUARD_TABLE]: "key" };
  for (const [name, { key, indexes = {} }] of Object.entries(tables)) {
    described[name] = [key, ...Object.values(indexes)].map(keyPathOf).join(",");
  }
  return described;
}

/** Dexie's notation for columns. Dexie also names their index so. */
export function keyPathOf(columns: readonly string[]): string {
  return columns.length === 1 ? (columns[0] as string) : `[${columns.join("+")}]`;
}

/** `resolve` runs again for every step of a cursor. */
export function answered<T>(request: IDBRequest<T>, resolve: (value: T) => void, reject: (error: unknown) => void): void {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
}
