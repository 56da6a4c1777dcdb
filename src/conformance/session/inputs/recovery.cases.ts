import { mintLifecycleCommit } from "../../../domain/session/lifecycle-commit.js";
import { casesOn, count, type OpenFixture, type Runner, refused } from "../../kit/fixture.js";
import { writeRows } from "../../kit/rows.fixture.js";
import { RUNTIME, receipt } from "../runtime.fixture.js";
import {
  ABANDONED,
  CONSUMED,
  drained,
  operation,
  outcomeOf,
  phases,
  prompt,
  quiet,
  runsOf,
  sessionCasesOn,
  stateOf,
  waiting,
  withoutTurns,
  withTurns,
} from "../session.fixture.js";
import { abandonedRun, applied, handOver } from "./recovery.fixture.js";

/** Recovery: an opening changes the inputs that it finds. */
export function recoveryCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise, changesNoRow } = sessionCasesOn(open, runner);
  /** Cases with forged rows, for which the invariants do not hold. */
  const bare = casesOn(open, runner);

  promise("applied inputs are consumed where their receipt is stored, and wait again where it is not (R-110)", async (setup) => {
    const { kernel } = setup;
    await kernel.runtime.atomicApply(RUNTIME, undefined, receipt(), []);
    await handOver(
      setup,
      applied("a"),
      applied("b", { currentState: "applied_pending_consumption" }),
      applied("c", { lastRunId: "other" }),
      applied("d", { currentState: "applied_pending_consumption", lastBoundarySequence: 1 }),
      applied("e", { lastRunId: undefined } as never),
      applied("f", { lastBoundarySequence: undefined, terminalOutcome: { outcomeType: "consumed" } } as never),
    );
    const session = await kernel.session("s");
    expect(await phases(kernel)).toEqual(["a consumed", "b consumed", "c queued", "d queued", "e queued", "f queued"]);
    expect([await outcomeOf(kernel, "a"), await outcomeOf(kernel, "b")]).toEqual([CONSUMED, CONSUMED]);
    expect(await outcomeOf(kernel, "f")).toBe(undefined);
    const { lastRunId, lastBoundarySequence } = await stateOf(kernel, "d");
    expect([lastRunId, lastBoundarySequence]).toEqual(["run", 1]);
    expect(session.recovery).toEqual({ recovered: 4, requeued: 4, consumed: 2, abandoned: 0, dropped: 0 });
  });

  promise("each of them runs exactly once after it, and what was consumed never (R-110)", async (setup) => {
    await setup.kernel.runtime.atomicApply(RUNTIME, undefined, receipt(), []);
    await handOver(setup, applied("a"), applied("b", { lastRunId: "other" }), waiting("c"));
    const { kernel, session } = await withTurns(setup);
    const runs = runsOf(session);
    await drained(kernel);
    await quiet();
    expect(runs).toEqual([["b"], ["c"]]);
  });

  promise("accepted, queued and staged inputs wait again; ended ones stay as they are (section F)", async (setup) => {
    const { kernel } = setup;
    const ended = [
      waiting("e1", { currentState: "consumed", terminalOutcome: { outcomeType: "consumed" } }),
      waiting("e2", { currentState: "abandoned", terminalOutcome: { outcomeType: "abandoned", reason: "reset" } }),
      waiting("e3", { currentState: "superseded", terminalOutcome: { outcomeType: "superseded", supersededBy: "x" } }),
      waiting("e4", { currentState: "coalesced", terminalOutcome: { outcomeType: "coalesced", aggregateId: "x" } }),
    ];
    const queued = waiting("q", { attemptCount: 2 });
    await handOver(
      setup,
      waiting("a", { currentState: "accepted" }),
      operation("o", { currentState: "accepted" }),
      queued,
      waiting("s", { currentState: "staged", attemptCount: 2, lastRunId: "run" }),
      ...ended,
    );
    const session = await kernel.session("s");
    expect(await phases(kernel)).toEqual([
      "a queued",
      ...["e1 consumed", "e2 abandoned", "e3 superseded", "e4 coalesced"],
      ...["o consumed", "q queued", "s queued"],
    ]);
    expect(await outcomeOf(kernel, "o")).toEqual(CONSUMED);
    for (const state of [...ended, queued]) expect(await stateOf(kernel, state.inputId)).toEqual(state);
    const { attemptCount, lastRunId, recoveryCount } = await stateOf(kernel, "s");
    expect([attemptCount, lastRunId, recoveryCount]).toEqual([2, "run", 1]);
    expect(session.recovery).toEqual({ recovered: 3, requeued: 1, consumed: 1, abandoned: 0, dropped: 0 });
    expect(session.state).toBe("idle");
  });

  promise("what it finds is written back when the session is open, once (R-111)", async (setup) => {
    const { kernel } = setup;
    await handOver(setup, applied("a"), waiting("s", { currentState: "staged", attemptCount: 1 }));
    await kernel.session("s");
    await changesNoRow(setup, async () => {
      const again = await kernel.session("s");
      expect(again.recovery).toEqual({ recovered: 2, requeued: 0, consumed: 0, abandoned: 0, dropped: 0 });
      const other = await (await setup.open()).session("s");
      expect(other.recovery).toEqual({ recovered: 2, requeued: 0, consumed: 0, abandoned: 0, dropped: 0 });
    });
  });

  promise("retired survives with what waits (R-117)", async (setup) => {
    const { kernel } = setup;
    await kernel.runtime.commitMachineLifecycle(RUNTIME, mintLifecycleCommit("retired"), [waiting("a"), applied("b")]);
    const session = await kernel.session("s");
    expect([session.state, session.recovery?.recovered]).toEqual(["retired", 2]);
    expect(await kernel.runtime.loadRuntimeState(RUNTIME)).toBe("retired");
    await refused(session.submit(prompt("c")), "not-ready", "retired");
  });

  bare.promise("rows under the bare session id are nobody's, whatever they are (R-119)", async (setup) => {
    const { kernel } = setup;
    await kernel.runtime.commitMachineLifecycle("s", mintLifecycleCommit("destroyed"), [waiting("a")]);
    await writeRows(setup, { table: "inputs", put: { v: 1, runtimeId: "s", inputId: "broken", liveRank: 0, record: 7 } });
    const session = await kernel.session("s");
    expect([session.runtimeId, session.state, session.recovery?.recovered]).toEqual([RUNTIME, "idle", 0]);
    expect(await session.submit(prompt("a"))).toEqual({ outcome: "accepted", inputId: "a" });
    await session.shutdown();
    expect((await kernel.runtime.loadInputState("s", "a"))?.currentState).toBe("queued");
    expect(await kernel.runtime.loadRuntimeState("s")).toBe("destroyed");
  });

  promise(
    "admitted inputs run in their order after a restart, those that were handed over behind them by id (R-122)",
    async (setup) => {
      const first = await setup.kernel.session("s");
      for (const id of ["z", "m", "a"]) await first.submit(prompt(id));
      await handOver(setup, waiting("k"), waiting("b"));
      await setup.reopen();
      const kernel = await setup.open({ loop: "inline" });
      const session = await kernel.session("s");
      await session.submit(prompt("last"));
      const runs = runsOf(session);
      await drained(kernel);
      expect(runs.flat()).toEqual(["z", "m", "a", "last", "b", "k"]);
    },
  );

  promise("a stage whose lease ran out is a crash, and the fifth in a row is the last (R-94)", async (setup) => {
    const { kernel } = setup;
    const session = await kernel.session("s");
    await session.submit(prompt("a", { idempotencyKey: "k" }));
    for (const crash of count(5)) {
      await abandonedRun(setup, "a", { outOfOrder: true });
      const opened = await (await setup.open()).session("s");
      const { currentState, attemptCount, recoveryCount } = await stateOf(kernel, "a");
      expect([currentState, attemptCount, recoveryCount]).toEqual([crash < 5 ? "queued" : "abandoned", crash, crash]);
      expect(opened.recovery?.abandoned).toBe(crash < 5 ? 0 : 1);
      expect(await kernel.runtime.loadRuntimeState(RUNTIME)).toBe("idle");
    }
    expect(await outcomeOf(kernel, "a")).toEqual(ABANDONED({ max_attempts_exhausted: { attempts: 5 } }));
  });

  promise("a stage whose owner ended in order costs nothing, twenty times (R-61, R-94)", async (setup) => {
    const { kernel } = setup;
    const session = await kernel.session("s");
    await session.submit(prompt("a"));
    for (const _ of count(20)) {
      await abandonedRun(setup, "a", { outOfOrder: false });
      await (await setup.open())[Symbol.asyncDispose]();
      await kernel.session("s");
    }
    const { currentState, attemptCount, recoveryCount } = await stateOf(kernel, "a");
    expect([currentState, attemptCount, recoveryCount]).toEqual(["queued", 20, 0]);
  });

  promise("a run that another tab is at is left alone by who opens the session (R-115)", async (setup) => {
    const { kernel } = setup;
    const session = await kernel.session("s");
    await session.submit(prompt("a"));
    await abandonedRun(setup, "a", { outOfOrder: true, isLive: true });
    await changesNoRow(setup, async () => {
      const other = await (await setup.open()).session("s");
      expect([other.recovery ?? "none", other.state]).toEqual(["none", "running"]);
      await refused(other.reset(), "not-ready", "running");
      await refused(other.recycle(), "not-ready", "running");
    });
  });

  promise("an ephemeral input of a tab that lives is recovered like any other (R-121)", async (setup) => {
    const { kernel, session } = await withoutTurns(setup);
    await session.submit(prompt("e", { durability: "ephemeral" }));
    await abandonedRun(setup, "e", { outOfOrder: true });
    const other = await setup.open();
    const found = await other.session("s");
    expect(found.recovery).toEqual({ recovered: 1, requeued: 1, consumed: 0, abandoned: 0, dropped: 0 });
    const { currentState, recoveryCount, attemptCount } = await stateOf(kernel, "e");
    expect([currentState, recoveryCount, attemptCount]).toEqual(["queued", 1, 1]);
  });
}
