import { checkWhole, membersOf } from "../check.js";

/** Limits of a session's operations. */
export interface OpsOptions {
  /** Operations of this tab that have not ended. Default: no limit. */
  maxConcurrent?: number;
  /** Ended operations that are kept; then the oldest are removed. Default 256. */
  maxCompleted?: number;
}

export function checkOpsOptions(field: string, value: unknown): OpsOptions {
  if (value === undefined) return {};
  const m: Record<keyof OpsOptions, unknown> = membersOf(field, value, ["maxConcurrent", "maxCompleted"]);
  return {
    ...(m.maxConcurrent !== undefined && { maxConcurrent: checkWhole(`${field}.maxConcurrent`, m.maxConcurrent, 1) }),
    ...(m.maxCompleted !== undefined && { maxCompleted: checkWhole(`${field}.maxCompleted`, m.maxCompleted, 1) }),
  };
}
