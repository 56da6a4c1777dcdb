import type { Kernel } from "../../../kernel/kernel.js";
import type { Setup } from "../../kit/fixture.js";

/** Moves the clock on, and lets a host look at the process. */
export async function later({ clock }: Setup, kernel: Kernel, processId: string, ms: number): Promise<void> {
  await clock.advance(ms);
  const lease = await kernel.processes.claimProcessLease(processId, "a look", 1_000).catch(() => undefined);
  if (lease) await kernel.processes.completeProcessLease(lease);
  await clock.advance(0);
}

export async function typesOf(kernel: Kernel, processId: string): Promise<string[]> {
  return (await kernel.processes.eventsAfter(processId, 0)).map(({ eventType }) => eventType);
}

export const never = () => new Promise<never>(() => {});
