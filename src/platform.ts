import { systemClock } from "./adapters/clock-system.js";
import { farewellNotes } from "./adapters/farewell-notes.js";
import { keepAlive } from "./adapters/keep-alive.js";
import { platformLocks } from "./adapters/locks-web.js";
import { platformSeal } from "./adapters/seal-webcrypto.js";
import { indexedDbStorage } from "./adapters/storage-indexeddb.js";
import { platformChannel } from "./corridor/notices.js";
import { platformRandom } from "./kernel/host/ids.js";
import { type Kernel, openKernel } from "./kernel/kernel.js";
import { lazy, mapLazy } from "./kernel/lazy.js";
import { lazyParts } from "./kernel/lazy-parts.js";
import type { KernelOptions } from "./kernel/options.js";
import type { LoopStart, Platform } from "./kernel/platform.js";
import { defaultWorker, startWorkerLoop } from "./loop/worker-remote.js";
import type { KernelStorage } from "./ports/storage.js";

const memory = lazy("the memory storage", () => import("./adapters/storage-memory.js"));

/** Loaded on demand: a platform with IndexedDB does not need this code. */
const memoryOnOpen: KernelStorage = {
  kind: "memory",
  open: async (opening) => (await memory.load()).memoryStorage().open(opening),
};

const deletion = lazy("deletions", () => import("./kernel/deletion.js"));

/** Loaded on demand: where a worker runs the loop, the page does not need this code. */
const loop = lazy("the loop", () => import("./loop/loop.js"));
const inlineLoop = mapLazy(loop, ({ createLoop, FAREWELL_MS }) => (parts: LoopStart) => {
  return createLoop({ ...parts, farewellMs: typeof window === "undefined" ? 0 : FAREWELL_MS });
});

/**
 * The kernel's parts on this platform. Each is looked up when a kernel opens, not when the module loads: so one entry file serves
 * browser and Node.
 */
const platform: Platform = {
  clock: systemClock,
  random: platformRandom,
  storage: () => (hasIndexedDb() ? indexedDbStorage() : memoryOnOpen),
  channel: platformChannel,
  locks: platformLocks,
  seal: platformSeal,
  origin: () => (typeof location === "undefined" ? undefined : location.origin),
  farewellNotes,
  keepAlive,
  workers: () => typeof Worker !== "undefined",
  inlineLoop,
  workerLoop(parts, worker) {
    const { name, databaseId, durability, timings, retention, clock, page } = parts;
    const config = { name, databaseId, durability, timings, retention };
    const createWorker = worker === "default" ? defaultWorker : worker;
    const inline = mapLazy(inlineLoop, (create) => () => create(parts));
    return startWorkerLoop({ config, clock, page, createWorker, inline });
  },
  lazyParts,
};

/**
 * Opens a kernel: one host of the named database. One tab or many may open several at once. Rejects `invalid` for a broken
 * option, `unavailable` where the storage cannot be opened, `version` where the database is newer than this code, `aborted` where
 * the signal aborts first. Nothing stays open after a rejection.
 */
export function createKernel(options: KernelOptions): Promise<Kernel> {
  return openKernel(options, platform);
}

/**
 * Deletes a kernel's database with all that is in it, and what lies beside it. Kernels that have it open are told `storage: lost`, in
 * every tab, and their later calls reject `unavailable`. Resolves when it is gone, also if it never was there. Rejects `invalid` for
 * a broken argument, `unsupported` for a storage that cannot delete, `unavailable` where the database is another program's. A tab
 * that blocks the deletion is waited for as long as for an opening (`openTimeoutMs`); then it is `unavailable` with `details.outcome`
 * "unknown", since it may be deleted later. A key that `KernelOptions.keys` keeps stays where it is.
 */
export async function deleteKernelData(name: string, options: { storage?: KernelStorage } = {}): Promise<void> {
  const { deleteData } = await deletion.load();
  await deleteData(name, options, platform);
}

/** Reading the global throws in a sandboxed frame. There is an IndexedDB then, and opening it gives the error. */
function hasIndexedDb(): boolean {
  try {
    return typeof indexedDB !== "undefined";
  } catch {
    return true;
  }
}
