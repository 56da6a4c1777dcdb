import type { Corridor } from "../corridor/command.js";
import { asHoldfastError, type ErrorCode, isHoldfastError } from "../domain/errors.js";
import { runnableBy } from "../domain/process/process.js";
import type { Timings } from "../domain/time.js";
import type { LoopPage, Pulse } from "../kernel/host/loop-contract.js";
import type { Clock } from "../ports/clock.js";
import type { Reader, Row } from "../ports/storage.js";
import { firstOfEach } from "../stores/host/first-of-each.js";
import { isLive } from "../stores/host/leases.rules.js";
import type { LeaseRow } from "../stores/host/tables.js";
import { type ClaimReply, claimProcessLease, releaseLeases } from "../stores/process/leases.js";
import type { ProcessRow } from "../stores/process/tables.js";
import { loadRow, readRow } from "../stores/schema.js";
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
  /** It could not be run here when it was last looked at, and never will be, whatever becomes of its lease. */
  isForeign(processId: string): boolean;
  /** A runner holds it from now on, or it has ended: neither needs a look before its lease may run out. */
  isHeld(processId: string): void;
  hasEnded(processId: string): void;
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

/** What the page has, as processes name what they need. */
function runnableHere({ handlers, sessions }: Pulse): ReadonlySet<string> {
  const names = [
    ...handlers.map((name) => runnableBy("task", name)),
    ...sessions.map((sessionId) => runnableBy("session_turn", sessionId)),
  ];
  return new Set(names.filter((name) => name !== undefined));
}

/** A process that a turn looks at, with its lease. */
interface Candidate {
  readonly process: ProcessRow;
  readonly lease: LeaseRow | undefined;
}

/** Read at once: few at first, since one that fills the free slots is enough. */
const FIRST_PAGE = 32;
const PAGE = 256;
/** Of one handler or session, however many this host has. */
const FEWEST = 8;
const MOST_FOREIGN = 1_024;
const MOST_SKIPPED = 64;
/** Places in line over which the tries are spread at most. */
const MOST_SPREAD = 64;

export function createClaims(parts: ClaimsParts): Claims {
  const { corridor, clock, timings, page, stopping, isHostAlive } = parts;
  /** When the leases that others hold run out, in wall time. */
  const expiries = new Map<string, number>();
  const patience = createPatience(clock, timings.leaseRenewMs);
  let hasBacklog = false;
  let cursor: string | undefined;
  /** Heard of since the sweep last began at the first process: their turn comes in the next round, so that new ones starve no old one. */
  const newcomers = new Set<string>();
  const foreign = new Set<string>();
  /** How many places in line the next tries are spread over: more with each claim that another host was quicker with. */
  let spread = 0;

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
    const runnable = runnableHere(pulse);
    for (let size = FIRST_PAGE; ; size = Math.min(2 * size, PAGE)) {
      const from = cursor;
      if (from === undefined) newcomers.clear();
      const { candidates, last } = await readRunnable(runnable, from, size, report);
      const claimable = candidates.filter(
        (candidate) => isClaimable(candidate, pulse, runnable) && !newcomers.has(candidate.process.processId),
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
    const runnable = runnableHere(pulse);
    const claimable = candidates.filter((candidate) => isClaimable(candidate, pulse, runnable));
    const tried = await claimUpTo(pulse.free, claimable, pulse, report);
    if (tried.count < claimable.length) hasBacklog = true;
    for (const { lease } of candidates) if (lease) isHostAlive(lease, pulse);
  }

  /** By process id, whatever each of them needs of its host. */
  async function readRunnable(
    runnable: ReadonlySet<string>,
    after: string | undefined,
    size: number,
    report: ClaimReport,
  ): Promise<{ candidates: Candidate[]; last: string | undefined }> {
    if (runnable.size === 0) return { candidates: [], last: undefined };
    const limit = Math.max(FEWEST, Math.ceil(size / runnable.size));
    return await corridor.query(["processes", "leases"], async (reader) => {
      const pages = await Promise.all(
        [...runnable].map((name) => {
          const bound = after === undefined ? {} : { after: [name, after] };
          return reader.range("processes", { index: "runnable", prefix: [name], ...bound, limit });
        }),
      );
      // More of the same name may lie behind a full page, and its ids come before what the others found behind that.
      const ends = pages.filter((rows) => rows.length === limit).map((rows) => String(rows.at(-1)?.processId));
      const last = ends.reduce<string | undefined>((least, id) => (least === undefined || id < least ? id : least), undefined);
      const rows = pages.flat().filter(({ processId }) => last === undefined || String(processId) <= last);
      rows.sort((a, b) => (String(a.processId) < String(b.processId) ? -1 : 1));
      const found = await Promise.all(rows.map((row) => readCandidate(reader, String(row.processId), row, report)));
      return { candidates: found.filter((candidate) => candidate !== undefined), last };
    });
  }

  async function skip(pulse: Pulse, report: ClaimReport): Promise<void> {
    const runnable = runnableHere(pulse);
    const firsts = await corridor.query(["processes"], (reader) =>
      firstOfEach(reader, "processes", "runnable", runnable.size + MOST_SKIPPED),
    );
    const lacking = firsts.filter((row) => !runnable.has(String(row.runnable))).slice(0, MOST_SKIPPED);
    report.skipped.push(...lacking.map(({ processId }) => String(processId)));
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
      if (process?.runnable === undefined) {
        if (process?.inputType === "external") noteForeign(processId);
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

  function noteForeign(processId: string): void {
    foreign.delete(processId);
    foreign.add(processId);
    if (foreign.size > MOST_FOREIGN) foreign.delete(foreign.values().next().value as string);
  }

  function isClaimable({ process, lease }: Candidate, pulse: Pulse, runnable: ReadonlySet<string>): boolean {
    const { processId } = process;
    const hasHandler = process.runnable !== undefined && runnable.has(process.runnable);
    // Handlers are as they were when the kernel was made; sessions come and go.
    if (hasHandler) foreign.delete(processId);
    else if (process.inputType !== "session_turn") noteForeign(processId);
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

  /**
   * Where others were quicker, the next in line are tried, so that no slot stays idle; and where that happens again and again, each host
   * begins somewhere else among the oldest.
   */
  async function claimUpTo(
    free: number,
    claimable: readonly Candidate[],
    pulse: Pulse,
    report: ClaimReport,
  ): Promise<{ taken: number; count: number; passedOver: boolean }> {
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

  return {
    begin: patience.begin,
    end: patience.end,
    nextMs,
    ripe,
    get hasBacklog() {
      return hasBacklog;
    },
    isForeign: (processId) => foreign.has(processId),
    isHeld(processId) {
      patience.forget(processId);
      if (!foreign.has(processId)) expiries.set(processId, clock.now() + timings.leaseTtlMs);
    },
    hasEnded(processId) {
      patience.forget(processId);
      expiries.delete(processId);
      newcomers.delete(processId);
    },
    isNew(processId) {
      foreign.delete(processId);
      newcomers.add(processId);
    },
    sweep,
    skip,
    lookAt,
  };
}
