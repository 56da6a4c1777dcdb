import type { JsonValue } from "../../../domain/json.js";
import { chainDigest } from "../../../stores/session/transcript.rules.js";
import type { OpenFixture, Runner } from "../../kit/fixture.js";
import { RUNTIME, snapshot, textOf } from "../runtime.fixture.js";
import { CONSUMED, drained, outcomeOf, prompt, said, sessionCasesOn, withTurns } from "../session.fixture.js";
import { codesOf, isTold, runtimeRow, saying } from "./turn.fixture.js";

/** Turns of a session with an imported snapshot. */
export function turnSnapshotCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise } = sessionCasesOn(open, runner);

  promise("a session goes on with a snapshot that was handed over whole, and keeps its other members", async (setup) => {
    const { kernel, session } = await withTurns(setup);
    const before = [saying("old"), saying("older")];
    const delta = snapshot({ id: "s", title: "t", messages: before as never, more: { deep: [1] } });
    await kernel.runtime.commitSessionSnapshot(RUNTIME, delta);
    expect(await session.messages()).toEqual(before);
    const views: unknown[] = [];
    session.onTurn(async (turn) => {
      views.push(turn.messages.map(({ content }) => content));
      turn.append(saying("new"));
    });
    await session.submit(prompt("a"));
    await drained(kernel);
    expect(views).toEqual([["old", "older", "a"]]);
    const messages = await session.messages();
    expect(JSON.parse(textOf(await kernel.runtime.loadSessionSnapshot(RUNTIME)))).toEqual({
      id: "s",
      title: "t",
      more: { deep: [1] },
      messages,
    });
    expect((await runtimeRow(setup)).digest).toBe(chainDigest("", messages));
  });

  promise("whatever stands among the messages of such a snapshot, the session goes on with it", async (setup) => {
    const { kernel, session } = await withTurns(setup);
    const odd: JsonValue[] = [
      null,
      5,
      "text",
      [],
      { inputId: "a" },
      { role: "user", inputId: null },
      { role: "nobody", content: 1 },
    ];
    await kernel.runtime.commitSessionSnapshot(RUNTIME, snapshot({ id: "s", messages: odd }));
    expect(await session.messages()).toEqual(odd as never);
    session.onTurn(async (turn) => {
      expect(turn.messages.slice(0, odd.length)).toEqual(odd as never);
      turn.append(saying("fine"));
    });
    await session.submit(prompt("b"));
    await drained(kernel);
    expect(await outcomeOf(kernel, "b")).toEqual(CONSUMED);
    expect((await session.messages()) as unknown).toEqual([
      ...odd,
      { role: "user", content: "b", inputId: "b" },
      { role: "assistant", content: "fine" },
    ]);
  });

  promise(
    "a snapshot that is handed over under a turn wins: the turn stores nothing and is tried again on it (R-95)",
    async (setup) => {
      const { kernel, session, told } = await withTurns(setup);
      const views: unknown[] = [];
      session.onTurn(async (turn) => {
        views.push(turn.messages.map(({ content }) => content));
        if (turn.attempt === 1) {
          await kernel.runtime.commitSessionSnapshot(RUNTIME, snapshot({ id: "s", messages: [saying("theirs")] as never }));
        }
        turn.append(saying(`mine ${turn.attempt}`));
      });
      await session.submit(prompt("a"));
      await drained(kernel);
      await isTold(told, "run.completed");
      expect(views).toEqual([["a"], ["theirs", "a"]]);
      expect(await said(session)).toEqual(["theirs", "a", "mine 2"]);
      expect(codesOf(told).filter((code) => code.startsWith("run."))).toEqual([
        "run.started",
        "run.failed",
        "run.started",
        "run.completed",
      ]);
    },
  );

  promise("a message is appended again under its key where a snapshot took the place of the first one (A-20)", async (setup) => {
    const { kernel, session } = await withTurns(setup);
    const added: boolean[] = [];
    session.onTurn(async (turn) => {
      added.push(turn.append(saying("mine"), { key: "k" }));
      await turn.checkpoint();
      if (turn.attempt > 1) return;
      await kernel.runtime.commitSessionSnapshot(RUNTIME, snapshot({ id: "s", messages: [saying("theirs")] as never }));
      throw new Error("no");
    });
    await session.submit(prompt("a"));
    await drained(kernel);
    expect([added, await said(session)]).toEqual([
      [true, true],
      ["theirs", "a", "mine"],
    ]);
  });
}
