import { type OpenFixture, type Runner, refused } from "../../kit/fixture.js";
import { readRows, writeRows } from "../../kit/rows.fixture.js";
import { RUNTIME } from "../runtime.fixture.js";
import { comes, gate, prompt, quiet, said, sessionCasesOn, stateOf, withTurns } from "../session.fixture.js";
import { codesOf, saying, stand } from "./turn.fixture.js";

/** A turn stores nothing when its session was changed or its lease was lost. */
export function turnFencingCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise } = sessionCasesOn(open, runner);

  promise("a turn whose input is changed under it stores nothing of its own (R-95)", async (setup) => {
    const { kernel, session } = await withTurns(setup);
    const runIds: string[] = [];
    const ended = { currentState: "consumed", terminalOutcome: { outcomeType: "consumed" } } as const;
    session.onTurn(async (turn) => {
      runIds.push(turn.runId);
      if (runIds.length > 1) return;
      const { history, ...state } = await stateOf(kernel, "a");
      const last = { timestampMs: 0, from: "staged", to: ended.currentState } as const;
      await kernel.runtime.persistInputState(RUNTIME, { ...state, ...ended, history: [...history, last] });
      turn.append(saying("lost"));
    });
    await session.submit(prompt("a"));
    await comes(() => runIds.length === 1, "the turn");
    await quiet();
    await setup.clock.advance(60_000);
    expect((await kernel.runtime.loadBoundaryReceipt(RUNTIME, runIds[0] as string, 0)) ?? "none").toBe("none");
    expect([await said(session), runIds.length]).toEqual([[], 1]);
    expect(await kernel.runtime.loadRuntimeState(RUNTIME)).toBe("idle");
    // The session itself is still usable.
    await session.submit(prompt("b"));
    await comes(() => runIds.length === 2, "the next turn");
  });

  promise("a run whose inputs are not all staged any more cannot be ended by its failure, either (R-100)", async (setup) => {
    const { kernel, session, told } = await withTurns(setup);
    const ended = { currentState: "abandoned", terminalOutcome: { outcomeType: "abandoned", reason: "reset" } } as const;
    const begun = gate();
    session.onTurn(async () => {
      const { history, ...state } = await stateOf(kernel, "a");
      const last = { timestampMs: 0, from: "staged", to: ended.currentState } as const;
      await kernel.runtime.persistInputState(RUNTIME, { ...state, ...ended, history: [...history, last] });
      begun.open();
      throw new Error("no");
    });
    await session.submit(prompt("a"));
    await begun.promise;
    const stored = await stateOf(kernel, "a");
    await quiet();
    await setup.clock.advance(60_000);
    expect(await stateOf(kernel, "a")).toEqual(stored);
    expect(codesOf(told).includes("run.failed")).toBe(false);
    expect(await kernel.runtime.loadRuntimeState(RUNTIME)).toBe("idle");
  });

  promise("a run whose lease another took stores nothing more (R-95)", async (setup) => {
    const { session, told } = await withTurns(setup);
    const { begun, leave } = stand(session);
    await session.submit(prompt("a"));
    const turn = await begun;
    turn.append(saying("lost"));
    const [lease] = await readRows(setup, "leases");
    const put = { ...lease, v: 1, ownerId: "another", leaseToken: "another.9", fencingToken: 9 };
    await writeRows(setup, { table: "leases", put });
    await refused(turn.checkpoint(), "lease-lost");
    await refused(
      turn.step("late", () => 1),
      "lease-lost",
    );
    leave();
    await quiet();
    expect([await said(session), await readRows(setup, "receipts"), await readRows(setup, "turnSteps")]).toEqual([[], [], []]);
    expect(codesOf(told).includes("run.completed")).toBe(false);
    expect((await stateOf(setup.kernel, "a")).currentState).toBe("staged");
    expect((await readRows(setup, "leases"))[0]).toEqual(put);
  });
}
