import type { Corridor } from "../../corridor/command.js";
import { HoldfastError } from "../../domain/errors.js";
import type { Clock } from "../../ports/clock.js";
import type { Locks } from "../../ports/locks.js";
import type { FarewellNotes, Notices } from "../../ports/notices.js";
import { bidFarewell, freeHost } from "../../stores/host/hosts.js";
import type { Host } from "../../stores/host/leases.rules.js";
import type { Loop } from "./loop-contract.js";
import type { Presence } from "./presence.js";

/**
 * This tab or process as a host: its boot id, the Web Lock that tells the others that it lives, its loop, and what becomes of them
 * when the page hides, freezes, comes back or goes.
 *
 *     boot -> lock -> loop        pagehide: handlers and loop end, farewell, lock let go        pageshow from the cache: boot anew
 */
interface HostParts {
  readonly host: CurrentHost;
  readonly corridor: Corridor;
  readonly notices: Notices;
  readonly presence: Pick<Presence, "open" | "close">;
  readonly clock: Clock;
  readonly locks: Locks | undefined;
  /** Carries the farewells of pages that go to pages that stay. */
  readonly farewellNotes: FarewellNotes | undefined;
  newBootId(): string;
  lockName(bootId: string): string;
  startLoop(): Loop | undefined;
  /** What runs here. */
  readonly work: HostWork;
  /** A new boot: rows that name the last one must be written again. `isReady` once its lock is held, or known to be out of reach. */
  onBoot(isReady: boolean): void;
  onFault(error: unknown): void;
}

export interface HostWork {
  /** The page holds leases, open sessions or agents: other hosts wait for their end. */
  readonly isHolding: boolean;
  /** The page was frozen: other hosts may have what it held. */
  wake(): Promise<void>;
  endAll(reason: HoldfastError): void;
  /** Ends the writes under this boot, and waits for those under way. */
  settle(): Promise<void>;
}

/**
 * Which host this is now. It is made before all parts that ask for it, with no boot and no loop, and changes once the host has begun.
 */
export interface CurrentHost {
  identity: Host;
  loop: Loop | undefined;
}

export function unstartedHost(hostId: string, handlers: readonly string[], turns = false): CurrentHost {
  return { identity: { hostId, bootId: "", locked: false, handlers, turns }, loop: undefined };
}

interface HostLife {
  /** Resolves when it is known whether the lock was granted. */
  readonly booted: Promise<void>;
  /** The database was deleted or upgraded: nothing more is claimed, and nothing that runs can write. */
  abort(reason: HoldfastError): void;
  /** Hands everything back. Does not wait for handlers. */
  close(reason: HoldfastError): Promise<void>;
}

/** Longer than any lock service needs; then the host goes on without a lock. */
const HOST_LOCK_WAIT_MS = 3_000;

export function startHost(parts: HostParts): HostLife {
  const { host, corridor, notices, clock, locks, work } = parts;
  const { hostId } = host.identity;
  host.identity = { ...host.identity, bootId: parts.newBootId() };
  let letGo = () => {};
  let away = false;
  let over = false;
  let frozen = false;

  /** A boot may be over before its turn comes. No lock may be asked for then: nothing would let it go. */
  async function boot(bootId: string): Promise<void> {
    const isOver = () => over || away || host.identity.bootId !== bootId;
    if (isOver()) return;
    const locked = await holdLock(bootId).catch((error: unknown) => {
      parts.onFault(error);
      return false;
    });
    if (isOver()) return;
    host.identity = { ...host.identity, locked: host.identity.locked || locked };
    host.loop = parts.startLoop();
    parts.onBoot(true);
  }

  /** Holds the lock until `letGo`. A lock that comes late is taken all the same. */
  function holdLock(bootId: string): Promise<boolean> {
    if (!locks) return Promise.resolve(false);
    const request = new AbortController();
    return new Promise((resolve, reject) => {
      const cancelWait = clock.setTimer(() => resolve(false), HOST_LOCK_WAIT_MS);
      const held = new Promise<void>((release) => {
        letGo = () => {
          request.abort();
          release();
        };
      });
      const onGranted = () => {
        cancelWait();
        resolve(true);
        if (host.identity.bootId === bootId) host.identity = { ...host.identity, locked: true };
        return held;
      };
      locks.request(parts.lockName(bootId), { mode: "exclusive", signal: request.signal }, onGranted).catch((error: unknown) => {
        cancelWait();
        // Another script of the origin took the lock: no host must think this one dead for that.
        if (host.identity.bootId === bootId) host.identity = { ...host.identity, locked: false };
        if (request.signal.aborted) resolve(false);
        else reject(error);
      });
    });
  }

  /** The page hides, for good or for the back/forward cache: it cannot tell which, and nothing may run after this. */
  function leave(isKept: boolean): void {
    if (over || away) return;
    away = true;
    const { bootId } = host.identity;
    if (work.isHolding) {
      void corridor.run(bidFarewell, { hostId, bootId, atMs: clock.now() }, { atOnce: true }).catch(() => undefined);
      // Published before the commit, which this page may not live to see. A reader waits in line behind the write.
      notices.publish([{ about: "host", id: bootId }]);
      parts.farewellNotes?.say(bootId);
    }
    host.loop?.kill();
    host.loop = undefined;
    work.endAll(new HoldfastError("lease-lost", "the page was hidden; its leases are handed back"));
    if (!isKept) return;
    // The browser frees the lock of a page that is torn down, after all that was sent here.
    letGo();
    notices.pause();
    parts.presence.close();
  }

  function comeBack(): void {
    if (over || !away) return;
    away = false;
    notices.resume();
    parts.presence.open();
    const { bootId: old } = host.identity;
    const bootId = parts.newBootId();
    // The boot id is new: a host that is still freeing the old one must not take what this one claims.
    host.identity = { ...host.identity, bootId, locked: false };
    const freed = corridor.run(freeHost, { bootId: old, self: true }).catch(parts.onFault);
    booted = freed.then(() => boot(bootId)).catch(parts.onFault);
    parts.onBoot(false);
  }

  /** A worker that is frozen in a transaction would keep its tables from every other tab for a minute. */
  function freeze(): void {
    frozen = host.loop !== undefined;
    host.loop?.kill();
    host.loop = undefined;
  }

  function thaw(): void {
    if (over) return;
    void work.wake();
    if (frozen && !away) host.loop = parts.startLoop();
    frozen = false;
  }

  const unhear = parts.farewellNotes?.hear((id) => notices.publish([{ about: "host", id }]));
  // The page's timers may have been throttled: what is due is late already.
  const show = () => host.loop?.poke();
  const unlisten = listenToPage({ pagehide: leave, pageshow: comeBack, freeze, resume: thaw, show });
  let booted = boot(host.identity.bootId).catch(parts.onFault);

  return {
    get booted() {
      return booted;
    },
    abort(reason) {
      over = true;
      work.endAll(reason);
      host.loop?.kill();
      letGo();
    },
    async close(reason) {
      over = true;
      unlisten();
      unhear?.();
      work.endAll(reason);
      await Promise.all([host.loop?.stop(), work.settle()]);
      try {
        await corridor.run(freeHost, { bootId: host.identity.bootId, self: true });
      } catch (error) {
        // The leases fall free all the same, with the lock or at their expiry.
        parts.onFault(error);
      }
      letGo();
    },
  };
}

/** Does nothing where there is no page: in Node and in workers. */
function listenToPage(on: {
  pagehide(isKept: boolean): void;
  pageshow(): void;
  freeze(): void;
  resume(): void;
  show(): void;
}): () => void {
  if (typeof window === "undefined" || typeof document === "undefined") return () => {};
  const listeners = new AbortController();
  const { signal } = listeners;
  // Captured, to be heard before the database library, which closes its connection on the way into the back/forward cache.
  window.addEventListener("pagehide", (event) => on.pagehide(event.persisted), { signal, capture: true });
  window.addEventListener("pageshow", (event) => event.persisted && on.pageshow(), { signal });
  document.addEventListener("freeze", on.freeze, { signal });
  document.addEventListener("resume", on.resume, { signal });
  document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && on.show(), { signal });
  return () => listeners.abort();
}
