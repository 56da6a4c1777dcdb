import { guarded } from "./admit.js";
import { checkWhole, membersOf } from "./check.js";
import { invalid } from "./errors.js";

/** All in milliseconds. */
export interface Timings {
  /** How long a lease lives after its last accepted renewal. */
  leaseTtlMs: number;
  /** How often the loop renews. */
  leaseRenewMs: number;
  /** How often a host says that it is alive. */
  heartbeatMs: number;
  /** How long a "seen just now" record vouches. */
  livenessTtlMs: number;
  /** How old a durable "last seen" may get while the fast record vouches. */
  heartbeatFlushMs: number;
  /** From when on a silent one counts as gone. */
  staleAfterMs: number;
  /** How often the loop looks at everything, noticed or not. */
  sweepMs: number;
  /** How often a wait reads again when no notice came. */
  pollMs: number;
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
};

export interface Limits {
  /** Characters of any id, key or name. */
  idLength: number;
  /** Bytes of one JSON value: an input, a payload, a result. */
  payloadBytes: number;
  /** Bytes of one session snapshot, or of one image in an input. */
  snapshotBytes: number;
  /** Event types that one registration declares, the core ones not counted. */
  eventTypes: number;
  /** Bytes of one payload schema. */
  schemaBytes: number;
  /** Arrays and objects inside one another. */
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

/** The inequalities that keep a live holder's work: each by the name that an error gives. */
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
  const timings = wholeNumbers("timings", DEFAULT_TIMINGS, given);
  for (const [rule, field, holds] of TIMING_RULES) {
    if (!holds(timings)) throw invalid(`timings.${field} breaks the rule ${rule}`, { rule });
  }
  return timings;
}

export function checkLimits(given: unknown): Limits {
  return wholeNumbers("limits", DEFAULT_LIMITS, given);
}

function wholeNumbers<T extends object>(field: string, defaults: Readonly<T>, given: unknown): T {
  if (given === undefined) return { ...defaults };
  const names = Object.keys(defaults) as (keyof T & string)[];
  const values = membersOf(field, given, names);
  const unknown = guarded(field, () => Object.keys(given as object)).find((name) => !Object.hasOwn(defaults, name));
  if (unknown !== undefined) throw invalid(`${field}.${unknown} is not known; known are ${names.join(", ")}`);
  return Object.fromEntries(
    names.map((name) => [name, values[name] === undefined ? defaults[name] : checkWhole(`${field}.${name}`, values[name], 1)]),
  ) as T;
}
