import { describe, expect, it } from "vitest";
import { HoldfastError } from "../../src/domain/errors.js";
import { SIGNAL_EVENT, STEP_FAILED_EVENT } from "../../src/domain/process/event-type.js";
import type { Row } from "../../src/ports/storage.js";
import { Notes, type Observations } from "../../src/simulation/judge/ledger.js";
import { createDice } from "../../src/simulation/machine/dice.js";
import { createLife, createMachine, type Life } from "../../src/simulation/machine/machine.js";
import { ObservedRows } from "../../src/simulation/machine/rows.js";
import { createTimeline } from "../../src/simulation/machine/timeline.js";
import { type FaultKind, SIMULATION_RULES, simulate, type WorkKind } from "../../src/simulation.js";
import type { AgentRow } from "../../src/stores/host/tables.js";
import type { InputRow } from "../../src/stores/session/inputs/tables.js";
import type { ReceiptRow } from "../../src/stores/session/tables.js";
import { type Meddling, meddle, puts } from "./meddle.js";

/** A storage that breaks one promise, with the faults and the work in which that shows. */
interface Breach {
  readonly faults: readonly FaultKind[];
  readonly work: readonly WorkKind[];
  /** Fewer steps bring a world to its end sooner. */
  readonly steps?: number;
  readonly make: (host: string) => Meddling;
}

const LATER_MS = 1_000_000;

/** The agent's host has lived for longer than the rules ask. */
const isOld = ({ registeredAtMs, lastSeenAtMs }: AgentRow) => lastSeenAtMs - registeredAtMs > 35_000;

/** A payload that is accepted, as one that is refused. */
const refusing = (payload: unknown) => (typeof payload === "string" ? payload.replace("once:", "refused:") : payload);

const withoutColumn =
  (of: string, column: string): Meddling["row"] =>
  (table, row) => {
    if (table !== of || !row) return row;
    const { [column]: _, ...rest } = row;
    return rest as typeof row;
  };

/** A process that hosts find at once, though it is to start later. */
const unparked = ({ parked, dueAtMs: _, ...row }: Row) => (parked ? { ...row, runnable: parked } : row) as Row;

/** Changes the records of inputs as they are read. */
const ofRecord =
  (change: (record: InputRow["record"]) => InputRow["record"]): Meddling["row"] =>
  (table, row) =>
    table === "inputs" && row ? ({ ...row, record: change((row as InputRow).record) } as Row) : row;

const BREACHES: Readonly<Record<string, Breach>> = {
  "a fencing token only grows, and with every grant": {
    faults: ["crash"],
    work: ["start"],
    make: () => ({ writes: puts("leases", (row) => ({ ...row, fencingToken: 1 })) }),
  },
  "a lease that ran out is not renewed": {
    faults: ["clockForward"],
    work: ["start"],
    make: () => ({
      row: (table, row) =>
        table === "leases" && row?.leaseToken ? { ...row, expiresAtMs: Number(row.expiresAtMs) + LATER_MS } : row,
    }),
  },
  "no live lease is taken from its holder": {
    faults: ["lockless"],
    work: ["start"],
    make: () => ({ row: (table, row) => (table === "leases" && row ? { ...row, expiresAtMs: 0 } : row) }),
  },
  "an expired lease of a host that is well is left to it": {
    faults: ["clockForward"],
    work: ["start", "submit"],
    make: () => ({
      row(table, row) {
        if (table !== "leases" || !row) return row;
        const { locked: _, ...rest } = row;
        return rest as typeof row;
      },
    }),
  },
  "no write is accepted under a stale fence": {
    faults: ["freeze", "clockForward"],
    work: ["start"],
    make() {
      // Each host is shown its own lease, whichever host has it now.
      const own = new Map<unknown, NonNullable<ReturnType<NonNullable<Meddling["row"]>>>>();
      return {
        row(table, row, mode) {
          const lease = table === "leases" && row && mode === "write" ? own.get(row.resource) : undefined;
          return lease ? { ...lease, expiresAtMs: Number.MAX_SAFE_INTEGER } : row;
        },
        writes(writes) {
          for (const write of writes)
            if ("put" in write && write.table === "leases" && write.put.leaseToken) own.set(write.put.resource, write.put);
          return writes;
        },
      };
    },
  },
  "a live lease that its holder hands back ended in order, and counts for nothing": {
    faults: [],
    work: ["start"],
    make: () => ({ writes: puts("leases", ({ endedInOrder: _, ...row }) => row as never) }),
  },
  "what was refused is not stored": {
    faults: [],
    work: ["start", "burst"],
    make: () => ({ writes: puts("events", (row) => ({ ...row, payload: refusing(row.payload) })) }),
  },
  "what was appended once is stored once": {
    faults: [],
    work: ["start", "burst"],
    make: () => ({
      writes: (writes) =>
        writes.flatMap((write) => {
          if (!("put" in write) || write.table !== "events" || !String(write.put.payload).startsWith("once:")) return [write];
          const sequence = Number(write.put.sequence) + 1;
          return [write, { table: "events", put: { ...write.put, sequence } }];
        }),
    }),
  },
  "a transfer is all or nothing": {
    faults: [],
    work: ["start", "entrust"],
    make: () => ({ writes: puts("grants", (row) => (String(row.scopeId).includes("to ") ? undefined : row)) }),
  },
  "sequences are dense": {
    faults: [],
    work: ["start"],
    make: () => ({ writes: puts("events", (row) => (row.sequence === 2 ? undefined : row)) }),
  },
  "a replay key is stored once": {
    faults: [],
    work: ["start", "append"],
    make: () => ({ rows: (table, rows, mode) => (table === "events" && mode === "write" ? [] : rows) }),
  },
  "each step's result is stored once": {
    faults: ["freeze"],
    work: ["start"],
    make: () => ({ writes: puts("events", ({ replayKey: _, ...row }) => row as never) }),
  },
  "a process ends once": {
    faults: [],
    work: ["start", "append"],
    make: () => ({ row: (table, row) => (table === "processes" && row?.awaitOutput ? { ...row, state: "running" } : row) }),
  },
  "an input is given up when five owners died over it": {
    faults: [],
    work: ["poison"],
    make: () => ({ row: withoutColumn("inputs", "crashes") }),
  },
  "an input is not run before its pause is over": {
    faults: [],
    work: ["doom"],
    make: () => ({ row: ofRecord(({ retryAtMs: _, ...record }) => record) }),
  },
  "an input is not run after its last try failed": {
    faults: [],
    work: ["doom"],
    // Each try counts as one that was interrupted.
    make: () => ({
      row: (table, row) => (table === "inputs" && row ? { ...row, interruptions: (row as InputRow).record.attemptCount } : row),
    }),
  },
  "an input whose end was asked for is not run again": {
    faults: ["crash"],
    work: ["submit", "withdraw"],
    make: () => ({ row: withoutColumn("inputs", "cancelRequested") }),
  },
  "an input replaces what waits under its key": {
    faults: [],
    work: ["revise"],
    make: () => ({
      writes: puts("inputs", (row) => (/superseded|coalesced/.test((row as InputRow).record.currentState) ? undefined : row)),
    }),
  },
  "an idempotency key stands for its input": {
    faults: [],
    work: ["submit"],
    make: () => ({ writes: puts("inputKeys", () => undefined) }),
  },
  "a stored input stays, and ends once": {
    faults: [],
    work: ["submit"],
    make: () => ({
      writes: (writes) =>
        writes.map((write) => {
          if (!("put" in write) || write.table !== "inputs") return write;
          const { runtimeId, inputId, liveRank } = write.put as InputRow;
          return liveRank === undefined ? { table: "inputs", drop: [runtimeId, inputId] } : write;
        }),
    }),
  },
  "an acknowledged input is never lost": {
    faults: [],
    work: ["submit"],
    make: () => ({ writes: puts("inputs", () => undefined) }),
  },
  "an input that was run has a receipt of the same write": {
    faults: [],
    work: ["submit"],
    make: () => ({ writes: puts("receipts", () => undefined) }),
  },
  "an input has one receipt": {
    faults: [],
    work: ["submit"],
    make() {
      const before: string[] = [];
      return {
        writes: puts("receipts", (row) => {
          const { receipt } = row as ReceiptRow;
          const contributingInputIds = [...receipt.contributingInputIds, ...before.slice(-1)];
          before.push(...receipt.contributingInputIds);
          return { ...row, receipt: { ...receipt, contributingInputIds } };
        }),
      };
    },
  },
  "a transcript has no gap": {
    faults: [],
    work: ["submit"],
    make: () => ({ writes: puts("messages", (row) => (row.position === 1 ? undefined : row)) }),
  },
  "no host is taken for dead while it lives": {
    faults: [],
    work: ["agent"],
    make: () => ({ row: (table, row) => (table === "hosts" && row ? { ...row, lastSeenAtMs: 0 } : row) }),
  },
  "no agent that is beaten for goes offline": {
    faults: [],
    work: ["agent"],
    make: () => ({ writes: puts("agents", (row) => (isOld(row as AgentRow) ? { ...row, ended: "expired" } : row)) }),
  },
  "an agent's incarnations only grow": {
    faults: [],
    work: ["agent"],
    make: () => ({ writes: puts("agents", (row) => (Number(row.incarnation) > 2 ? { ...row, incarnation: 1 } : row)) }),
  },
  "a sealed record is changed by one who knew what it was": {
    faults: [],
    work: ["login"],
    make: () => ({ writes: puts("sealed", (row) => ({ ...row, revision: 1 })) }),
  },
  "what was acknowledged is stored": {
    faults: [],
    work: ["start"],
    make: () => ({
      writes: (writes) => writes.filter((write) => write.table !== "processes" && write.table !== "registrations"),
    }),
  },
  "what was revoked is gone": {
    faults: [],
    work: ["start", "entrust"],
    make: () => ({
      writes: (writes) =>
        writes.filter((write) => !("drop" in write && write.table === "grants" && String(write.drop).includes("loan"))),
    }),
  },
  "a wake that was acknowledged is not told again": {
    faults: [],
    work: ["start", "burst"],
    make: () => ({ writes: puts("events", (row) => (row.wake ? { ...row, pendingWake: row.sequence } : row)) }),
  },
  "a session's messages are those that are stored": {
    faults: [],
    work: ["submit", "read"],
    make: () => ({ rows: (table, rows, mode) => (table === "messages" && mode === "read" ? rows.slice(1) : rows) }),
  },
  "a kernel that closed holds nothing": {
    faults: ["leave"],
    work: ["start"],
    make: () => ({ writes: puts("leases", (row) => (row.leaseToken === undefined ? undefined : row)) }),
  },
  "a follower misses nothing and sees nothing twice": {
    faults: [],
    work: ["start"],
    make: () => ({
      rows: (table, rows, mode) => (table === "events" && mode === "read" ? rows.filter(({ sequence }) => sequence !== 2) : rows),
    }),
  },
  "a wait hears of what it waits for": {
    faults: [],
    work: ["start"],
    make() {
      // The first that is read of an end is as of a moment before it.
      const seen = new Set<unknown>();
      return {
        row(table, row, mode) {
          if (table !== "processes" || mode === "write" || !row?.awaitOutput || seen.has(row.processId)) return row;
          seen.add(row.processId);
          const { awaitOutput: _, ...rest } = row;
          return { ...rest, state: "running" } as typeof row;
        },
      };
    },
  },
  "a registration is over only when it is": {
    faults: ["freeze"],
    work: ["agent"],
    make: () => ({
      rows: (table, rows, mode) => (table === "agents" && mode === "read" ? [] : rows),
      row: (table, row, mode) => (table === "agents" && mode === "read" && row ? { ...row, ticket: "another" } : row),
    }),
  },
  "a signal is stored once": {
    faults: [],
    work: ["flow", "signal"],
    make: () => ({
      writes: puts("events", ({ replayKey, ...row }) => (row.eventType === SIGNAL_EVENT ? row : { ...row, replayKey }) as Row),
    }),
  },
  "a signal is taken once, in the write of the wait that gets it": {
    faults: [],
    work: ["flow", "signal"],
    make: () => ({
      writes: puts("events", (row) =>
        row.eventType === SIGNAL_EVENT ? { ...row, pendingSignal: (row.payload as { name: string }).name } : row,
      ),
    }),
  },
  "a wait takes the oldest signal of its name": {
    faults: [],
    work: ["flow", "signal"],
    make: () => ({ query: (_, query) => (query.index === "pendingSignals" ? { ...query, reverse: true } : query) }),
  },
  "a wait times out only where no signal is stored": {
    faults: [],
    work: ["flow", "signal"],
    make: () => ({ query: (_, query) => (query.index === "pendingSignals" ? { ...query, prefix: ["none"] } : query) }),
  },
  "no timer ends before its time": {
    faults: ["crash"],
    work: ["flow"],
    make: () => ({ row: (table, row) => (table === "waits" && row?.kind === "timer" ? { ...row, dueAtMs: 0 } : row) }),
  },
  "tries are counted, and there are no more than the policy says": {
    faults: [],
    work: ["flow"],
    make: () => ({
      writes: puts("events", (row) => {
        if (row.eventType !== STEP_FAILED_EVENT) return row;
        const { retryAtMs: _, ...payload } = row.payload as { retryAtMs?: number };
        return { ...row, payload };
      }),
    }),
  },
  "nothing runs before its pause is over, or after its last try": {
    faults: [],
    work: ["flow"],
    make: () => ({ writes: puts("processes", (row) => (row.startAtMs === undefined ? row : unparked(row))) }),
  },
  "a parked process is found again when it is due, or woken by an event": {
    faults: [],
    work: ["flow"],
    make: () => ({
      query(_, query) {
        const { upTo, ...all } = query;
        return query.index === "due" ? all : query;
      },
      row: (table, row) => (table === "processes" && row?.parked ? { ...row, dueAtMs: 0 } : row),
    }),
  },
  "a parked process is held by no host": {
    faults: [],
    work: ["flow"],
    make() {
      const held = new Map<unknown, Row>();
      return {
        writes: puts("leases", (row) => {
          if (row.leaseToken) held.set(row.resource, row);
          return held.get(row.resource) ?? row;
        }),
      };
    },
  },
  "a suspended process is found when what it waits for is there": {
    faults: [],
    work: ["flow"],
    make: () => ({
      writes: puts("processes", (row) => (row.suspended ? { ...row, dueAtMs: Number(row.dueAtMs ?? 0) + LATER_MS } : row)),
    }),
  },
  "a process that was asked to cancel is not parked": {
    faults: [],
    work: ["flow", "cancel"],
    make() {
      const parked = new Map<unknown, Row>();
      return {
        writes: puts("processes", (row) => {
          const before = parked.get(row.processId);
          if (row.parked) parked.set(row.processId, row);
          const isWoken = before && row.runnable && row.cancelRequested !== undefined;
          return isWoken ? { ...before, cancelRequested: row.cancelRequested, lastSequence: row.lastSequence } : row;
        }),
      };
    },
  },
  "hosts find a running process in one place": {
    faults: [],
    work: ["flow"],
    make: () => ({ writes: puts("processes", (row) => (row.parked ? { ...row, runnable: row.parked } : row)) }),
  },
  "no more runs of a limit than it has places": {
    faults: [],
    work: ["flow"],
    make: () => ({ rows: (table, rows) => (table === "leases" ? rows.filter(({ limitKey }) => limitKey === undefined) : rows) }),
  },
  "no more runs of a limit begin than its rate lets": {
    faults: [],
    work: ["flow"],
    make: () => ({ row: (table, row) => (table === "rates" ? undefined : row) }),
  },
  "an occurrence is one process, in its time and in the write that moves its schedule": {
    faults: [],
    work: ["schedule"],
    make: () => ({ writes: puts("schedules", (row) => (row.lastAtMs === undefined ? row : undefined)) }),
  },
  "an occurrence says what caused it": {
    faults: [],
    work: ["schedule"],
    make: () => ({
      writes: puts("processes", (row) => ({ ...row, provenance: { ...(row.provenance as object), causedBy: { type: "user" } } })),
    }),
  },
  "no occurrence is left out": {
    faults: [],
    work: ["schedule"],
    make: () => ({
      writes: (writes) =>
        writes.filter((write) => !("put" in write && write.table !== "schedules" && /^d\d@/.test(String(write.put.processId)))),
    }),
  },
  "a login is consumed once": {
    faults: [],
    work: ["login"],
    make: () => ({ writes: puts("sealed", (row) => (Number(row.revision) % 2 === 0 ? undefined : row)) }),
  },
  "a login that began is there until it is consumed": {
    faults: [],
    work: ["login"],
    make: () => ({ writes: puts("sealed", () => undefined) }),
  },
  "a call fails for a reason that its caller is told of": {
    faults: [],
    work: ["login"],
    make: () => ({
      row(table, row) {
        if (table === "sealed") throw new HoldfastError("lease-held", "which is no reason here");
        return row;
      },
    }),
  },
  "holdfast does not break": {
    faults: [],
    work: ["submit"],
    make: () => ({
      row: (table, row, mode) =>
        table === "runtimes" && mode === "write" && row?.run ? { ...row, run: { ...(row.run as object), inputIds: 7 } } : row,
    }),
  },
  "what can finish does": {
    faults: [],
    work: ["start"],
    steps: 3,
    make: () => ({
      writes(writes) {
        const puts = writes.flatMap((write) => ("put" in write ? [write.put] : []));
        const ended = new Set(puts.flatMap(({ awaitOutput, processId }) => (awaitOutput === undefined ? [] : [processId])));
        return writes.filter((write) => !("put" in write && (ended.has(write.put.processId) || ended.has(write.put.resource))));
      },
    }),
  },
};

/** An observer that sees nothing. */
const OBSERVATIONS: Observations = {
  nowMs: 0,
  pollMs: 0,
  lifeOf: () => undefined,
  hasLocks: () => true,
  waitedMs: () => undefined,
  overMs: () => 0,
  granteeOf: () => undefined,
  transcripts: { from: () => () => true },
};

/** Some worlds do not come to what shows the breach. */
const MOST_SEEDS = 30;

describe("each rule of the simulation", () => {
  it.each(Object.entries(BREACHES))("%s: fails where a storage breaks it", async (rule, { make, ...world }) => {
    const heard = new Set<string>();
    for (let seed = 1; seed <= MOST_SEEDS && !heard.has(rule); seed++) {
      const { failure } = await simulate({ seed, ...world, sabotage: meddle(make) });
      if (failure) heard.add(failure.rule);
    }
    expect([...heard]).toContain(rule);
  });

  it("a device code is polled by one at a time: fails where two hosts that have locks poll it, and no other", () => {
    const complaints: string[] = [];
    const machine = createMachine(createTimeline());
    const lives = ["h1.1", "h2.1", "h3.1", "h4.1"].map((name) => createLife(machine, name, createDice(name)));
    const [one, lockless, gone, other] = lives as [Life, Life, Life, Life];
    const observed: Observations = { ...OBSERVATIONS, hasLocks: (life) => life !== lockless };
    const notes = new Notes(new ObservedRows(), observed, (rule) => complaints.push(rule));
    const poll = (life: Life) => notes.open(life, () => false).pollBegan("d");
    poll(one)();
    poll(lockless);
    poll(gone);
    gone.end();
    const end = poll(one);
    expect(complaints).toEqual([]);
    poll(other);
    end();
    expect(complaints).toEqual(["a device code is polled by one at a time"]);
  });

  it("a handler goes on only where no other owner came between: fails where another was granted a lease between two of its own", () => {
    const complaints: string[] = [];
    const machine = createMachine(createTimeline());
    const [one, other] = ["h1.1", "h2.1"].map((name) => createLife(machine, name, createDice(name))) as [Life, Life];
    const grantees = new Map([one, one, other, one].map((life, at) => [`p ${at + 1}`, life]));
    const observed: Observations = { ...OBSERVATIONS, granteeOf: (processId, fence) => grantees.get(`${processId} ${fence}`) };
    const notes = new Notes(new ObservedRows(), observed, (rule) => complaints.push(rule));
    const ranUnder = notes.open(one, () => false).runs("p");
    ranUnder(1);
    ranUnder(2);
    notes.open(one, () => false).runs("p")(4);
    expect(complaints).toEqual([]);
    ranUnder(4);
    expect(complaints).toEqual(["a handler goes on only where no other owner came between"]);
  });

  it("is broken here by some storage, where a storage can break it", () => {
    const others = ["a device code is polled by one at a time", "a handler goes on only where no other owner came between"];
    expect([...Object.keys(BREACHES), ...others].sort()).toEqual([...SIMULATION_RULES].sort());
  });
});
