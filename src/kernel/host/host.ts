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
export interface HostParts {
  readonly host: CurrentHost;
  readonly corridor: Corridor;
  readonly notices: Notices;
  readonly presence: Pick<Presence, "open" | "close">;
  readonly clock: Clock;
  readonly locks: Locks | undefined;
  /** How pages that go reach those that stay. */
  readonly farewellNotes: FarewellNotes | undefined;
  newBootId(): string;
  lockName(bootId: string): string;
  startLoop(): Loop | undefined;
  /** What runs here. */
  readonly work: HostWork;
  /** Another boot: whatever named the last one must be written again. `isReady` once its lock is held, or known to be out of reach. */
  onBoot(isReady: boolean): void;
  onFault(error: unknown): void;
}

export interface HostWork {
  /** Leases or open sessions: somebody waits for their end. */
  readonly isHolding: boolean;
  /** The page was frozen: what it holds may be another's. */
  wake(): Promise<void>;
  endAll(reason: HoldfastError): void;
  /** Nothing more is written under this boot that outlives it. */
  settle(): Promise<void>;
}

/**
 * Which host this is now. It is there before anything that asks for it, under no boot and without a loop, and changes once the host has
 * begun.
 */
export interface CurrentHost {
  identity: Host;
  loop: Loop | undefined;
}

export function unstartedHost(hostId: string): CurrentHost {
  return { identity: { hostId, bootId: "", locked: false }, loop: undefined };
}

export interface HostLife {
  /** Resolves when it is known whether the lock was granted. */
  readonly booted: Promise<void>;
  /** The database is another's now: nothing more is claimed, and nothing that runs can write. */
  abort(reason: HoldfastError): void;
  /** Hands everything back. Does not wait for handlers. */
  close(reason: HoldfastError): Promise<void>;
}

/** Longer than any lock service needs; without an answer the host goes on without a lock. */
const LOCK_WAIT_MS = 3_000;

export function startHost(parts: HostParts): HostLife {
  const { host, corridor, notices, clock, locks, work } = parts;
  const { hostId } = host.identity;
  host.identity = { hostId, bootId: parts.newBootId(), locked: false };
  let letGo = () => {};
  let away = false;
  let over = false;
  let frozen = false;

  /** Of a boot that is over before its turn comes, no lock may be asked for: nothing would let it go. */
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

  /** Held until `letGo`. A lock that comes late is taken all the same. */
  function holdLock(bootId: string): Promise<boolean> {
    if (!locks) return Promise.resolve(false);
    const request = new AbortController();
    return new Promise((resolve, reject) => {
      const cancelWait = clock.setTimer(() => resolve(false), LOCK_WAIT_MS);
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
        // Somebody of the origin took it: nobody must think this host dead for it.
        if (host.identity.bootId === bootId) host.identity = { ...host.identity, locked: false };
        if (request.signal.aborted) resolve(false);
        else reject(error);
      });
    });
  }

  /** The page hides for good, or for the back/forward cache: nobody can tell, and nothing after this may run. */
  function leave(isKept: boolean): void {
    if (over || away) return;
    away = true;
    const { bootId } = host.identity;
    if (work.isHolding) {
      void corridor.run(bidFarewell, { hostId, bootId, atMs: clock.now() }, { atOnce: true }).catch(() => undefined);
      // Not after the commit, which nobody may be there to hear of; who reads now waits in line behind it.
      notices.publish([{ about: "host", id: bootId }]);
      parts.farewellNotes?.say(bootId);
    }
    host.loop?.kill();
    host.loop = undefined;
    work.endAll(new HoldfastError("lease-lost", "the page was hidden; its leases are handed back"));
    if (!isKept) return;
    // Of a page that is torn down the browser lets it go, behind all that was sent here.
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
    // Another boot: whoever is still freeing the old one must not take what this one claims.
    host.identity = { hostId, bootId, locked: false };
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
    void work.wake();
    if (frozen && !over && !away) host.loop = parts.startLoop();
    frozen = false;
  }

  const unhear = parts.farewellNotes?.hear((id) => notices.publish([{ about: "host", id }]));
  // Its timers may have been throttled: what is due is late already.
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
        // The lock's end or the expiry frees them all the same.
        parts.onFault(error);
      }
      letGo();
    },
  };
}

/** Nothing where there is no page: in Node and in workers. */
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
