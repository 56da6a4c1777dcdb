import { chainDigest } from "../../../stores/session/transcript.rules.js";
import { count, type OpenFixture, type Runner } from "../../kit/fixture.js";
import { readRows } from "../../kit/rows.fixture.js";
import { RUNTIME } from "../runtime.fixture.js";
import { comes, drained, gate, prompt, said, sessionCasesOn, stateOf, withTurns } from "../session.fixture.js";
import { runtimeRow, saying } from "./turn.fixture.js";

/** Checkpoints: writes of a turn before its end. */
export function checkpointCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise } = sessionCasesOn(open, runner);

  promise("what a checkpoint stored is there at once, with no receipt and no change of an input's phase", async (setup) => {
    const { kernel, session } = await withTurns(setup);
    const other = await (await setup.open()).session("s");
    const [checked, leave] = [gate(), gate()];
    let runId = "";
    session.onTurn(async (turn) => {
      runId = turn.runId;
      turn.append(saying("so far"));
      await turn.checkpoint();
      checked.open();
      await leave.promise;
      turn.append(saying("the end"));
    });
    await session.submit(prompt("a"));
    await checked.promise;
    expect(await said(other)).toEqual(["a", "so far"]);
    expect((await stateOf(kernel, "a")).currentState).toBe("staged");
    expect((await kernel.runtime.loadBoundaryReceipt(RUNTIME, runId, 0)) ?? "none").toBe("none");
    const { messageCount, digest } = await runtimeRow(setup);
    expect([messageCount, digest]).toEqual([2, chainDigest("", await other.messages())]);
    leave.open();
    await drained(kernel);
    expect(await said(other)).toEqual(["a", "so far", "the end"]);
    expect((await kernel.runtime.loadBoundaryReceipt(RUNTIME, runId, 0))?.messageCount).toBe(3);
  });

  promise(
    "the next attempt sees what was checkpointed; an input's message is never there twice, what was not checkpointed never",
    async (setup) => {
      const { kernel, session } = await withTurns(setup);
      const views: unknown[] = [];
      session.onTurn(async (turn) => {
        views.push(turn.messages.map(({ content }) => content));
        turn.append(saying(`${turn.attempt} checked`));
        if (turn.attempt < 3) await turn.checkpoint();
        turn.append(saying(`${turn.attempt} after`));
        if (turn.attempt < 3) throw new Error("no");
      });
      await session.submit({ inputType: "external_event", inputId: "e", body: "rang" });
      await session.submit(prompt("a"));
      await drained(kernel);
      expect(views).toEqual([
        ["rang", "a"],
        ["rang", "a", "1 checked"],
        ["rang", "a", "1 checked", "2 checked"],
      ]);
      expect(await said(session)).toEqual(["rang", "a", "1 checked", "2 checked", "3 checked", "3 after"]);
      expect((await session.messages()).flatMap(({ inputId }) => (inputId === undefined ? [] : [inputId]))).toEqual(["e", "a"]);
    },
  );

  promise("checkpoints that nobody waited for are stored in their order, and the turn's end behind them", async (setup) => {
    const { kernel, session } = await withTurns(setup);
    session.onTurn(async (turn) => {
      for (const n of count(5)) {
        turn.append(saying(String(n)));
        void turn.checkpoint();
      }
      turn.append(saying("end"));
    });
    await session.submit(prompt("a"));
    await drained(kernel);
    expect(await said(session)).toEqual(["a", "1", "2", "3", "4", "5", "end"]);
  });

  promise("a message under a key is stored once for its inputs, whatever attempt appends it (A-20)", async (setup) => {
    const { kernel, session } = await withTurns(setup);
    const added: unknown[] = [];
    session.onTurn(async (turn) => {
      const add = (key: string) => turn.append(saying(`${key} ${turn.attempt}`), { key });
      added.push([add("checked"), add("checked"), turn.append(saying(`free ${turn.attempt}`))]);
      if (turn.attempt < 3) await turn.checkpoint();
      added.push([add("dropped")]);
      if (turn.attempt < 3) throw new Error("no");
    });
    await session.submit(prompt("a"));
    await drained(kernel);
    expect(added).toEqual([[true, false, true], [true], [false, false, true], [true], [false, false, true], [true]]);
    expect(await said(session)).toEqual(["a", "checked 1", "free 1", "free 2", "free 3", "dropped 3"]);
    expect(await readRows(setup, "turnKeys")).toEqual([]);
    // The key is of those inputs alone.
    await session.submit(prompt("b"));
    await drained(kernel);
    expect(added.slice(6)).toEqual([[true, false, true], [true], [false, false, true], [true], [false, false, true], [true]]);
  });

  promise("the keys of a paused turn are exported, imported and deleted with its session (A-20)", async (setup) => {
    const { kernel, session } = await withTurns(setup, { attempts: 3, backoffMs: 600_000 });
    const begun: unknown[] = [];
    session.onTurn(async (turn) => {
      begun.push(turn.append(saying("said"), { key: "k" }));
      await turn.checkpoint();
      throw new Error("no");
    });
    await session.submit(prompt("a"));
    await comes(async () => (await stateOf(kernel, "a")).error !== undefined, "its failure");
    const lines: string[] = [];
    for await (const line of kernel.sessions.export("s")) lines.push(line);
    await kernel.sessions.delete("s");
    expect(await readRows(setup, "turnKeys")).toEqual([]);
    const at = async function* () {
      yield* lines;
    };
    await kernel.sessions.import(at());
    expect((await readRows(setup, "turnKeys")).map(({ appendKey }) => appendKey)).toEqual(["k"]);
    const again = await kernel.session("s", { retry: { attempts: 2 } });
    again.onTurn(async (turn) => void begun.push(turn.append(saying("said"), { key: "k" })));
    await setup.clock.advance(720_000);
    await drained(kernel);
    expect(begun).toEqual([true, false]);
    expect(await said(again)).toEqual(["a", "said"]);
  });

  promise("a checkpoint stores what was appended before it was asked for, and nothing that came after", async (setup) => {
    const { kernel, session } = await withTurns(setup);
    session.onTurn(async (turn) => {
      if (turn.attempt > 1) return;
      turn.append(saying("before"));
      const stored = turn.checkpoint();
      turn.append(saying("after"));
      await stored;
      throw new Error("no");
    });
    await session.submit(prompt("a"));
    await drained(kernel);
    expect(await said(session)).toEqual(["a", "before"]);
  });
}
