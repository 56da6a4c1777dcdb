import { IDBFactory, IDBKeyRange } from "fake-indexeddb";
import { afterEach, describe, expect, it } from "vitest";
import { memoryStorage } from "../../../src/adapters/storage-memory.js";
import { waiting } from "../../../src/conformance/session/session.fixture.js";
import { HoldfastError } from "../../../src/domain/errors.js";
import type { RunBoundaryReceipt } from "../../../src/domain/session/session.js";
import { indexedDbStorage } from "../../../src/indexeddb.js";
import { SCHEMA } from "../../../src/stores/schema.js";
import { type Probe, probe, type Seen } from "../../stores/probe-storage.js";
import { bench, closeBenches } from "../hosts.js";
import { rounds, until } from "../rounds.js";
import { prompt, RUNTIME_ID, saying } from "./tabs.js";

afterEach(closeBenches);

const PLACES = {
  memory: () => memoryStorage(),
  "IndexedDB in memory": () => indexedDbStorage({ indexedDB: new IDBFactory(), IDBKeyRange }),
};

const TROUBLES = [
  ["full", "end", new HoldfastError("quota-exceeded", "no space")],
  ["failing", "end", new HoldfastError("write-failed", "it failed")],
  ["away", "open", new HoldfastError("unavailable", "not there")],
] as const;

/** Every row of the database, read without a kernel. */
async function rowsIn(probed: Probe): Promise<Record<string, unknown[]>> {
  const storage = await probed.storage.open({
    name: "bench",
    schema: SCHEMA,
    durability: "relaxed",
    newDatabaseId: "none",
    onState: () => undefined,
  });
  try {
    // A host may write a beat at any time: its row is left out.
    const tables = Object.keys(SCHEMA.tables).filter((table) => table !== "hosts");
    return await storage.transact(tables, "read", async (tx) => {
      const rows = await Promise.all(tables.map((table) => tx.range(table, {})));
      return Object.fromEntries(tables.map((table, at) => [table, rows[at] as unknown[]]));
    });
  } finally {
    await storage.close();
  }
}

/** Refuses every write of a session from now on; the host's own writes pass. */
function harm(probed: Probe, where: "open" | "end", error: HoldfastError): void {
  const isOfSession = ({ mode, tables }: Seen) => mode === "write" && tables.includes("runtimes");
  probed.hooks = {
    [where](seen: Seen) {
      if (isOfSession(seen)) throw error;
    },
  };
}

const GIVEN = prompt("a", {
  idempotencyKey: "k",
  supersessionKey: "s",
  blocks: [{ type: "image", data: new Uint8Array([1, 2, 3]) }],
});

for (const [place, open] of Object.entries(PLACES)) {
  for (const [what, where, error] of TROUBLES) {
    describe(`${place} that is ${what}`, () => {
      const refusal = { code: error.code };
      const setUp = async () => {
        const { kernel, probed, clock } = await bench({}, { probed: probe(open()) });
        const told: string[] = [];
        kernel.on("session", ({ code }) => told.push(code));
        return { kernel, probed, clock, told };
      };

      it("refuses an input whole, wakes no executor, and takes the same one when it is well again (R-82, R-83, R-103)", async () => {
        const { kernel, probed, told } = await setUp();
        const session = await kernel.session("s");
        const heard: unknown[] = [];
        session.subscribe((change) => heard.push(change));
        let ran = 0;
        session.onTurn(async () => void ran++);
        await rounds();
        const before = await rowsIn(probed);
        harm(probed, where, error);
        for (let time = 0; time < 2; time++) await expect(session.submit(GIVEN)).rejects.toMatchObject(refusal);
        await rounds();
        probed.hooks = {};
        expect(await rowsIn(probed)).toEqual(before);
        expect([ran, told, heard]).toEqual([0, [], []]);
        expect(await session.submit(GIVEN)).toEqual({ outcome: "accepted", inputId: "a" });
        await until(() => told.includes("run.completed"), "its turn");
        expect(ran).toBe(1);
      });

      it("refuses a replacement whole: what waits still waits (R-79, R-103)", async () => {
        const { kernel, probed } = await setUp();
        const session = await kernel.session("s");
        const progress = {
          inputType: "peer",
          convention: { conventionType: "response_progress" },
          supersessionKey: "s",
        } as const;
        await session.submit({ ...progress, inputId: "a" });
        const before = await rowsIn(probed);
        harm(probed, where, error);
        await expect(session.submit({ ...progress, inputId: "b" })).rejects.toMatchObject(refusal);
        probed.hooks = {};
        expect(await rowsIn(probed)).toEqual(before);
        await session.submit({ ...progress, inputId: "b" });
        const states = await kernel.runtime.loadInputStates(RUNTIME_ID);
        expect(states.map(({ currentState }) => currentState)).toEqual(["coalesced", "queued"]);
      });

      it("stages nothing by half, and the attempt that never began is not counted (R-93)", async () => {
        const { kernel, probed, clock } = await setUp();
        const session = await kernel.session("s");
        await session.submit({ inputType: "external_event", inputId: "e" });
        await session.submit(prompt("a"));
        await rounds();
        const attempts: number[] = [];
        harm(probed, where, error);
        session.onTurn(async (turn) => {
          attempts.push(turn.attempt);
          turn.append(saying("done"));
        });
        await rounds();
        const moment = await Promise.all([
          kernel.runtime.loadInputStates(RUNTIME_ID),
          kernel.runtime.loadRuntimeState(RUNTIME_ID),
        ]);
        expect(moment[0].map(({ currentState, attemptCount }) => [currentState, attemptCount])).toEqual([
          ["queued", 0],
          ["queued", 0],
        ]);
        expect([moment[1], attempts]).toEqual(["idle", []]);
        probed.hooks = {};
        await clock.advance(60_000);
        expect(attempts).toEqual([1]);
        expect((await session.messages()).map(({ content }) => content).slice(1)).toEqual(["a", "done"]);
      });

      it("recovers nothing by half, and opens no session that it could not recover (R-111, R-114)", async () => {
        const { kernel, probed } = await setUp();
        for (const currentState of ["accepted", "staged", "applied"] as const) {
          await kernel.runtime.persistInputState(RUNTIME_ID, waiting(currentState, { currentState, attemptCount: 1 }));
        }
        const before = await rowsIn(probed);
        harm(probed, where, error);
        await expect(kernel.session("s")).rejects.toMatchObject(refusal);
        probed.hooks = {};
        expect(await rowsIn(probed)).toEqual(before);
        const session = await kernel.session("s");
        expect(session.recovery).toEqual({ recovered: 3, requeued: 2, consumed: 0, abandoned: 0, dropped: 0 });
      });

      it.each(["retire", "reset", "shutdown", "destroy", "recycle"] as const)(
        "changes nothing by a %s that it refuses (R-135)",
        async (name) => {
          const { kernel, probed, told } = await setUp();
          const session = await kernel.session("s");
          for (const id of ["a", "b"]) await session.submit(prompt(id, { idempotencyKey: id }));
          told.splice(0);
          const before = await rowsIn(probed);
          harm(probed, where, error);
          await expect(session[name]() as Promise<unknown>).rejects.toMatchObject(refusal);
          probed.hooks = {};
          expect(await rowsIn(probed)).toEqual(before);
          expect([session.state, told]).toEqual(["idle", []]);
          await session[name]();
          expect(await kernel.runtime.loadRuntimeState(RUNTIME_ID)).toBe(
            { retire: "retired", reset: "idle", shutdown: "stopped", destroy: "destroyed", recycle: "idle" }[name],
          );
        },
      );

      it("cancels no input by half", async () => {
        const { kernel, probed } = await setUp();
        const session = await kernel.session("s");
        await session.submit(prompt("a"));
        const before = await rowsIn(probed);
        harm(probed, where, error);
        await expect(session.cancel("a")).rejects.toMatchObject(refusal);
        probed.hooks = {};
        expect(await rowsIn(probed)).toEqual(before);
      });
    });
  }

  describe(`${place} that fails between two turns`, () => {
    it("leaves no lease that is renewed for ever: with the handler gone another tab goes on", async () => {
      const storage = open();
      const { kernel, probed, clock } = await bench({}, { probed: probe(storage) });
      const session = await kernel.session("s");
      let ran = 0;
      const off = session.onTurn(async () => {
        ran++;
        // Writes after this turn's commit fail.
        probed.hooks.done = ({ mode, tables }) => {
          if (mode === "write" && tables.includes("receipts"))
            harm(probed, "open", new HoldfastError("unavailable", "not there"));
        };
      });
      await Promise.all([session.submit(prompt("a")), session.submit(prompt("b"))]);
      await until(() => ran === 1, "the first turn");
      await rounds();
      off();
      await rounds();
      probed.hooks = {};
      const other = await bench({}, { probed: probe(storage), clock });
      const next: string[] = [];
      (await other.kernel.session("s")).onTurn(async ({ inputs }) => void next.push(...inputs.map(({ inputId }) => inputId)));
      await clock.advance(120_000);
      expect([ran, next]).toEqual([1, ["b"]]);
    });
  });

  describe(`${place} whose answer is lost after the commit`, () => {
    /** Loses the answer of the first `times` commits. */
    async function lose(times: number) {
      const { kernel, probed } = await bench({}, { probed: probe(open()) });
      const session = await kernel.session("s");
      let left = times;
      probed.hooks.done = ({ mode, tables }) => {
        if (mode !== "write" || !tables.includes("runtimes") || left-- <= 0) return;
        throw new HoldfastError("unavailable", "lost", { details: { outcome: "unknown" } });
      };
      const stored = async () => (await kernel.runtime.loadInputStates(RUNTIME_ID)).map(({ inputId }) => inputId);
      return { kernel, session, stored };
    }

    it("has an input stored once, and says so (R-82)", async () => {
      const { session, stored } = await lose(1);
      expect(await session.submit(GIVEN)).toEqual({ outcome: "accepted", inputId: "a" });
      expect(await stored()).toEqual(["a"]);
    });

    it("has it stored once where nobody hears of it at all: the same again names it (R-73, R-82)", async () => {
      const { session, stored } = await lose(2);
      await expect(session.submit(GIVEN)).rejects.toMatchObject({ code: "unavailable", details: { outcome: "unknown" } });
      expect(await session.submit(GIVEN)).toEqual({ outcome: "deduplicated", inputId: "a", existingId: "a" });
      expect(await stored()).toEqual(["a"]);
    });

    it.each(["retire", "reset", "shutdown", "destroy", "recycle"] as const)(
      "has a %s done once, whatever the caller hears (R-135)",
      async (name) => {
        const { kernel, session } = await lose(1);
        await (session[name]() as Promise<unknown>).catch((thrown: HoldfastError) => expect(thrown.code).toBe("unavailable"));
        expect(await kernel.runtime.loadRuntimeState(RUNTIME_ID)).toBe(
          { retire: "retired", reset: "idle", shutdown: "stopped", destroy: "destroyed", recycle: "idle" }[name],
        );
      },
    );
  });

  describe(`${place} that cannot read a receipt`, () => {
    const receipt: RunBoundaryReceipt = {
      runId: "run",
      boundary: "run_start",
      contributingInputIds: ["a"],
      messageCount: 0,
      sequence: 0,
    };

    it("opens no session over it: it does not count as missing, and nothing is run twice (R-118)", async () => {
      const { kernel, probed } = await bench({}, { probed: probe(open()) });
      const applied = waiting("a", { currentState: "applied", lastRunId: "run", lastBoundarySequence: 0 });
      await kernel.runtime.atomicApply(RUNTIME_ID, undefined, receipt, [applied]);
      const before = await rowsIn(probed);
      probed.hooks.read = (table) => {
        if (table === "receipts") throw new HoldfastError("read-failed", "bad sector");
      };
      await expect(kernel.session("s")).rejects.toMatchObject({ code: "read-failed" });
      probed.hooks = {};
      expect(await rowsIn(probed)).toEqual(before);
      const session = await kernel.session("s");
      expect(session.recovery).toEqual({ recovered: 0, requeued: 0, consumed: 1, abandoned: 0, dropped: 0 });
    });

    it("begins no turn over it, either (R-118)", async () => {
      const { kernel, probed, clock } = await bench({}, { probed: probe(open()) });
      const session = await kernel.session("s");
      const applied = waiting("a", { currentState: "applied", lastRunId: "run", lastBoundarySequence: 0 });
      await kernel.runtime.atomicApply(RUNTIME_ID, undefined, receipt, [applied, waiting("b")]);
      probed.hooks.read = (table) => {
        if (table === "receipts") throw new HoldfastError("read-failed", "bad sector");
      };
      const ran: string[] = [];
      session.onTurn(async ({ inputs }) => void ran.push(...inputs.map(({ inputId }) => inputId)));
      await clock.advance(20_000);
      expect(ran).toEqual([]);
      probed.hooks = {};
      await clock.advance(60_000);
      expect(ran).toEqual(["b"]);
    });
  });
}
