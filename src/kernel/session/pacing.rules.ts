import type { Timings } from "../../domain/time.js";
import type { Change } from "../../ports/notices.js";
import type { Standing } from "../../stores/session/next-inputs.js";
import type { BeganTurn } from "../../stores/session/turns.js";

/**
 * When an executor looks for the next turn, as a value: everything that happens makes a new one of it, and may say how long it is until
 * the next look. All times are monotonic unless they are called otherwise.
 *
 * Of many tabs with a handler one is woken at a time: while another tab holds the lease, only the news that it is free is heard, unless
 * its holder left nothing to do, and where it is free each tab lets those before it go first.
 */
export interface Pacing {
  readonly timings: Pick<Timings, "pollMs" | "leaseTtlMs" | "leaseRenewMs">;
  /** A look is under way: until it ends there is no next one. */
  readonly isLooking: boolean;
  /** Something was heard since that look read: it is followed by another one at once. */
  readonly isStale: boolean;
  /** All that the next look is about was only heard of: where there is something to do, the tabs before this one may do it. */
  readonly isPolite: boolean;
  /** When the next look begins. */
  readonly dueMs: number;
  /** After trouble no look begins before this, whatever is heard. */
  readonly notBeforeMs: number;
  /** Since the last turn that was stored. */
  readonly troubles: number;
  /** Another tab has the lease, as it was read or heard last. */
  readonly isHeld: boolean;
  /** The last write that changed inputs, as it was heard since the last look; beyond all where one was heard that has no number. */
  readonly heardRevision: number;
  /** Tabs with a handler, as they were read last: how many go before this one, and how many there are beside it. */
  readonly standing: Standing;
  /** An expired lease of a host that lives, and since when it is watched. */
  readonly asleep: { readonly token: string; readonly sinceMs: number } | undefined;
}

export interface PacingStep {
  readonly pacing: Pacing;
  /** From now on: 0 begins the next look at once. Absent: what was said before still holds. */
  readonly lookInMs?: number;
}

/** How a look ended. */
export type LookEnd =
  /** There is nothing to do, or no handler to do it; or the look failed. */
  | { readonly kind: "idle" | "failed" }
  /** There is something to do, and tabs that go first. */
  | { readonly kind: "later" }
  /** Its last run met trouble. */
  | { readonly kind: "trouble" }
  | Extract<BeganTurn, { kind: "held" }>;

/** What a tab gets to see what is to be done and take the lease, before the next one tries. */
const STAGGER_MS = 25;
/** A wait for what is nearly over must not become a busy loop. */
const SHORTEST_WAIT_MS = 20;
/** Polls. */
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
    isHeld: false,
    heardRevision: 0,
    standing: { before: 0, others: 0 },
    asleep: undefined,
  };
}

function lookIn(pacing: Pacing, lookInMs: number, nowMs: number): PacingStep {
  return { pacing: { ...pacing, dueMs: nowMs + lookInMs, isLooking: lookInMs === 0 }, lookInMs };
}

/** Something is to be looked at. `isNews`: it was heard of, and other tabs heard it too. */
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
    // Its own, or what is under way meets it.
    if (isLooking) return { pacing };
    // Until it comes back, or may have run out, there is nothing to look for.
    return lookIn({ ...pacing, isHeld: true }, Math.min(timings.pollMs, timings.leaseTtlMs), nowMs);
  }
  // What is under way may have read that it is held.
  if (isLooking) return poked(pacing, nowMs, true);
  const known = { ...pacing, isHeld: pacing.isHeld && !lease };
  // Its last holder knew of all that was heard.
  if (lease && heardRevision <= (lease.sequence ?? 0)) return { pacing: known };
  // Its holder goes on by itself while there is something to do.
  if (known.isHeld) return { pacing: known };
  if (standing.before === 0) return poked(known, nowMs, true);
  const waitMs = standing.before * STAGGER_MS;
  return known.dueMs - nowMs <= waitMs ? { pacing: known } : lookIn(known, waitMs, nowMs);
}

/** The time of the next look has come. */
export function woke(pacing: Pacing, nowMs: number): PacingStep {
  // Late itself: it slept, and so may have the tab that it waits for.
  const hasSlept = nowMs - pacing.dueMs > pacing.timings.leaseRenewMs / 2;
  return poked(hasSlept ? { ...pacing, asleep: undefined } : pacing, nowMs);
}

/** The look reads now: all that was heard of so far is found. */
export function beginsToRead(pacing: Pacing): Pacing {
  return { ...pacing, isStale: false, heardRevision: 0, isPolite: true };
}

/** What the look found of the lease. */
export function foundLease(pacing: Pacing, isHeld: boolean): Pacing {
  return { ...pacing, isHeld };
}

/** Where there are other tabs, one of them mostly has the lease, and then nothing else is of interest. */
export function mayBeHeld({ isHeld, standing }: Pacing): boolean {
  return isHeld || standing.others > 0;
}

/** The token of the expired lease that was waited for long enough. */
export function waitedFor({ asleep, timings }: Pacing, nowMs: number): string | undefined {
  return asleep && nowMs - asleep.sinceMs >= timings.leaseRenewMs ? asleep.token : undefined;
}

/** Trouble with the storage. Each pause is longer: what a handler does before the trouble is done again. */
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
  if (end.kind !== "held") return follow(pacing, pollMs);
  const wait = (ms: number) => Math.min(pollMs, Math.max(SHORTEST_WAIT_MS, ms));
  if (!end.expired) return follow({ ...pacing, asleep: undefined }, wait(end.expiresAtMs - wallMs));
  const asleep = pacing.asleep?.token === end.token ? pacing.asleep : { token: end.token, sinceMs: nowMs };
  return follow({ ...pacing, asleep }, wait(asleep.sinceMs + leaseRenewMs - nowMs));
}
