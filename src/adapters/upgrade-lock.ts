import { platformLocks } from "./locks-web.js";

/** A tab that upgrades a database holds this lock, for the tabs that wait: the browser tells them nothing. */
const lockName = (name: string) => `holdfast:upgrade:${name}`;

/** Until what it returns is called, or the tab is gone. Without a lock service the others wait as long as for any other tab. */
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
