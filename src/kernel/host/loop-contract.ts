import type { ErrorCode } from "../../domain/errors.js";
import type { ProcessLease } from "../../domain/lease.js";
import type { Host } from "../../stores/host/leases.rules.js";
import type { ClaimReply, ClaimTerms } from "../../stores/process/leases.js";

/**
 * What the loop asks of the page that runs the handlers. The page holds the leases; the loop is its clock and knows nothing
 * that the page or the storage cannot tell it again, so a new one goes on where a dead one was. Everything here is plain data:
 * it crosses to a worker.
 */
export interface LoopPage {
  /**
   * The page answers that it is awake, and all that a turn has to know. It checks its leases first if it was silent for long. It is told
   * whether processes that are there already wait for a slot: these go before what the page starts.
   */
  pulse(told: { hasBacklog: boolean }): Promise<Pulse>;
  /** Hands claims to the page. Resolves with the process ids that the page does not take. */
  run(claims: readonly ClaimReply[], asOfMs: number): Promise<string[]>;
  /** The keys of processes, in this order: for those whose handlers have a limit with a key function. */
  limitKeys(processes: readonly { processId: string; registrationHash: string }[]): Promise<string[]>;
  renewed(report: Renewed): Promise<void>;
  /**
   * The page starts what its schedules have due. `sinceMs`: the loop was there since this time. Resolves with false if something failed: the
   * loop tries again later.
   */
  schedulesDue(sinceMs: number): Promise<boolean>;
  /** The host's row counts `moves` of its agents that went to others. */
  moved(moves: number): Promise<void>;
  swept(report: SweepReport): Promise<void>;
  fault(fault: Fault): Promise<void>;
}

export interface Pulse {
  /** The page's own monotonic time: what is granted after it lives at least its ttl from here. */
  asOfMs: number;
  host: Host;
  /** The leases that are to be renewed. */
  leases: ProcessLease[];
  /** Processes whose handlers do nothing but wait just now. */
  waiting: string[];
  /** Processes whose leases are left to run out: neither renewed nor handed back. */
  abandoned: string[];
  /** Processes that the page itself claims just now: in storage, but not yet among its leases. */
  claiming: string[];
  free: number;
  slots: number;
  handlers: string[];
  /** What some of the handlers declare for a claim, by name. */
  terms: ReadonlyMap<string, ClaimTerms>;
  /** Sessions whose turns are run here. */
  sessions: string[];
  /** The page has sessions open: its attachments are renewed, too. */
  attending: boolean;
  /** Boots that said farewell: their deaths are no crashes. */
  farewells: string[];
  /** How many of its agents the page knows to have gone to others. */
  moves: number;
}

interface Renewed {
  asOfMs: number;
  renewed: string[];
  lost: string[];
}

/** What a sweep of this host found. Lists of ids. */
export interface SweepReport {
  /** Agents that this loop took offline since its last report. */
  agentsOffline: string[];
  claimed: string[];
  /** One process of each handler, and of each session with turns to run, that this host lacks; for 64 of these at most. */
  skipped: string[];
  faulted: { processId: string; code: ErrorCode }[];
}

/** An error that no call could reject with. */
export interface Fault {
  /**
   * What it is about. The app's own: `handler` or `turn` (it threw), `steps` (a step or another call in it is used in a wrong way), `handlers`
   * (a process waits for a handler that no host of the database has), `signals` (a stored signal does not fit its schema and was skipped),
   * `listener` (it threw). Of this host: `host`, `loop`, `worker`, `runner`, `session`, `ops`, `agents`, `schedules` (one could not be run,
   * an occurrence's id was taken, missed ones were left out).
   */
  area: string;
  code: ErrorCode;
  message: string;
  processId?: string;
  sessionId?: string;
  /** The thrown value. Absent where it was thrown in another context, such as the loop's worker. */
  error?: unknown;
}

/** The lease and heartbeat loop, wherever it runs. */
export interface Loop {
  readonly kind: "worker" | "inline";
  /** Looks now at these processes, or at what had to wait. */
  poke(processIds?: readonly string[]): void;
  /** Lets a turn under way finish, within a bound; nothing is claimed or renewed after it. */
  stop(): Promise<void>;
  /** Ends the loop where it stands, for a page that has no time left. */
  kill(): void;
}
