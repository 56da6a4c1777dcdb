import type { Durability } from "../ports/storage.js";

export interface KernelStatus {
  /** The storage's own kind: "indexeddb", "memory", or what another one calls itself. */
  storage: string;
  /** "none" in memory. */
  durability: Durability | "none";
  /** Whether the browser promised not to evict it; absent where it cannot tell. */
  persisted?: boolean;
  /** Of the whole origin. */
  usageBytes?: number;
  quotaBytes?: number;
  loop: "worker" | "inline" | "off";
  /** This host holds its Web Lock: others notice at once when it dies. Waited for, at most 3 seconds, while it is being asked for. */
  locks: boolean;
  /** BroadcastChannel: other tabs hear at once. */
  channel: boolean;
  /** Messages of other tabs that were none of this database's, and were dropped. */
  dropped: number;
  /** "memory-only": secrets and login flows never reach a disk, and end with the memory they are in. */
  secrets: "sealed" | "memory-only";
}

/** Missing in some engines and outside secure contexts. */
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
