import type { JsonValue } from "../../domain/json.js";
import type { Message } from "../../domain/session/session.js";
import type { InputSubmission } from "../../stores/session/inputs/submission.js";
import { type OpenFixture, type Runner, refused } from "../kit/fixture.js";
import { drained, prompt, sessionCasesOn, stateOf, withoutTurns, withTurns } from "./session.fixture.js";

/** What becomes of a value between the app and a session's rows. */
export function sessionValueCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise, changesNoRow } = sessionCasesOn(open, runner);

  promise("a prompt takes fields of the app's own, and they come back (A-35)", async (setup) => {
    const { session, kernel } = await withTurns(setup);
    const own = { model: "small", tools: [{ name: "search", args: { deep: true } }], traceId: null };
    const submission: InputSubmission = { inputType: "prompt", text: "hello", inputId: "a", ...own };
    const shown: unknown[] = [];
    session.onTurn(async ({ inputs, messages }) => void shown.push(inputs[0]?.persistedInput, messages));
    await session.submit(submission);
    await drained(kernel);
    const stored = {
      inputType: "prompt",
      text: "hello",
      ...own,
      source: { type: "operator" },
      visibility: { transcriptEligible: true, operatorEligible: true },
    };
    expect(shown).toEqual([stored, [{ role: "user", content: "hello", inputId: "a" }]]);
    const reopened = await setup.reopen();
    expect((await stateOf(reopened, "a")).persistedInput).toEqual(stored);
  });

  promise("undefined members of a submission or a message are left out, at any depth (A-1)", async (setup) => {
    const { session, kernel } = await withTurns(setup);
    session.onTurn(async (turn) => {
      turn.append({ role: "assistant", content: [{ text: "x", more: undefined }] as unknown as JsonValue, none: undefined });
    });
    await session.submit(
      prompt("a", {
        extra: { a: 1, b: undefined },
        blocks: [{ type: "text", text: "t", cache: undefined }],
        source: { type: "operator", name: undefined },
        idempotencyKey: undefined,
      }),
    );
    await drained(kernel);
    const { persistedInput = {} } = await stateOf(kernel, "a");
    expect(JSON.stringify(persistedInput)).toBe(JSON.stringify(JSON.parse(JSON.stringify(persistedInput))));
    expect(Object.keys((persistedInput as { extra: object }).extra)).toEqual(["a"]);
    const answer = (await session.messages())[1] as Message & { content: object[] };
    expect(Object.keys(answer)).toEqual(["role", "content"]);
    expect(answer.content.map((block) => Object.keys(block))).toEqual([["text"]]);
  });

  promise("a lone surrogate in a submission, a message or a step's result is stored as U+FFFD (A-2)", async (setup) => {
    const { session, kernel } = await withTurns(setup);
    const steps: unknown[] = [];
    session.onTurn(async (turn) => {
      steps.push(await turn.step("load", () => ({ text: "a\ud83d" })));
      turn.append({ role: "assistant", content: "\udc00b", more: ["\ud800"] });
    });
    await session.submit(
      prompt("a", { text: "cut \ud83d", blocks: [{ type: "text", text: "\ude00" }], extra: { note: "\ud800" } }),
    );
    await drained(kernel);
    const { persistedInput } = await stateOf(kernel, "a");
    expect([persistedInput?.text, persistedInput?.extra]).toEqual(["cut \ufffd", { note: "\ufffd" }]);
    expect(persistedInput?.blocks).toEqual([{ type: "text", text: "\ufffd" }]);
    expect(steps).toEqual([{ text: "a\ufffd" }]);
    expect((await session.messages())[1]).toEqual({ role: "assistant", content: "\ufffdb", more: ["\ufffd"] });
  });

  promise("a lone surrogate in an id or a key of a submission stays invalid (A-2)", async (setup) => {
    const { session } = await withoutTurns(setup);
    await changesNoRow(setup, async () => {
      for (const name of ["inputId", "idempotencyKey", "supersessionKey", "correlationId"]) {
        await refused(session.submit(prompt("a", { [name]: "x\ud800" })), "invalid", `input.${name}`, "lone surrogate");
      }
      await refused(session.submit(prompt("a", { "\ud800": 1 })), "invalid", "input has a key with a lone surrogate");
    });
  });

  promise("a message or submission that cannot be stored is named by path and class (A-3)", async (setup) => {
    const { session, kernel } = await withTurns(setup);
    const said: unknown[] = [];
    session.onTurn(async (turn) => {
      try {
        turn.append({ role: "assistant", content: { sent: new Date(0) } as unknown as JsonValue });
      } catch (error) {
        said.push((error as Error).message);
      }
      try {
        await turn.step("load", () => ({ when: new Date(0) }) as never);
      } catch (error) {
        said.push((error as Error).message);
      }
    });
    const unsent = prompt("a", { extra: { later: Promise.resolve(1) } });
    await refused(session.submit(unsent), "invalid", "input/extra/later is a Promise: is an await missing?");
    await session.submit(prompt("b"));
    await drained(kernel);
    expect(said).toEqual([
      "message/content/sent is a Date; a JSON value is expected",
      'the result of step "load": /when is a Date; a JSON value is expected',
    ]);
  });
}
