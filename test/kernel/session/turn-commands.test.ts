import { beforeEach, describe, expect, it } from "vitest";
import { manualClock } from "../../../src/adapters/clock-manual.js";
import { memoryStorage } from "../../../src/adapters/storage-memory.js";
import { waiting } from "../../../src/conformance/session/session.fixture.js";
import { broadcastNotices } from "../../../src/corridor/notices.js";
import { createCorridor } from "../../../src/corridor/run.js";
import type { OpenStorage } from "../../../src/ports/storage.js";
import { SCHEMA, TABLES } from "../../../src/stores/schema.js";
import { openSession } from "../../../src/stores/session/sessions.js";
import {
  type BeganTurn,
  beginTurn,
  checkpointTurn,
  commitTurn,
  endTurn,
  type RunRef,
  reclaimTurn,
  storeTurnStep,
} from "../../../src/stores/session/turns.js";
import { RUNTIME_ID } from "./tabs.js";

type Began = Extract<BeganTurn, { kind: "turn" }>;

const HOST = { hostId: "h", bootId: "b", locked: false };
const SESSION = { runtimeId: RUNTIME_ID, incarnation: 0 };

let storage: OpenStorage;
let clock: ReturnType<typeof manualClock>;
let corridor: ReturnType<typeof createCorridor>;
let began: Began;

const begin = (runId: string, more: object = {}) =>
  corridor.run(beginTurn, {
    ...SESSION,
    ownerId: "me",
    ttlMs: 30_000,
    nonce: runId,
    host: HOST,
    runId,
    hasLocks: false,
    ...more,
  });

const rows = () =>
  storage.transact(Object.keys(TABLES), "read", async (tx) =>
    Promise.all(Object.keys(TABLES).map(async (table) => [table, await tx.range(table, {})])),
  );

beforeEach(async () => {
  storage = await memoryStorage().open({
    name: "turns",
    schema: SCHEMA,
    durability: "strict",
    newDatabaseId: "db",
    onState: () => {},
  });
  clock = manualClock();
  corridor = createCorridor({ storage, tables: TABLES, notices: broadcastNotices("turns", undefined), clock });
  const attachment = { host: HOST, ttlMs: 30_000, handler: true, hasLocks: false };
  await corridor.run(openSession, { runtimeId: RUNTIME_ID, sessionId: "s", quarantine: false, attachment });
  await storage.transact(["inputs"], "write", async (tx) =>
    tx.write(
      ["a", "b"].map((inputId, rank) => {
        const record = waiting(inputId, { currentState: "queued" });
        return { table: "inputs", put: { v: 1, runtimeId: RUNTIME_ID, inputId, rank, liveRank: rank, record } };
      }),
    ),
  );
  began = (await begin("run")) as Began;
});

const BACKOFF = { attempts: 3, backoffMs: 0, factor: 1, maxBackoffMs: 0, jitter: 0 };
const NOTHING = { base: { messageCount: 0, digest: "" }, messages: [], digest: "" };
const WRITES: Record<string, (named: RunRef) => Promise<unknown>> = {
  checkpoint: (named) => corridor.run(checkpointTurn, { ...named, ...NOTHING, keys: [] }),
  "a step": (named) => corridor.run(storeTurnStep, { ...named, workId: "run", stepKey: "k", result: 1 }),
  commit: (named) => corridor.run(commitTurn, { ...named, ...NOTHING }),
  "a failure": (named) =>
    corridor.run(endTurn, { ...named, how: "failed", cause: "why", isFinal: false, backoff: BACKOFF, roll: 0 }),
  "a cancel": (named) => corridor.run(endTurn, { ...named, how: "cancelled" }),
  "an interruption": (named) => corridor.run(endTurn, { ...named, how: "interrupted" }),
};

describe.each(Object.entries(WRITES))("%s of a run", (what, write) => {
  const named = (more: Partial<RunRef> = {}): RunRef => ({ ...SESSION, runId: "run", lease: began.lease, ...more });

  async function refusedAs(code: string, more: Partial<RunRef> = {}): Promise<void> {
    const before = await rows();
    await expect(write(named(more))).rejects.toMatchObject({ code });
    expect(await rows()).toEqual(before);
  }

  it("is refused under another run's id, though the lease is the live one (R-95)", () =>
    refusedAs("lease-lost", { runId: "other" }));

  it("is refused under another incarnation of the session", () => refusedAs("not-found", { incarnation: 1 }));

  it.each([
    ["token", { leaseToken: "forged" }],
    ["owner", { ownerId: "another" }],
    ["fence", { fencingToken: 7 }],
  ])("is refused under a lease with another %s (R-95)", (_, forged) =>
    refusedAs("lease-lost", { lease: { ...began.lease, ...forged } }),
  );

  it("is refused at the millisecond in which its lease runs out (R-95)", async () => {
    await clock.advance(30_000);
    await refusedAs("lease-lost");
  });

  it("is refused when its run has ended (R-138)", async () => {
    await WRITES.commit?.(named());
    if (what !== "commit") return await refusedAs("lease-lost");
    // The same commit again finds its own receipt.
    await expect(write(named())).resolves.toMatchObject({ receipt: { runId: "run" } });
  });

  it("is refused when an input of it is not staged any more (R-95, R-100)", async () => {
    // A step does not depend on the inputs' state.
    if (what === "a step") return;
    const [row] = await storage.transact(["inputs"], "read", (tx) => tx.range("inputs", {}));
    await storage.transact(["inputs"], "write", async (tx) =>
      tx.write([{ table: "inputs", put: { ...row, v: 1, record: waiting("a", { currentState: "queued" }) } }]),
    );
    await refusedAs("conflict");
  });

  it("is refused over a transcript that is not the one it stands on", async () => {
    if (what !== "commit" && what !== "checkpoint") return;
    const [row] = await storage.transact(["runtimes"], "read", (tx) => tx.range("runtimes", {}));
    const put = { ...row, v: 1, messageCount: 0, digest: "another" };
    await storage.transact(["runtimes"], "write", async (tx) => tx.write([{ table: "runtimes", put }]));
    await refusedAs("conflict");
  });

  it("is stored where all of it holds", async () => {
    const before = await rows();
    await write(named());
    if (what !== "checkpoint") expect(await rows()).not.toEqual(before);
  });
});

describe("a lease that ran out", () => {
  it("is taken up again by its owner over its own run, and by no owner over another's", async () => {
    await clock.advance(40_000);
    const claim = { lease: began.lease, ttlMs: 30_000, nonce: "again", host: HOST };
    await expect(corridor.run(reclaimTurn, { ...claim, runId: "other" })).rejects.toMatchObject({ code: "lease-lost" });
    const forged = { ...began.lease, leaseToken: "forged" };
    await expect(corridor.run(reclaimTurn, { ...claim, runId: "run", lease: forged })).rejects.toMatchObject({
      code: "lease-lost",
    });
    const lease = await corridor.run(reclaimTurn, { ...claim, runId: "run" });
    expect(lease.fencingToken).toBe(began.lease.fencingToken + 1);
    await expect(WRITES.checkpoint?.({ ...SESSION, runId: "run", lease: began.lease })).rejects.toMatchObject({
      code: "lease-lost",
    });
    await WRITES.commit?.({ ...SESSION, runId: "run", lease });
  });

  it("is gone for its owner once another tab opened the session (R-111)", async () => {
    await clock.advance(40_000);
    const attachment = { host: { ...HOST, hostId: "h2", bootId: "b2" }, ttlMs: 30_000, handler: false, hasLocks: false };
    await corridor.run(openSession, { runtimeId: RUNTIME_ID, sessionId: "s", quarantine: false, attachment });
    const claim = { lease: began.lease, ttlMs: 30_000, nonce: "again", host: HOST, runId: "run" };
    await expect(corridor.run(reclaimTurn, claim)).rejects.toMatchObject({ code: "lease-lost" });
    const [lease] = await storage.transact(["leases"], "read", (tx) => tx.range("leases", {}));
    expect(lease?.leaseToken).toBeUndefined();
    expect(lease?.fencingToken).toBe(began.lease.fencingToken);
  });
});

describe("a batch", () => {
  it("is not begun twice at once: who comes second is told who has it (R-92)", async () => {
    const before = await rows();
    const other = { ownerId: "another", host: { ...HOST, hostId: "h2", bootId: "b2" } };
    expect(await begin("run2", other)).toMatchObject({ kind: "held", token: began.lease.leaseToken, expired: false });
    expect(await rows()).toEqual(before);
  });

  it("is a new run for the owner itself, when it begins again without the lease in its hand: the old run is no failure", async () => {
    const again = (await begin("run2")) as Began;
    expect(again.run).toMatchObject({ runId: "run2", workId: "run", inputIds: ["a"] });
    expect(again.inputs).toMatchObject([{ inputId: "a", attemptCount: 2, recoveryCount: 0 }]);
    await expect(WRITES.commit?.({ ...SESSION, runId: "run", lease: began.lease })).rejects.toMatchObject({ code: "lease-lost" });
  });

  it("is begun by no owner that lost its lease between two turns (R-95)", async () => {
    await WRITES.commit?.({ ...SESSION, runId: "run", lease: began.lease });
    await clock.advance(30_000);
    const before = await rows();
    await expect(begin("run2", { held: began.lease })).rejects.toMatchObject({ code: "lease-lost" });
    expect(await rows()).toEqual(before);
  });
});
