import { IDBFactory, IDBKeyRange } from "fake-indexeddb";
import { describe, expect, it, vi } from "vitest";
import { waiting } from "../../src/conformance/session/session.fixture.js";
import { createKernel, type ProcessContext, type Turn } from "../../src/index.js";
import { indexedDbStorage } from "../../src/indexeddb.js";
import { memoryStorage } from "../../src/memory.js";
import type { KernelStorage, Row, StorageSchema } from "../../src/ports/storage.js";
import { SCHEMA, TABLES } from "../../src/stores/schema.js";
import { builtInPolicy, semanticsOf } from "../../src/stores/session/inputs/policy.rules.js";
import { probe } from "./probe-storage.js";

/** The columns of processes that schemas before 6 lack have no index there. */
const { cancelling, endsWith, external, ...indexes5 } = TABLES.processes.indexes;
const { floors, processes: newest, inputs, runtimes, turnKeys, ...lasting } = TABLES;
const { runnable, ...indexes } = indexes5;
/** The tables of schemas 1 to 4. */
const processes = { ...newest, indexes };
const { registrations, grants, leases, hosts } = TABLES;
/** The tables of schemas 1 to 3. */
const events = { key: ["processId", "sequence"], indexes: { pendingWakes: ["processId", "pendingWake"] } };
const replays = { key: ["processId", "replayKey"] };
const SCHEMA_1 = { version: 1, tables: { processes, registrations, events, replays, grants, leases, hosts } };
/** The table of schemas 2 to 5. */
const uncounted = { ...runtimes, indexes: {} };
const TABLES_4 = {
  ...lasting,
  runtimes: uncounted,
  processes,
  inputs: { key: inputs.key, indexes: { live: inputs.indexes.live } },
};
const SCHEMA_3 = { version: 3, tables: { ...TABLES_4, events, replays } };
const SCHEMA_4 = { version: 4, tables: TABLES_4 };
const processes5 = { ...newest, indexes: indexes5 };
const { givenUp, ...inputIndexes } = inputs.indexes;
const inputs5 = { key: inputs.key, indexes: inputIndexes };
const SCHEMA_5 = {
  version: 5,
  tables: { ...lasting, floors, runtimes: uncounted, processes: processes5, inputs: inputs5 },
};

const PLACES: [string, () => KernelStorage][] = [
  ["memory", memoryStorage],
  ["IndexedDB", () => indexedDbStorage({ indexedDB: new IDBFactory(), IDBKeyRange })],
];

const PROCESS = {
  v: 1,
  processId: "p",
  registrationHash: "h",
  provenance: { ownerScope: { sessionId: "root" }, hostProfileId: "default" },
  createdAtMs: 1,
  updatedAtMs: 1,
  state: "running",
};

/** One row in each of these tables, as a holdfast of that schema wrote it. */
async function write(
  storage: KernelStorage,
  schema: StorageSchema,
  rows: Record<string, Row>,
  newDatabaseId = "the-old-one",
): Promise<void> {
  const old = await storage.open({
    name: "old",
    schema,
    durability: "strict",
    newDatabaseId,
    onState: () => {},
  });
  await old.transact(Object.keys(rows), "write", async (tx) => {
    tx.write(Object.entries(rows).map(([table, put]) => ({ table, put })));
  });
  await old.close();
}

describe.each(PLACES)("a database of schema 1 in %s", (_, place) => {
  it("keeps its rows and gets the tables of sessions", async () => {
    const storage = place();
    const rows = {
      processes: { ...PROCESS, handler: "job", inputType: "task", lastSequence: 0 },
      registrations: { v: 1, processId: "p", sessionId: "root", input: { type: "task", name: "job" }, eventTypes: [] },
    };
    await write(storage, SCHEMA_1, rows);

    const kernel = await createKernel({ name: "old", storage, loop: "off", channel: false, locks: false });
    expect(await kernel.processes.getProcess("p")).toMatchObject({ id: "p", input: { type: "task", name: "job" } });
    const session = await kernel.session("s");
    expect(await session.submit({ inputType: "prompt", text: "hello" })).toMatchObject({ outcome: "accepted" });
    await kernel.close();
  });
});

describe.each(PLACES)("a database of schema 3 in %s", (_, place) => {
  it("finds its events by their replay keys", async () => {
    const storage = place();
    const rows = {
      processes: { ...PROCESS, inputType: "external", lastSequence: 2 },
      registrations: {
        v: 1,
        processId: "p",
        sessionId: "root",
        input: { type: "external", metadata: null },
        eventTypes: [{ name: "note" }],
      },
      events: { v: 1, processId: "p", sequence: 2, eventType: "note", payload: { a: 1 }, replayKey: "k", occurredAtMs: 1 },
      replays: { v: 1, processId: "p", replayKey: "k", payloadHash: "a hash", sequence: 2 },
    };
    await write(storage, SCHEMA_3, rows);

    const kernel = await createKernel({ name: "old", storage, loop: "off", channel: false, locks: false });
    const again = { eventType: "note", payload: { a: 1 }, replayKey: "k" };
    expect((await kernel.processes.appendEvent("p", again)).event.sequence).toBe(2);
    await expect(kernel.processes.appendEvent("p", { ...again, payload: { a: 2 } })).rejects.toMatchObject({ code: "conflict" });
    expect((await kernel.processes.appendEvent("p", { ...again, replayKey: "another" })).event.sequence).toBe(3);
    await kernel.close();
  });
});

describe.each(PLACES)("a database of schema 4 in %s", (_, place) => {
  const registration = { v: 1, processId: "p", sessionId: "root", input: { type: "task", name: "job" }, eventTypes: [] };
  const process = { ...PROCESS, handler: "job", inputType: "task", lastSequence: 0, cancelRequested: "no" };
  const lease = { v: 1, resource: "p", fencingToken: 3, claimedAtMs: 0, expiresAtMs: 0, fruitless: 0, endedInOrder: 1 };

  it("goes on with its fences, which counted the attempts: what was claimed before is run though a cancel is asked for", async () => {
    const storage = place();
    await write(storage, SCHEMA_4, { processes: process, registrations: registration, leases: lease });
    const seen: number[] = [];
    const job = ({ attempt, signal }: ProcessContext) => {
      seen.push(attempt);
      signal.throwIfAborted();
    };
    const kernel = await createKernel({ name: "old", storage, loop: "inline", channel: false, locks: false, handlers: { job } });
    const tokens: number[] = [];
    kernel.on("leaseClaimed", ({ fencingToken }) => tokens.push(fencingToken));
    expect(await kernel.processes.awaitProcess("p")).toEqual({ type: "cancelled", message: "no" });
    expect([seen, tokens]).toEqual([[4], [4]]);
    expect((await kernel.processes.registerProcess({ id: "q", input: { type: "task", name: "other" } })).id).toBe("q");
    expect((await kernel.processes.claimProcessLease("q", "a", 1)).fencingToken).toBe(1);
    await kernel.close();
  });

  it("opens its secrets, which stay at their revisions", async () => {
    const storage = place();
    const kernel = await createKernel({ name: "old", storage, loop: "off", channel: false, locks: false });
    await kernel.secrets.put("a", "old");
    await kernel.close();
    const opening = { name: "old", schema: SCHEMA, durability: "strict" as const, newDatabaseId: "x", onState: () => {} };
    const now = await storage.open(opening);
    const rows = await now.transact(["sealed", "sealingKeys"], "read", async (tx) => ({
      sealed: (await tx.get("sealed", "secret:a")) as Row,
      sealingKeys: (await tx.get("sealingKeys", "records")) as Row,
    }));
    const { databaseId } = now;
    await now.close();

    const older = place();
    await write(older, SCHEMA_4, rows.sealingKeys ? rows : { sealed: rows.sealed }, databaseId);
    const later = await createKernel({ name: "old", storage: older, loop: "off", channel: false, locks: false });
    expect(await later.secrets.get("a")).toBe("old");
    await later.secrets.delete("a");
    await later.secrets.put("a", "new");
    expect(await later.secrets.get("a")).toBe("new");
    await later.close();
  });

  it("has the inputs run that wait in it, and the one that was left under way", async () => {
    const storage = place();
    const runtimeId = "rt:session:s";
    // More rows than one begin reads.
    const waiters = Array.from({ length: 12 }, (_, at) => `waits ${String(at).padStart(2, "0")}`);
    const old = await storage.open({
      name: "old",
      schema: SCHEMA_4,
      durability: "strict",
      newDatabaseId: "the-old-one",
      onState: () => {},
    });
    await old.transact(["runtimes", "sessions", "inputs"], "write", async (tx) => {
      const run = { runId: "r", before: "idle", inputIds: ["staged"], workId: "w" };
      const counts = { nextRank: 21, firstRank: 0, endedKeys: 0, messageCount: 0, digest: "", updatedAtMs: 1 };
      const rowOf = (inputId: string, rank: number, more: object) => ({
        ...{ v: 1, runtimeId, inputId, rank, liveRank: rank, starts: 1, record: waiting(inputId, more) },
      });
      const steering = builtInPolicy({ kind: "prompt", idle: true, handlingMode: "steer" });
      const steered = {
        policy: { version: 1, decision: steering },
        runtimeSemantics: semanticsOf("prompt", steering),
        currentState: "queued",
      };
      const staged = { currentState: "staged", attemptCount: 1, lastRunId: "r" };
      tx.write([
        { table: "runtimes", put: { v: 1, runtimeId, sessionId: "s", state: "running", incarnation: 0, run, ...counts } },
        { table: "sessions", put: { v: 1, sessionId: "s", runtimeId, messageCount: 0, updatedAtMs: 1 } },
        { table: "inputs", put: { ...rowOf("staged", 0, staged), workId: "w", workSize: 1 } },
        ...waiters.map((id, at) => ({ table: "inputs", put: rowOf(id, at + 1, { currentState: "queued" }) })),
        { table: "inputs", put: rowOf("steers", 20, steered) },
      ]);
    });
    await old.close();

    const kernel = await createKernel({ name: "old", storage, loop: "inline", channel: false, locks: false });
    const ran: string[] = [];
    const session = await kernel.session("s");
    const all = new Promise<void>((resolve) => {
      session.onTurn(async (turn) => {
        ran.push(...turn.inputs.map(({ inputId, attemptCount }) => `${inputId} ${attemptCount}`));
        if (ran.length === 2 + waiters.length) resolve();
      });
    });
    await all;
    expect(ran).toEqual(["steers 1", "staged 2", ...waiters.map((id) => `${id} 1`)]);
    await kernel.close();
  });

  it("has its running processes found by a host that can run them, and no others", async () => {
    const storage = place();
    const process = { ...PROCESS, handler: "job", inputType: "task", lastSequence: 0 };
    const registration = { v: 1, sessionId: "root", input: { type: "task", name: "job" }, eventTypes: [] };
    await write(storage, SCHEMA_4, {
      processes: process,
      registrations: { ...registration, processId: "p" },
    });
    await write(storage, SCHEMA_4, {
      processes: { ...process, processId: "over", state: "completed", awaitOutput: { type: "success", value: 1 }, endedAtMs: 1 },
      registrations: { ...registration, processId: "over" },
    });
    await write(storage, SCHEMA_4, {
      processes: { ...PROCESS, processId: "outside", inputType: "external", lastSequence: 0 },
      registrations: { ...registration, processId: "outside", input: { type: "external", metadata: null } },
    });

    const runs: string[] = [];
    const kernel = await createKernel({
      name: "old",
      storage,
      loop: "inline",
      channel: false,
      locks: false,
      handlers: { job: ({ record }) => void runs.push(record.id) },
    });
    await kernel.process("p").outcome();
    expect(runs).toEqual(["p"]);
    expect((await kernel.processes.listNonTerminal()).map(({ id }) => id)).toEqual(["outside"]);
    await kernel.close();
  });
});

describe.each(PLACES)("a database of schema 5 in %s", (_, place) => {
  it("has a session's view show the inputs that wait in it, and what is given up from now on (A-21)", async () => {
    const storage = place();
    const runtimeId = "rt:session:s";
    const counts = { nextRank: 3, firstRank: 0, endedKeys: 0, inputRevision: 4, messageCount: 0, digest: "", updatedAtMs: 1 };
    const rowOf = (inputId: string, rank: number, more: object) => ({
      ...{ v: 1, runtimeId, inputId, rank, since: 0, revision: 4, record: waiting(inputId, more) },
    });
    const ended = { currentState: "abandoned", terminalOutcome: { outcomeType: "abandoned", reason: "cancelled" } };
    const queued = { ...rowOf("waits", 1, { currentState: "queued" }), liveRank: 1, starterRank: 1 };
    await write(storage, SCHEMA_5, {
      runtimes: { v: 1, runtimeId, sessionId: "s", state: "idle", incarnation: 0, ...counts },
      sessions: { v: 1, sessionId: "s", runtimeId, messageCount: 0, updatedAtMs: 1 },
      inputs: queued,
    });
    await write(storage, SCHEMA_5, { inputs: rowOf("before", 0, ended) });

    const kernel = await createKernel({ name: "old", storage, loop: "off", channel: false, locks: false });
    const { view, cancel } = await kernel.session("s");
    const shows = (pending: string) =>
      new Promise<unknown>((resolve) => {
        const look = () => view.get().messages[0]?.pending === pending && resolve(view.get().messages);
        view.subscribe(look);
      });
    expect(await shows("waiting")).toMatchObject([{ content: "waits" }]);
    await cancel("waits");
    expect(await shows("cancelled")).toMatchObject([{ content: "waits" }]);
    await kernel.close();
  });

  it("has a failed input tried again, with the failures that were counted before, and keeps keys of messages (A-18, A-20)", async () => {
    const storage = place();
    const runtimeId = "rt:session:s";
    const counts = { nextRank: 2, firstRank: 0, endedKeys: 1, messageCount: 0, digest: "", updatedAtMs: 1 };
    const history = [{ timestampMs: 1, from: "staged", to: "queued", reason: "why" }];
    const tried = waiting("tried", { currentState: "queued", attemptCount: 1, history: history as never });
    const reason = { max_attempts_exhausted: { attempts: 3 } };
    const over = {
      currentState: "abandoned",
      terminalOutcome: { outcomeType: "abandoned", reason },
      idempotencyKey: "k",
    } as const;
    const row = { v: 1, runtimeId };
    await write(storage, SCHEMA_5, {
      runtimes: { ...row, sessionId: "s", state: "idle", incarnation: 0, ...counts },
      sessions: { v: 1, sessionId: "s", runtimeId, messageCount: 0, updatedAtMs: 1 },
      inputs: {
        ...row,
        inputId: "tried",
        rank: 0,
        liveRank: 0,
        starterRank: 0,
        starts: 1,
        workId: "w",
        workSize: 1,
        record: tried,
      },
    });
    await write(storage, SCHEMA_5, {
      inputs: { ...row, inputId: "over", rank: 1, record: waiting("over", over) },
      inputKeys: { ...row, idempotencyKey: "k", inputId: "over", endedAtMs: Date.now(), endedRank: 1 },
    });

    const turnRetry = { attempts: 3, backoffMs: 1 };
    const kernel = await createKernel({ name: "old", storage, loop: "inline", channel: false, locks: false, turnRetry });
    const session = await kernel.session("s");
    const attempts: unknown[] = [];
    session.onTurn(async (turn) => {
      attempts.push([turn.attempt, turn.append({ role: "assistant", content: "once" }, { key: "said" })]);
      await turn.checkpoint();
      if (turn.attempt === 2) throw new Error("again");
    });
    expect(await session.outcome("over")).toEqual({ outcome: "failed" });
    expect((await session.outcome("tried")).outcome).toBe("completed");
    expect(attempts).toEqual([
      [2, true],
      [3, false],
    ]);
    expect((await session.submit({ inputType: "prompt", text: "x", inputId: "new", idempotencyKey: "k" })).outcome).toBe(
      "accepted",
    );
    await kernel.close();
  });

  /** Sessions as they were stored: `waits` input rows each. */
  async function store(storage: KernelStorage, sessions: Record<string, { state: string; waits: number }>): Promise<void> {
    const old = await storage.open({
      name: "old",
      schema: SCHEMA_5,
      durability: "strict",
      newDatabaseId: "the-old-one",
      onState: () => {},
    });
    await old.transact(["runtimes", "sessions", "inputs"], "write", async (tx) => {
      for (const [sessionId, { state, waits }] of Object.entries(sessions)) {
        const runtimeId = `rt:session:${sessionId}`;
        const counts = { nextRank: waits, firstRank: 0, endedKeys: 0, messageCount: 0, digest: "", updatedAtMs: 1 };
        const inputs = Array.from({ length: waits }, (_, rank) => {
          const inputId = `${sessionId} ${rank}`;
          const ranks = { rank, liveRank: rank, starterRank: rank, starts: 1 };
          return { v: 1, runtimeId, inputId, ...ranks, record: waiting(inputId, { currentState: "queued" }) };
        });
        tx.write([
          { table: "runtimes", put: { v: 1, runtimeId, sessionId, state, incarnation: 0, ...counts } },
          { table: "sessions", put: { v: 1, sessionId, runtimeId, messageCount: 0, updatedAtMs: 1 } },
          ...inputs.map((put) => ({ table: "inputs", put })),
        ]);
      }
    });
    await old.close();
  }

  it("lists what waits in its sessions, which was never counted, and counts it when one is opened (A-17)", async () => {
    const storage = place();
    await store(storage, { s: { state: "idle", waits: 3 }, t: { state: "idle", waits: 0 } });
    const kernel = await createKernel({ name: "old", storage, loop: "off", channel: false, locks: false });
    const figures = async () => (await kernel.sessions.list()).map(({ waiting }) => waiting);
    expect(await figures()).toEqual([3, 0]);
    const session = await kernel.session("s");
    expect(await figures()).toEqual([3, 0]);
    await session.cancel("s 1");
    await session.submit({ inputType: "prompt", text: "t" });
    await session.cancel("s 0");
    expect(await figures()).toEqual([2, 0]);
    await kernel.close();
  });

  it("has its sessions gone on with that wait, and each of the others looked at once (A-17)", async () => {
    const storage = place();
    const sessions = { s: { state: "idle", waits: 2 }, t: { state: "idle", waits: 0 }, u: { state: "stopped", waits: 0 } };
    await store(storage, { ...sessions, v: { state: "retired", waits: 1 } });
    const ran: string[] = [];
    const turns = ({ inputs }: Turn) => void ran.push(...inputs.map(({ inputId }) => inputId));
    const kernel = await createKernel({ name: "old", storage, loop: "inline", channel: false, locks: false, turns });
    await expect.poll(async () => (await kernel.sessions.list()).map(({ waiting }) => waiting)).toEqual([0, 0, 0, 0]);
    const opening = { name: "old", schema: SCHEMA, durability: "strict" as const, newDatabaseId: "x", onState: () => {} };
    const now = await storage.open(opening);
    const due = () => now.transact(["runtimes"], "read", (tx) => tx.range("runtimes", { index: "due" }));
    await expect.poll(due).toEqual([]);
    await now.close();
    await kernel.close();
    expect(ran.sort()).toEqual(["s 0", "s 1", "v 0"]);
  });

  it("has those of its sessions opened that wait, and no other (A-17)", async () => {
    const probed = probe(place());
    const empty = Object.fromEntries(Array.from({ length: 60 }, (_, n) => [`a${n}`, { state: "idle", waits: 0 }]));
    await store(probed.storage, { ...empty, s: { state: "idle", waits: 1 } });
    const ran: string[] = [];
    const turns = ({ inputs }: Turn) => void ran.push(...inputs.map(({ inputId }) => inputId));
    const kernel = await createKernel({
      name: "old",
      storage: probed.storage,
      loop: "inline",
      channel: false,
      locks: false,
      turns,
    });
    await expect.poll(() => ran).toEqual(["s 0"]);
    await kernel.close();
    expect(new Set(probed.puts("attachments").map(({ runtimeId }) => runtimeId))).toEqual(new Set(["rt:session:s"]));
  });

  const registration = { v: 1, processId: "p", sessionId: "root", input: { type: "task", name: "job" }, eventTypes: [] };

  it("has what was asked to cancel found and ended, where no host has its handler (A-26)", async () => {
    const storage = place();
    const process = {
      ...PROCESS,
      handler: "job",
      inputType: "task",
      runnable: "handler:job",
      lastSequence: 0,
      cancelRequested: "no",
    };
    const lease = { v: 1, resource: "p", fencingToken: 3, attempts: 3, claimedAtMs: 0, expiresAtMs: 0, fruitless: 0 };
    await write(storage, SCHEMA_5, { processes: process, registrations: registration, leases: lease });
    const kernel = await createKernel({ name: "old", storage, loop: "inline", channel: false, locks: false });
    expect(await kernel.processes.awaitProcess("p")).toEqual({ type: "cancelled", message: "no" });
    await kernel.close();
  });

  it("has its external processes removed that were not written to for so long (A-34)", async () => {
    const storage = place();
    await write(storage, SCHEMA_5, {
      processes: { ...PROCESS, inputType: "external", lastSequence: 0 },
      registrations: { ...registration, input: { type: "external", metadata: null } },
    });
    const retention = { externalProcessesMs: 1 };
    const kernel = await createKernel({ name: "old", storage, loop: "inline", channel: false, locks: false, retention });
    await vi.waitFor(async () => expect(await kernel.processes.getProcess("p")).toBe(undefined));
    await kernel.close();
  });

  it("has a host of that time, which may have any handler: nothing is told or ended beside it (A-26)", async () => {
    const storage = place();
    const process = {
      ...PROCESS,
      handler: "job",
      inputType: "task",
      runnable: "handler:job",
      lastSequence: 0,
      cancelRequested: "no",
    };
    const host = { v: 1, bootId: "old", hostId: "old", lastSeenAtMs: Date.now() };
    await write(storage, SCHEMA_5, { processes: process, registrations: registration, hosts: host });
    const kernel = await createKernel({ name: "old", storage, loop: "inline", channel: false, locks: false });
    await new Promise((resolve) => kernel.on("sweep", resolve));
    expect((await kernel.processes.getProcess("p"))?.status.state).toBe("running");
    await kernel.close();
  });
});
