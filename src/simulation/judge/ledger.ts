import { type ErrorCode, isHoldfastError } from "../../domain/errors.js";
import type { JsonValue } from "../../domain/json.js";
import { RESTARTED_EVENT, SIGNAL_EVENT, STEP_EVENT, STEP_FAILED_EVENT } from "../../domain/process/event-type.js";
import { type ProcessScope, scopeId } from "../../domain/scope.js";
import type { AgentRow, LeaseRow } from "../../stores/host/tables.js";
import type { EventRow, ProcessRow } from "../../stores/process/tables.js";
import type { InputRow } from "../../stores/session/inputs/tables.js";
import type { Life } from "../machine/machine.js";
import type { ObservedRows } from "../machine/rows.js";
import { eventsBefore } from "./flow-rules.js";
import type { Transcripts } from "./transcripts.js";

/**
 * What hosts were told, kept beside the storage. All of it must be true, and stay true until the database is wiped. Notes of a time before
 * that are void.
 */
export interface Ledger {
  /** Complains if the process is not stored. */
  started(processId: string): void;
  /** A handler was given a step's result: all owners get the same one. */
  stepped(processId: string, key: string, result: JsonValue): void;
  /** A run of a flow begins, which was to start no earlier than at `startAtMs`. */
  begins(processId: string, startAtMs: number, latestWallMs: number): void;
  /** A step is tried. */
  tries(processId: string, key: string, latestWallMs: number): void;
  /** A signal was sent, and acknowledged. */
  signalled(processId: string, name: string, signalId: string): void;
  appended(processId: string, key: string, sequence: number): void;
  /** Appended without a key: no other event has its payload. */
  appendedOnce(processId: string, payload: string, sequence: number): void;
  /** A handler runs. The returned function is called with the token of each lease that it runs under. */
  runs(processId: string): (fencingToken: number) => void;
  revoked(scope: ProcessScope, processId: string): void;
  /** The returned function is called with the answer. */
  askedForWakes(processId: string): (sequences: readonly number[]) => void;
  acknowledged(processId: string, sequence: number): void;
  /** The returned function is called with the answer. */
  askedForMessages(runtimeId: string): (messages: readonly unknown[]) => void;
  /** Waits for the end of the process. */
  ended(processId: string, wait: () => Promise<unknown>): Promise<void>;
  /** A registration was told that it is over, and its app had asked for no other. */
  lostAgent(agentId: string): void;
  /** A follower of a process's events saw `sequence` after `previous`. */
  followed(processId: string, sequence: number, previous: number): void;
  accepted(runtimeId: string, inputId: string, isDurable: boolean): void;
  turnStepped(key: string, result: JsonValue): void;
  loginBegan(state: string, expiresAtMs: number): void;
  loginTried(state: string): void;
  loginGranted(state: string): void;
  /** The returned function ends the poll. */
  pollBegan(deviceCode: string): () => void;
  /** A call found no such login: true only if another call may have taken it, or its time is over. */
  loginMissing(state: string, latestWallMs: number): void;
  /** A call failed: complains if its error is none that a caller is told of. */
  failed(call: string, error: unknown, more?: readonly ErrorCode[]): void;
}

/** The errors that any call may reject with while faults strike. */
const TOLD_CODES: ReadonlySet<ErrorCode> = new Set([
  "write-failed",
  "read-failed",
  "quota-exceeded",
  "unavailable",
  "closed",
  "not-ready",
]);

/** What hosts are promised, beside the rules of the rows; a few names are in both. */
export const PROMISES = [
  "what was acknowledged is stored",
  "an acknowledged input is never lost",
  "each step's result is stored once",
  "a replay key is stored once",
  "a handler goes on only where no other owner came between",
  "nothing runs before its pause is over, or after its last try",
  "what was revoked is gone",
  "a wake that was acknowledged is not told again",
  "a session's messages are those that are stored",
  "a kernel that closed holds nothing",
  "a follower misses nothing and sees nothing twice",
  "a wait hears of what it waits for",
  "a registration is over only when it is",
  "a login is consumed once",
  "a login that began is there until it is consumed",
  "a device code is polled by one at a time",
  "a call fails for a reason that its caller is told of",
  "holdfast does not break",
  "what can finish does",
] as const;

type Promised = (typeof PROMISES)[number];

/** What only the world sees. */
export interface Observations {
  lifeOf(bootId: string | undefined): Life | undefined;
  hasLocks(life: Life): boolean;
  readonly nowMs: number;
  /** How long after a process ended its waiter was told; undefined if faults were reason enough. */
  waitedMs(life: Life, processId: string, sinceMs: number): number | undefined;
  /** How long the process has been over while nothing kept that life from reading so. */
  overMs(life: Life, processId: string): number;
  readonly pollMs: number;
  /** The life that a process was granted to under that fence; undefined if one commit held several grants. */
  granteeOf(processId: string, fencingToken: number): Life | undefined;
  readonly transcripts: Pick<Transcripts, "from">;
}

/** A notice takes some milliseconds, a poll seconds. */
const LATEST_MS = 400;

interface OpenWait {
  readonly life: Life;
  readonly processId: string;
}

export class Notes {
  readonly #rows: ObservedRows;
  readonly #complain: (rule: Promised, what: string) => void;
  readonly #steps = new Map<string, string>();
  readonly #appended = new Map<string, number>();
  readonly #acknowledged = new Set<string>();
  readonly #inputs = new Map<string, { runtimeId: string; isDurable: boolean }>();
  readonly #logins = new Map<string, { expiresAtMs: number; tries: number; grants: number }>();

  readonly #waits = new Set<OpenWait>();
  readonly #polls = new Map<string, Set<Life>>();
  readonly #observed: Observations;

  constructor(rows: ObservedRows, observed: Observations, complain: (rule: Promised, what: string) => void) {
    this.#rows = rows;
    this.#observed = observed;
    this.#complain = complain;
  }

  get inputs(): ReadonlyMap<string, { runtimeId: string; isDurable: boolean }> {
    return this.#inputs;
  }

  /** The ledger of a life, for this generation of the database; what is noted after a wipe is void. */
  open(life: Life, isVoid: () => boolean): Ledger {
    const rows = this.#rows;
    const observed = this.#observed;
    const acknowledged = this.#acknowledged;
    const check = (rule: Promised, holds: boolean, what: () => string) => {
      if (!holds && !isVoid()) this.#complain(rule, what());
    };
    const noting = (note: () => void) => {
      if (!isVoid()) note();
    };
    return {
      started: (processId) =>
        check(
          "what was acknowledged is stored",
          rows.get("processes", processId) !== undefined,
          () => `process ${processId} is not`,
        ),
      stepped: (processId, key, result) =>
        noting(() => {
          // A restart may forget what is known of a step.
          const { count = 0 } = rows.get<ProcessRow>("processes", processId)?.restarts ?? {};
          const name = `${processId} ${key} ${count}`;
          const text = JSON.stringify(result);
          const before = this.#steps.get(name) ?? text;
          this.#steps.set(name, before);
          check(
            "each step's result is stored once",
            before === text,
            () => `step ${key} of ${processId} gave ${before}, and then ${text}`,
          );
          const isStep = (row: EventRow) => row.eventType === STEP_EVENT && (row.payload as { key: string }).key === key;
          const isStored = rows.all<EventRow>("events").some((row) => row.processId === processId && isStep(row));
          check("what was acknowledged is stored", isStored, () => `step ${key} of ${processId} is not`);
        }),
      begins: (processId, startAtMs, latestWallMs) =>
        check(
          "nothing runs before its pause is over, or after its last try",
          latestWallMs >= startAtMs,
          () => `${life.name} runs ${processId}, which was to start at ${startAtMs}`,
        ),
      tries: (processId, key, latestWallMs) =>
        noting(() => {
          // A host that froze before its try, and lost the lease meanwhile, cannot know.
          const lease = rows.get<LeaseRow>("leases", processId);
          if (lease?.leaseToken === undefined || observed.lifeOf(lease.bootId) !== life) return;
          const failed = newestFailure(rows, processId, key);
          check(
            "nothing runs before its pause is over, or after its last try",
            !failed || (failed.retryAtMs !== undefined && latestWallMs >= failed.retryAtMs),
            () =>
              `${life.name} tries ${key} of ${processId}, which failed and is to be tried at ${failed?.retryAtMs ?? "no time"}`,
          );
        }),
      signalled: (processId, name, signalId) =>
        noting(() => {
          const { lastSequence = 0 } = rows.get<ProcessRow>("processes", processId) ?? {};
          const isStored = [...eventsBefore(rows, processId, lastSequence + 1)].some(({ eventType, payload }) => {
            const sent = payload as { name?: string; signalId?: string } | null;
            return eventType === SIGNAL_EVENT && sent?.name === name && sent.signalId === signalId;
          });
          check("what was acknowledged is stored", isStored, () => `signal ${signalId} of ${processId} is not`);
        }),
      appended: (processId, key, sequence) =>
        noting(() => {
          const name = `${processId} ${key}`;
          const before = this.#appended.get(name) ?? sequence;
          this.#appended.set(name, before);
          check(
            "a replay key is stored once",
            before === sequence,
            () => `${key} of ${processId} is event ${before}, and then ${sequence}`,
          );
          check(
            "what was acknowledged is stored",
            rows.get("events", processId, sequence) !== undefined,
            () => `event ${sequence} of ${processId} is not`,
          );
        }),
      appendedOnce: (processId, payload, sequence) =>
        check(
          "what was acknowledged is stored",
          rows.get<EventRow>("events", processId, sequence)?.payload === payload,
          () => `${payload} is not event ${sequence} of ${processId}`,
        ),
      runs(processId) {
        let last: number | undefined;
        return (fencingToken) => {
          for (let fence = last ?? fencingToken; fence < fencingToken; fence++) {
            const { name } = observed.granteeOf(processId, fence + 1) ?? life;
            check(
              "a handler goes on only where no other owner came between",
              name === life.name,
              () => `${life.name} goes on with ${processId} under fence ${fencingToken}, after ${name} under ${fence + 1}`,
            );
          }
          last = fencingToken;
        };
      },
      revoked: (scope, processId) =>
        check(
          "what was revoked is gone",
          rows.get("grants", scopeId(scope), processId) === undefined,
          () => `the grant of ${processId} to ${scopeId(scope)} is there`,
        ),
      askedForWakes(processId) {
        const over = new Set(acknowledged);
        return (sequences) => {
          for (const sequence of sequences)
            check(
              "a wake that was acknowledged is not told again",
              !over.has(`${processId} ${sequence}`),
              () => `event ${sequence} of ${processId} is`,
            );
        };
      },
      acknowledged: (processId, sequence) => noting(() => acknowledged.add(`${processId} ${sequence}`)),
      askedForMessages(runtimeId) {
        const isStored = observed.transcripts.from(runtimeId);
        return (messages) =>
          check(
            "a session's messages are those that are stored",
            isStored(messages),
            () => `${life.name} reads ${JSON.stringify(messages)} of ${runtimeId}`,
          );
      },
      ended: async (processId, wait) => {
        const sinceMs = this.#observed.nowMs;
        const open = { life, processId };
        this.#waits.add(open);
        const output = await wait().finally(() => this.#waits.delete(open));
        const stored = rows.get<ProcessRow>("processes", processId)?.awaitOutput;
        check(
          "what was acknowledged is stored",
          JSON.stringify(stored) === JSON.stringify(output),
          () => `the end of ${processId} is not`,
        );
        const lateMs = this.#observed.waitedMs(life, processId, sinceMs);
        check(
          "a wait hears of what it waits for",
          lateMs === undefined || lateMs <= LATEST_MS,
          () => `${life.name} heard of the end of ${processId} ${lateMs} ms after it`,
        );
      },
      lostAgent: (agentId) => {
        const row = rows.get<AgentRow>("agents", agentId);
        check(
          "a registration is over only when it is",
          !row || row.ended !== undefined || this.#observed.lifeOf(row.bootId) !== life,
          () => `${life.name} was told that agent ${agentId} is not its own, and it is`,
        );
      },
      followed: (processId, sequence, previous) =>
        check(
          "a follower misses nothing and sees nothing twice",
          sequence === previous + 1,
          () => `${processId}: event ${sequence} came after ${previous}`,
        ),
      accepted: (runtimeId, inputId, isDurable) =>
        noting(() => {
          this.#inputs.set(inputId, { runtimeId, isDurable });
          if (isDurable)
            check(
              "an acknowledged input is never lost",
              rows.get("inputs", runtimeId, inputId) !== undefined,
              () => `input ${inputId} is not stored`,
            );
        }),
      turnStepped: (key, result) =>
        noting(() => {
          const text = JSON.stringify(result);
          const before = this.#steps.get(key) ?? text;
          this.#steps.set(key, before);
          check("each step's result is stored once", before === text, () => `${key} gave ${before}, and then ${text}`);
        }),
      loginBegan: (state, expiresAtMs) => noting(() => this.#logins.set(state, { expiresAtMs, tries: 0, grants: 0 })),
      loginTried: (state) =>
        noting(() => {
          const login = this.#logins.get(state);
          if (login) login.tries++;
        }),
      loginGranted: (state) =>
        noting(() => {
          const login = this.#logins.get(state);
          if (login) login.grants++;
          check("a login is consumed once", login === undefined || login.grants === 1, () => `${state} was`);
        }),
      pollBegan: (deviceCode) => {
        const polling = this.#polls.get(deviceCode) ?? new Set<Life>();
        this.#polls.set(deviceCode, polling);
        const holds = (one: Life) => one.state !== "gone" && !one.isLeaving && this.#observed.hasLocks(one);
        const other = holds(life) ? [...polling].find(holds) : undefined;
        check(
          "a device code is polled by one at a time",
          other === undefined,
          () => `${life.name} polls ${deviceCode}, and so does ${other?.name}`,
        );
        polling.add(life);
        return () => polling.delete(life);
      },
      loginMissing: (state, latestWallMs) => {
        const login = this.#logins.get(state);
        check(
          "a login that began is there until it is consumed",
          login === undefined || login.tries > 0 || latestWallMs >= login.expiresAtMs,
          () => `${state} is missing`,
        );
      },
      failed: (call, error, more = []) => {
        const isTold = isHoldfastError(error) && (TOLD_CODES.has(error.code) || more.includes(error.code));
        check("a call fails for a reason that its caller is told of", isTold, () => `${call}: ${String(error)}`);
      },
    };
  }

  /** Complains of waits that no notice reached, and that have not read again either. */
  checkWaits(): void {
    for (const { life, processId } of this.#waits) {
      const overMs = this.#observed.overMs(life, processId);
      if (overMs > this.#observed.pollMs + LATEST_MS)
        this.#complain(
          "a wait hears of what it waits for",
          `${life.name} waits for the end of ${processId}, ${overMs} ms after it`,
        );
    }
  }

  /** Acknowledged inputs that are not stored, when all is quiet again. */
  unkept(): string[] {
    return [...this.#inputs].flatMap(([inputId, { runtimeId, isDurable }]) => {
      const row = this.#rows.get<InputRow>("inputs", runtimeId, inputId);
      return isDurable && !row ? [`input ${inputId} was acknowledged and is not stored`] : [];
    });
  }

  clear(): void {
    for (const notes of [this.#steps, this.#appended, this.#acknowledged, this.#inputs, this.#logins, this.#waits, this.#polls])
      notes.clear();
  }
}

/** The last failure of a step that is stored since the process last began anew. */
function newestFailure(rows: ObservedRows, processId: string, key: string): { readonly retryAtMs?: number } | undefined {
  const { lastSequence = 0 } = rows.get<ProcessRow>("processes", processId) ?? {};
  for (const event of eventsBefore(rows, processId, lastSequence + 1)) {
    if (event.eventType === RESTARTED_EVENT) return undefined;
    const failed = event.payload as { key?: string; retryAtMs?: number } | null;
    if (event.eventType === STEP_FAILED_EVENT && failed?.key === key) return failed;
  }
  return undefined;
}
