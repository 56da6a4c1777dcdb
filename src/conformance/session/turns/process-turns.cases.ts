import type { OpenFixture, Runner } from "../../kit/fixture.js";
import { RUNTIME } from "../runtime.fixture.js";
import { ABANDONED, CONSUMED, comes, phases, said, sessionCasesOn, withTurns } from "../session.fixture.js";
import { saying, stand } from "./turn.fixture.js";

/** Processes that are turns of a session. */
export function processTurnCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise } = sessionCasesOn(open, runner);

  const turnOf = (input: unknown, id = "p") => ({
    id,
    input: { type: "session_turn" as const, sessionId: "s", input: input as never },
  });

  promise("a process that is a turn goes the way of all inputs and ends with it", async (setup) => {
    const { kernel, session } = await withTurns(setup);
    session.onTurn(async (turn) => void turn.append(saying("answer")));
    const handle = await kernel.start(turnOf("hello"));
    await setup.clock.advance(1_000);
    const output = await handle.outcome();
    const [state] = await kernel.runtime.loadInputStates(RUNTIME);
    expect(output).toEqual({
      type: "success",
      value: { inputId: state?.inputId, runId: state?.lastRunId, outcome: CONSUMED },
    } as never);
    expect(await said(session)).toEqual(["hello", "answer"]);
  });

  promise("it fails when its input is given up or its session stopped, and is cancelled with it (R-123)", async (setup) => {
    const { kernel, session } = await withTurns(setup);
    const { begun } = stand(session);
    const running = await kernel.start(turnOf("one", "p1"));
    const waiting = await kernel.start(turnOf("two", "p2"));
    await setup.clock.advance(1_000);
    await begun;
    await comes(async () => (await kernel.runtime.loadInputStates(RUNTIME)).length === 2, "both inputs");
    await running.cancel("not wanted");
    expect((await running.outcome()).type).toBe("cancelled");
    await session.shutdown();
    const output = await waiting.outcome();
    expect([output.type, (output as { code?: unknown }).code]).toEqual(["failure", "stopped"]);
    const outcomes = (await kernel.runtime.loadInputStates(RUNTIME)).map(({ terminalOutcome }) =>
      JSON.stringify(terminalOutcome),
    );
    expect(outcomes.sort()).toEqual([ABANDONED("cancelled"), ABANDONED("stopped")].map((outcome) => JSON.stringify(outcome)));
  });

  promise("it is run by nobody where the session has no handler", async (setup) => {
    const { kernel, session } = await withTurns(setup);
    const handle = await kernel.start(turnOf("hello"));
    await setup.clock.advance(60_000);
    expect([await phases(kernel), (await handle.record())?.status.state]).toEqual([[], "running"]);
    session.onTurn(async () => {});
    await setup.clock.advance(60_000);
    expect((await handle.outcome()).type).toBe("success");
  });
}
