import { hostLockName } from "../kernel/host/ids.js";
import type { Locks } from "../ports/locks.js";

/** Watches which hosts live: it asks for their Web Locks, which are granted when the hosts are gone. */
interface HostWatch {
  /** Boots whose lock fell free, until they are forgotten. */
  readonly dead: ReadonlySet<string>;
  /** True while the host's lock is held, as far as is known; begins to watch it. False for a dead host, and where there are no locks. */
  isAlive(bootId: string): boolean;
  /** Watches these hosts and no others. */
  only(bootIds: ReadonlySet<string>): void;
  /** The host's leases are freed. */
  forget(bootId: string): void;
  close(): void;
}

export function watchHosts(parts: {
  locks: Locks | undefined;
  databaseId: string;
  onDeath(): void;
  onFault(error: unknown): void;
}): HostWatch {
  const { locks, databaseId } = parts;
  const watched = new Map<string, AbortController>();
  const dead = new Set<string>();

  function watch(bootId: string, among: Locks): void {
    const watching = new AbortController();
    const { signal } = watching;
    watched.set(bootId, watching);
    const onGranted = () => {
      if (!signal.aborted) dead.add(bootId);
    };
    among
      .request(hostLockName(databaseId, bootId), { mode: "shared", signal }, onGranted)
      .then(parts.onDeath, (error: unknown) => {
        if (!signal.aborted) parts.onFault(error);
      })
      .finally(() => {
        if (watched.get(bootId) === watching) watched.delete(bootId);
      });
  }

  return {
    dead,
    isAlive(bootId) {
      if (!locks || dead.has(bootId)) return false;
      if (!watched.has(bootId)) watch(bootId, locks);
      return true;
    },
    only(bootIds) {
      for (const [bootId, watching] of watched) {
        if (bootIds.has(bootId)) continue;
        watched.delete(bootId);
        watching.abort();
      }
      for (const bootId of bootIds) this.isAlive(bootId);
    },
    forget: (bootId) => dead.delete(bootId),
    close() {
      for (const watching of watched.values()) watching.abort();
    },
  };
}
