import type { Corridor } from "../corridor/command.js";
import { asHoldfastError, type ErrorCode } from "../domain/errors.js";
import type { Timings } from "../domain/time.js";
import type { LoopPage, Pulse } from "../kernel/host/loop-contract.js";
import type { Clock } from "../ports/clock.js";
import { firstOfEach } from "../stores/host/first-of-each.js";
import type { LeaseRow } from "../stores/host/tables.js";
import { type ClaimReply, claimProcessLease, releaseLeases } from "../stores/process/leases.js";
import { type Candidates, type ClaimCandidate, createCandidates, runnableHere } from "./candidates.js";

/**
 * Finds the processes that are free, and claims as many of them for the page as it has slots for.
 *
 * Nothing is remembered that the storage could not tell again, but how far the running ones were looked through, and how long an
 * expired lease of a living host has been watched.
 */
export interface Claims extends Pick<Candidates, "begin" | "end" | "nextMs" | "ripe" | "isForeign" | "isHeld" | "hasEnded"> {
  /** Some had to wait for a slot. */
  readonly hasBacklog: boolean;
  /** It was registered, and all slots here are taken: its turn comes with the next slot that falls free. */
  isNew(processId: string): void;
  /** Looks through all that could be run here; `heard` are those that were heard of. */
  sweep(pulse: Pulse, heard: Iterable<string>, report: ClaimReport): Promise<void>;
  /** Adds one process of each handler and session that runs and that this host lacks, and of no more than 64 of these. */
  skip(pulse: Pulse, report: ClaimReport): Promise<void>;
  /** Looks at these alone. */
  lookAt(processIds: readonly string[], pulse: Pulse, report: ClaimReport): Promise<void>;
}

export interface ClaimsParts {
  readonly corridor: Corridor;
  readonly clock: Clock;
  readonly timings: Timings;
  readonly page: LoopPage;
  readonly stopping: AbortSignal;
  /** Begins to watch it, too. */
  isHostAlive(lease: LeaseRow, pulse: Pulse): boolean;
  newNonce(): string;
  /** From 0 up to 1. */
  chance(): number;
}

export interface ClaimReport {
  readonly claimed: string[];
  readonly skipped: string[];
  readonly faulted: Map<string, ErrorCode>;
}

export function newReport(): ClaimReport {
  return { claimed: [], skipped: [], faulted: new Map() };
}

/** Read at once: few at first, since one that fills the free slots is enough. */
const FIRST_PAGE = 32;
const LARGEST_PAGE = 256;
const MOST_SKIPPED = 64;
/** Places in line over which the tries are spread at most. */
const MOST_SPREAD = 64;

export function createClaims(parts: ClaimsParts): Claims {
  const { corridor, stopping, isHostAlive } = parts;
  const candidates = createCandidates(parts);
  const claimUpTo = createTries(parts);
  let hasBacklog = false;
  let cursor: string | undefined;
  /** Heard of since the sweep last began at the first process: their turn comes in the next round, so that new ones starve no old one. */
  const newcomers = new Set<string>();

  async function sweep(pulse: Pulse, heard: Iterable<string>, report: ClaimReport): Promise<void> {
    hasBacklog = false;
    if (cursor !== undefined) for (const processId of heard) newcomers.add(processId);
    let isWhole = cursor === undefined;
    let free = pulse.free;
    const runnable = runnableHere(pulse);
    for (let size = FIRST_PAGE; ; size = Math.min(2 * size, LARGEST_PAGE)) {
      const from = cursor;
      if (from === undefined) newcomers.clear();
      const { candidates: found, last } = await candidates.page(runnable, from, size, report.faulted);
      const claimable = found.filter(
        (candidate) => candidates.isClaimable(candidate, pulse, runnable) && !newcomers.has(candidate.process.processId),
      );
      const tried = await claimUpTo(free, claimable, pulse, report);
      if (stopping.aborted) return;
      free -= tried.taken;
      if (tried.count < claimable.length) {
        // The rest waits for a slot; the next sweep goes on here, so that none of them waits for ever. Those passed over are the oldest.
        hasBacklog = true;
        if (!tried.passedOver) cursor = claimable[tried.count - 1]?.process.processId ?? from;
        return;
      }
      cursor = last;
      if (last !== undefined) continue;
      if (isWhole) return;
      isWhole = true;
    }
  }

  async function lookAt(processIds: readonly string[], pulse: Pulse, report: ClaimReport): Promise<void> {
    if (pulse.free === 0) {
      // The sweep that the next free slot asks for finds them again.
      for (const processId of processIds) {
        candidates.forget(processId);
        newcomers.add(processId);
      }
      hasBacklog = true;
      return;
    }
    const found = await candidates.named(processIds, report.faulted);
    const runnable = runnableHere(pulse);
    const claimable = found.filter((candidate) => candidates.isClaimable(candidate, pulse, runnable));
    const tried = await claimUpTo(pulse.free, claimable, pulse, report);
    if (tried.count < claimable.length) hasBacklog = true;
    for (const { lease } of found) if (lease) isHostAlive(lease, pulse);
  }

  async function skip(pulse: Pulse, report: ClaimReport): Promise<void> {
    const runnable = runnableHere(pulse);
    const firsts = await corridor.query(["processes"], (reader) =>
      firstOfEach(reader, "processes", "runnable", runnable.size + MOST_SKIPPED),
    );
    const lacking = firsts.filter((row) => !runnable.has(String(row.runnable))).slice(0, MOST_SKIPPED);
    report.skipped.push(...lacking.map(({ processId }) => String(processId)));
  }

  return {
    begin: candidates.begin,
    end: candidates.end,
    nextMs: candidates.nextMs,
    ripe: candidates.ripe,
    get hasBacklog() {
      return hasBacklog;
    },
    isForeign: candidates.isForeign,
    isHeld: candidates.isHeld,
    hasEnded(processId) {
      candidates.hasEnded(processId);
      newcomers.delete(processId);
    },
    isNew(processId) {
      candidates.isNew(processId);
      newcomers.add(processId);
    },
    sweep,
    skip,
    lookAt,
  };
}

interface Tried {
  readonly taken: number;
  /** Of the claimable ones that it was given. */
  readonly count: number;
  /** It began further on in line than with the oldest. */
  readonly passedOver: boolean;
}

/** Of the claimable ones as many are claimed as fit into the free slots. */
function createTries(parts: ClaimsParts) {
  const { corridor, timings, page, stopping } = parts;
  /** How many places in line the next tries are spread over: more with each claim that another host was quicker with. */
  let spread = 0;

  /**
   * Where others were quicker, the next in line are tried, so that no slot stays idle; and where that happens again and again, each host
   * begins somewhere else among the oldest.
   */
  async function claimUpTo(
    free: number,
    claimable: readonly ClaimCandidate[],
    pulse: Pulse,
    report: ClaimReport,
  ): Promise<Tried> {
    const begin = Math.floor(parts.chance() * (1 + Math.min(spread, Math.max(0, claimable.length - free))));
    const line = [...claimable.slice(begin), ...claimable.slice(0, begin)];
    let taken = 0;
    let count = 0;
    while (taken < free && count < line.length && !stopping.aborted) {
      const batch = line.slice(count, count + free - taken);
      count += batch.length;
      const outcome = await claim(batch, pulse, report);
      taken += outcome.taken;
      // The page takes no more: what it told of its slots does not hold any longer.
      if (outcome.refused) break;
    }
    return { taken, count, passedOver: begin > 0 };
  }

  async function claim(
    candidates: readonly ClaimCandidate[],
    pulse: Pulse,
    report: ClaimReport,
  ): Promise<{ taken: number; refused: boolean }> {
    const outcomes = await Promise.allSettled(
      candidates.map(({ process: { processId } }) => {
        const nonce = parts.newNonce();
        const ownerId = `${pulse.host.hostId}:${nonce.slice(0, 12)}`;
        return corridor.run(claimProcessLease, { processId, ownerId, ttlMs: timings.leaseTtlMs, nonce, host: pulse.host });
      }),
    );
    const claims: ClaimReply[] = [];
    let lost = 0;
    for (const [at, outcome] of outcomes.entries()) {
      if (outcome.status === "fulfilled") claims.push(outcome.value);
      else if (note(candidates[at]?.process.processId ?? "", outcome.reason, report) === "lease-held") lost++;
    }
    spread = lost > 0 ? Math.min(2 * spread + lost, MOST_SPREAD) : Math.floor(spread / 2);
    if (claims.length === 0) return { taken: 0, refused: false };
    const refused = stopping.aborted ? claims.map(({ lease }) => lease.processId) : await page.run(claims, pulse.asOfMs);
    const unwanted = claims.filter(({ lease }) => refused.includes(lease.processId)).map(({ lease }) => lease);
    if (unwanted.length > 0) await corridor.run(releaseLeases, { leases: unwanted });
    const taken = claims.map(({ lease }) => lease.processId).filter((processId) => !refused.includes(processId));
    report.claimed.push(...taken);
    return { taken: taken.length, refused: unwanted.length > 0 };
  }

  /** Another host was quicker, or it has ended: both are how it should be. */
  function note(processId: string, thrown: unknown, report: ClaimReport): ErrorCode {
    const { code } = asHoldfastError(thrown, "internal", "the claim failed");
    const expected: readonly ErrorCode[] = ["lease-held", "terminal", "not-found"];
    if (!expected.includes(code)) report.faulted.set(processId, code);
    return code;
  }

  return claimUpTo;
}
