import type { Message } from "../../../domain/session/session.js";
import type { Turn } from "../../../kernel/session/turn.js";
import type { OpenFixture, Runner } from "../../kit/fixture.js";
import { RUNTIME } from "../runtime.fixture.js";
import { comes, drained, phases, prompt, quiet, said, sessionCasesOn, stateOf, withTurns } from "../session.fixture.js";
import { runtimeRow, saying, stand } from "./turn.fixture.js";

/** Turn handlers: their arguments, and when they are called. */
export function turnHandlerCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise } = sessionCasesOn(open, runner);

  promise("a handler gets its inputs, staged, and the messages with one of each input behind the stored ones", async (setup) => {
    const { kernel, session } = await withTurns(setup);
    const turns: Turn[] = [];
    session.onTurn(async (turn) => {
      turns.push(turn);
      turn.append(saying(`answer ${turns.length}`));
    });
    await session.submit(prompt("a"));
    await drained(kernel);
    await session.submit(prompt("b"));
    await drained(kernel);
    const [first, second] = turns as [Turn, Turn];
    expect(first.messages).toEqual([{ role: "user", content: "a", inputId: "a" }]);
    expect(second.messages).toEqual([
      { role: "user", content: "a", inputId: "a" },
      { role: "assistant", content: "answer 1" },
      { role: "user", content: "b", inputId: "b" },
    ]);
    expect(second.inputs.map(({ inputId, currentState }) => [inputId, currentState])).toEqual([["b", "staged"]]);
    expect([second.attempt, second.inputs[0]?.attemptCount, second.inputs[0]?.lastRunId]).toEqual([1, 1, second.runId]);
    expect(first.runId === second.runId).toBe(false);
    expect(await said(session)).toEqual(["a", "answer 1", "b", "answer 2"]);
  });

  promise("messages() gives one frozen list, and the same messages in a longer one (A-14)", async (setup) => {
    const { kernel, session } = await withTurns(setup);
    session.onTurn(async (turn) => void turn.append(saying(`to ${turn.inputs[0]?.inputId}`)));
    expect(await session.messages()).toEqual([]);
    await session.submit(prompt("a"));
    await drained(kernel);
    const [first, at] = await Promise.all([session.messages(), session.messages({ after: 1 })]);
    const isSame = (some: readonly unknown[], others: readonly unknown[]) => some.every((one, n) => one === others[n]);
    expect([first.length, at.length, isSame(first.slice(1), at), (await session.messages()) === first]).toEqual([
      2,
      1,
      true,
      true,
    ]);
    await session.submit(prompt("b"));
    await drained(kernel);
    const second = await session.messages();
    expect([second.length, isSame(first, second)]).toEqual([4, true]);
    expect([Object.isFrozen(first), Object.isFrozen(second), Object.isFrozen(second[3]), Object.isFrozen(at)]).toEqual([
      true,
      true,
      true,
      true,
    ]);
    // Another tab, whose reads come at once, makes each message once too.
    const elsewhere = await (await setup.open()).session("s");
    const reads = await Promise.all([1, 2, 3].map(() => elsewhere.messages()));
    expect(reads.every((read) => read === reads[0])).toBe(true);
    expect(reads[0]).toEqual(second);
  });

  promise("the view is frozen, and what a handler does to its own copies changes nothing that is stored", async (setup) => {
    const { kernel, session } = await withTurns(setup);
    const tries: unknown[] = [];
    const attempt = (what: () => void) => {
      try {
        what();
        tries.push("done");
      } catch {
        tries.push("refused");
      }
    };
    session.onTurn(async (turn) => {
      const messages = turn.messages as Message[];
      attempt(() => messages.push(saying("forged")));
      attempt(() => Object.assign(messages[0] as object, { content: "forged" }));
      for (const input of turn.inputs) Object.assign(input, { inputId: "forged", currentState: "consumed" });
      turn.inputs.splice(0);
      const own = { role: "assistant" as const, content: { list: [1] } };
      turn.append(own);
      own.content.list.push(2);
    });
    await session.submit(prompt("a"));
    await drained(kernel);
    expect(tries).toEqual(["refused", "refused"]);
    expect(await session.messages()).toEqual([
      { role: "user", content: "a", inputId: "a" },
      { role: "assistant", content: { list: [1] } },
    ]);
    const read = (await session.messages()) as Message[];
    attempt(() => read.push(saying("forged")));
    attempt(() => Object.assign(read[0] as object, { content: "forged" }));
    expect(tries.slice(2)).toEqual(["refused", "refused"]);
    expect((await said(session))[0]).toBe("a");
    expect(await phases(kernel)).toEqual(["a consumed"]);
  });

  promise("what is not for the transcript has no message: by its visibility, or by its policy", async (setup) => {
    const { kernel, session } = await withTurns(setup);
    const seen: unknown[] = [];
    await session.submit(prompt("hidden", { visibility: { transcriptEligible: false } }));
    await session.submit({ inputType: "continuation", inputId: "c", text: "unsaid" });
    await session.submit(prompt("shown", { visibility: { operatorEligible: false } }));
    session.onTurn(async ({ inputs, messages }) => {
      seen.push([inputs.map(({ inputId }) => inputId), messages.map(({ content }) => content)]);
    });
    await drained(kernel);
    expect(seen).toEqual([
      [["c"], []],
      [["hidden"], []],
      [["shown"], ["shown"]],
    ]);
    expect(await said(session)).toEqual(["shown"]);
  });

  promise("the stage is stored before the handler runs: phase, attempt and run (R-92, R-94)", async (setup) => {
    const { kernel, session } = await withTurns(setup);
    const other = await setup.open();
    const { begun, leave } = stand(session);
    await session.submit(prompt("a"));
    const turn = await begun;
    const { currentState, attemptCount, lastRunId, history } = await stateOf(other, "a");
    expect([currentState, attemptCount, lastRunId]).toEqual(["staged", 1, turn.runId]);
    expect(history.map(({ from, to }) => `${from} ${to}`)).toEqual(["accepted queued", "queued staged"]);
    expect(await other.runtime.loadRuntimeState(RUNTIME)).toBe("running");
    expect((await other.session("s")).state).toBe("running");
    expect((await runtimeRow(setup)).run?.runId).toBe(turn.runId);
    leave();
    await drained(kernel);
    expect(await other.runtime.loadRuntimeState(RUNTIME)).toBe("idle");
    expect((await runtimeRow(setup)).run ?? "none").toBe("none");
  });

  promise("of several handlers the last attached runs, and the one before it again when that is taken off", async (setup) => {
    const { kernel, session } = await withTurns(setup);
    const ran: string[] = [];
    const offs = ["one", "two"].map((name) => session.onTurn(async () => void ran.push(name)));
    const same = async () => void ran.push("same");
    const [offSame] = [session.onTurn(same), session.onTurn(same)];
    const run = async (id: string) => {
      await session.submit(prompt(id));
      await drained(kernel);
    };
    await run("a");
    offSame();
    offSame();
    await run("b");
    expect(ran).toEqual(["same", "same"]);
    await comes(() => session.state === "attached", "the state after a run");
    for (const off of offs) off();
    await run("c");
    expect(ran).toEqual(["same", "same", "same"]);
  });

  promise("where the loop is off a handler runs nothing", async ({ kernel }) => {
    const session = await kernel.session("s");
    let ran = false;
    session.onTurn(async () => {
      ran = true;
    });
    await session.submit(prompt("a"));
    await quiet();
    expect([ran, session.state, await phases(kernel)]).toEqual([false, "idle", ["a queued"]]);
  });

  promise("sessions run beside each other: one that stands still holds up no other", async (setup) => {
    const { kernel, session } = await withTurns(setup);
    const { begun, leave } = stand(session);
    await session.submit(prompt("a"));
    await begun;
    const other = await kernel.session("t");
    const ran: string[] = [];
    other.onTurn(async ({ inputs }) => void ran.push(...inputs.map(({ inputId }) => inputId)));
    await other.submit(prompt("b"));
    await comes(() => ran.length === 1, "the other session's turn");
    leave();
    await drained(kernel);
  });

  promise("messages are checked: what is none is refused and stored nowhere", async (setup) => {
    const { kernel, session } = await withTurns(setup);
    const found: unknown[] = [];
    const bad: unknown[] = [
      ...[undefined, null, "text", [], {}, { role: "assistant" }, { content: "x" }, { role: "nobody", content: "x" }],
      ...[
        { role: "assistant", content: "x", "\ud800": 1 },
        { role: "assistant", content: Number.NaN },
        { role: "assistant", content: "x", more: () => 1 },
      ],
      { role: "assistant", content: "x".repeat(1_048_577) },
    ];
    session.onTurn(async (turn) => {
      for (const message of bad) {
        try {
          turn.append(message as Message);
          found.push(message);
        } catch (error) {
          found.push((error as { code?: unknown }).code);
        }
      }
      turn.append({ role: "tool", content: null, callId: "c", none: undefined });
    });
    await session.submit(prompt("a"));
    await drained(kernel);
    expect(found).toEqual(bad.map(() => "invalid"));
    expect((await session.messages()).slice(1)).toEqual([{ role: "tool", content: null, callId: "c" }]);
  });
}
