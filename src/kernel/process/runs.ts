import type { CurrentHost } from "../host/host.js";
import { createHeadStart, type HeadStart } from "./head-start.js";
import { createRunner, type ProcessRunner, type RunnerParts } from "./runner.js";

/** Runs processes here: the runner, and the head start of processes that are started here. Each needs the other. */
export interface ProcessRuns {
  readonly runner: ProcessRunner;
  readonly headStart: HeadStart;
}

export interface ProcessRunsParts extends Omit<RunnerParts, "headStart" | "host"> {
  readonly host: Readonly<CurrentHost>;
}

export function createProcessRuns(parts: ProcessRunsParts): ProcessRuns {
  const { host, timings } = parts;
  const runner: ProcessRunner = createRunner({ ...parts, headStart: () => headStart, host: () => host.identity });
  const headStart: HeadStart = createHeadStart({
    ...parts,
    ttlMs: timings.leaseTtlMs,
    runner,
    host: () => (host.loop ? host.identity : undefined),
  });
  return { runner, headStart };
}
