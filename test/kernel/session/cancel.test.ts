import { afterEach, describe, expect, it } from "vitest";
import { bench, closeBenches } from "../hosts.js";
import { gate, rounds, until } from "../rounds.js";

afterEach(closeBenches);

async function opened() {
  const { kernel } = await bench();
  const session = await kernel.session("s");
  const outcomes = async () =>
    (await kernel.runtime.loadInputStates(session.runtimeId)).map(({ inputId, terminalOutcome }) => [inputId, terminalOutcome]);
  const prompt = (inputId: string) => session.submit({ inputType: "prompt", text: inputId, inputId });
  return { kernel, session, outcomes, prompt };
}

const CANCELLED = { outcomeType: "abandoned", reason: "cancelled" };
const CONSUMED = { outcomeType: "consumed" };

describe("an input that is taken back", () => {
  it("while it waits is abandoned at once, and no other", async () => {
    const { session, outcomes, prompt } = await opened();
    await prompt("a");
    await prompt("b");
    await session.cancel("a");
    expect(await outcomes()).toEqual([
      ["a", CANCELLED],
      ["b", undefined],
    ]);
  });

  it("while it runs ends its turn; what was stored of it stays, what ran beside it is run again, and the next one goes on", async () => {
    const { session, outcomes, prompt } = await opened();
    const begun = gate();
    const runs: string[][] = [];
    let reason: unknown;
    session.onTurn(async (turn) => {
      runs.push(turn.inputs.map(({ inputId }) => inputId));
      if (runs.length > 1) return;
      turn.append({ role: "assistant", content: "so far" });
      await turn.checkpoint();
      turn.append({ role: "assistant", content: "never stored" });
      turn.signal.addEventListener("abort", () => {
        reason = turn.signal.reason;
      });
      begun.open();
      // This handler ignores its signal.
      await new Promise(() => {});
    });
    await Promise.all([
      session.submit({ inputType: "external_event", inputId: "beside", text: "beside" }),
      prompt("a"),
      prompt("b"),
    ]);
    await begun.promise;
    await session.cancel("a");
    await until(() => runs.length === 3, "the turns after it");
    await rounds();
    expect(runs).toEqual([["beside", "a"], ["beside"], ["b"]]);
    expect(await outcomes()).toEqual([
      ["a", CANCELLED],
      ["b", CONSUMED],
      ["beside", CONSUMED],
    ]);
    expect(reason).toMatchObject({ code: "aborted", details: { reason: "cancel-requested" } });
    expect((await session.messages()).map(({ content }) => content)).toEqual(["beside", "a", "so far", "b"]);
  });

  it("after its end stays as it is; an unknown input changes nothing", async () => {
    const { session, outcomes, prompt } = await opened();
    session.onTurn(async () => {});
    await prompt("a");
    await rounds();
    await session.cancel("a");
    await session.cancel("nobody");
    expect(await outcomes()).toEqual([["a", CONSUMED]]);
    await expect(session.cancel("")).rejects.toMatchObject({ code: "invalid", message: expect.stringContaining("inputId") });
  });
});
