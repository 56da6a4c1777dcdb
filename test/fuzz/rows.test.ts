import { describe, expect, it } from "vitest";
import { manualClock } from "../../src/adapters/clock-manual.js";
import { bytesOf, fullInput, input, receipt, snapshot } from "../../src/conformance/session/runtime.fixture.js";
import { ERROR_CODES } from "../../src/domain/error-codes.js";
import type { Kernel } from "../../src/kernel/kernel.js";
import { memoryStorage } from "../../src/memory.js";
import type { KernelStorage, Row, Write } from "../../src/ports/storage.js";
import { TABLES, type TableName } from "../../src/stores/schema.js";
import { chainDigest } from "../../src/stores/session/transcript.rules.js";
import { answerOf, canonical } from "../differential/canonical.js";
import { dice } from "../differential/dice.js";
import { DAMAGES } from "./damage.js";
import { buildWorld, onRows, openOn, readTables, TABLE_NAMES, TARGET } from "./world.js";

/** The names of one owner's rows: the good owner's or the bad one's. */
interface Owner {
  readonly process: string;
  readonly session: string;
  readonly runtime: string;
  readonly agent: string;
  readonly secret: string;
  readonly boot: string;
}

const BAD: Owner = { process: "p", session: "s", runtime: "rt", agent: "p", secret: "p", boot: "boot-p" };
const GOOD: Owner = { process: "q", session: "z", runtime: "rz", agent: "q", secret: "q", boot: "boot-q" };

type Calls = readonly [name: string, call: (kernel: Kernel) => unknown][];

const readsOf = ({ process, session, runtime, agent, secret }: Owner): Calls => [
  ["getProcess", (k) => k.processes.getProcess(process)],
  ["record", (k) => k.process(process).record()],
  ["eventsAfter", (k) => k.processes.eventsAfter(process, 0)],
  ["wakeEventsAfter", (k) => k.processes.wakeEventsAfter(process, 0)],
  ["handleGrantsForProcess", (k) => k.processes.handleGrantsForProcess(process)],
  ["listHandleGrants", (k) => k.processes.listHandleGrants({ sessionId: session })],
  ["listLiveHandleGrants", (k) => k.processes.listLiveHandleGrants({ sessionId: session })],
  ["hasHandleGrant", (k) => k.processes.hasHandleGrant({ sessionId: session }, process)],
  ["getLease", (k) => k.processes.getLease(process)],
  ["getAgent", (k) => k.lifecycle.get(agent)],
  ["secret", (k) => k.secrets.get(secret)],
  ["schedule", (k) => k.schedules.get(process)],
  ["archived messages", (k) => k.sessions.messages(session)],
  ["export", (k) => linesOf(k.sessions.export(session))],
  ...[runtime, `rt:session:${session}`].flatMap(
    (id): Calls => [
      [`loadInputStates ${id}`, (k) => k.runtime.loadInputStates(id)],
      [`loadInputState ${id}`, (k) => k.runtime.loadInputState(id, "a")],
      [`loadBoundaryReceipt ${id}`, (k) => k.runtime.loadBoundaryReceipt(id, "run", 0)],
      [`loadSessionSnapshot ${id}`, (k) => k.runtime.loadSessionSnapshot(id)],
      [`loadRuntimeState ${id}`, (k) => k.runtime.loadRuntimeState(id)],
      [`loadOpsLifecycle ${id}`, (k) => k.runtime.loadOpsLifecycle(id)],
    ],
  ),
];

/** The writes in an order in which each has something to do. */
const writesOf = ({ process, session, runtime, agent, secret }: Owner): Calls => [
  ["setExternalRef", (k) => k.processes.setExternalRef(process, { backend: "b", id: "1" })],
  ["appendEvent", (k) => k.processes.appendEvent(process, { eventType: "note", payload: 2 })],
  ["a replay", (k) => k.processes.appendEvent(process, { eventType: "note", payload: 1, replayKey: "k" })],
  ["a typed one", (k) => k.processes.appendEvent(process, { eventType: "typed", payload: {} })],
  ["signal", (k) => k.processes.signal(process, "go", 1, { signalId: "one" })],
  ["ackWake", (k) => k.processes.ackWake(process, 2)],
  ["claimProcessLease", (k) => k.processes.claimProcessLease(process, "you", 1_000)],
  ["cancel", (k) => k.process(process).cancel("why")],
  ["grantHandle", (k) => k.processes.grantHandle({ sessionId: session }, process, { label: "again" })],
  ["register again", (k) => k.processes.registerProcess({ id: process, input: { type: "task", name: "other" } })],
  ["completeProcess", (k) => k.processes.completeProcess(process, { type: "success", value: 1 })],
  ["heartbeat", (k) => k.lifecycle.heartbeat(agent)],
  ["register", (k) => k.lifecycle.register(agent)],
  ["deregister", (k) => k.lifecycle.deregister(agent)],
  ["put", (k) => k.secrets.put(secret, "new")],
  ["pause", (k) => k.schedules.pause(process)],
  ["resume", (k) => k.schedules.resume(process)],
  ["persistInputState", (k) => k.runtime.persistInputState(runtime, fullInput("a"))],
  ["atomicApply", (k) => k.runtime.atomicApply(runtime, snapshot({ id: runtime }), receipt({ sequence: 1 }), [input("c")])],
  ["commitSessionSnapshot", (k) => k.runtime.commitSessionSnapshot(runtime, { sessionSnapshot: bytesOf('{"id":"x"}') })],
  [
    "a session",
    async (k) => {
      const opened = await k.session(session, { quarantine: true });
      const told: string[] = [];
      for (const call of [
        () => opened.submit({ inputType: "prompt", text: "more", inputId: "c" }),
        () => opened.submit({ inputType: "prompt", text: "again", idempotencyKey: "k" }),
        () => opened.messages(),
        () => opened.blob("a12871fee210fb8619291eaea194581cbd2531e4b23759d225f6806923f63222"),
        () => opened.ops.list(),
        () => opened.ops.listSince(0),
        () => opened.ops.collectCompleted(),
        () => opened.cancel("b"),
        () => opened.recycle(),
        () => opened.reset(),
        () => opened.retire(),
        () => opened.destroy(),
        () => opened[Symbol.asyncDispose](),
      ])
        told.push(await answerOf(call));
      return told;
    },
  ],
  ["delete", (k) => k.sessions.delete(session)],
];

/** Calls that concern all owners. */
const ALL: Calls = [
  ["list", (k) => k.processes.list()],
  ["listNonTerminal", (k) => k.processes.listNonTerminal()],
  ["hosts", (k) => k.hosts()],
  ["agents", (k) => k.lifecycle.list()],
  ["sessions", (k) => k.sessions.list()],
  ["schedules", (k) => k.schedules.list()],
  ["status", (k) => k.status()],
  ["deleteSessionProcessState", (k) => k.processes.deleteSessionProcessState("root")],
  ["beginBrowser", (k) => k.auth.beginBrowser({ target: TARGET, provider: "x", redirectUri: "u", pkceVerifier: "v" })],
  ["pollDevice", (k) => k.auth.pollDevice({ target: TARGET, provider: "x", deviceCode: "c" })],
  ["release", (k) => k.auth.release(TARGET)],
  ["loadAuthOAuthFlowSnapshot", (k) => k.runtime.loadAuthOAuthFlowSnapshot()],
];

async function linesOf(list: AsyncIterable<string>): Promise<string[]> {
  const lines: string[] = [];
  for await (const line of list) lines.push(line);
  return lines;
}

async function answersOf(kernel: Kernel, calls: Calls): Promise<string[]> {
  const answers: string[] = [];
  for (const [name, call] of calls) answers.push(`${name} -> ${await answerOf(() => call(kernel))}`);
  return answers;
}

/** Rows of tables that a store fills only where tabs live and die. */
function byHand(tables: Record<TableName, Row[]>): Write[] {
  return [BAD, GOOD].flatMap(({ process: processId, session, boot, agent }): Write[] => {
    const runtimeId = `rt:session:${session}`;
    const messages = ["one", "two"].map((content) => ({ role: "user" as const, content }));
    const runtime = tables.runtimes.find((row) => row.runtimeId === runtimeId);
    const process = tables.processes.find((row) => row.processId === processId) as Row;
    const known = tables.agents.find((row) => row.agentId === agent) as Row;
    return [
      { table: "processes", put: { ...process, mayWait: 1 } },
      { table: "waits", put: { v: 1, processId, kind: "signal", key: "k", name: "go", sinceMs: 1, dueAtMs: 2 } },
      { table: "rates", put: { v: 1, limitKey: processId, claimsAtMs: [1_700_000_000_000], overAtMs: 1_700_000_060_000 } },
      { table: "hosts", put: { v: 1, bootId: boot, hostId: boot, lastSeenAtMs: 1_700_000_000_000 } },
      { table: "farewells", put: { v: 1, bootId: `left-${boot}`, hostId: boot, endedAtMs: 1 } },
      { table: "agents", put: { ...known, agentId: `${agent}-of-host`, bootId: boot, hostId: boot } },
      ...messages.map((message, position) => ({ table: "messages", put: { v: 1, runtimeId, position, message } })),
      { table: "runtimes", put: { ...(runtime as Row), messageCount: messages.length, digest: chainDigest("", messages) } },
      { table: "turnSteps", put: { v: 1, runtimeId, workId: "w", stepKey: "k", result: { a: 1 } } },
      { table: "turnKeys", put: { v: 1, runtimeId, workId: "w", appendKey: "k" } },
      { table: "quarantine", put: { v: 1, runtimeId, inputId: "old", reason: "r", atMs: 1, row: { v: 1 } } },
      { table: "attachments", put: { v: 1, runtimeId, bootId: boot, hostId: boot, expiresAtMs: 1_700_000_009_000 } },
    ];
  });
}

async function plainRows(): Promise<Record<TableName, Row[]>> {
  const { kernel, probed } = await buildWorld();
  await kernel.close();
  const tables = await readTables(probed.storage);
  await onRows(probed.storage, (rows) => rows.transact(TABLE_NAMES, "write", async (tx) => tx.write(byHand(tables))));
  const full = await readTables(probed.storage);
  return { ...full, sealingKeys: [{ v: 1, name: "p", key: "k" }] };
}

async function placeOf(tables: Record<TableName, Row[]>): Promise<KernelStorage> {
  const storage = memoryStorage();
  const writes = TABLE_NAMES.flatMap((table) => tables[table].map((put): Write => ({ table, put })));
  await onRows(storage, (rows) => rows.transact(TABLE_NAMES, "write", async (tx) => tx.write(writes)));
  return storage;
}

const namesOf = ({ process, session, runtime, boot }: Owner): readonly unknown[] => [
  process,
  session,
  runtime,
  `rt:session:${session}`,
  boot,
  `left-${boot}`,
  `${process}-of-host`,
  `secret:${process}`,
  "oauth",
];

/** The rows of a table that belong to the bad owner: one of each shape. */
function victims(table: TableName, rows: readonly Row[]): Row[] {
  const names = namesOf(BAD);
  const own = rows.filter((row) => TABLES[table].key.some((column) => names.includes(row[column])));
  return [...new Map(own.map((row) => [Object.keys(row).sort().join(), row])).values()];
}

interface Looks {
  /** The answers to the good owner's calls, before and after the bad one's. */
  readonly good: string[];
  readonly bad: string[];
}

async function lookAround(storage: KernelStorage): Promise<Looks> {
  // A store takes a revision that never fits for a lost race, and waits between its tries: this clock lets it go on.
  const clock = { ...manualClock(), setTimer: (run: () => void) => soon(run) };
  const kernel = await openOn(storage, { clock });
  try {
    const before = await answersOf(kernel, [...readsOf(GOOD), ...writesOf(GOOD)]);
    const bad = await answersOf(kernel, [...readsOf(BAD), ...ALL, ...writesOf(BAD), ...ALL]);
    return { good: [...before, ...(await answersOf(kernel, readsOf(GOOD)))], bad };
  } finally {
    await kernel.close();
  }
}

function soon(run: () => void): () => void {
  const timer = setTimeout(run, 0);
  return () => clearTimeout(timer);
}

const SEED = 1;
const VARIANTS = 3;
const REFUSAL = / -> ([a-z-]+): /;

const plain = plainRows();
const usual = plain.then(placeOf).then(lookAround);

describe("a database of which every table has a row of each of two owners", () => {
  it("answers all that is asked", async () => {
    const tables = await plain;
    // The table of floors belongs to no owner: removals of all owners raise them.
    expect(TABLE_NAMES.filter((table) => victims(table, tables[table]).length === 0)).toEqual(["floors"]);
    const { good, bad } = await usual;
    const refused = [...good, ...bad].filter((answer) => REFUSAL.test(answer)).map((answer) => answer.slice(0, 60));
    // Refused: calls on deleted rows, a registration that differs, and a claim of a held lease.
    expect(new Set(refused.map((answer) => REFUSAL.exec(answer)?.[1]))).toEqual(new Set(["conflict", "lease-held", "not-found"]));
  });
});

describe.each(TABLE_NAMES)("a row of %s", (table) => {
  it.each(Object.entries(DAMAGES))(
    "that %s harms nobody else, and its own are refused with an error of the table",
    async (_, kind) => {
      const tables = await plain;
      const { good } = await usual;
      const problems: string[] = [];
      const cases = victims(table, tables[table]).flatMap((row) =>
        kind(dice(SEED), VARIANTS)(table, row).map((damaged) => ({ row, damaged })),
      );
      for (const { row, damaged } of cases) {
        const storage = await placeOf({ ...tables, [table]: tables[table].map((one) => (one === row ? damaged : one)) });
        const looks = await lookAround(storage);
        const tell = (what: string) => problems.push(`${canonical(damaged).slice(0, 300)}\n    ${what}`);
        for (const [at, answer] of looks.good.entries()) if (answer !== good[at]) tell(`${answer}\n    instead of ${good[at]}`);
        for (const answer of looks.bad) {
          const code = REFUSAL.exec(answer)?.[1];
          if (answer.includes("UNTYPED") || code === "internal") tell(answer.slice(0, 300));
          else if (code !== undefined && !Object.hasOwn(ERROR_CODES, code)) tell(answer.slice(0, 300));
        }
      }
      expect(problems).toEqual([]);
    },
  );
});
