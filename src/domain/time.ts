import { checkWhole, membersOf } from "./check.js";
import { invalid } from "./errors.js";

/** The kernel's intervals, all in milliseconds. `invalid` where they break one of the rules of docs/contract.md. */
export interface Timings {
  /** A lease lives so long after its last accepted renewal. Default 30 000. */
  leaseTtlMs: number;
  /** The loop renews leases so often. Default 10 000. */
  leaseRenewMs: number;
  /** A host beats so often. Default 15 000. */
  heartbeatMs: number;
  /** A beat in the presence table counts so long. Default 90 000. */
  livenessTtlMs: number;
  /** A stored "last seen" may get so old while the presence table knows better. Default 60 000. */
  heartbeatFlushMs: number;
  /** A host or agent that is silent for so long counts as gone. Default 150 000. */
  staleAfterMs: number;
  /** The loop sweeps so often, with or without notices. Default 30 000. */
  sweepMs: number;
  /** A wait reads again after so long without a notice. Default 5 000. */
  pollMs: number;
  /**
   * A run that has been in nothing but timers, waits for signals and pauses for so long is suspended; after a second at most where all of
   * these are due later than that. 0 and more; `Infinity`: never. A definition may say otherwise. Default 60 000.
   */
  suspendAfterMs: number;
}

export const DEFAULT_TIMINGS: Readonly<Timings> = {
  leaseTtlMs: 30_000,
  leaseRenewMs: 10_000,
  heartbeatMs: 15_000,
  livenessTtlMs: 90_000,
  heartbeatFlushMs: 60_000,
  staleAfterMs: 150_000,
  sweepMs: 30_000,
  pollMs: 5_000,
  suspendAfterMs: 60_000,
};

/** A clock that is set forward brings what is due nearer, and no timer of the platform tells of that: it is looked at this often. */
export const LONGEST_LOOK_MS = 1_000;

/** In how many milliseconds to look at what is due then. */
export function lookInMs(dueAtMs: number, nowMs: number): number {
  return Math.min(Math.max(0, dueAtMs - nowMs), LONGEST_LOOK_MS);
}

/** The longest wait that a caller may ask for: ten years, of which three may be leap years. */
export const TEN_YEARS_MS = 3_653 * 24 * 60 * 60 * 1_000;

/** Upper bounds of what callers pass. A larger value is `invalid`. */
export interface Limits {
  /** Characters of any id, key or name. Default 512. */
  idLength: number;
  /** Bytes of one JSON value: an input, a payload, a result. Default 1 048 576 (1 MiB). */
  payloadBytes: number;
  /** Bytes of one session snapshot, or of one image in an input. Default 67 108 864 (64 MiB). */
  snapshotBytes: number;
  /** Event types that one registration declares, without the core types. Default 64. */
  eventTypes: number;
  /** Bytes of one payload schema. Default 65 536 (64 KiB). */
  schemaBytes: number;
  /** Levels of nesting of arrays and objects. Default 64. */
  depth: number;
}

export const DEFAULT_LIMITS: Readonly<Limits> = {
  idLength: 512,
  payloadBytes: 1_048_576,
  snapshotBytes: 67_108_864,
  eventTypes: 64,
  schemaBytes: 65_536,
  depth: 64,
};

/** Inequalities that keep a live holder's leases. An error names the broken rule. */
const TIMING_RULES: readonly (readonly [rule: string, field: keyof Timings, holds: (timings: Timings) => boolean])[] = [
  ["2 * heartbeatMs <= livenessTtlMs", "heartbeatMs", (t) => 2 * t.heartbeatMs <= t.livenessTtlMs],
  ["livenessTtlMs < staleAfterMs", "livenessTtlMs", (t) => t.livenessTtlMs < t.staleAfterMs],
  [
    "heartbeatFlushMs + heartbeatMs + sweepMs < staleAfterMs",
    "heartbeatFlushMs",
    (t) => t.heartbeatFlushMs + t.heartbeatMs + t.sweepMs < t.staleAfterMs,
  ],
  ["3 * leaseRenewMs <= leaseTtlMs", "leaseRenewMs", (t) => 3 * t.leaseRenewMs <= t.leaseTtlMs],
];

export function checkTimings(given: unknown): Timings {
  const timings = wholeNumbers("timings", DEFAULT_TIMINGS, given, { suspendAfterMs: checkSuspendAfter });
  for (const [rule, field, holds] of TIMING_RULES) {
    if (!holds(timings)) throw invalid(`timings.${field} breaks the rule ${rule}`, { rule });
  }
  return timings;
}

export function checkLimits(given: unknown): Limits {
  return wholeNumbers("limits", DEFAULT_LIMITS, given);
}

export function checkSuspendAfter(field: string, value: unknown): number {
  return value === Number.POSITIVE_INFINITY ? value : checkWhole(field, value, 0);
}

/** `checks`: of the members that are no whole numbers from 1 up. */
function wholeNumbers<T extends object>(
  field: string,
  defaults: Readonly<T>,
  given: unknown,
  checks: { readonly [Name in keyof T]?: (field: string, value: unknown) => number } = {},
): T {
  if (given === undefined) return { ...defaults };
  const names = Object.keys(defaults) as (keyof T & string)[];
  const values = membersOf(field, given, names);
  return Object.fromEntries(
    names.map((name) => {
      const check = checks[name] ?? ((at: string, value: unknown) => checkWhole(at, value, 1));
      return [name, values[name] === undefined ? defaults[name] : check(`${field}.${name}`, values[name])];
    }),
  ) as T;
}
