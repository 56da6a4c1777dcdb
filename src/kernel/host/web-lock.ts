import type { Clock } from "../../ports/clock.js";
import type { Locks } from "../../ports/locks.js";

/**
 * A Web Lock around work of this context. These locks only spare the others vain work: what must not happen twice, the rows refuse.
 * So no work waits long for one, and a lock service that fails is gone without.
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

/** Nothing where another context, or this one, holds it. */
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

/** A service that throws at once, too, has answered. */
async function ask(request: () => Promise<unknown>): Promise<void> {
  await request();
}
