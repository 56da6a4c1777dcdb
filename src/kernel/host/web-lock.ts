import type { Clock } from "../../ports/clock.js";
import type { Locks } from "../../ports/locks.js";

/**
 * Lets go of a Web Lock that is held around work of this context. These locks only spare other contexts vain work: the rows refuse what
 * must not happen twice. So no work waits long for a lock, and it goes on without one if the lock service fails.
 */
export type Release = () => void;

/** Waits at most `mostMs`: a frozen tab keeps what it holds. */
export function hold(locks: Locks | undefined, name: string, clock: Clock, mostMs: number): Promise<Release> {
  if (!locks) return Promise.resolve(() => {});
  const request = new AbortController();
  return new Promise((enter) => {
    const cancelWait = clock.setTimer(() => {
      request.abort();
      enter(() => {});
    }, mostMs);
    const onGranted = () => {
      if (request.signal.aborted) return;
      cancelWait();
      return new Promise<void>((release) => enter(release));
    };
    ask(() => locks.request(name, { signal: request.signal }, onGranted)).catch(() => {
      cancelWait();
      enter(() => {});
    });
  });
}

/** Resolves with undefined if another context, or this one, holds the lock. */
export function holdIfFree(locks: Locks | undefined, name: string): Promise<Release | undefined> {
  if (!locks) return Promise.resolve(() => {});
  return new Promise((enter) => {
    const onAnswer = (lock: Lock | null) => {
      if (!lock) return enter(undefined);
      return new Promise<void>((release) => enter(release));
    };
    ask(() => locks.request(name, { ifAvailable: true }, onAnswer)).catch(() => enter(() => {}));
  });
}

/** A lock service that throws at once rejects here. */
async function ask(request: () => Promise<unknown>): Promise<void> {
  await request();
}
