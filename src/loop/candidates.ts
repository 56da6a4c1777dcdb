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
import type { DueProcesses } from "./process/due.js";

/** A process that a turn looks at, with its lease. */
export interface ClaimCandidate {
  readonly process: ProcessRow;
  readonly lease: LeaseRow | undefined;
}

/**
 * Reads processes with their leases, says which of them may be claimed, and remembers when to look again at the others: when the lease of
 * another runner runs out, and how long an expired lease of a live host has been watched.
 */
export interface Candidates {
  /** A turn begins that was due at `dueMs`. */
  begin(dueMs: number): void;
  end(): void;
  /** When the next process may be free, in monotonic time. */
  nextMs(): number;
  /** The processes to look at again now. */
  ripe(): string[];
  /** This host can never run the process, whatever becomes of its lease; known from the last look at it. */
  isForeign(processId: string): boolean;
  /** A runner holds the process from now on. */
  noteHeld(processId: string): void;
  noteEnded(processId: string): void;
  /** A new process has this id: what was known of an earlier one does not hold. */
  noteNew(processId: string): void;
  /** Stops watching the process: another look will find it. */
  forget(processId: string): void;
  /** The processes that need one of `runnable`, ordered by id. `last` is where the next page goes on; undefined if there is none. */
  page(
    runnable: ReadonlySet<string>,
    after: string | undefined,
    size: number,
    faulted: Faulted,
  ): Promise<{ candidates: ClaimCandidate[]; last: string | undefined }>;
  named(processIds: readonly string[], faulted: Faulted): Promise<ClaimCandidate[]>;
  isClaimable(candidate: ClaimCandidate, pulse: Pulse, runnable: ReadonlySet<string>): boolean;
}

/** Processes whose rows cannot be read, with the code of the error. They do not stop the others. */
type Faulted = Map<string, ErrorCode>;

interface CandidatesParts {
  readonly corridor: Corridor;
  readonly clock: Clock;
  readonly timings: Timings;
  readonly due: Pick<DueProcesses, "heard">;
  /** Also begins to watch the host. */
  isHostAlive(lease: LeaseRow, pulse: Pulse): boolean;
}

/** The fewest processes that are read for one handler or session, however many of these this host has. */
const FEWEST = 8;
const MOST_FOREIGN = 1_024;

/** The page's handlers and sessions, in the form in which a process's row names what it needs. */
export function runnableHere({ handlers, sessions }: Pulse): ReadonlySet<string> {
  const names = [
    ...handlers.map((name) => runnableBy("task", name)),
    ...sessions.map((sessionId) => runnableBy("session_turn", sessionId)),
  ];
  return new Set(names.filter((name) => name !== undefined));
}

/** What a host must have to claim it now; what a limit holds back it may claim as soon as there is a place. */
function neededBy({ runnable, limited }: ProcessRow): string | undefined {
  return runnable ?? limited;
}

export function createCandidates({ corridor, clock, timings, due, isHostAlive }: CandidatesParts): Candidates {
  /** When held leases run out, in wall time. */
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
      if (!process || neededBy(process) === undefined) {
        const { parked, dueAtMs } = process ?? {};
        if (parked !== undefined && dueAtMs !== undefined) due.heard(parked, dueAtMs);
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
      const expired = [...expiries].filter(([, atMs]) => atMs <= clock.now()).map(([processId]) => processId);
      for (const processId of expired) expiries.delete(processId);
      return [...expired, ...patience.watched()];
    },
    isForeign: (processId) => foreign.has(processId),
    noteHeld(processId) {
      patience.forget(processId);
      if (!foreign.has(processId)) expiries.set(processId, clock.now() + timings.leaseTtlMs);
    },
    noteEnded(processId) {
      patience.forget(processId);
      expiries.delete(processId);
    },
    noteNew: (processId) => void foreign.delete(processId),
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
        // A full page may be followed by more rows of its name, whose ids may be lower than those of other names: the result ends there.
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
      const needed = neededBy(process);
      const hasHandler = needed !== undefined && runnable.has(needed);
      // The handlers of a kernel never change; its sessions come and go.
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
