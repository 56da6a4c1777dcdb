import type { Turn } from "../../../kernel/session/turn.js";
import { count, type OpenFixture, type Runner } from "../../kit/fixture.js";
import { readRows } from "../../kit/rows.fixture.js";
import { RUNTIME } from "../runtime.fixture.js";
import { ABANDONED, drained, phases, prompt, said, sessionCasesOn, stateOf, withTurns } from "../session.fixture.js";
import { isTold, saying } from "./turn.fixture.js";

/** Turns that throw: retried, and given up. */
export function turnFailureCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise } = sessionCasesOn(open, runner);

  promise("after three failures an input is given up, and the first two leave it waiting (R-61, R-104)", async (setup) => {
    const { kernel, session, told } = await withTurns(setup);
    const attempts: unknown[] = [];
    session.onTurn(async (turn) => {
      turn.append(saying("dropped"));
      attempts.push([turn.attempt, (await stateOf(kernel, "a")).attemptCount]);
      throw new Error(`cause ${turn.attempt}`);
    });
    await session.submit(prompt("a"));
    // The clock stands still, and nothing else wakes the run.
    await drained(kernel);
    await isTold(told, "run.failed", 3);
    expect(attempts).toEqual([
      [1, 1],
      [2, 2],
      [3, 3],
    ]);
    const { terminalOutcome, history, recoveryCount } = await stateOf(kernel, "a");
    expect(terminalOutcome).toEqual(ABANDONED({ max_attempts_exhausted: { attempts: 3 } }));
    expect(recoveryCount).toBe(0);
    expect(history.map(({ from, to }) => `${from} ${to}`)).toEqual([
      "accepted queued",
      ...["queued staged", "staged queued", "queued staged", "staged queued"],
      ...["queued staged", "staged abandoned"],
    ]);
    const causes = history.filter(({ from }) => from === "staged").map(({ reason = "" }) => reason);
    expect(count(3).every((n) => causes[n - 1]?.includes(`cause ${n}`))).toBe(true);
    await isTold(told, "run.failed", 3);
    expect(told.filter(({ code }) => code === "run.failed").map(({ error }) => error)).toEqual(["cause 1", "cause 2", "cause 3"]);
    expect([await said(session), await kernel.runtime.loadRuntimeState(RUNTIME)]).toEqual([[], "idle"]);
    expect(await readRows(setup, "receipts")).toEqual([]);
  });

  promise("a poison input keeps nobody waiting: what is behind it runs (R-61)", async (setup) => {
    const { kernel, session } = await withTurns(setup);
    session.onTurn(async (turn) => {
      if (turn.inputs.some(({ inputId }) => inputId === "poison")) throw new Error("no");
      turn.append(saying("fine"));
    });
    await session.submit(prompt("poison"));
    await session.submit(prompt("good"));
    await drained(kernel);
    expect(await phases(kernel)).toEqual(["good consumed", "poison abandoned"]);
    expect(await said(session)).toEqual(["good", "fine"]);
  });

  promise("two failures before a success cost nothing of the next input's own budget (R-61)", async (setup) => {
    const { kernel, session } = await withTurns(setup);
    session.onTurn(async ({ attempt }) => {
      if (attempt < 3) throw new Error("no");
    });
    for (const id of ["a", "b"]) await session.submit(prompt(id));
    await drained(kernel);
    expect(await phases(kernel)).toEqual(["a consumed", "b consumed"]);
  });

  promise("a failure names a cause, whatever was thrown (R-98)", async (setup) => {
    const { kernel, session, told } = await withTurns(setup);
    const hostile = {
      get message(): string {
        throw new Error("hostile");
      },
    };
    const thrown: unknown[] = [
      undefined,
      null,
      0,
      "",
      "text",
      {},
      { message: 5 },
      { message: "" },
      hostile,
      Symbol("s"),
      new Error(""),
    ];
    thrown.push(new Error(`\ud800${"x".repeat(5_000)}`), Object.create(null), () => 1);
    let at = 0;
    session.onTurn(async ({ attempt }) => {
      if (attempt === 1) throw thrown[at++];
    });
    for (const n of thrown.keys()) await session.submit(prompt(`i${n}`));
    await drained(kernel);
    const errors = told.filter(({ code }) => code === "run.failed").map(({ error = "" }) => error);
    expect([errors.length, errors.filter((error) => error.trim() === "" || error.includes("unknown"))]).toEqual([
      thrown.length,
      [],
    ]);
    expect(errors[4]).toBe("text");
    expect((await phases(kernel)).every((line) => line.endsWith("consumed"))).toBe(true);
  });

  promise("a handler that throws at once, or returns no promise, is like any other", async (setup) => {
    const { kernel, session } = await withTurns(setup);
    session.onTurn(((turn: Turn) => {
      if (turn.attempt === 1) throw new Error("at once");
      turn.append(saying("done"));
    }) as never);
    await session.submit(prompt("a"));
    await drained(kernel);
    expect(await said(session)).toEqual(["a", "done"]);
  });
}
