import { manualClock } from "../../src/adapters/clock-manual.js";
import { memoryStorage } from "../../src/adapters/storage-memory.js";
import { HoldfastError } from "../../src/domain/errors.js";
import type { ProcessAwaitOutput } from "../../src/domain/process/process.js";
import type { KernelEvents } from "../../src/kernel/emitter.js";
import type { Kernel } from "../../src/kernel/kernel.js";
import type { KernelOptions } from "../../src/kernel/options.js";
import type { ProcessHandle } from "../../src/kernel/process/handle.js";
import { createKernel } from "../../src/platform.js";
import { type Probe, probe, type Seen } from "../stores/probe-storage.js";
import { rounds } from "./rounds.js";

export interface Bench {
  readonly kernel: Kernel;
  readonly probed: Probe;
  readonly clock: ReturnType<typeof manualClock>;
  readonly faults: KernelEvents["fault"][];
  readonly sweeps: KernelEvents["sweep"][];
}

const opened: Kernel[] = [];

/** One kernel in memory under a manual clock, with its loop in this context. */
export async function bench(
  options: Partial<KernelOptions> = {},
  on: { probed?: Probe; clock?: Bench["clock"] } = {},
): Promise<Bench> {
  const probed = on.probed ?? probe(memoryStorage());
  const clock = on.clock ?? manualClock();
  const kernel = await createKernel({
    name: "bench",
    storage: probed.storage,
    clock,
    loop: "inline",
    channel: false,
    locks: false,
    log: false,
    ...options,
  });
  opened.push(kernel);
  const faults: KernelEvents["fault"][] = [];
  const sweeps: KernelEvents["sweep"][] = [];
  kernel.on("fault", (fault) => faults.push(fault));
  kernel.on("sweep", (sweep) => sweeps.push(sweep));
  return { kernel, probed, clock, faults, sweeps };
}

export async function closeBenches(): Promise<void> {
  await Promise.all(opened.splice(0).map((kernel) => kernel.close()));
}

export const task = (name: string, args?: string | number) => ({
  input: { type: "task" as const, name, ...(args !== undefined && { args }) },
});

/** How a promise ended, when that needs no clock; undefined while it is pending. */
export async function ending(handle: ProcessHandle): Promise<ProcessAwaitOutput | undefined> {
  await rounds();
  const record = await handle.record();
  return record && record.status.state !== "running" ? record.status.awaitOutput : undefined;
}

export const isAppend = ({ mode, tables }: Seen) => mode === "write" && tables.includes("events");

/** The storage refuses every append while `failing` says so. */
export function failAppends(probed: Probe, failing: () => boolean): void {
  probed.hooks.open = (seen) => {
    if (isAppend(seen) && failing()) throw new HoldfastError("unavailable", "no storage today");
  };
}
