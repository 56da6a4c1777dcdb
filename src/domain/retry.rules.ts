import { checkFunction, checkWhole, membersOf } from "./check.js";
import { invalid, isNonRetryable } from "./errors.js";

/** How often something that fails is tried, and the pause before each further try. A `NonRetryableError` is never tried again. */
export interface RetryPolicy {
  /** Tries in total, 1 to 1,000. */
  attempts: number;
  /** The pause before the second try, in milliseconds, at most 365 days. Default 1,000. */
  backoffMs?: number;
  /** Each further pause is so many times as long as the one before. From 1 up; default 2. */
  factor?: number;
  /** The longest pause, in milliseconds, at most 365 days. Default 60,000. */
  maxBackoffMs?: number;
  /** By chance, each pause is longer or shorter by up to this share of it. 0 to 1; default 0.2. */
  jitter?: number;
  /** Whether an error may be tried again. Synchronous; if it throws, the error is not tried again. */
  retryIf?: (error: unknown) => boolean;
}

/** The numbers of a policy, with the defaults filled in. */
export type Backoff = Readonly<Required<Omit<RetryPolicy, "retryIf">>>;

/** A checked policy. */
export interface Retry extends Backoff {
  readonly retryIf?: (error: unknown) => boolean;
}

const MOST_ATTEMPTS = 1_000;
const LONGEST_PAUSE_MS = 365 * 24 * 60 * 60 * 1_000;

/** Throws `invalid` naming the member. */
export function checkRetry(field: string, value: unknown): Retry {
  const m = membersOf(field, value, ["attempts", "backoffMs", "factor", "maxBackoffMs", "jitter", "retryIf"]);
  const { backoffMs = 1_000, factor = 2, maxBackoffMs = 60_000, jitter = 0.2, retryIf } = m;
  return {
    attempts: checkWhole(`${field}.attempts`, m.attempts, 1, MOST_ATTEMPTS),
    backoffMs: checkWhole(`${field}.backoffMs`, backoffMs, 0, LONGEST_PAUSE_MS),
    factor: checkNumber(`${field}.factor`, factor, 1, Number.MAX_VALUE),
    maxBackoffMs: checkWhole(`${field}.maxBackoffMs`, maxBackoffMs, 0, LONGEST_PAUSE_MS),
    jitter: checkNumber(`${field}.jitter`, jitter, 0, 1),
    ...(retryIf !== undefined && { retryIf: checkFunction(`${field}.retryIf`, retryIf as Retry["retryIf"] & object) }),
  };
}

function checkNumber(field: string, value: unknown, least: number, most: number): number {
  if (typeof value === "number" && value >= least && value <= most) return value;
  throw invalid(`${field} must be a number from ${least}${most === Number.MAX_VALUE ? " up" : ` to ${most}`}`);
}

/** A random number from 0 to 1, out of a nonce: the same seed gives the same simulation. */
export function rollOf(nonce: string): number {
  return Number.parseInt(nonce.slice(0, 8), 16) / 2 ** 32;
}

/** Milliseconds between try number `failures`, which failed, and the next one. `roll` is a random number from 0 to 1. */
export function pauseAfter({ backoffMs, factor, maxBackoffMs, jitter }: Backoff, failures: number, roll: number): number {
  // Without a first pause there is none: 0 times an infinite factor is no number.
  const pauseMs = backoffMs === 0 ? 0 : Math.min(maxBackoffMs, backoffMs * factor ** Math.max(0, failures - 1));
  return Math.round(pauseMs * (1 + jitter * (2 * roll - 1)));
}

/** Whether what threw this error may be tried again, as far as the error says. */
export function isRetried({ retryIf }: Pick<Retry, "retryIf">, error: unknown): boolean {
  if (isNonRetryable(error)) return false;
  try {
    return !retryIf || Boolean(retryIf(error));
  } catch {
    return false;
  }
}
