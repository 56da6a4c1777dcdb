import { type OpenFixture, outcomes, type Runner, refusalMismatch, refused } from "../../kit/fixture.js";
import { prompt, sessionCasesOn, withoutTurns } from "../session.fixture.js";
import { SESSION_FIELDS } from "./session.fields.js";

/** Wrong arguments of a session's methods. */
export function sessionArgumentCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise, changesNoRow } = sessionCasesOn(open, runner);

  for (const [at, [field, values, call]] of SESSION_FIELDS.entries()) {
    promise(`what cannot be ${field} is refused by that name, and stores nothing (${at + 1})`, async (setup) => {
      const { kernel, session } = await withoutTurns(setup);
      await session.submit(prompt("a", { idempotencyKey: "k" }));
      await changesNoRow(setup, async () => {
        const wrong: string[] = [];
        for (const [name, value] of Object.entries(values())) {
          const problem = await refusalMismatch((async () => call(session, value as never, kernel))(), "invalid", field);
          if (problem !== undefined) wrong.push(`${name}: ${problem}`);
        }
        expect(wrong).toEqual([]);
      });
      expect((await session.submit(prompt("b"))).outcome).toBe("accepted");
    });
  }

  promise("an object that was left takes nothing more", async (setup) => {
    const { session } = await withoutTurns(setup);
    await session[Symbol.asyncDispose]();
    await session[Symbol.asyncDispose]();
    const calls: Promise<unknown>[] = [
      session.submit(prompt("a")),
      session.cancel("a"),
      session.messages(),
      session.blob("x"),
      session.retire(),
    ];
    calls.push(session.reset(), session.recycle(), session.shutdown(), session.destroy());
    expect((await outcomes<unknown>(calls)).codes).toEqual(calls.map(() => "closed"));
    for (const call of [() => session.onTurn(async () => {}), () => session.subscribe(() => {})]) {
      await refused((async () => call())(), "closed");
    }
  });
}
