import type { ClaimTerms } from "../../stores/process/leases.js";
import type { CurrentHost } from "../host/host.js";
import { termsOf } from "./definition/claim-terms.js";
import { createHeadStart, type HeadStart } from "./head-start.js";
import { createLimitKeys, type LimitKeys } from "./limit-keys.js";
import { createRunner, type ProcessRunner, type RunnerParts } from "./runner.js";

/** Runs processes here: the runner, and the head start of processes that are started here. Each needs the other. */
export interface ProcessRuns {
  readonly runner: ProcessRunner;
  readonly headStart: HeadStart;
  readonly limitKeys: LimitKeys;
  /** What some of the handlers declare for a claim, by name. */
  readonly terms: ReadonlyMap<string, ClaimTerms>;
}

export interface ProcessRunsParts extends Omit<RunnerParts, "headStart" | "host"> {
  readonly host: Readonly<CurrentHost>;
}

export function createProcessRuns(parts: ProcessRunsParts): ProcessRuns {
  const { host, timings } = parts;
  const limitKeys = createLimitKeys(parts);
  const terms = termsOf(parts.handlers);
  const runner: ProcessRunner = createRunner({ ...parts, headStart: () => headStart, host: () => host.identity });
  const headStart: HeadStart = createHeadStart({
    ...parts,
    ttlMs: timings.leaseTtlMs,
    runner,
    limitKeys,
    terms,
    host: () => (host.loop ? host.identity : undefined),
  });
  return { runner, headStart, limitKeys, terms };
}
