import type { CurrentHost } from "./host/host.js";
import { type Lazy, mapLazy } from "./lazy.js";
import type { LazyParts } from "./lazy-parts.js";
import type { HeadStart } from "./process/head-start.js";
import { createRunner, type ProcessRunner, type RunnerParts } from "./process/runner.js";

/** Runs processes here: the runner, and the head start of processes that are started here. Each needs the other. */
export interface ProcessRuns {
  readonly runner: ProcessRunner;
  readonly headStart: Lazy<HeadStart>;
  /** Ids of processes whose claim is under way. */
  readonly claiming: string[];
  /** Slots that are free and that no claim under way will take. */
  readonly free: number;
}

interface ProcessRunsParts extends Omit<RunnerParts, "headStart" | "host"> {
  readonly host: Readonly<CurrentHost>;
  readonly lazyParts: Pick<LazyParts, "headStart">;
}

export function createProcessRuns(parts: ProcessRunsParts): ProcessRuns {
  const { host, lazyParts, timings } = parts;
  const runner: ProcessRunner = createRunner({ ...parts, headStart: () => headStart.loaded, host: () => host.identity });
  const headStart: Lazy<HeadStart> = mapLazy(lazyParts.headStart, ({ createHeadStart }) =>
    createHeadStart({
      ...parts,
      ttlMs: timings.leaseTtlMs,
      runner,
      host: () => (host.loop ? host.identity : undefined),
    }),
  );
  return {
    runner,
    headStart,
    get claiming() {
      return headStart.loaded?.claiming ?? [];
    },
    get free() {
      return headStart.loaded?.free ?? runner.free;
    },
  };
}
