import { platformLocks } from "./locks-web.js";

/**
 * A tab holds this lock while it upgrades a database. Waiting tabs look for it, because the browser does not report an upgrade.
 */
const lockName = (name: string) => `holdfast:upgrade:${name}`;

/**
 * The lock is held until the returned function is called, or the tab is gone. The other tabs keep their usual deadline where there
 * is no lock service.
 */
export function holdUpgrade(name: string): () => void {
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const hold = async () => platformLocks()?.request(lockName(name), { mode: "shared" }, () => held);
  hold().catch(() => undefined);
  return release;
}

export async function isUpgradedElsewhere(name: string): Promise<boolean> {
  try {
    const { held = [] } = (await platformLocks()?.query()) ?? {};
    return held.some((lock) => lock.name === lockName(name));
  } catch {
    return false;
  }
}
