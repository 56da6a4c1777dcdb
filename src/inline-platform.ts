import { systemClock } from "./adapters/clock-system.js";
import { farewellNotes } from "./adapters/farewell-notes.js";
import { keepAlive } from "./adapters/keep-alive.js";
import { platformLocks } from "./adapters/locks-web.js";
import { indexedDbStorage } from "./adapters/storage-indexeddb.js";
import { platformChannel } from "./corridor/notices.js";
import { platformRandom } from "./kernel/host/ids.js";
import { lazy, mapLazy } from "./kernel/lazy.js";
import { lazyParts } from "./kernel/lazy-parts.js";
import type { LoopStart, Platform } from "./kernel/platform.js";
import type { KernelStorage } from "./ports/storage.js";

const memory = lazy("the memory storage", () => import("./adapters/storage-memory.js"));

/** Loaded on demand: a platform with IndexedDB does not need this code. */
const memoryOnOpen: KernelStorage = {
  kind: "memory",
  open: async (opening) => (await memory.load()).memoryStorage().open(opening),
  // Each kernel has a memory of its own, which ends with it.
  remove: async () => undefined,
};

/** Loaded on demand: few apps seal anything. An insecure context has no `crypto.subtle`, and no cipher. */
const cipher = mapLazy(
  lazy("the cipher", () => import("./adapters/seal-webcrypto.js")),
  ({ webCryptoSeal }) => webCryptoSeal(),
);

/** Loaded on demand: where a worker runs the loop, the page does not need this code. */
const loop = lazy("the loop", () => import("./loop/loop.js"));

/**
 * The kernel's parts on this platform, without workers. Each is looked up when a kernel opens, not when the module loads: so one entry
 * file serves browser and Node.
 */
export const inlinePlatform: Omit<Platform, "workers" | "workerLoop"> = {
  clock: systemClock,
  random: platformRandom,
  storage: () => (hasIndexedDb() ? indexedDbStorage() : memoryOnOpen),
  channel: platformChannel,
  locks: platformLocks,
  seal: () => ((globalThis as { crypto?: Partial<Crypto> }).crypto?.subtle ? cipher : undefined),
  origin: () => (typeof location === "undefined" ? undefined : location.origin),
  farewellNotes,
  keepAlive,
  inlineLoop: mapLazy(loop, ({ createLoop, FAREWELL_MS }) => (parts: LoopStart) => {
    return createLoop({ ...parts, farewellMs: typeof window === "undefined" ? 0 : FAREWELL_MS });
  }),
  lazyParts,
};

const deletion = lazy("deletions", () => import("./kernel/deletion.js"));

/**
 * Deletes a kernel's database with all that is in it, and what lies beside it. Kernels that have it open are told `storage: lost`, in
 * every tab, and their later calls reject `unavailable`. Resolves when it is gone, also if it never was there. Rejects `invalid` for
 * a broken argument, `unsupported` for a storage that cannot delete, `unavailable` where the database is another program's. A tab
 * that blocks the deletion is waited for as long as for an opening (`openTimeoutMs`); then it is `unavailable` with `details.outcome`
 * "unknown", since it may be deleted later. A key that `KernelOptions.keys` keeps stays where it is. Without IndexedDB there is
 * nothing to delete by default: each kernel has a memory of its own, which ends with the kernel.
 */
export async function deleteKernelData(name: string, options: { storage?: KernelStorage } = {}): Promise<void> {
  const { deleteData } = await deletion.load();
  await deleteData(name, options, inlinePlatform);
}

/** Reading the global throws in a sandboxed frame. There is an IndexedDB then, and opening it gives the error. */
function hasIndexedDb(): boolean {
  try {
    return typeof indexedDB !== "undefined";
  } catch {
    return true;
  }
}
