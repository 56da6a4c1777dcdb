import { inlinePlatform } from "./inline-platform.js";
import { type Kernel, openKernel } from "./kernel/kernel.js";
import type { KernelOptions } from "./kernel/options.js";
import type { Platform } from "./kernel/platform.js";

export { type IndexedDbOptions, indexedDbStorage } from "./adapters/storage-indexeddb.js";
export { memoryStorage } from "./adapters/storage-memory.js";
export * from "./index.js";
export { openHere as createKernel };

const withoutWorkers: Platform = {
  ...inlinePlatform,
  workers: () => false,
  workerLoop() {
    throw new Error("a service worker starts no workers");
  },
};

/** Like `createKernel` of "holdfast", but its loop always runs here, and the file has all its code: nothing is loaded later. */
function openHere(options: KernelOptions): Promise<Kernel> {
  return openKernel(options, withoutWorkers);
}
