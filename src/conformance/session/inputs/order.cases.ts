import { count, type OpenFixture, type Runner } from "../../kit/fixture.js";
import { DECISION } from "../runtime.fixture.js";
import { drained, prompt, runsOf, sessionCasesOn, withTurns } from "../session.fixture.js";

/** The order in which inputs run. */
export function inputOrderCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise } = sessionCasesOn(open, runner);

  promise("inputs run in the order of their admission, whatever their ids and whoever submits at once (R-63)", async (setup) => {
    const { kernel, session } = await withTurns(setup);
    const ids = count(12).map((n) => `${String.fromCharCode(122 - n)}${n}`);
    await Promise.all(ids.map((id) => session.submit(prompt(id))));
    const runs = runsOf(session);
    await drained(kernel);
    expect(runs).toEqual(ids.map((id) => [id]));
  });

  promise("a priority input goes before all that waits, also before earlier ones of its kind (R-63)", async (setup) => {
    const kernel = await setup.open({ loop: "inline" });
    let first = false;
    const session = await kernel.session("s", {
      policy: () => (first ? { ...DECISION, queueMode: "priority" } : undefined),
    });
    await session.submit(prompt("a"));
    await session.submit(prompt("b"));
    first = true;
    for (const id of ["p1", "p2", "p3"]) await session.submit(prompt(id));
    first = false;
    await session.submit(prompt("c"));
    const runs = runsOf(session);
    await drained(kernel);
    expect(runs.flat()).toEqual(["p3", "p2", "p1", "a", "b", "c"]);
  });

  promise("the steer lane is run before the queue, to its end (R-64)", async (setup) => {
    const { kernel, session } = await withTurns(setup);
    await session.submit(prompt("q1"));
    await session.submit(prompt("q2"));
    await session.submit(prompt("s1", { handlingMode: "steer" }));
    await session.submit({ inputType: "continuation", inputId: "s2" });
    await session.submit(prompt("s3", { handlingMode: "steer" }));
    const runs = runsOf(session);
    await drained(kernel);
    expect(runs).toEqual([["s1"], ["s2"], ["s3"], ["q1"], ["q2"]]);
  });
}
