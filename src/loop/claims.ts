import { asHoldfastError, type ErrorCode, isHoldfastError } from "../domain/errors.js";
import type { Timings } from "../domain/time.js";
import type { LoopPage, Pulse } from "../kernel/page.js";
import type { Clock } from "../ports/clock.js";
import type { Reader, Row } from "../ports/storage.js";
import type { Corridor } from "../stores/command.js";
import { type ClaimReply, claimProcessLease, releaseLeases } from "../stores/leases.js";
import { isLive } from "../stores/leases.rules.js";
import { type LeaseRow, loadRow, type ProcessRow, readRow } from "../stores/schema.js";
import { createPatience } from "./patience.js";

/**
 * Finds the processes that are free, and claims as many of them for the page as it has slots for.
 *
 * Nothing is remembered that the storage could not tell again, but how far the running ones were looked through, and how long an
 * expired lease of a living host has been watched.
 */
export interface Claims {
  /** A turn begins that was due then; its end. */
  begin(dueMs: number): void;
  end(): void;
  /** When the next of them may be free, in monotonic time. */
  nextMs(): number;
  /** Those whose time has come. */
  ripe(): string[];
  /** Some had to wait for a slot. */
  readonly hasBacklog: boolean;
  /** It was external when it was last looked at: no host runs it, whatever becomes of its lease. */
  isExternal(processId: string): boolean;
  /** Looks through all that run; `heard` are those that were heard of. */
  sweep(pulse: Pulse, heard: Iterable<string>, report: ClaimReport): Promise<void>;
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
}

export interface ClaimReport {
  readonly claimed: string[];
  readonly skipped: Set<string>;
  readonly faulted: Map<string, ErrorCode>;
}

/** A process that a turn looks at, with its lease. */
interface Candidate {
  readonly process: ProcessRow;
  readonly lease: LeaseRow | undefined;
}

const PAGE = 256;
const MOST_EXTERNAL = 1_024;

export function createClaims(parts: ClaimsParts): Claims {
  const { corridor, clock, timings, page, stopping, isHostAlive } = parts;
  /** When the leases that others hold run out, in wall time. */
  const expiries = new Map<string, number>();
  const patience = createPatience(clock, timings.leaseRenewMs);
  let hasBacklog = false;
  let cursor: string | undefined;
  /** Heard of since the sweep last began at the first process: their turn comes in the next round, so that new ones starve no old one. */
  const newcomers = new Set<string>();
  const external = new Set<string>();

  function nextMs(): number {
    const nowMs = clock.monotonicMs();
    let soonest = patience.nextMs();
    for (const expiresAtMs of expiries.values()) soonest = Math.min(soonest, nowMs + expiresAtMs - clock.now());
    return soonest;
  }

  function ripe(): string[] {
    const run = [...expiries].filter(([, atMs]) => atMs <= clock.now()).map(([processId]) => processId);
    for (const processId of run) expiries.delete(processId);
    return [...run, ...patience.watched()];
  }

  async function sweep(pulse: Pulse, heard: Iterable<string>, report: ClaimReport): Promise<void> {
    hasBacklog = false;
    if (cursor !== undefined) for (const processId of heard) newcomers.add(processId);
    let isWhole = cursor === undefined;
    let free = pulse.free;
    for (;;) {
      const from = cursor;
      if (from === undefined) newcomers.clear();
      const { candidates, last } = await readRunning(from, report);
      const claimable = candidates.filter(
        (candidate) => isClaimable(candidate, pulse, report) && !newcomers.has(candidate.process.processId),
      );
      const tried = await claimUpTo(free, claimable, pulse, report);
      if (stopping.aborted) return;
      free -= tried.taken;
      if (tried.count < claimable.length) {
        // The rest waits for a slot; the next sweep goes on here, so that none of them waits for ever.
        hasBacklog = true;
        cursor = claimable[tried.count - 1]?.process.processId ?? from;
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
        patience.forget(processId);
        newcomers.add(processId);
      }
      hasBacklog = true;
      return;
    }
    const candidates = await corridor.query(["processes", "leases"], async (reader) => {
      const found = await Promise.all(processIds.map((processId) => readCandidate(reader, processId, undefined, report)));
      return found.filter((candidate) => candidate !== undefined);
    });
    const claimable = candidates.filter((candidate) => isClaimable(candidate, pulse, report));
    const tried = await claimUpTo(pulse.free, claimable, pulse, report);
    if (tried.count < claimable.length) hasBacklog = true;
    for (const { lease } of candidates) if (lease) isHostAlive(lease, pulse);
  }

  async function readRunning(
    after: string | undefined,
    report: ClaimReport,
  ): Promise<{ candidates: Candidate[]; last: string | undefined }> {
    return await corridor.query(["processes", "leases"], async (reader) => {
      const bound = after === undefined ? {} : { after: ["running", after] };
      const rows = await reader.range("processes", { index: "byState", prefix: ["running"], ...bound, limit: PAGE });
      const found = await Promise.all(rows.map((row) => readCandidate(reader, String(row.processId), row, report)));
      const last = rows.length < PAGE ? undefined : String(rows.at(-1)?.processId);
      return { candidates: found.filter((candidate) => candidate !== undefined), last };
    });
  }

  /** One unreadable row is reported and does not stop the others. */
  async function readCandidate(
    reader: Reader,
    processId: string,
    row: Row | undefined,
    report: ClaimReport,
  ): Promise<Candidate | undefined> {
    try {
      const process = row ? readRow("processes", row) : await loadRow(reader, "processes", processId);
      noteKind(processId, process?.inputType === "external");
      if (process?.state !== "running" || process.inputType === "external") {
        patience.forget(processId);
        return undefined;
      }
      return { process, lease: await loadRow(reader, "leases", processId) };
    } catch (error) {
      if (!isHoldfastError(error) || (error.code !== "version" && error.code !== "read-failed")) throw error;
      patience.forget(processId);
      report.faulted.set(processId, error.code);
      return undefined;
    }
  }

  function noteKind(processId: string, isExternal: boolean): void {
    external.delete(processId);
    if (isExternal) external.add(processId);
    if (external.size > MOST_EXTERNAL) external.delete(external.values().next().value as string);
  }

  function isClaimable({ process, lease }: Candidate, pulse: Pulse, report: ClaimReport): boolean {
    const { processId, handler, inputType } = process;
    const runnable = inputType === "session_turn" ? pulse.sessions : pulse.handlers;
    const hasHandler = handler !== undefined && runnable.includes(handler);
    if (!hasHandler) report.skipped.add(processId);
    const token = lease?.leaseToken;
    const isOurs = pulse.leases.some((ours) => ours.leaseToken === token);
    if (hasHandler && lease && token !== undefined && !isOurs && !isLive(lease, clock.now()) && isHostAlive(lease, pulse)) {
      return patience.isOver(processId, token);
    }
    patience.forget(processId);
    if (!hasHandler || isOurs) return false;
    if (!isLive(lease, clock.now())) return true;
    expiries.set(processId, lease.expiresAtMs);
    return false;
  }

  /** Where others were quicker, the next in line are tried, so that no slot stays idle. */
  async function claimUpTo(
    free: number,
    claimable: readonly Candidate[],
    pulse: Pulse,
    report: ClaimReport,
  ): Promise<{ taken: number; count: number }> {
    let taken = 0;
    let count = 0;
    while (taken < free && count < claimable.length && !stopping.aborted) {
      const batch = claimable.slice(count, count + free - taken);
      count += batch.length;
      const outcome = await claim(batch, pulse, report);
      taken += outcome.taken;
      // The page takes no more: what it told of its slots does not hold any longer.
      if (outcome.refused) break;
    }
    return { taken, count };
  }

  async function claim(
    candidates: readonly Candidate[],
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
    for (const [at, outcome] of outcomes.entries()) {
      if (outcome.status === "fulfilled") claims.push(outcome.value);
      else note(candidates[at]?.process.processId ?? "", outcome.reason, report);
    }
    if (claims.length === 0) return { taken: 0, refused: false };
    const refused = stopping.aborted ? claims.map(({ lease }) => lease.processId) : await page.run(claims, pulse.asOfMs);
    const unwanted = claims.filter(({ lease }) => refused.includes(lease.processId)).map(({ lease }) => lease);
    if (unwanted.length > 0) await corridor.run(releaseLeases, { leases: unwanted });
    const taken = claims.map(({ lease }) => lease.processId).filter((processId) => !refused.includes(processId));
    report.claimed.push(...taken);
    return { taken: taken.length, refused: unwanted.length > 0 };
  }

  /** Somebody else was quicker, or it has ended: both are how it should be. */
  function note(processId: string, thrown: unknown, report: ClaimReport): void {
    const { code } = asHoldfastError(thrown, "internal", "the claim failed");
    const expected: readonly ErrorCode[] = ["lease-held", "terminal", "not-found"];
    if (!expected.includes(code)) report.faulted.set(processId, code);
  }

  return {
    begin: patience.begin,
    end: patience.end,
    nextMs,
    ripe,
    get hasBacklog() {
      return hasBacklog;
    },
    isExternal: (processId) => external.has(processId),
    sweep,
    lookAt,
  };
}
