import { inlinePlatform } from "./inline-platform.js";
import { type Kernel, openKernel } from "./kernel/kernel.js";
import { mapLazy } from "./kernel/lazy.js";
import type { KernelOptions } from "./kernel/options.js";
import type { Platform } from "./kernel/platform.js";
import { defaultWorker, startWorkerLoop } from "./loop/worker-remote.js";

const platform: Platform = {
  ...inlinePlatform,
  workers: () => typeof Worker !== "undefined",
  workerLoop(parts, worker) {
    const { name, databaseId, storageKind, durability, timings, retention, clock, page } = parts;
    const config = { name, databaseId, storageKind, durability, timings, retention };
    const createWorker = worker === "default" ? defaultWorker : worker;
    const inline = mapLazy(inlinePlatform.inlineLoop, (create) => () => create(parts));
    return startWorkerLoop({ config, clock, page, createWorker, inline });
  },
};

/**
 * Opens a kernel: one host of the named database. One tab or many may open several at once. Rejects `invalid` for a broken
 * option, `unavailable` where the storage cannot be opened, `version` where the database is newer than this code, `aborted` where
 * the signal aborts first. Nothing stays open after a rejection.
 */
export function createKernel(options: KernelOptions): Promise<Kernel> {
  return openKernel(options, platform);
}
