import type { CurrentHost } from "../host/host.js";
import { createHeadStart, type HeadStart } from "./head-start.js";
import { createLimitKeys, type LimitKeys } from "./limit-keys.js";
import { createRunner, type ProcessRunner, type RunnerParts } from "./runner.js";

/** Runs processes here: the runner, and the head start of processes that are started here. Each needs the other. */
export interface ProcessRuns {
  readonly runner: ProcessRunner;
  readonly headStart: HeadStart;
  readonly limitKeys: LimitKeys;
}

export interface ProcessRunsParts extends Omit<RunnerParts, "headStart" | "host"> {
  readonly host: Readonly<CurrentHost>;
}

export function createProcessRuns(parts: ProcessRunsParts): ProcessRuns {
  const { host, timings } = parts;
  const limitKeys = createLimitKeys(parts);
  const runner: ProcessRunner = createRunner({ ...parts, headStart: () => headStart, host: () => host.identity });
  const headStart: HeadStart = createHeadStart({
    ...parts,
    ttlMs: timings.leaseTtlMs,
    runner,
    limitKeys,
    host: () => (host.loop ? host.identity : undefined),
  });
  return { runner, headStart, limitKeys };
}
