import type { Turn } from "../../../kernel/session/turn.js";
import type { OpenFixture, Runner } from "../../kit/fixture.js";
import {
  ABANDONED,
  CONSUMED,
  drained,
  gate,
  outcomeOf,
  prompt,
  quiet,
  said,
  sessionCasesOn,
  withTurns,
} from "../session.fixture.js";
import { codesOf, saying } from "./turn.fixture.js";

/** Cancels of inputs that run. */
export function turnCancelCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise } = sessionCasesOn(open, runner);

  promise("an input that is cancelled while it runs is never run again, and takes no other with it (R-99)", async (setup) => {
    const { kernel, session, told } = await withTurns(setup);
    const taken: string[][] = [];
    const begun = gate<Turn>();
    session.onTurn(async (turn) => {
      taken.push(turn.inputs.map(({ inputId }) => inputId));
      if (taken.length > 1) return;
      turn.append(saying("dropped"));
      begun.open(turn);
      await new Promise(() => {});
    });
    await session.submit({ inputType: "external_event", inputId: "e", body: "rang" });
    await session.submit(prompt("a"));
    const turn = await begun.promise;
    await session.cancel("a");
    await drained(kernel);
    expect(taken).toEqual([["e", "a"], ["e"]]);
    expect([await outcomeOf(kernel, "a"), await outcomeOf(kernel, "e")]).toEqual([ABANDONED("cancelled"), CONSUMED]);
    expect(turn.signal.aborted).toBe(true);
    expect(await said(session)).toEqual(["rang"]);
    expect(codesOf(told).filter((code) => code === "run.cancelled")).toEqual(["run.cancelled"]);
  });

  for (const end of ["throws", "is taken off", "is closed with its kernel"] as const) {
    promise(`an input that is cancelled in the moment in which its handler ${end} is not run again (R-99)`, async (setup) => {
      const { kernel, session } = await withTurns(setup);
      let begins = 0;
      const done = gate();
      const off = session.onTurn(async () => {
        begins++;
        await session.cancel("a");
        if (end === "is taken off") off();
        if (end === "is closed with its kernel") await kernel.close();
        done.open();
        if (end === "throws") throw new Error("no");
        await new Promise(() => {});
      });
      await session.submit(prompt("a"));
      await done.promise;
      await quiet();
      const next = await withTurns(setup);
      next.session.onTurn(async () => void begins++);
      await setup.clock.advance(10_000);
      await drained(next.kernel);
      expect([begins, await outcomeOf(next.kernel, "a")]).toEqual([1, ABANDONED("cancelled")]);
    });
  }
}
