import { type AnyTurnHandler, createKernel, deleteKernelData, type Kernel } from "holdfast";
import { forgetAgents } from "./alive.js";
import { forgetConversations } from "./conversations.js";
import { forgetTabs, type Tab } from "./identity.js";
import type { IndexFile } from "./index-file.js";
import type { LaterJobs } from "./later-jobs.js";

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

export function openKernel(
  tab: Tab,
  reading: IndexFile,
  { stock, catalogue }: LaterJobs,
  turns: AnyTurnHandler,
): Promise<Kernel> {
  return createKernel({
    name,
    hostId: tab.hostId,
    processes: [reading, stock, catalogue],
    turns,
    concurrency: filesAtOnce,
    timings,
    retention,
  });
}

/** Closes the kernel and deletes the whole database. The other tabs are told. */
export async function startOver(kernel: Kernel): Promise<void> {
  await kernel.close();
  await deleteKernelData(name);
  forgetTabs();
  forgetConversations();
  forgetAgents();
}
