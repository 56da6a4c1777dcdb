import type { Dexie } from "dexie";
import { asHoldfastError, HoldfastError } from "../domain/errors.js";
import type { StorageOpening, StorageSchema } from "../ports/storage.js";

/** Making, upgrading and watching the database, in Dexie's hands; and the guard that keeps this holdfast out of what is not its own. */
export interface Place {
  readonly opening: StorageOpening;
  readonly openTimeoutMs: number;
  readonly factory: IDBFactory;
  readonly ranges: typeof IDBKeyRange;
}

export interface Connection {
  readonly database: IDBDatabase;
  readonly databaseId: string;
  /** Transactions that run are allowed to end. */
  close(): void;
}

interface Signals {
  lost(connection: Connection): void;
  /** Another connection deletes or upgrades the database; this one is closed already. */
  outdated(why: Refusal): void;
}

/** With the id of a database that was open before: that one and no other, neither made nor upgraded. */
export async function connect(place: Place, knownId: string, signals: Signals): Promise<Connection> {
  const { name, schema, newDatabaseId, onState } = place.opening;
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
  const patience = startPatience(place, tellUpgrade);
  const gate = gateTo(place, knownId, {
    isOver: () => over,
    // Cut off it would be undone, and the next opening would come no further.
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
    dexie = new library.Dexie(name, { indexedDB: gate, IDBKeyRange: place.ranges, addons: [], autoOpen: false });
    const version = dexie.version(schema.version).stores(dexieTables(schema));
    version.upgrade(async (tx) => {
      const guards = tx.table(GUARD_TABLE);
      const guard = checkGuard(await guards.get(GUARD_KEY), place.opening, knownId);
      for (const { below, table, index, prefix, lift } of schema.lifts ?? []) {
        if (guard.schemaVersion >= below) continue;
        const rows = tx.table(table);
        const columns = schema.tables[table]?.indexes?.[index] ?? [];
        // An array is after every string and number.
        const found = rows.where(keyPathOf(columns)).between(prefix, [...prefix, []]);
        await rows.bulkPut((await found.toArray()).map(lift));
      }
      await guards.put({ ...guard, schemaVersion: schema.version });
    });
    dexie.on("populate", (tx) => {
      const guard: Guard = { key: GUARD_KEY, v: GUARD_VERSION, schemaVersion: schema.version, databaseId: newDatabaseId };
      return tx.table(GUARD_TABLE).add(guard);
    });
    // A listener that returns false keeps Dexie from its own ways: to warn on the console and to open again by itself.
    dexie.on("blocked", () => {
      onState("blocked");
      return false;
    });
    dexie.on("versionchange", ({ newVersion }) => {
      close();
      signals.outdated(refusal(name, newVersion ? "newer" : "deleted"));
      return false;
    });
    await dexie.open();
    const { databaseId } = checkGuard(await gate.guard, place.opening, knownId);
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
    // Dexie wraps the browser's error and repeats its message, and throws null where the browser gives no reason.
    const cause = (failure as { inner?: unknown } | null)?.inner ?? failure ?? new DOMException("it was aborted", "AbortError");
    throw gate.refusal ?? asHoldfastError(cause, "unavailable", `the database ${name} cannot be opened`);
  } finally {
    patience.end();
    endUpgrade();
  }
}

/** Few openings need it. */
const upgradeLock = () => import("./upgrade-lock.js");

/** Within this the code is there, and the lock service has said what is held. */
const ANSWER_MS = 1_000;

/** How long an opening waits. Another tab's upgrade, which the browser lets run first and says nothing of, is waited for to its end. */
function startPatience(
  { opening: { name }, openTimeoutMs }: Place,
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
    timer = setTimeout(giveUp, ANSWER_MS);
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
 * The factory as Dexie gets it. Dexie opens what it finds: a newer database without naming a version, one with other tables by
 * raising its version, one that another program made by upgrading it. Here it gets this version or nothing.
 */
function gateTo(
  { factory, opening: { name, schema } }: Place,
  knownId: string,
  { isOver, onUpgrade }: { isOver(): boolean; onUpgrade(oldVersion: number): void },
) {
  const native = schema.version * 10;
  const gate = {
    refusal: undefined as Refusal | undefined,
    guard: undefined as Promise<unknown> | undefined,
    open(_name: string, version?: number): IDBOpenDBRequest {
      if (version !== native) throw refusal(name, version === undefined ? "newer" : "foreign");
      const request = factory.open(name, native);
      // Added before Dexie's own listeners, so that they can be kept from the event.
      request.addEventListener("upgradeneeded", (event) => {
        if (event.oldVersion === 0 && knownId) gate.refusal = refusal(name, "deleted");
        if (!gate.refusal && !isOver()) return onUpgrade(event.oldVersion);
        event.stopImmediatePropagation();
        request.transaction?.abort();
      });
      request.addEventListener("success", (event) => {
        if (isOver()) {
          event.stopImmediatePropagation();
          request.result.close();
        } else {
          // While Dexie compares the tables.
          gate.guard = readGuard(request.result);
        }
      });
      return request;
    },
    // Without it Dexie keeps a list of databases, in a database of its own.
    databases: async (): Promise<IDBDatabaseInfo[]> => [],
  };
  return gate;
}

export const GUARD_TABLE = "meta";
const GUARD_KEY = "guard";
const GUARD_VERSION = 1;

/** The one row of its table, made and raised in the transactions that make and upgrade the tables. */
interface Guard {
  readonly key: typeof GUARD_KEY;
  readonly v: number;
  readonly schemaVersion: number;
  readonly databaseId: string;
}

function readGuard(database: IDBDatabase): Promise<unknown> {
  const guard = new Promise<unknown>((resolve, reject) => {
    if (!database.objectStoreNames.contains(GUARD_TABLE)) return resolve(undefined);
    answered(database.transaction(GUARD_TABLE).objectStore(GUARD_TABLE).get(GUARD_KEY), resolve, reject);
  });
  // Dexie may fail first, and then nobody asks for it.
  guard.catch(() => undefined);
  return guard;
}

function checkGuard(row: unknown, { name, schema }: StorageOpening, knownId: string): Guard {
  const guard = (row ?? {}) as Guard;
  if (typeof guard.schemaVersion !== "number" || typeof guard.databaseId !== "string") throw refusal(name, "foreign");
  if (guard.v > GUARD_VERSION || guard.schemaVersion > schema.version) throw refusal(name, "newer");
  if (knownId && guard.databaseId !== knownId) throw refusal(name, "replaced");
  return guard;
}

/** Of a database that is not to be touched, now or by a later call. */
export class Refusal extends HoldfastError {}

const REFUSALS = {
  newer: "was written by a newer holdfast",
  deleted: "was deleted",
  replaced: "was deleted and made again: it is another one now",
  foreign: "was made by another program, or its tables are not those of its version",
};

function refusal(name: string, reason: keyof typeof REFUSALS): Refusal {
  return new Refusal(reason === "newer" ? "version" : "unavailable", `the database ${name} ${REFUSALS[reason]}`, {
    details: { reason },
  });
}

function dexieTables({ tables }: StorageSchema): Record<string, string> {
  const described: Record<string, string> = { [GUARD_TABLE]: "key" };
  for (const [name, { key, indexes = {} }] of Object.entries(tables)) {
    described[name] = [key, ...Object.values(indexes)].map(keyPathOf).join(",");
  }
  return described;
}

/** Dexie's word for columns, which it also gives their index for a name. */
export function keyPathOf(columns: readonly string[]): string {
  return columns.length === 1 ? (columns[0] as string) : `[${columns.join("+")}]`;
}

/** Again for every step of a cursor. */
export function answered<T>(request: IDBRequest<T>, resolve: (value: T) => void, reject: (error: unknown) => void): void {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
}
