import type { Corridor } from "../../../corridor/command.js";
import { checkText } from "../../../domain/check.js";
import { invalid } from "../../../domain/errors.js";
import type { Limits } from "../../../domain/time.js";
import type { Clock } from "../../../ports/clock.js";
import { setProgress } from "../../../stores/process/runs/progress.js";
import type { HeldLease } from "../../host/leases/held-lease.js";

/** The progress that a handler reports: the newest is stored, at most once a second. */
export interface Progress {
  report(done: unknown, total: unknown, note: unknown): void;
  /** Stores the newest progress now. A run that goes on may report more. */
  flush(): Promise<void>;
}

interface ProgressParts {
  readonly corridor: Corridor;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly heldLease: HeldLease;
}

type Reported = { done: number; total?: number; note?: string };

const PROGRESS_MS = 1_000;

export function createProgress({ corridor, clock, limits, heldLease }: ProgressParts): Progress {
  let latest: Reported | undefined;
  let writing: Promise<void> | undefined;
  let cancelPause: (() => void) | undefined;

  function write(): Promise<void> {
    if (!latest) return Promise.resolve();
    const progress = latest;
    latest = undefined;
    const store = async () => {
      try {
        await heldLease.write((lease) => corridor.run(setProgress, { progress, lease }));
      } catch {
        // Progress is only for display. A lost lease or a broken storage fails the next step.
      }
    };
    writing = store();
    return writing;
  }

  function pause(): void {
    cancelPause = clock.setTimer(() => {
      cancelPause = undefined;
      if (!latest) return;
      pause();
      void write();
    }, PROGRESS_MS);
  }

  return {
    report(done, total, note) {
      latest = checkProgress(done, total, note, limits);
      if (cancelPause) return;
      void write();
      pause();
    },
    async flush() {
      cancelPause?.();
      cancelPause = undefined;
      await writing;
      await write();
    },
  };
}

function checkProgress(done: unknown, total: unknown, note: unknown, limits: Limits): Reported {
  const amount = (field: string, value: unknown) => {
    if (typeof value !== "number" || !Number.isFinite(value) || value < 0) throw invalid(`${field} must be a number from 0 up`);
    return value;
  };
  return {
    done: amount("done", done),
    ...(total !== undefined && { total: amount("total", total) }),
    ...(note !== undefined && { note: checkText("note", note, limits.idLength) }),
  };
}
