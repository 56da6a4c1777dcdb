import type { Locks } from "../../ports/locks.js";
import type { Life } from "./machine.js";

interface Ask {
  readonly life: Life;
  readonly name: string;
  readonly mode: LockMode;
  grant(): void;
}

/** Web Locks between hosts: exclusive and shared, first come first served or only if free, requests that a signal takes back. */
interface LockService {
  clientFor(life: Life): Locks;
  /** The names of the locks that the life holds. */
  heldBy(life: Life): string[];
}

export function createLockService(): LockService {
  const held: Ask[] = [];
  const pending: Ask[] = [];

  const collides = (one: Omit<Ask, "life" | "grant">, other: Ask) =>
    one.name === other.name && (one.mode === "exclusive" || other.mode === "exclusive");

  function grantAll(): void {
    for (const ask of [...pending]) {
      const earlier = pending.slice(0, pending.indexOf(ask));
      if (held.some((other) => collides(ask, other)) || earlier.some((other) => collides(ask, other))) continue;
      remove(pending, ask);
      held.push(ask);
      ask.grant();
    }
  }

  function clientFor(life: Life): Locks {
    function request<T>(
      name: string,
      ...rest: [LockOptions, LockGrantedCallback<T>] | [LockGrantedCallback<T>]
    ): Promise<Awaited<T>> {
      const [options, callback] = rest.length === 2 ? rest : [{} as LockOptions, rest[0]];
      const { mode = "exclusive", signal, ifAvailable } = options;
      return new Promise((resolve, reject) => {
        if (signal?.aborted) return reject(signal.reason);
        if (life.state === "gone") return;
        if (ifAvailable && [...held, ...pending].some((other) => collides({ name, mode }, other))) {
          const refuse = async () => resolve(await callback(null));
          return void life.after(1, () => void refuse().catch(reject));
        }
        let isWithdrawn = false;
        const withdraw = () => {
          isWithdrawn = true;
          remove(pending, ask);
          // The lock may be granted already, and its callback not yet called.
          remove(held, ask);
          reject(signal?.reason);
          grantAll();
        };
        const run = async () => {
          if (isWithdrawn) return;
          signal?.removeEventListener("abort", withdraw);
          try {
            resolve(await callback({ name, mode } as Lock));
          } catch (error) {
            reject(error);
          } finally {
            remove(held, ask);
            grantAll();
          }
        };
        const ask: Ask = { life, name, mode, grant: () => void life.after(1, () => void run()) };
        signal?.addEventListener("abort", withdraw, { once: true });
        pending.push(ask);
        grantAll();
      });
    }

    life.onInterrupted((how) => {
      if (how !== "gone") return;
      for (const list of [held, pending]) for (const ask of [...list]) if (ask.life === life) remove(list, ask);
      grantAll();
    });

    return {
      request: request as Locks["request"],
      async query() {
        await life.pause(1);
        const shown = ({ life: { name: clientId }, name, mode }: Ask) => ({ clientId, name, mode });
        return { held: held.map(shown), pending: pending.map(shown) };
      },
    };
  }

  return { clientFor, heldBy: (life) => held.filter((ask) => ask.life === life).map(({ name }) => name) };
}

function remove<T>(list: T[], item: T): void {
  const at = list.indexOf(item);
  if (at >= 0) list.splice(at, 1);
}
