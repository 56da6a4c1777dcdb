import { count, type OpenFixture, type Runner, refusalMismatch } from "../../kit/fixture.js";
import { readRows } from "../../kit/rows.fixture.js";
import { drained, phases, prompt, sessionCasesOn, withTurns } from "../session.fixture.js";

/** Steps of turns: stored once, under a key. */
export function turnStepCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise } = sessionCasesOn(open, runner);

  promise("a step runs once for all attempts at its inputs, and is gone with them", async (setup) => {
    const { kernel, session } = await withTurns(setup);
    const ran: unknown[] = [];
    const results: unknown[] = [];
    session.onTurn(async (turn) => {
      const result = await turn.step("call", async ({ idempotencyKey, attempt, fencingToken }) => {
        ran.push([attempt, typeof idempotencyKey, fencingToken > 0]);
        return { n: ran.length };
      });
      result.n += 100;
      results.push(await turn.step("call", () => ({ n: 7 })), await turn.step("nothing", () => undefined as never));
      if (turn.attempt < 3) throw new Error("no");
      expect((await readRows(setup, "turnSteps")).length).toBe(2);
    });
    await session.submit(prompt("a"));
    await drained(kernel);
    expect(ran).toEqual([[1, "string", true]]);
    expect(results).toEqual(count(3).flatMap(() => [{ n: 1 }, null]));
    expect(await readRows(setup, "turnSteps")).toEqual([]);
    expect(await phases(kernel)).toEqual(["a consumed"]);
  });

  promise("calls of one key at once share one run; one that throws stores nothing and may be tried again", async (setup) => {
    const { kernel, session } = await withTurns(setup);
    let ran = 0;
    const found: unknown[] = [];
    session.onTurn(async ({ step }) => {
      const slow = () => new Promise<number>((resolve) => setTimeout(() => resolve(++ran), 1));
      found.push(await Promise.all([step("a", slow), step("a", slow), step("b", slow)]));
      const broken = step("c", () => {
        throw new Error("no");
      });
      found.push(await broken.catch((error: Error) => error.message));
      found.push(await step("c", () => "yes"));
      for (const bad of ["", "x".repeat(513), 5, undefined])
        found.push(
          await refusalMismatch(
            step(bad as never, () => 1),
            "invalid",
            "key",
          ),
        );
      found.push(await refusalMismatch(step("d", 5 as never), "invalid", "run"));
      const withOptions = step as (key: string, run: () => number, options: object) => Promise<number>;
      found.push(
        await refusalMismatch(
          withOptions("d", () => 1, { retry: { attempts: 2 } }),
          "invalid",
          "retry is no option of step",
        ),
      );
      found.push(
        await refusalMismatch(
          step("d", () => Number.NaN),
          "invalid",
        ),
      );
    });
    await session.submit(prompt("a"));
    await drained(kernel);
    expect(found).toEqual([[1, 1, 2], "no", "yes", ...Array(7).fill(undefined)]);
    expect(await phases(kernel)).toEqual(["a consumed"]);
  });

  promise("steps of other inputs are their own", async (setup) => {
    const { kernel, session } = await withTurns(setup);
    const found: unknown[] = [];
    session.onTurn(async ({ step, inputs }) => void found.push(await step("call", () => inputs[0]?.inputId ?? "")));
    for (const id of ["a", "b"]) await session.submit(prompt(id));
    await drained(kernel);
    expect(found).toEqual(["a", "b"]);
  });
}
