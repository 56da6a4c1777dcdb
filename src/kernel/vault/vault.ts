import type { Corridor } from "../../corridor/command.js";
import { HoldfastError } from "../../domain/errors.js";
import type { Clock } from "../../ports/clock.js";
import type { Locks } from "../../ports/locks.js";
import type { KeyStore, Seal, SealingKey } from "../../ports/seal.js";
import { dropSealed, putSealed, readSealed, SEALED_TABLES, type SealedContent } from "../../stores/vault/sealed.js";
import type { SealedRow } from "../../stores/vault/tables.js";
import { channelName } from "../host/ids.js";
import { hold } from "../host/web-lock.js";
import type { Lazy } from "../lazy.js";
import { keysInRows, keysInStore, type SealingKeys } from "./sealing-keys.js";

/**
 * Records that are never on disk unencrypted. Keys and seals are made outside of transactions, so a change is: read, open, change, seal,
 * then "put if the revision is still the one that was read"; if it is not, all of it again.
 */
export interface Vault {
  /** Rejects `read-failed` if the stored record does not open. */
  read(name: string): Promise<Uint8Array | undefined>;
  /**
   * `change` is synchronous and pure and may be called several times; only its last result is stored. Without a `next` nothing is stored.
   * An error that it throws ends the update and is passed on. Updates of one record run one after another in this kernel.
   */
  update<T>(name: string, change: (current: Uint8Array | undefined) => Update<T>): Promise<T>;
  /** Replaces the record, even if it does not open any more. */
  replace(name: string, next: Uint8Array): Promise<void>;
  remove(name: string): Promise<void>;
  /** Forgets the records that only this kernel's memory has. */
  close(): void;
}

interface Update<T> {
  readonly next?: Uint8Array;
  readonly reply: T;
}

export interface VaultParts {
  readonly corridor: Corridor;
  readonly databaseId: string;
  /** The storage is memory: nothing is written to disk. */
  readonly isMemory: boolean;
  /** `undefined` where nothing can be sealed, or no key can be kept. */
  readonly seal: Lazy<Seal> | undefined;
  /** The app's own place for the key; without it the storage keeps it. */
  readonly keys: KeyStore | undefined;
  readonly locks: Locks | undefined;
  readonly clock: Clock;
  randomBytes(count: number): Uint8Array;
}

const MOST_RETRIES = 16;
const RECORD_LOCK_WAIT_MS = 2_000;
const LONGEST_RETRY_PAUSE_MS = 64;

export function createVault(parts: VaultParts): Vault {
  const { databaseId, locks, clock } = parts;
  const records = recordStoreOf(parts);
  const last = new Map<string, Promise<void>>();

  function inTurn<T>(name: string, work: () => Promise<T>): Promise<T> {
    const turn = (last.get(name) ?? Promise.resolve()).then(work);
    const settled = turn.then(
      () => {},
      () => {},
    );
    last.set(name, settled);
    void settled.then(() => last.get(name) === settled && last.delete(name));
    return turn;
  }

  /** A Web Lock keeps other tabs off: the queue is of this kernel alone. */
  async function alone<T>(name: string, work: () => Promise<T>): Promise<T> {
    const release = await hold(
      records.isShared ? locks : undefined,
      `${channelName(databaseId)}:sealed:${name}`,
      clock,
      RECORD_LOCK_WAIT_MS,
    );
    try {
      return await work();
    } finally {
      release();
    }
  }

  async function compareAndSet<T>(name: string, changed: (found: FoundRecord) => Promise<Update<T>>): Promise<T> {
    for (let retries = 0; ; retries++) {
      const found = await records.find(name);
      const { next, reply } = await changed(found);
      if (next === undefined || (await found.put(next))) return reply;
      if (retries === MOST_RETRIES) {
        const details = { name, reason: "contended" };
        throw new HoldfastError("write-failed", `others changed the record "${name}" at every one of ${retries} retries`, {
          details,
        });
      }
      if (retries > 0) await pause(Math.min(2 ** retries, LONGEST_RETRY_PAUSE_MS));
    }
  }

  /** Waits for a random part of `mostMs`, so that two tabs that collided do not collide again. */
  function pause(mostMs: number): Promise<void> {
    const [byte = 0] = parts.randomBytes(1);
    return new Promise((resolve) => clock.setTimer(resolve, (mostMs * byte) / 255));
  }

  const change = <T>(name: string, changed: (found: FoundRecord) => Promise<Update<T>>) =>
    inTurn(name, () => alone(name, () => compareAndSet(name, changed)));

  return {
    async read(name) {
      return await (await records.find(name)).open();
    },
    update: (name, decide) => change(name, async (found) => decide(await found.open())),
    replace: (name, next) => change(name, async () => ({ next, reply: undefined })),
    remove: (name) => inTurn(name, () => records.drop(name)),
    close: () => records.close(),
  };
}

/** The place in which records are kept. */
interface RecordStore {
  /** Other kernels may change its records at any time. */
  readonly isShared: boolean;
  find(name: string): Promise<FoundRecord>;
  drop(name: string): Promise<void>;
  close(): void;
}

/** A record as it stood when it was found. */
interface FoundRecord {
  open(): Promise<Uint8Array | undefined>;
  /** Resolves false, and stores nothing, if the record was changed since it was found. */
  put(next: Uint8Array): Promise<boolean>;
}

function recordStoreOf({ corridor, databaseId, isMemory, seal, keys, locks, clock }: VaultParts): RecordStore {
  if (seal) {
    const sealingKeys = keys ? keysInStore(keys, { corridor, seal, locks, clock }) : keysInRows(corridor, seal);
    return inRows(corridor, sealedBy(seal, sealingKeys, databaseId));
  }
  return isMemory ? inRows(corridor, plain) : inThisKernel();
}

/** Turns bytes into the content of a row, and back. */
interface Wrapping {
  wrap(name: string, revision: number, bytes: Uint8Array, key: SealingKey | undefined): Promise<SealedContent>;
  unwrap(row: SealedRow, key: SealingKey | undefined): Promise<Uint8Array>;
}

function inRows(corridor: Corridor, { wrap, unwrap }: Wrapping): RecordStore {
  return {
    isShared: true,
    async find(name) {
      const { row, revision, key } = await corridor.query(SEALED_TABLES, (reader) => readSealed(reader, name));
      return {
        open: async () => row && unwrap(row, key),
        async put(next) {
          const content = await wrap(name, revision + 1, next, key);
          return await corridor.run(putSealed, { name, revision, content }, { size: next.length });
        },
      };
    },
    drop: (name) => corridor.run(dropSealed, { name }),
    // After the kernel's close the corridor refuses by itself.
    close() {},
  };
}

/** For a storage in memory that kernels share. */
const plain: Wrapping = {
  wrap: async (_name, _revision, bytes) => ({ plain: bytes }),
  async unwrap(row) {
    if (!row.plain) throw doesNotOpen(row.name);
    return row.plain;
  },
};

/**
 * A key that is stored beside the records seals them, also where a key store is given later. A record that it does not open may be older
 * than it, and sealed with the key store's: a kernel without `keys` may have been the first to store one.
 */
function sealedBy(cipher: Lazy<Seal>, keys: SealingKeys, databaseId: string): Wrapping {
  // A row that was moved to another name, database or revision does not open.
  const contextOf = (name: string, revision: number) => JSON.stringify(["holdfast", databaseId, name, revision]);

  return {
    async wrap(name, revision, bytes, stored) {
      const seal = await cipher.load();
      return await seal.seal(stored ?? (await keys.make(name)), bytes, contextOf(name, revision));
    },
    async unwrap({ name, revision, iv, sealed }, stored) {
      const seal = await cipher.load();
      if (!iv || !sealed) throw doesNotOpen(name);
      const openWith = (key: SealingKey) => seal.open(key, { iv, sealed }, contextOf(name, revision));
      let cause: unknown;
      for (const find of [async () => stored, () => keys.find()]) {
        const key = await find();
        try {
          if (key !== undefined) return await openWith(key);
        } catch (error) {
          cause ??= error;
        }
      }
      throw doesNotOpen(name, cause);
    },
  };
}

/** The storage is on disk, and nothing can be sealed or no key kept: records stay in memory and end with the kernel. */
function inThisKernel(): RecordStore {
  let kept: Map<string, Uint8Array> | undefined = new Map();
  const records = () => {
    if (!kept) throw new HoldfastError("closed", "the kernel is closed");
    return kept;
  };
  return {
    isShared: false,
    find: async (name) => ({
      open: async () => records().get(name)?.slice(),
      // The queue runs one update at a time: no other came between.
      async put(next) {
        records().set(name, next.slice());
        return true;
      },
    }),
    async drop(name) {
      records().delete(name);
    },
    close() {
      kept = undefined;
    },
  };
}

function doesNotOpen(name: string, cause?: unknown): HoldfastError {
  return new HoldfastError("read-failed", `the sealed record "${name}" does not open`, { details: { name }, cause });
}
