import type { ProcessLease } from "../../../domain/lease.js";
import { mintLifecycleCommit } from "../../../domain/session/lifecycle-commit.js";
import { RUNTIME_STATES } from "../../../domain/session/session.js";
import { type OpenFixture, type Runner, refusalMismatch, refused, type Setup, task } from "../../kit/fixture.js";
import { readRows } from "../../kit/rows.fixture.js";
import { bytesOf, input, RUNTIME, readRuntimes, receipt, snapshot, textOf } from "../runtime.fixture.js";
import { DELTA, idsIn, OTHER, runtimeCasesOn } from "./runtime-store.fixture.js";

/** Commits: one call writes snapshots, receipts, inputs and the state together. */
export function runtimeCommitCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise, changesNothing } = runtimeCasesOn(open, runner);

  promise("snapshot, receipt and inputs of one call stand or fall together (R-12)", async (setup) => {
    const { runtime } = setup.kernel;
    const lease = await leased(setup);
    await runtime.atomicApply(RUNTIME, DELTA, receipt(), [input("a"), input("b")], "s", { lease });
    expect(await readRuntimes(runtime)).toEqual([
      {
        state: "none",
        snapshot: textOf(DELTA.sessionSnapshot),
        inputs: [input("a"), input("b")],
        receipt: receipt(),
        ops: "none",
      },
    ]);
    await changesNothing(runtime, async () => {
      const next = [input("a", { currentState: "staged" }), input("c")];
      await refused(runtime.atomicApply(RUNTIME, snapshot({ id: "t" }), receipt(), next), "write-failed");
      const dead = { lease: { ...lease, fencingToken: 9 } };
      await refused(runtime.atomicApply(OTHER, DELTA, receipt(), next, "s", dead), "lease-lost");
    });
    expect((await readRows(setup, "sessions")).map(({ sessionId }) => sessionId)).toEqual(["s"]);
  });

  promise("a receipt is written once: also the same again is refused, with all that came along (R-16)", async (setup) => {
    const { kernel, open: openMore } = setup;
    const { runtime } = kernel;
    await runtime.atomicApply(RUNTIME, DELTA, receipt(), [input("a")]);
    const other = await openMore();
    await changesNothing(runtime, async () => {
      for (const again of [receipt(), receipt({ messageCount: 9 })]) {
        for (const store of [runtime, other.runtime]) {
          const call = store.atomicApply(RUNTIME, snapshot({ id: "t" }), again, [input("a", { attemptCount: 1 }), input("b")]);
          await refused(call, "write-failed", "run", "0");
        }
      }
    });
    await runtime.atomicApply(OTHER, undefined, receipt(), []);
    await runtime.atomicApply(RUNTIME, undefined, receipt({ runId: "another" }), []);
  });

  promise("of calls with one receipt that come at once, one is stored, whole (R-16)", async ({ kernel, open: openMore }) => {
    const other = await openMore();
    const stores = [kernel.runtime, other.runtime, kernel.runtime, other.runtime];
    const problems = await Promise.all(
      stores.map((store, at) =>
        refusalMismatch(store.atomicApply(RUNTIME, snapshot({ id: `s${at}` }), receipt(), [input(`i${at}`)]), "write-failed"),
      ),
    );
    const winner = problems.findIndex((problem) => problem !== undefined);
    expect(problems.filter((problem) => problem !== undefined).length).toBe(1);
    expect(textOf(await kernel.runtime.loadSessionSnapshot(RUNTIME))).toBe(`{"id":"s${winner}"}`);
    expect(await idsIn(kernel.runtime)).toEqual([`i${winner}`]);
  });

  promise("receipts of a run come in any order, and come back whole (R-17)", async ({ kernel: { runtime } }) => {
    const receipts = [
      receipt({ sequence: 5, boundary: "immediate", contributingInputIds: [], messageCount: 0 }),
      receipt({ sequence: 2, boundary: "run_checkpoint", contributingInputIds: ["z", "a", "z", "m"] }),
      receipt({ sequence: 3, conversationDigest: "ab".repeat(32) }),
      receipt({ sequence: 0 }),
    ];
    for (const given of receipts) await runtime.atomicApply(RUNTIME, undefined, given, []);
    for (const given of receipts) {
      const read = await runtime.loadBoundaryReceipt(RUNTIME, "run", given.sequence);
      expect(read).toEqual(given);
      expect(Object.keys(read ?? {}).sort()).toEqual(Object.keys(given).sort());
    }
  });

  promise("input updates are upserts, and of several of one input the last counts (R-18, R-19)", async (setup) => {
    const { runtime } = setup.kernel;
    await runtime.persistInputState(RUNTIME, input("a", { durability: "durable", lastRunId: "gone" }));
    const updates = [input("a", { attemptCount: 1 }), input("b"), input("a", { attemptCount: 2 })];
    await runtime.atomicApply(RUNTIME, undefined, receipt(), updates);
    expect(await runtime.loadInputStates(RUNTIME)).toEqual([input("a", { attemptCount: 2 }), input("b")]);
    await runtime.atomicApply(RUNTIME, undefined, receipt({ sequence: 1 }), []);
    expect(await runtime.loadInputStates(RUNTIME)).toEqual([input("a", { attemptCount: 2 }), input("b")]);
    expect(await runtime.loadSessionSnapshot(RUNTIME)).toBe(undefined);
    const keyed = ["first", "last"].map((idempotencyKey) => input("a", { idempotencyKey }));
    await runtime.atomicApply(RUNTIME, undefined, receipt({ sequence: 2 }), keyed);
    expect((await readRows(setup, "inputKeys")).map(({ idempotencyKey }) => idempotencyKey)).toEqual(["last"]);
  });

  promise("everything is checked before anything is written, whichever argument is wrong (R-21)", async ({ kernel }) => {
    const { runtime } = kernel;
    const good = [DELTA, receipt(), [input("a")], "s", {}] as const;
    const wrong: [at: number, value: unknown, code: "invalid" | "write-failed" | "session-key-mismatch"][] = [
      [0, { sessionSnapshot: bytesOf("no") }, "write-failed"],
      [1, receipt({ sequence: -1 }), "write-failed"],
      [2, [input("a"), input("")], "invalid"],
      [3, "t", "session-key-mismatch"],
      [3, "", "invalid"],
      [4, { lease: {} }, "invalid"],
    ];
    await changesNothing(runtime, async () => {
      for (const [at, value, code] of wrong) {
        const args = good.map((arg, place) => (place === at ? value : arg)) as unknown as typeof good;
        await refused(runtime.atomicApply(RUNTIME, ...args), code);
      }
    });
    await runtime.atomicApply(RUNTIME, ...good);
  });

  promise("a lifecycle commit writes the state and its inputs in one (R-26, R-29)", async (setup) => {
    const { runtime } = setup.kernel;
    await runtime.persistInputState(RUNTIME, input("a"));
    await runtime.persistInputState(RUNTIME, input("b"));
    const abandoned = input("b", {
      currentState: "abandoned",
      terminalOutcome: { outcomeType: "abandoned", reason: "stopped" },
    });
    await runtime.commitMachineLifecycle(RUNTIME, mintLifecycleCommit("stopped"), [input("c"), abandoned]);
    expect(await runtime.loadRuntimeState(RUNTIME)).toBe("stopped");
    expect(await runtime.loadInputStates(RUNTIME)).toEqual([input("a"), abandoned, input("c")]);
    const lease = { ...(await leased(setup)), leaseToken: "another" };
    await changesNothing(runtime, async () => {
      const call = runtime.commitMachineLifecycle(RUNTIME, mintLifecycleCommit("idle"), [input("a", { attemptCount: 1 })], {
        lease,
      });
      await refused(call, "lease-lost");
      const bad = [input("a", { attemptCount: 1 }), input("b", { currentState: "asleep" as never })];
      await refused(runtime.commitMachineLifecycle(RUNTIME, mintLifecycleCommit("idle"), bad), "invalid", "inputStates/1");
    });
  });

  promise("what looks like a lifecycle commit and was not made by a runtime is refused (R-27)", async ({ kernel }) => {
    const { runtime } = kernel;
    await changesNothing(runtime, async () => {
      const real = mintLifecycleCommit("stopped");
      for (const forged of [{ runtimeState: "stopped" }, Object.create(real), structuredClone(real), new Proxy(real, {})])
        await refused(runtime.commitMachineLifecycle(RUNTIME, forged as never, [input("a")]), "invalid", "commit");
    });
  });

  promise("every state that a commit carries is stored but attached, which is refused (R-28)", async ({ kernel }) => {
    const { runtime } = kernel;
    for (const state of RUNTIME_STATES.filter((known) => known !== "attached")) {
      await runtime.commitMachineLifecycle(RUNTIME, mintLifecycleCommit(state), []);
      expect(await runtime.loadRuntimeState(RUNTIME)).toBe(state);
    }
    await changesNothing(runtime, async () => {
      const call = runtime.commitMachineLifecycle(RUNTIME, mintLifecycleCommit("attached"), [input("a")]);
      await refused(call, "invalid", "attached");
    });
  });

  promise(
    "a write under a lease is refused once that is not the live one, and takes back nothing (R-12, R-26)",
    async (setup) => {
      const { kernel, clock } = setup;
      const { runtime } = kernel;
      const lease = await leased(setup);
      await leased(setup, "q");
      const calls = [
        (held: ProcessLease) => runtime.persistInputState(RUNTIME, input("a", { attemptCount: 9 }), { lease: held }),
        (held: ProcessLease) => runtime.atomicApply(RUNTIME, snapshot({ id: "t" }), receipt(), [], undefined, { lease: held }),
        (held: ProcessLease) =>
          runtime.commitMachineLifecycle(RUNTIME, mintLifecycleCommit("idle"), [input("b")], { lease: held }),
      ];
      const refusesAll = (held: ProcessLease) =>
        changesNothing(runtime, async () => {
          for (const call of calls) await refused(call(held), "lease-lost");
        });
      await refusesAll({ ...lease, processId: "q" });
      await refusesAll({ ...lease, processId: "nobody" });
      await refusesAll({ ...lease, ownerId: "another" });
      for (const call of calls) await call(lease);
      expect(await idsIn(runtime)).toEqual(["a", "b"]);
      await clock.advance(1_000);
      await refusesAll(lease);
      await runtime.persistInputState(RUNTIME, input("c"));
    },
  );
}

/** A process's lease, as the host of another program's session has one. */
async function leased({ processes }: Setup, id = "p"): Promise<ProcessLease> {
  await processes.registerProcess(task(id));
  return await processes.claimProcessLease(id, "owner", 1_000);
}
