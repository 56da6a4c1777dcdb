import { systemClock } from "./adapters/clock-system.js";
import { storageGoodbyes } from "./adapters/goodbye-storage.js";
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

/** Where there is IndexedDB nobody needs its code. */
const memoryOnOpen: KernelStorage = {
  kind: "memory",
  open: async (opening) => (await memory.load()).memoryStorage().open(opening),
};

/** Where a worker runs the loop, the page needs none of its code. */
const loop = lazy("the loop", () => import("./loop/loop.js"));
const inlineLoop = mapLazy(loop, ({ createLoop, GOODBYE_MS }) => (parts: LoopStart) => {
  return createLoop({ ...parts, goodbyeMs: typeof window === "undefined" ? 0 : GOODBYE_MS });
});

/**
 * The kernel wired for wherever it runs. What a platform has is looked up when a kernel opens, never when the module loads,
 * so one entry serves browser and Node.
 */
const platform: Platform = {
  clock: systemClock,
  random: platformRandom,
  storage: () => (hasIndexedDb() ? indexedDbStorage() : memoryOnOpen),
  channel: platformChannel,
  locks: platformLocks,
  seal: platformSeal,
  origin: () => (typeof location === "undefined" ? undefined : location.origin),
  goodbyes: storageGoodbyes,
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
 * Opens a kernel: one host of the named database. Several may be open at once, in one tab or in many.
 * Rejects `invalid` for a broken option, `unavailable` where the storage cannot be opened, `version` where it is newer than this code,
 * `aborted` where the signal aborts before it is open. Nothing stays open then.
 */
export function createKernel(options: KernelOptions): Promise<Kernel> {
  return openKernel(options, platform);
}

/** In a sandboxed frame the look alone throws: it is there and cannot be opened, which its storage then says. */
function hasIndexedDb(): boolean {
  try {
    return typeof indexedDB !== "undefined";
  } catch {
    return true;
  }
}
