import type { Timings } from "../../domain/time.js";
import type { Change } from "../../ports/notices.js";
import type { Standing } from "../../stores/session/next-inputs.js";
import type { BeganTurn } from "../../stores/session/turns.js";

/**
 * When an executor looks for the next turn, as a value. Each thing that happens makes a new value, and may say how long it is until the
 * next look. Times are monotonic unless their name says otherwise.
 *
 * Many tabs may have a handler; one of them is woken at a time. While another tab holds the lease, only the news that the lease is free
 * counts, and only if its holder left something to do. While the lease is free, each tab lets the tabs before it go first.
 */
export interface Pacing {
  readonly timings: Pick<Timings, "pollMs" | "leaseTtlMs" | "leaseRenewMs">;
  /** A look is under way; the next one begins after it. */
  readonly isLooking: boolean;
  /** Something was heard since that look read: another look follows at once. */
  readonly isStale: boolean;
  /** Only notices ask for the next look: if it finds something to do, the tabs before this one go first. */
  readonly isPolite: boolean;
  /** When the next look begins. */
  readonly dueMs: number;
  /** No look begins before this time, whatever is heard: the pause after trouble. */
  readonly notBeforeMs: number;
  /** How often there was trouble since the last turn that was stored. */
  readonly troubles: number;
  /** Another tab has the lease, by what was read or heard last. */
  readonly isHeldElsewhere: boolean;
  /** The highest input revision heard since the last look; infinite if a notice without a number was heard. */
  readonly heardRevision: number;
  /** Tabs with a handler, as they were read last: `before` go before this one, `others` is all but this one. */
  readonly standing: Standing;
  /** The next look is for an input whose pause ends then. Each tab looks at that time, so the tabs before this one go first. */
  readonly isForRetry: boolean;
  /** An expired lease of a host that lives, and the time since which it is watched. */
  readonly asleep: { readonly token: string; readonly sinceMs: number } | undefined;
}

export interface PacingStep {
  readonly pacing: Pacing;
  /** Milliseconds until the next look, from now; 0 begins it at once. Absent: the time set before still holds. */
  readonly lookInMs?: number;
}

/** How a look ended. */
export type LookEnd =
  /** There is nothing to do before `retryAtMs` (wall clock), or no handler to do it. */
  | { readonly kind: "idle"; readonly retryAtMs?: number | undefined }
  /** The look itself failed. */
  | { readonly kind: "failed" }
  /** There is something to do, and other tabs go first. */
  | { readonly kind: "later" }
  /** The last run met trouble. */
  | { readonly kind: "trouble" }
  | Extract<BeganTurn, { kind: "held" }>;

/** The time that a tab gets to look and to take the lease before the next tab tries. */
const STAGGER_MS = 25;
/** A wait for a lease that has nearly run out must not become a busy loop. */
const SHORTEST_WAIT_MS = 20;
/** The longest pause after trouble, in polls. */
const LONGEST_PAUSE = 64;

export function startPacing(timings: Pacing["timings"]): Pacing {
  return {
    timings,
    isLooking: false,
    isStale: false,
    isPolite: true,
    dueMs: 0,
    notBeforeMs: 0,
    troubles: 0,
    isHeldElsewhere: false,
    heardRevision: 0,
    standing: { before: 0, others: 0 },
    isForRetry: false,
    asleep: undefined,
  };
}

function lookIn(pacing: Pacing, lookInMs: number, nowMs: number): PacingStep {
  return { pacing: { ...pacing, dueMs: nowMs + lookInMs, isLooking: lookInMs === 0 }, lookInMs };
}

/** There may be something to do. `isNews`: a notice said so, which other tabs heard too. */
export function poked(before: Pacing, nowMs: number, isNews = false): PacingStep {
  const pacing = { ...before, isPolite: before.isPolite && isNews };
  if (pacing.isLooking) return { pacing: { ...pacing, isStale: true } };
  return lookIn(pacing, Math.max(0, pacing.notBeforeMs - nowMs), nowMs);
}

/** A commit of any tab changed something. */
export function heardOf(before: Pacing, nowMs: number, changes: readonly Change[]): PacingStep {
  const { timings, standing, isLooking } = before;
  let { heardRevision } = before;
  for (const { about, sequence = Number.POSITIVE_INFINITY } of changes)
    if (about === "input") heardRevision = Math.max(heardRevision, sequence);
  const pacing = { ...before, heardRevision };
  const leases = changes.filter(({ about }) => about === "lease");
  const lease = leases.at(-1);
  if (leases.some(({ member }) => member !== "held" && member !== "idle")) return poked(pacing, nowMs, true);
  if (lease?.member === "held") {
    // The lease is this tab's own, or the look under way finds it held.
    if (isLooking) return { pacing };
    // There is nothing to look for until the lease is handed back or may have run out.
    return lookIn({ ...pacing, isHeldElsewhere: true }, Math.min(timings.pollMs, timings.leaseTtlMs), nowMs);
  }
  // The look under way may have read that the lease is held.
  if (isLooking) return poked(pacing, nowMs, true);
  const known = { ...pacing, isHeldElsewhere: pacing.isHeldElsewhere && !lease };
  // The last holder of the lease knew of everything that was heard.
  if (lease && heardRevision <= (lease.sequence ?? 0)) return { pacing: known };
  // The holder of the lease goes on by itself while there is something to do.
  if (known.isHeldElsewhere) return { pacing: known };
  if (standing.before === 0) return poked(known, nowMs, true);
  const waitMs = standing.before * STAGGER_MS;
  return known.dueMs - nowMs <= waitMs ? { pacing: known } : lookIn(known, waitMs, nowMs);
}

/** The timer of the next look fired. */
export function woke(pacing: Pacing, nowMs: number): PacingStep {
  // The timer came late: this tab slept, and the tab that it waits for may have slept too.
  const hasSlept = nowMs - pacing.dueMs > pacing.timings.leaseRenewMs / 2;
  return poked(hasSlept ? { ...pacing, asleep: undefined } : pacing, nowMs, pacing.isForRetry);
}

/** The look reads now: it finds everything that was heard so far. */
export function beginsToRead(pacing: Pacing): Pacing {
  return { ...pacing, isStale: false, heardRevision: 0, isPolite: true, isForRetry: false };
}

/** The look found the lease held by another tab, or not. */
export function foundLease(pacing: Pacing, isHeldElsewhere: boolean): Pacing {
  return { ...pacing, isHeldElsewhere };
}

/** If there are other tabs, one of them probably has the lease, and nothing else needs to be read. */
export function mayBeHeld({ isHeldElsewhere, standing }: Pacing): boolean {
  return isHeldElsewhere || standing.others > 0;
}

/** The token of the expired lease whose owner was given time enough to come back. */
export function waitedFor({ asleep, timings }: Pacing, nowMs: number): string | undefined {
  return asleep && nowMs - asleep.sinceMs >= timings.leaseRenewMs ? asleep.token : undefined;
}

/** The storage failed. Each pause is longer than the one before, because each new try repeats what the handler did before the failure. */
export function troubled(pacing: Pacing, nowMs: number): Pacing {
  const { troubles, timings } = pacing;
  const notBeforeMs = nowMs + timings.pollMs * Math.min(2 ** troubles, LONGEST_PAUSE);
  return { ...pacing, notBeforeMs, troubles: troubles + 1 };
}

/** A turn was stored: the trouble is over. */
export function turnStored(pacing: Pacing): Pacing {
  return { ...pacing, troubles: 0 };
}

/** The look has ended. */
export function looked(before: Pacing, end: LookEnd, nowMs: number, wallMs: number): PacingStep {
  const { pollMs, leaseRenewMs } = before.timings;
  const pacing = { ...before, isLooking: false, isStale: false };
  const follow = (next: Pacing, lookInMs: number) => (before.isStale ? poked(next, nowMs, true) : lookIn(next, lookInMs, nowMs));
  if (end.kind === "later") return follow(pacing, pacing.standing.before * STAGGER_MS);
  if (end.kind === "trouble") return follow(pacing, Math.max(0, pacing.notBeforeMs - nowMs));
  const wait = (ms: number) => Math.min(pollMs, Math.max(SHORTEST_WAIT_MS, ms));
  if (end.kind === "idle" && end.retryAtMs !== undefined)
    return follow({ ...pacing, isForRetry: true }, wait(end.retryAtMs - wallMs));
  if (end.kind !== "held") return follow(pacing, pollMs);
  if (!end.expired) return follow({ ...pacing, asleep: undefined }, wait(end.expiresAtMs - wallMs));
  const asleep = pacing.asleep?.token === end.token ? pacing.asleep : { token: end.token, sinceMs: nowMs };
  return follow({ ...pacing, asleep }, wait(asleep.sinceMs + leaseRenewMs - nowMs));
}
