import type { Corridor } from "../corridor/command.js";
import { type ErrorCode, isHoldfastError } from "../domain/errors.js";
import { runnableBy } from "../domain/process/process.js";
import type { Timings } from "../domain/time.js";
import type { Pulse } from "../kernel/host/loop-contract.js";
import type { Clock } from "../ports/clock.js";
import type { Reader, Row } from "../ports/storage.js";
import { isLive } from "../stores/host/leases.rules.js";
import type { LeaseRow } from "../stores/host/tables.js";
import type { ProcessRow } from "../stores/process/tables.js";
import { loadRow, readRow } from "../stores/schema.js";
import { createPatience } from "./patience.js";

/** A process that a turn looks at, with its lease. */
export interface ClaimCandidate {
  readonly process: ProcessRow;
  readonly lease: LeaseRow | undefined;
}

/**
 * Reads processes with their leases, says which of them may be claimed, and remembers of the others when to look again: when the lease of
 * another runner runs out, and how long an expired lease of a living host has been watched.
 */
export interface Candidates {
  /** A turn begins that was due then; its end. */
  begin(dueMs: number): void;
  end(): void;
  /** When the next of them may be free, in monotonic time. */
  nextMs(): number;
  /** Those whose time has come. */
  ripe(): string[];
  /** It could not be run here when it was last looked at, and never will be, whatever becomes of its lease. */
  isForeign(processId: string): boolean;
  /** A runner holds it from now on. */
  isHeld(processId: string): void;
  hasEnded(processId: string): void;
  /** What was known of an earlier process of this id does not hold. */
  isNew(processId: string): void;
  /** It is not watched any longer: another look will find it. */
  forget(processId: string): void;
  /** Those that one of `runnable` could run, by process id; `last` is where the next page goes on, if there is one. */
  page(
    runnable: ReadonlySet<string>,
    after: string | undefined,
    size: number,
    faulted: Faulted,
  ): Promise<{ candidates: ClaimCandidate[]; last: string | undefined }>;
  named(processIds: readonly string[], faulted: Faulted): Promise<ClaimCandidate[]>;
  isClaimable(candidate: ClaimCandidate, pulse: Pulse, runnable: ReadonlySet<string>): boolean;
}

/** Unreadable ones are told there, and do not stop the others. */
type Faulted = Map<string, ErrorCode>;

export interface CandidatesParts {
  readonly corridor: Corridor;
  readonly clock: Clock;
  readonly timings: Timings;
  /** Begins to watch it, too. */
  isHostAlive(lease: LeaseRow, pulse: Pulse): boolean;
}

/** Of one handler or session, however many this host has. */
const FEWEST = 8;
const MOST_FOREIGN = 1_024;

/** What the page has, as processes name what they need. */
export function runnableHere({ handlers, sessions }: Pulse): ReadonlySet<string> {
  const names = [
    ...handlers.map((name) => runnableBy("task", name)),
    ...sessions.map((sessionId) => runnableBy("session_turn", sessionId)),
  ];
  return new Set(names.filter((name) => name !== undefined));
}

export function createCandidates({ corridor, clock, timings, isHostAlive }: CandidatesParts): Candidates {
  /** When the leases that others hold run out, in wall time. */
  const expiries = new Map<string, number>();
  const patience = createPatience(clock, timings.leaseRenewMs);
  const foreign = new Set<string>();

  function noteForeign(processId: string): void {
    foreign.delete(processId);
    foreign.add(processId);
    if (foreign.size > MOST_FOREIGN) foreign.delete(foreign.values().next().value as string);
  }

  async function read(
    reader: Reader,
    processId: string,
    row: Row | undefined,
    faulted: Faulted,
  ): Promise<ClaimCandidate | undefined> {
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
      faulted.set(processId, error.code);
      return undefined;
    }
  }

  return {
    begin: patience.begin,
    end: patience.end,
    nextMs() {
      const nowMs = clock.monotonicMs();
      let soonest = patience.nextMs();
      for (const expiresAtMs of expiries.values()) soonest = Math.min(soonest, nowMs + expiresAtMs - clock.now());
      return soonest;
    },
    ripe() {
      const run = [...expiries].filter(([, atMs]) => atMs <= clock.now()).map(([processId]) => processId);
      for (const processId of run) expiries.delete(processId);
      return [...run, ...patience.watched()];
    },
    isForeign: (processId) => foreign.has(processId),
    isHeld(processId) {
      patience.forget(processId);
      if (!foreign.has(processId)) expiries.set(processId, clock.now() + timings.leaseTtlMs);
    },
    hasEnded(processId) {
      patience.forget(processId);
      expiries.delete(processId);
    },
    isNew: (processId) => void foreign.delete(processId),
    forget: patience.forget,
    async page(runnable, after, size, faulted) {
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
        const found = await Promise.all(rows.map((row) => read(reader, String(row.processId), row, faulted)));
        return { candidates: found.filter((candidate) => candidate !== undefined), last };
      });
    },
    async named(processIds, faulted) {
      return await corridor.query(["processes", "leases"], async (reader) => {
        const found = await Promise.all(processIds.map((processId) => read(reader, processId, undefined, faulted)));
        return found.filter((candidate) => candidate !== undefined);
      });
    },
    isClaimable({ process, lease }, pulse, runnable) {
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
    },
  };
}
