import { checkWhole, membersOf } from "../check.js";

/** How much a registry takes. */
export interface OpsOptions {
  /** Operations that have not ended, in this tab. Default: as many as come. */
  maxConcurrent?: number;
  /** Ended operations that are kept; the oldest are forgotten. Default 256. */
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
