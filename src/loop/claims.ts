import type { Corridor } from "../corridor/command.js";
import { asHoldfastError, type ErrorCode } from "../domain/errors.js";
import type { Timings } from "../domain/time.js";
import type { LoopPage, Pulse } from "../kernel/host/loop-contract.js";
import type { Clock } from "../ports/clock.js";
import type { LeaseRow } from "../stores/host/tables.js";
import { type ClaimReply, type ClaimTerms, releaseLeases } from "../stores/process/leases.js";
import { claimForRunner } from "../stores/process/runs/limits.js";
import type { ProcessRow } from "../stores/process/tables.js";
import { type Candidates, type ClaimCandidate, createCandidates, runnableHere } from "./candidates.js";
import type { DueProcesses } from "./process/due.js";

/**
 * Finds the processes that are free, and claims as many of them for the page as it has slots for.
 *
 * It remembers how far the running processes were looked through, which ones came while all slots were taken, and how many claims a turn
 * may make. `candidates.ts` remembers how long an expired lease of a live host has been watched.
 */
export interface Claims extends Pick<Candidates, "begin" | "end" | "nextMs" | "ripe" | "isForeign" | "noteHeld" | "noteEnded"> {
  /** Processes wait for a free slot. */
  readonly hasBacklog: boolean;
  /** A process was registered while all slots here are taken: it is looked at when a slot falls free. */
  noteNew(processId: string): void;
  /** Looks through all processes that could be run here; `heard` are the ids that are due. */
  sweep(pulse: Pulse, heard: Iterable<string>, report: ClaimReport): Promise<void>;
  /** Looks at these processes alone. `hasPlace`: they were held back by a limit that has a place for them now. */
  lookAt(processIds: readonly string[], pulse: Pulse, report: ClaimReport, hasPlace?: boolean): Promise<void>;
}

interface ClaimsParts {
  readonly corridor: Corridor;
  readonly clock: Clock;
  readonly timings: Timings;
  readonly page: LoopPage;
  readonly stopping: AbortSignal;
  readonly due: Pick<DueProcesses, "heard">;
  /** Also begins to watch the host. */
  isHostAlive(lease: LeaseRow, pulse: Pulse): boolean;
  newNonce(): string;
  /** A random number from 0 up to 1. */
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

/** Processes that are read at once: few at first, since a page that fills the free slots is enough. */
const FIRST_PAGE = 32;
const LARGEST_PAGE = 256;
/** Processes that one transaction claims or holds back at most. */
const MOST_AT_ONCE = 128;
/** The most places in line over which the tries are spread. */
const MOST_SPREAD = 64;

export function createClaims(parts: ClaimsParts): Claims {
  const { stopping, isHostAlive } = parts;
  const candidates = createCandidates(parts);
  const claimUpTo = createTries(parts);
  let hasBacklog = false;
  let cursor: string | undefined;
  /** Heard of since the sweep last began at the first process. They wait for the next round, so that new processes starve no old one. */
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
        // The next sweep goes on here, so that no process waits for ever; not if the oldest were passed over.
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

  async function lookAt(processIds: readonly string[], pulse: Pulse, report: ClaimReport, hasPlace = false): Promise<void> {
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
    // What a limit of this host holds back is left to the looks for its places.
    const mayTry = ({ process }: ClaimCandidate) => hasPlace || process.limited === undefined || !termsFor(process, pulse)?.limit;
    const claimable = found.filter((candidate) => candidates.isClaimable(candidate, pulse, runnable) && mayTry(candidate));
    const tried = await claimUpTo(pulse.free, claimable, pulse, report);
    if (tried.count < claimable.length) hasBacklog = true;
    for (const { lease } of found) if (lease) isHostAlive(lease, pulse);
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
    noteHeld: candidates.noteHeld,
    noteEnded(processId) {
      candidates.noteEnded(processId);
      newcomers.delete(processId);
    },
    noteNew(processId) {
      candidates.noteNew(processId);
      newcomers.add(processId);
    },
    sweep,
    lookAt,
  };
}

/** What this host declares for the claim. The handler of a session's turn is a session. */
function termsFor({ inputType, handler = "" }: ProcessRow, { terms }: Pulse): ClaimTerms | undefined {
  return inputType === "session_turn" ? undefined : terms.get(handler);
}

/**
 * The next in line, no more than `most`; and beside them those that a limit will only hold back, since it had no place just now: many of
 * these may wait for one key.
 */
function batchOf(line: readonly ClaimCandidate[], most: number, isHeldBack: (one: ClaimCandidate) => boolean): ClaimCandidate[] {
  const batch: ClaimCandidate[] = [];
  let wanted = 0;
  for (const one of line) {
    const isWanted = !isHeldBack(one);
    if (batch.length === MOST_AT_ONCE || (isWanted && wanted === most)) break;
    if (isWanted) wanted++;
    batch.push(one);
  }
  return batch;
}

interface Tried {
  readonly taken: number;
  /** How many of the given candidates were tried. */
  readonly count: number;
  /** The tries did not begin with the oldest. */
  readonly passedOver: boolean;
}

/** Claims as many of the claimable processes as fit into the free slots. */
function createTries(parts: ClaimsParts) {
  const { corridor, timings, page, stopping } = parts;
  /** The number of places in line over which the next tries are spread: it grows with each claim that another host made first. */
  let spread = 0;

  /**
   * If another host was quicker, the next in line are tried, so that no slot stays idle. If that happens again and again, each host begins
   * at another place among the oldest.
   */
  async function claimUpTo(
    free: number,
    claimable: readonly ClaimCandidate[],
    pulse: Pulse,
    report: ClaimReport,
  ): Promise<Tried> {
    const first = Math.floor(parts.chance() * (1 + Math.min(spread, Math.max(0, claimable.length - free))));
    const line = [...claimable.slice(first), ...claimable.slice(0, first)];
    const keys = await limitKeys(line, pulse);
    const full = new Set<string | undefined>();
    let taken = 0;
    let count = 0;
    while (taken < free && count < line.length && !stopping.aborted) {
      const batch = batchOf(line.slice(count), free - taken, ({ process }) => full.has(keys.get(process.processId)));
      count += batch.length;
      const outcome = await claim(batch, keys, pulse, report);
      for (const key of outcome.full) full.add(key);
      taken += outcome.taken;
      // The page takes no more: its number of free slots has changed.
      if (outcome.refused) break;
    }
    return { taken, count, passedOver: first > 0 };
  }

  async function claim(
    candidates: readonly ClaimCandidate[],
    keys: ReadonlyMap<string, string>,
    pulse: Pulse,
    report: ClaimReport,
  ): Promise<{ taken: number; refused: boolean; full: string[] }> {
    const outcomes = await Promise.allSettled(
      candidates.map(({ process }) => {
        const { processId } = process;
        const nonce = parts.newNonce();
        const ownerId = `${pulse.host.hostId}:${nonce.slice(0, 12)}`;
        const terms = termsFor(process, pulse);
        const limitKey = keys.get(processId);
        const { host } = pulse;
        return corridor.run(claimForRunner, { processId, ownerId, ttlMs: timings.leaseTtlMs, nonce, host, terms, limitKey });
      }),
    );
    const claims: ClaimReply[] = [];
    const full: string[] = [];
    let lost = 0;
    for (const [at, outcome] of outcomes.entries()) {
      if (outcome.status === "fulfilled") {
        if ("lease" in outcome.value) claims.push(outcome.value);
        else full.push(keys.get(outcome.value.heldBack.processId) ?? "");
      } else if (note(candidates[at]?.process.processId ?? "", outcome.reason, report) === "lease-held") lost++;
    }
    spread = lost > 0 ? Math.min(2 * spread + lost, MOST_SPREAD) : Math.floor(spread / 2);
    if (claims.length === 0) return { taken: 0, refused: false, full };
    const refused = stopping.aborted ? claims.map(({ lease }) => lease.processId) : await page.run(claims, pulse.asOfMs);
    const unwanted = claims.filter(({ lease }) => refused.includes(lease.processId)).map(({ lease }) => lease);
    if (unwanted.length > 0) await corridor.run(releaseLeases, { leases: unwanted });
    const taken = claims.map(({ lease }) => lease.processId).filter((processId) => !refused.includes(processId));
    report.claimed.push(...taken);
    return { taken: taken.length, refused: unwanted.length > 0, full };
  }

  /** The keys by which the processes count for their limits, by process id. The page evaluates those that a function makes. */
  async function limitKeys(candidates: readonly ClaimCandidate[], pulse: Pulse): Promise<ReadonlyMap<string, string>> {
    const keys = new Map<string, string>();
    const asked: { processId: string; registrationHash: string }[] = [];
    for (const { process } of candidates) {
      const { processId, registrationHash } = process;
      const limit = termsFor(process, pulse)?.limit;
      if (limit?.key !== undefined) keys.set(processId, limit.key);
      else if (limit) asked.push({ processId, registrationHash });
    }
    const made = asked.length === 0 ? [] : await page.limitKeys(asked);
    for (const [at, { processId }] of asked.entries()) keys.set(processId, made[at] ?? "");
    return keys;
  }

  /** Another host was quicker, or the process has ended: neither is a fault. */
  function note(processId: string, thrown: unknown, report: ClaimReport): ErrorCode {
    const { code } = asHoldfastError(thrown, "internal", "the claim failed");
    const expected: readonly ErrorCode[] = ["lease-held", "terminal", "not-found"];
    if (!expected.includes(code)) report.faulted.set(processId, code);
    return code;
  }

  return claimUpTo;
}
