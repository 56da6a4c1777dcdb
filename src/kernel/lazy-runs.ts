import type { HoldfastError } from "../domain/errors.js";
import { faultOf } from "./host/fault.js";
import type { LoopPage } from "./host/loop-contract.js";
import { mapLazy } from "./lazy.js";
import type { LazyParts } from "./lazy-parts.js";
import type { ProcessRuns, ProcessRunsParts } from "./process/runs.js";

/** Runs processes here, once the code for it is loaded: a page that runs none does not load it. Nothing is claimed before it is there. */
export interface LazyRuns extends Pick<LoopPage, "run" | "limitKeys"> {
  readonly loaded: ProcessRuns | undefined;
  /** This host can run processes now: loads the code. If that fails, a fault is told, and it is tried again. */
  load(): void;
  /** Slots that are free and that no claim under way will take; 0 while the code is awaited. */
  readonly free: number;
  /** Aborts every handler with `reason`. */
  endAll(reason: HoldfastError): void;
}

interface LazyRunsParts extends ProcessRunsParts {
  readonly lazyParts: Pick<LazyParts, "runs">;
}

export function createLazyRuns(parts: LazyRunsParts): LazyRuns {
  const { clock, timings, concurrency, onFree } = parts;
  const runs = mapLazy(parts.lazyParts.runs, ({ createProcessRuns }) => createProcessRuns(parts));
  let isAwaited = false;
  let isClosed = false;
  let cancelRetry = () => {};

  async function load(): Promise<void> {
    try {
      await runs.load();
      if (!isClosed) onFree();
    } catch (error) {
      if (isClosed) return;
      parts.fault(faultOf("runner", error, "processes cannot be run"));
      cancelRetry = clock.setTimer(() => void load(), timings.pollMs);
    }
  }

  return {
    get loaded() {
      return runs.loaded;
    },
    load() {
      if (isAwaited || isClosed || runs.loaded) return;
      isAwaited = true;
      void load();
    },
    get free() {
      if (isClosed) return 0;
      return runs.loaded?.headStart.free ?? (isAwaited ? 0 : concurrency);
    },
    async run(claims, asOfMs) {
      const runner = isClosed ? undefined : runs.loaded?.runner;
      return runner ? await runner.run(claims, asOfMs) : claims.map(({ lease }) => lease.processId);
    },
    limitKeys: async (processes) => await (await runs.load()).limitKeys.keysOf(processes),
    endAll(reason) {
      isClosed ||= reason.code === "closed";
      if (isClosed) cancelRetry();
      runs.loaded?.runner.endAll(reason);
    },
  };
}
