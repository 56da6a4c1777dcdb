import type { StoredInputState } from "../../../domain/session/input.js";
import { chainDigest } from "../../../stores/session/transcript.rules.js";
import type { OpenFixture, Runner } from "../../kit/fixture.js";
import { onRows, readRows } from "../../kit/rows.fixture.js";
import { RUNTIME, textOf } from "../runtime.fixture.js";
import { CONSUMED, drained, prompt, quiet, said, sessionCasesOn, stateOf, withTurns } from "../session.fixture.js";
import { isTold, runtimeRow, saying } from "./turn.fixture.js";

/** Commits of turns: their stored rows and their events. */
export function turnCommitCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise } = sessionCasesOn(open, runner);

  promise(
    "a turn stores its messages, receipt, inputs and count together, chained to what was there (R-95, R-96)",
    async (setup) => {
      const { kernel, session } = await withTurns(setup);
      const runIds: string[] = [];
      session.onTurn(async (turn) => {
        runIds.push(turn.runId);
        turn.append(saying("one"));
        turn.append(saying("two"));
      });
      await session.submit({ inputType: "external_event", inputId: "e", body: "rang" });
      await session.submit(prompt("a"));
      await drained(kernel);
      await session.submit(prompt("b"));
      await drained(kernel);
      const messages = await session.messages();
      expect(messages.map(({ content }) => content)).toEqual(["rang", "a", "one", "two", "b", "one", "two"]);
      for (const [at, [ids, end]] of (
        [
          [["e", "a"], 4],
          [["b"], 7],
        ] as const
      ).entries()) {
        const runId = runIds[at] as string;
        expect(await kernel.runtime.loadBoundaryReceipt(RUNTIME, runId, 0)).toEqual({
          runId,
          boundary: "run_start",
          contributingInputIds: [...ids],
          conversationDigest: chainDigest("", messages.slice(0, end)),
          messageCount: end,
          sequence: 0,
        });
        for (const id of ids) {
          const { terminalOutcome, lastRunId, lastBoundarySequence, history } = await stateOf(kernel, id);
          expect([terminalOutcome, lastRunId, lastBoundarySequence]).toEqual([CONSUMED, runId, 0]);
          expect(history.map(({ to }) => to)).toEqual(["queued", "staged", "applied", "applied_pending_consumption", "consumed"]);
        }
      }
      const { messageCount, digest, state } = await runtimeRow(setup);
      expect([messageCount, digest, state]).toEqual([7, chainDigest("", messages), "idle"]);
      expect(textOf(await kernel.runtime.loadSessionSnapshot(RUNTIME))).toBe(JSON.stringify({ id: "s", messages }));
      expect((await kernel.sessions.list()).map((session) => [session.sessionId, session.messageCount])).toEqual([["s", 7]]);
      expect((await readRows(setup, "leases")).map(({ leaseToken }) => leaseToken ?? "free")).toEqual(["free"]);
      const again = await setup.reopen();
      expect(await (await again.session("s")).messages()).toEqual(messages);
    },
  );

  promise("no moment shows a part of it: all of a turn is there or nothing (R-96, R-97)", async (setup) => {
    const { kernel, session } = await withTurns(setup);
    session.onTurn(async (turn) => void turn.append(saying(`to ${turn.inputs[0]?.inputId}`)));
    const moments = new Set<string>();
    let over = false;
    const watching = onRows(setup, async (rows) => {
      while (!over) {
        const moment = await rows.transact(["runtimes", "inputs", "receipts", "messages"], "read", async (tx) => {
          const [runtimes, inputs, receipts, messages] = await Promise.all(
            ["runtimes", "inputs", "receipts", "messages"].map((table) => tx.range(table, {})),
          );
          const phase = (inputs?.[0]?.record as StoredInputState | undefined)?.currentState ?? "none";
          return [phase, runtimes?.[0]?.state, receipts?.length, messages?.length, runtimes?.[0]?.messageCount].join(" ");
        });
        moments.add(moment);
        await new Promise((resolve) => setTimeout(resolve, 0));
      }
    });
    await session.submit(prompt("a"));
    await drained(kernel);
    await quiet();
    over = true;
    await watching;
    const whole = ["none idle 0 0 0", "queued idle 0 0 0", "staged running 0 0 0", "consumed idle 1 2 2"];
    expect([...moments].filter((moment) => !whole.includes(moment))).toEqual([]);
    expect(moments.has("consumed idle 1 2 2")).toBe(true);
  });

  promise("the boundary of a receipt is that of its inputs (R-95)", async (setup) => {
    const { kernel, session, told } = await withTurns(setup);
    session.onTurn(async () => {});
    await session.submit(prompt("steer", { handlingMode: "steer" }));
    await drained(kernel);
    await isTold(told, "run.completed");
    const runId = told.find(({ code }) => code === "run.completed")?.runId ?? "";
    expect((await kernel.runtime.loadBoundaryReceipt(RUNTIME, runId, 0))?.boundary).toBe("run_checkpoint");
  });

  promise("a turn tells: staged, started, applied, consumed, completed, with its run (R-85)", async (setup) => {
    const { kernel, session, told } = await withTurns(setup);
    session.onTurn(async () => {});
    await session.submit(prompt("a"));
    await drained(kernel);
    await isTold(told, "run.completed");
    const [runId] = told.flatMap((event) => (event.runId === undefined ? [] : [event.runId]));
    expect(told.filter((event) => event.code !== "runtime.state_changed" && event.runId !== undefined)).toEqual([
      { sessionId: "s", code: "run.started", runId },
      { sessionId: "s", code: "input.staged", inputId: "a", runId },
      { sessionId: "s", code: "run.completed", runId },
      { sessionId: "s", code: "input.applied", inputId: "a", runId },
      { sessionId: "s", code: "input.consumed", inputId: "a", runId },
    ]);
  });

  promise("a listener is told of messages, inputs and state, and finds them when it reads", async (setup) => {
    const { kernel, session } = await withTurns(setup);
    const heard: unknown[] = [];
    const found: Promise<unknown>[] = [];
    session.subscribe((change) => {
      heard.push(change);
      if (change.type === "messages") found.push(said(session));
    });
    const off = session.subscribe(() => heard.push("taken off"));
    off();
    session.onTurn(async (turn) => void turn.append(saying("b")));
    await session.submit(prompt("a"));
    await drained(kernel);
    await quiet();
    expect(heard.filter((change) => (change as { type: string }).type === "messages").length).toBe(1);
    expect(await Promise.all(found)).toEqual([["a", "b"]]);
    expect(heard.some((change) => JSON.stringify(change) === '{"type":"input","inputId":"a"}')).toBe(true);
    expect(heard.some((change) => JSON.stringify(change) === '{"type":"state"}')).toBe(true);
    expect(heard.includes("taken off")).toBe(false);
  });

  promise("a message that names its input is no input's message", async (setup) => {
    const { kernel, session } = await withTurns(setup);
    session.onTurn(async (turn) => {
      const next = turn.inputs[0]?.inputId === "a" ? "b" : "none";
      turn.append(saying(`to ${turn.inputs[0]?.inputId}`, { inputId: next }));
    });
    await session.submit(prompt("a"));
    await drained(kernel);
    await session.submit(prompt("b"));
    await drained(kernel);
    expect(await said(session)).toEqual(["a", "to a", "b", "to b"]);
  });
}
