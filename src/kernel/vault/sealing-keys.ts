import type { Corridor } from "../../corridor/command.js";
import { HoldfastError, isHoldfastError } from "../../domain/errors.js";
import type { Clock } from "../../ports/clock.js";
import type { Locks } from "../../ports/locks.js";
import type { KeyStore, Seal, SealingKey } from "../../ports/seal.js";
import { isOtherSealed, putKeyIfAbsent } from "../../stores/vault/sealed.js";
import { hold } from "../host/web-lock.js";
import type { Lazy } from "../lazy.js";

/** The key of a database that has no key of its own yet, or keeps it elsewhere. */
export interface SealingKeys {
  /** `undefined` if there is none. */
  find(): Promise<SealingKey | undefined>;
  /** The key that all kernels use, to seal the record of that name; it is made if there is none. */
  make(name: string): Promise<SealingKey>;
}

/** The key lies in the database, and is read with each record. If several tabs find none, all of them use the one that is stored first. */
export function keysInRows(corridor: Corridor, seal: Lazy<Seal>): SealingKeys {
  return {
    find: async () => undefined,
    async make() {
      const key = await (await seal.load()).newKey();
      try {
        return await corridor.run(putKeyIfAbsent, { key });
      } catch (error) {
        if (!isHoldfastError(error) || error.code !== "invalid") throw error;
        throw new HoldfastError("unsupported", "this storage cannot keep a sealing key", { cause: error });
      }
    },
  };
}

/** One name for all databases: an app may give all of them the same key store. */
const LOCK = "holdfast:keys";
const LOCK_WAIT_MS = 2_000;

/** The last making in this program for each key store: kernels that share one make one key. */
const makings = new WeakMap<KeyStore, Promise<SealingKey>>();

interface KeyStoreParts {
  readonly corridor: Corridor;
  readonly seal: Lazy<Seal>;
  readonly locks: Locks | undefined;
  readonly clock: Clock;
}

/**
 * The key lies in the app's own key store, and is asked for at each use: nothing here keeps it. A key store that gives none is given no
 * other one while records are sealed: that one would take the place of the key that opens them.
 */
export function keysInStore(keys: KeyStore, { corridor, seal, locks, clock }: KeyStoreParts): SealingKeys {
  async function find(): Promise<SealingKey | undefined> {
    const loaded = await asked("load", () => keys.load());
    return loaded === undefined ? undefined : await (await seal.load()).keyOf(loaded);
  }

  async function make(name: string): Promise<SealingKey> {
    const release = await hold(locks, LOCK, clock, LOCK_WAIT_MS);
    try {
      // Another kernel may have made it meanwhile.
      const found = await find();
      if (found) return found;
      if (await corridor.query(["sealed"], (reader) => isOtherSealed(reader, name)))
        throw new HoldfastError("unavailable", "keys.load gives no key, but records are sealed with one");
      const key = (await seal.load()).newKeyBytes();
      await asked("store", () => keys.store(key));
      // A key that is not given back is lost with this program: nothing may be sealed with it.
      const kept = await find();
      if (kept) return kept;
      throw new HoldfastError("unavailable", "keys.load gives no key, though keys.store took one");
    } finally {
      release();
    }
  }

  return {
    find,
    async make(name) {
      const found = await find();
      if (found) return found;
      const before = makings.get(keys)?.catch(() => undefined);
      const making = before ? before.then(() => make(name)) : make(name);
      makings.set(keys, making);
      return await making;
    },
  };
}

/** The message says nothing of what the key store said: it may hold the key. */
async function asked<T>(method: keyof KeyStore, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (cause) {
    throw new HoldfastError("unavailable", `keys.${method} failed`, { cause });
  }
}
