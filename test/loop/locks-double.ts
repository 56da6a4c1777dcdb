import type { Locks } from "../../src/ports/locks.js";

interface Ask {
  readonly client: string;
  readonly name: string;
  readonly mode: LockMode;
  grant(): void;
}

/** A client of the lock service, as each tab is one. */
export interface LockClient extends Locks {
  /** The tab is gone: what it held is free, what it asked for is forgotten, and it hears of neither. */
  die(): void;
}

/** Web Locks within one program: exclusive and shared, first come first served or only if free, requests that a signal takes back. */
export function lockService(): { client(id: string): LockClient } {
  const held: Ask[] = [];
  const pending: Ask[] = [];

  const collides = (one: Ask, other: Ask) => one.name === other.name && (one.mode === "exclusive" || other.mode === "exclusive");

  function grantAll(): void {
    for (const ask of [...pending]) {
      const earlier = pending.slice(0, pending.indexOf(ask));
      if (held.some((other) => collides(ask, other)) || earlier.some((other) => collides(ask, other))) continue;
      remove(pending, ask);
      held.push(ask);
      ask.grant();
    }
  }

  function client(id: string): LockClient {
    let dead = false;

    function request<T>(
      name: string,
      ...rest: [LockOptions, LockGrantedCallback<T>] | [LockGrantedCallback<T>]
    ): Promise<Awaited<T>> {
      const [options, callback] = rest.length === 2 ? rest : [{} as LockOptions, rest[0]];
      const { mode = "exclusive", signal, ifAvailable } = options;
      return new Promise((resolve, reject) => {
        if (signal?.aborted) return reject(signal.reason);
        const isTaken = [...held, ...pending].some((other) => collides({ client: id, name, mode, grant() {} }, other));
        const onRefused = async () => resolve(await callback(null));
        if (ifAvailable && isTaken && !dead) return void onRefused().catch(reject);
        const ask: Ask = {
          client: id,
          name,
          mode,
          grant() {
            signal?.removeEventListener("abort", withdraw);
            void run();
          },
        };
        const withdraw = () => {
          remove(pending, ask);
          reject(signal?.reason);
          grantAll();
        };
        const run = async () => {
          await Promise.resolve();
          if (dead) return;
          try {
            const result = await callback({ name, mode } as Lock);
            if (!dead) resolve(result);
          } catch (error) {
            if (!dead) reject(error);
          } finally {
            remove(held, ask);
            grantAll();
          }
        };
        signal?.addEventListener("abort", withdraw, { once: true });
        if (dead) return;
        pending.push(ask);
        grantAll();
      });
    }

    return {
      request: request as Locks["request"],
      async query() {
        const shown = ({ client: clientId, name, mode }: Ask) => ({ clientId, name, mode });
        return { held: held.map(shown), pending: pending.map(shown) };
      },
      die() {
        dead = true;
        for (const list of [held, pending]) for (const ask of [...list]) if (ask.client === id) remove(list, ask);
        grantAll();
      },
    };
  }

  return { client };
}

function remove<T>(list: T[], item: T): void {
  const at = list.indexOf(item);
  if (at >= 0) list.splice(at, 1);
}
