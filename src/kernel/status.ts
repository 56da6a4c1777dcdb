import type { Durability } from "../ports/storage.js";

/** What the platform granted. */
export interface KernelStatus {
  /** The storage's own kind: "indexeddb", "memory", or what another one calls itself. */
  storage: string;
  /** "none" in memory. */
  durability: Durability | "none";
  /** Whether the browser promised not to evict it; absent where it cannot tell. */
  persisted?: boolean;
  /** Bytes that the whole origin uses, and may use. */
  usageBytes?: number;
  quotaBytes?: number;
  loop: "worker" | "inline" | "off";
  /** This host holds its Web Lock: others notice at once when it dies. `status()` waits for the answer, 3 seconds at most. */
  locks: boolean;
  /** BroadcastChannel: other tabs hear at once. */
  channel: boolean;
  /** How many messages of other tabs were dropped: they were not of this database, or too many. */
  dropped: number;
  /**
   * "sealed": secrets and login flows are stored under a key that the storage or `KernelOptions.keys` keeps. "memory-only": they never
   * reach a disk, and end with the memory they are in.
   */
  secrets: "sealed" | "memory-only";
}

/** Some engines, and contexts that are not secure, do not tell. */
export async function readQuota(): Promise<Pick<KernelStatus, "persisted" | "usageBytes" | "quotaBytes">> {
  try {
    const manager = (navigator as { storage?: StorageManager }).storage;
    const [persisted, { usage, quota } = {}] = await Promise.all([manager?.persisted?.(), manager?.estimate?.()]);
    return {
      ...(persisted !== undefined && { persisted }),
      ...(usage !== undefined && { usageBytes: usage }),
      ...(quota !== undefined && { quotaBytes: quota }),
    };
  } catch {
    return {};
  }
}
