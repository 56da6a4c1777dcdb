import type { ProcessAttempts, ProcessWait } from "../../../domain/process/wait.js";
import type { ProcessRow } from "../tables.js";

/** What its record says of its tries, and of the pause. */
export function attemptsIn({ attempts, parked, dueAtMs }: ProcessRow): {
  attempts?: ProcessAttempts;
  waiting: readonly ProcessWait[];
} {
  if (!attempts) return { waiting: [] };
  const { atMs: sinceMs, ...told } = attempts;
  const isPaused = told.retryAtMs !== undefined && parked !== undefined;
  const pause = { key: "process", kind: "retry" as const, sinceMs, ...(dueAtMs !== undefined && { dueAtMs }) };
  return { attempts: told, waiting: isPaused ? [pause] : [] };
}
