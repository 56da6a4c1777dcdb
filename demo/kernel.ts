import { createKernel, type Kernel } from "holdfast";
import { forgetAgents } from "./alive.js";
import { forgetConversations } from "./conversations.js";
import { forgetTabs, type Tab } from "./identity.js";
import { indexFile, taskName } from "./index-file.js";
import { pause } from "./pace.js";

const name = "holdfast-playground";

/** Much shorter than the defaults, so that a person can watch a take-over after a hang, and agents go offline. */
export const timings = {
  leaseTtlMs: 6_000,
  leaseRenewMs: 2_000,
  heartbeatMs: 1_000,
  livenessTtlMs: 4_000,
  heartbeatFlushMs: 4_000,
  staleAfterMs: 10_000,
  sweepMs: 2_000,
  pollMs: 1_000,
};

export const retention = { offlineAgentsMs: 120_000 };

/** Files that one tab works on at once: few, so that other tabs get some and have room to take over more. */
const filesAtOnce = 4;

export function openKernel(tab: Tab): Promise<Kernel> {
  return createKernel({
    name,
    hostId: tab.hostId,
    handlers: { [taskName]: indexFile(tab.name, pause) },
    concurrency: filesAtOnce,
    timings,
    retention,
  });
}

/** Closes the kernel and deletes the whole database. The browser tells the other tabs. */
export async function startOver(kernel: Kernel | undefined): Promise<void> {
  await kernel?.close();
  const found = await indexedDB.databases?.();
  const mine = found?.flatMap((one) => (one.name?.includes(name) ? one.name : [])) ?? [name];
  await Promise.all(mine.map(remove));
  forgetTabs();
  forgetConversations();
  forgetAgents();
}

function remove(database: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.deleteDatabase(database);
    request.onsuccess = () => resolve();
    request.onerror = () => reject(request.error);
    request.onblocked = () => reject(new Error("Another tab still holds the library open. Close it and try again."));
  });
}
