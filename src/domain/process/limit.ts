import { checkId, checkWhole, membersOf } from "../check.js";
import { invalid } from "../errors.js";

/**
 * How many runs of one key there may be at a time, and how many may begin in a time, over all tabs and programs of the database. It has
 * `concurrency`, `rate` or both.
 */
export interface LimitSpec<Args = unknown> {
  /**
   * What is counted together: handlers that name the same key share its places. Default: the handler's name. A function is given what
   * `context.args` is, and answers with a non-empty string; where it throws or gives something else, a fault is told, and the key is the
   * handler's name.
   */
  key?: string | ((args: Args) => string);
  /** Runs of the key at a time; 1 and more. */
  concurrency?: number;
  /** At most `count` runs (1 to 1,000) begin in any `perMs` milliseconds. A run that takes over or goes on does not count. */
  rate?: RateSpec;
}

/** How many runs may begin in any span of time. */
export interface RateSpec {
  readonly count: number;
  readonly perMs: number;
}

/** A limit as plain data. Without a key, the page evaluates its function for each process. */
export interface ClaimLimit {
  readonly key?: string;
  readonly concurrency?: number;
  readonly rate?: RateSpec;
}

const MOST_RATE_COUNT = 1_000;

/** The limit, each member read once. Throws `invalid`, which names the member. */
export function checkLimit(field: string, value: unknown, idLength: number): LimitSpec {
  const { key, concurrency, rate } = membersOf(field, value, ["key", "concurrency", "rate"]);
  if (concurrency === undefined && rate === undefined) throw invalid(`${field} must have concurrency, rate or both`);
  return {
    ...(key !== undefined && { key: checkKey(`${field}.key`, key, idLength) }),
    ...(concurrency !== undefined && { concurrency: checkWhole(`${field}.concurrency`, concurrency, 1) }),
    ...(rate !== undefined && { rate: checkRate(`${field}.rate`, rate) }),
  };
}

function checkKey(field: string, key: unknown, idLength: number): NonNullable<LimitSpec["key"]> {
  if (typeof key === "string") return checkId(field, key, idLength);
  if (typeof key !== "function") throw invalid(`${field} must be a string or a function`);
  return key as (args: unknown) => string;
}

function checkRate(field: string, value: unknown): RateSpec {
  const { count, perMs } = membersOf(field, value, ["count", "perMs"]);
  return { count: checkWhole(`${field}.count`, count, 1, MOST_RATE_COUNT), perMs: checkWhole(`${field}.perMs`, perMs, 1) };
}
