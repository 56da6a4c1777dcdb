import type { JsonValue } from "../../domain/json.js";
import type { StoredInputState } from "../../domain/session/input.js";
import type { Message } from "../../domain/session/session.js";
import type { Kernel } from "../../kernel/kernel.js";
import type { SessionEvent } from "../../kernel/session/events.js";
import type { SessionRuntime } from "../../kernel/session/session.js";
import type { Turn } from "../../kernel/session/turn.js";
import { chainDigest } from "../../stores/session/transcript.rules.js";
import { casesOn, count, type Ground, mismatch, type OpenFixture, type Runner, refusal, refused } from "../kit/fixture.js";
import { onRows, readRows, writeRows } from "../kit/rows.fixture.js";
import { DECISION, RUNTIME, snapshot, textOf } from "./runtime.fixture.js";
import {
  ABANDONED,
  CONSUMED,
  comes,
  drained,
  events,
  gate,
  outcomeOf,
  phases,
  prompt,
  quiet,
  SUBMISSIONS,
  said,
  stateOf,
} from "./session.fixture.js";
import { complaints } from "./session.invariants.js";

const saying = (content: string, more: object = {}): Message => ({ role: "assistant", content, ...more });

/** Turns: what a handler gets, what is stored of it and when, and what becomes of one that does not reach its end. */
export function sessionTurnCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const cases = casesOn(open, runner);

  /** After each case all rows fit together, whatever it did. */
  const promise = (name: string, body: (ground: Ground) => Promise<void>) =>
    cases.promise(name, async (ground) => {
      await body(ground);
      expect(await complaints(ground)).toEqual([]);
    });

  interface Stage {
    readonly kernel: Kernel;
    readonly session: SessionRuntime;
    readonly told: SessionEvent[];
  }

  /** A session of a kernel that runs turns, once it has a handler. */
  async function stage(ground: Ground): Promise<Stage> {
    const kernel = await ground.open({ loop: "inline" });
    const session = await kernel.session("s");
    return { kernel, session, told: events(kernel) };
  }

  const codesOf = (told: readonly SessionEvent[]) => told.map(({ code }) => code);
  const isTold = (told: readonly SessionEvent[], code: string, times = 1) =>
    comes(() => codesOf(told).filter((other) => other === code).length >= times, code);

  /** A turn that stands still until it is let go. */
  function stand(session: SessionRuntime): { begun: Promise<Turn>; leave(): void; off(): void } {
    const [begun, left] = [gate<Turn>(), gate()];
    const off = session.onTurn(async (turn) => {
      begun.open(turn);
      await left.promise;
    });
    return { begun: begun.promise, leave: () => left.open(), off };
  }

  const runtimeRow = async (ground: Ground) =>
    (await readRows(ground, "runtimes")).find(({ runtimeId }) => runtimeId === RUNTIME) as unknown as {
      state: string;
      run?: { runId: string };
      messageCount: number;
      digest: string;
    };

  whatAHandlerGets();
  commits();
  batches();
  failures();
  steps();
  ends();
  commands();
  processes();

  function whatAHandlerGets(): void {
    promise(
      "a handler gets its inputs, staged, and the messages with one of each input behind the stored ones",
      async (ground) => {
        const { kernel, session } = await stage(ground);
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
      },
    );

    promise("the view is frozen, and what a handler does to its own copies changes nothing that is stored", async (ground) => {
      const { kernel, session } = await stage(ground);
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
      const read = await session.messages();
      Object.assign(read[0] as object, { content: "forged" });
      expect((await said(session))[0]).toBe("a");
      expect(await phases(kernel)).toEqual(["a consumed"]);
    });

    promise("what is not for the transcript has no message: by its visibility, or by its policy", async (ground) => {
      const { kernel, session } = await stage(ground);
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

    promise("the stage is stored before the handler runs: phase, attempt and run (R-92, R-94)", async (ground) => {
      const { kernel, session } = await stage(ground);
      const other = await ground.open();
      const { begun, leave } = stand(session);
      await session.submit(prompt("a"));
      const turn = await begun;
      const { currentState, attemptCount, lastRunId, history } = await stateOf(other, "a");
      expect([currentState, attemptCount, lastRunId]).toEqual(["staged", 1, turn.runId]);
      expect(history.map(({ from, to }) => `${from} ${to}`)).toEqual(["accepted queued", "queued staged"]);
      expect(await other.runtime.loadRuntimeState(RUNTIME)).toBe("running");
      expect((await other.session("s")).state).toBe("running");
      expect((await runtimeRow(ground)).run?.runId).toBe(turn.runId);
      leave();
      await drained(kernel);
      expect(await other.runtime.loadRuntimeState(RUNTIME)).toBe("idle");
      expect((await runtimeRow(ground)).run ?? "none").toBe("none");
    });

    promise("of several handlers the last attached runs, and the one before it again when that is taken off", async (ground) => {
      const { kernel, session } = await stage(ground);
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

    promise("sessions run beside each other: one that stands still holds up no other", async (ground) => {
      const { kernel, session } = await stage(ground);
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

    promise("messages are checked: what is none is refused and stored nowhere", async (ground) => {
      const { kernel, session } = await stage(ground);
      const found: unknown[] = [];
      const bad: unknown[] = [
        ...[undefined, null, "text", [], {}, { role: "assistant" }, { content: "x" }, { role: "nobody", content: "x" }],
        ...[saying("\ud800"), { role: "assistant", content: Number.NaN }, { role: "assistant", content: "x", more: () => 1 }],
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

  function commits(): void {
    promise(
      "a turn stores its messages, receipt, inputs and count together, chained to what was there (R-95, R-96)",
      async (ground) => {
        const { kernel, session } = await stage(ground);
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
            expect(history.map(({ to }) => to)).toEqual([
              "queued",
              "staged",
              "applied",
              "applied_pending_consumption",
              "consumed",
            ]);
          }
        }
        const { messageCount, digest, state } = await runtimeRow(ground);
        expect([messageCount, digest, state]).toEqual([7, chainDigest("", messages), "idle"]);
        expect(textOf(await kernel.runtime.loadSessionSnapshot(RUNTIME))).toBe(JSON.stringify({ id: "s", messages }));
        expect((await kernel.sessions.list()).map((session) => [session.sessionId, session.messageCount])).toEqual([["s", 7]]);
        expect((await readRows(ground, "leases")).map(({ leaseToken }) => leaseToken ?? "free")).toEqual(["free"]);
        const again = await ground.reopen();
        expect(await (await again.session("s")).messages()).toEqual(messages);
      },
    );

    promise("no moment shows a part of it: all of a turn is there or nothing (R-96, R-97)", async (ground) => {
      const { kernel, session } = await stage(ground);
      session.onTurn(async (turn) => turn.append(saying(`to ${turn.inputs[0]?.inputId}`)));
      const moments = new Set<string>();
      let over = false;
      const watching = onRows(ground, async (rows) => {
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

    promise("the boundary of a receipt is that of its inputs (R-95)", async (ground) => {
      const { kernel, session, told } = await stage(ground);
      session.onTurn(async () => {});
      await session.submit(prompt("steer", { handlingMode: "steer" }));
      await drained(kernel);
      await isTold(told, "run.completed");
      const runId = told.find(({ code }) => code === "run.completed")?.runId ?? "";
      expect((await kernel.runtime.loadBoundaryReceipt(RUNTIME, runId, 0))?.boundary).toBe("run_checkpoint");
    });

    promise("a turn tells: staged, started, applied, consumed, completed, with its run (R-85)", async (ground) => {
      const { kernel, session, told } = await stage(ground);
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

    promise("a listener is told of messages, inputs and state, and finds them when it reads", async (ground) => {
      const { kernel, session } = await stage(ground);
      const heard: unknown[] = [];
      const found: Promise<unknown>[] = [];
      session.subscribe((change) => {
        heard.push(change);
        if (change.type === "messages") found.push(said(session));
      });
      const off = session.subscribe(() => heard.push("taken off"));
      off();
      session.onTurn(async (turn) => turn.append(saying("b")));
      await session.submit(prompt("a"));
      await drained(kernel);
      await quiet();
      expect(heard.filter((change) => (change as { type: string }).type === "messages").length).toBe(1);
      expect(await Promise.all(found)).toEqual([["a", "b"]]);
      expect(heard.some((change) => JSON.stringify(change) === '{"type":"input","inputId":"a"}')).toBe(true);
      expect(heard.some((change) => JSON.stringify(change) === '{"type":"state"}')).toBe(true);
      expect(heard.includes("taken off")).toBe(false);
    });

    promise("what a checkpoint stored is there at once, with no receipt and no change of an input's phase", async (ground) => {
      const { kernel, session } = await stage(ground);
      const other = await (await ground.open()).session("s");
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
      const { messageCount, digest } = await runtimeRow(ground);
      expect([messageCount, digest]).toEqual([2, chainDigest("", await other.messages())]);
      leave.open();
      await drained(kernel);
      expect(await said(other)).toEqual(["a", "so far", "the end"]);
      expect((await kernel.runtime.loadBoundaryReceipt(RUNTIME, runId, 0))?.messageCount).toBe(3);
    });

    promise(
      "the next attempt sees what was checkpointed; an input's message is never there twice, what was not checkpointed never",
      async (ground) => {
        const { kernel, session } = await stage(ground);
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

    promise("checkpoints that nobody waited for are stored in their order, and the turn's end behind them", async (ground) => {
      const { kernel, session } = await stage(ground);
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

    promise("a checkpoint stores what was appended before it was asked for, and nothing that came after", async (ground) => {
      const { kernel, session } = await stage(ground);
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

    promise("a message that names its input is no input's message", async (ground) => {
      const { kernel, session } = await stage(ground);
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

    promise("a session goes on with a snapshot that was handed over whole, and keeps its other members", async (ground) => {
      const { kernel, session } = await stage(ground);
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
      expect((await runtimeRow(ground)).digest).toBe(chainDigest("", messages));
    });

    promise("whatever stands among the messages of such a snapshot, the session goes on with it", async (ground) => {
      const { kernel, session } = await stage(ground);
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
      async (ground) => {
        const { kernel, session, told } = await stage(ground);
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

    promise("a turn whose input is changed under it stores nothing of its own (R-95)", async (ground) => {
      const { kernel, session } = await stage(ground);
      const runIds: string[] = [];
      const ended = { currentState: "consumed", terminalOutcome: { outcomeType: "consumed" } } as const;
      session.onTurn(async (turn) => {
        runIds.push(turn.runId);
        if (runIds.length > 1) return;
        const { history, ...state } = await stateOf(kernel, "a");
        const last = { timestampMs: 0, from: "staged", to: ended.currentState } as const;
        await kernel.runtime.persistInputState(RUNTIME, { ...state, ...ended, history: [...history, last] });
        turn.append(saying("lost"));
      });
      await session.submit(prompt("a"));
      await comes(() => runIds.length === 1, "the turn");
      await quiet();
      await ground.clock.advance(60_000);
      expect((await kernel.runtime.loadBoundaryReceipt(RUNTIME, runIds[0] as string, 0)) ?? "none").toBe("none");
      expect([await said(session), runIds.length]).toEqual([[], 1]);
      expect(await kernel.runtime.loadRuntimeState(RUNTIME)).toBe("idle");
      // The session itself goes on.
      await session.submit(prompt("b"));
      await comes(() => runIds.length === 2, "the next turn");
    });

    promise("a run whose inputs are not all staged any more cannot be ended by its failure, either (R-100)", async (ground) => {
      const { kernel, session, told } = await stage(ground);
      const ended = { currentState: "abandoned", terminalOutcome: { outcomeType: "abandoned", reason: "reset" } } as const;
      const begun = gate();
      session.onTurn(async () => {
        const { history, ...state } = await stateOf(kernel, "a");
        const last = { timestampMs: 0, from: "staged", to: ended.currentState } as const;
        await kernel.runtime.persistInputState(RUNTIME, { ...state, ...ended, history: [...history, last] });
        begun.open();
        throw new Error("no");
      });
      await session.submit(prompt("a"));
      await begun.promise;
      const stored = await stateOf(kernel, "a");
      await quiet();
      await ground.clock.advance(60_000);
      expect(await stateOf(kernel, "a")).toEqual(stored);
      expect(codesOf(told).includes("run.failed")).toBe(false);
      expect(await kernel.runtime.loadRuntimeState(RUNTIME)).toBe("idle");
    });
  }

  function batches(): void {
    /** What one run after the other took, with `ids` waiting before the first begins. */
    async function runs(ground: Ground, submit: (session: SessionRuntime) => Promise<void>): Promise<string[][]> {
      const { kernel, session } = await stage(ground);
      await submit(session);
      const taken: string[][] = [];
      session.onTurn(async ({ inputs }) => void taken.push(inputs.map(({ inputId }) => inputId)));
      await quiet();
      await comes(
        async () => (await kernel.runtime.loadRuntimeState(RUNTIME)) === "idle" && (await runtimeRow(ground)).run === undefined,
        "an idle session",
      );
      return taken;
    }
    const event = (inputId: string) => ({ inputType: "external_event" as const, inputId });
    const progress = (inputId: string) =>
      ({ ...(SUBMISSIONS.peer_response_progress as object), inputType: "peer", inputId }) as const;

    promise("a run takes the queue up to its first prompt, that one included (R-90)", async (ground) => {
      const taken = await runs(ground, async (session) => {
        for (const id of ["e1", "e2"]) await session.submit(event(id));
        for (const id of ["p1", "p2"]) await session.submit(prompt(id));
        await session.submit(event("e3"));
      });
      expect(taken).toEqual([["e1", "e2", "p1"], ["p2"], ["e3"]]);
    });

    promise("what never wakes begins no run, and rides along before what does (R-90)", async (ground) => {
      const { kernel } = await stage(ground);
      const session = await kernel.session("s", { silentIntents: ["look"] });
      const taken: string[][] = [];
      session.onTurn(async ({ inputs }) => void taken.push(inputs.map(({ inputId }) => inputId)));
      await session.submit({ ...(SUBMISSIONS.peer_request as object), inputType: "peer", inputId: "silent" });
      await session.submit(progress("g"));
      await quiet();
      await ground.clock.advance(60_000);
      expect([taken, await phases(kernel)]).toEqual([[], ["g queued", "silent queued"]]);
      await session.submit(prompt("a"));
      await drained(kernel);
      expect(taken).toEqual([["g"], ["silent", "a"]]);
    });

    promise("the steer lane's prefix is of one boundary, execution and intent (R-90, R-91)", async (ground) => {
      const taken = await runs(ground, async (session) => {
        await session.submit(prompt("s1", { handlingMode: "steer" }));
        await session.submit({ ...event("s2"), handlingMode: "steer" });
        await session.submit({ inputType: "continuation", inputId: "c" });
        await session.submit({ ...event("s3"), handlingMode: "steer" });
        await session.submit(prompt("q"));
      });
      expect(taken).toEqual([["s1", "s2"], ["c"], ["s3"], ["q"]]);
    });

    promise(
      "what comes while a turn runs waits for the next, with the policy of a busy moment: a run has one boundary (R-63, R-101)",
      async (ground) => {
        const { kernel, session } = await stage(ground);
        const taken: string[][] = [];
        session.onTurn(async ({ inputs }) => {
          taken.push(inputs.map(({ inputId }) => inputId));
          if (taken.length > 1) return;
          await session.submit(event("e"));
          await session.submit(prompt("s", { handlingMode: "steer" }));
          await session.submit(prompt("b"));
          expect((await stateOf(kernel, "b")).policy?.decision.wakeMode).toBe("none");
        });
        await session.submit(prompt("a"));
        await drained(kernel);
        expect(taken).toEqual([["a"], ["s"], ["e", "b"]]);
        const receipts = (await readRows(ground, "receipts")).map(
          ({ receipt }) => receipt as { sequence: number; runId: string },
        );
        expect([receipts.map(({ sequence }) => sequence), new Set(receipts.map(({ runId }) => runId)).size]).toEqual([
          [0, 0, 0],
          3,
        ]);
      },
    );

    promise("a retry runs exactly the inputs that failed together, whatever came meanwhile (R-61, R-90)", async (ground) => {
      const { kernel, session } = await stage(ground);
      const taken: string[] = [];
      session.onTurn(async ({ inputs, attempt }) => {
        taken.push(`${attempt}: ${inputs.map(({ inputId }) => inputId).join(" ")}`);
        if (taken.length > 1) return;
        await session.submit(event("e2"));
        throw new Error("no");
      });
      await session.submit(event("e1"));
      await drained(kernel);
      expect(taken).toEqual(["1: e1", "2: e1", "1: e2"]);
    });

    promise("a session's own policy decides, is asked for both moments, and is no way past the checks", async (ground) => {
      const { kernel } = await stage(ground);
      const asked: unknown[] = [];
      const session = await kernel.session("s", {
        policy(input) {
          asked.push(input);
          return input.kind === "external_event" ? { ...DECISION, routingDisposition: "steer" } : undefined;
        },
      });
      await session.submit(prompt("a"));
      await session.submit(event("e"));
      const kinds = (asked as { kind: string; idle: boolean }[]).map(({ kind, idle }) => `${kind} ${idle}`);
      expect(kinds).toEqual(["prompt true", "prompt false", "external_event true", "external_event false"]);
      expect((await stateOf(kernel, "e")).policy?.decision.routingDisposition).toBe("steer");
      for (const policy of [() => 5, () => ({}), () => Promise.resolve(DECISION)]) {
        const other = await kernel.session("s", { policy: policy as never });
        await refused(other.submit(prompt("x")), "invalid", "policy");
      }
      const thrower = await kernel.session("s", {
        policy() {
          throw new Error("broken");
        },
      });
      await refusal(thrower.submit(prompt("x")));
      expect(await phases(kernel)).toEqual(["a queued", "e queued"]);
    });
  }

  function failures(): void {
    promise("after three failures an input is given up, and the first two leave it waiting (R-61, R-104)", async (ground) => {
      const { kernel, session, told } = await stage(ground);
      const attempts: unknown[] = [];
      session.onTurn(async (turn) => {
        turn.append(saying("dropped"));
        attempts.push([turn.attempt, (await stateOf(kernel, "a")).attemptCount]);
        throw new Error(`cause ${turn.attempt}`);
      });
      await session.submit(prompt("a"));
      // Without any clock, and with nothing else that would wake it.
      await drained(kernel);
      await isTold(told, "run.failed", 3);
      expect(attempts).toEqual([
        [1, 1],
        [2, 2],
        [3, 3],
      ]);
      const { terminalOutcome, history, recoveryCount } = await stateOf(kernel, "a");
      expect(terminalOutcome).toEqual(ABANDONED({ max_attempts_exhausted: { attempts: 3 } }));
      expect(recoveryCount).toBe(0);
      expect(history.map(({ from, to }) => `${from} ${to}`)).toEqual([
        "accepted queued",
        ...["queued staged", "staged queued", "queued staged", "staged queued"],
        ...["queued staged", "staged abandoned"],
      ]);
      const causes = history.filter(({ from }) => from === "staged").map(({ reason = "" }) => reason);
      expect(count(3).every((n) => causes[n - 1]?.includes(`cause ${n}`))).toBe(true);
      await isTold(told, "run.failed", 3);
      expect(told.filter(({ code }) => code === "run.failed").map(({ error }) => error)).toEqual([
        "cause 1",
        "cause 2",
        "cause 3",
      ]);
      expect([await said(session), await kernel.runtime.loadRuntimeState(RUNTIME)]).toEqual([[], "idle"]);
      expect(await readRows(ground, "receipts")).toEqual([]);
    });

    promise("a poison input keeps nobody waiting: what is behind it runs (R-61)", async (ground) => {
      const { kernel, session } = await stage(ground);
      session.onTurn(async (turn) => {
        if (turn.inputs.some(({ inputId }) => inputId === "poison")) throw new Error("no");
        turn.append(saying("fine"));
      });
      await session.submit(prompt("poison"));
      await session.submit(prompt("good"));
      await drained(kernel);
      expect(await phases(kernel)).toEqual(["good consumed", "poison abandoned"]);
      expect(await said(session)).toEqual(["good", "fine"]);
    });

    promise("two failures before a success cost nothing of the next input's own budget (R-61)", async (ground) => {
      const { kernel, session } = await stage(ground);
      session.onTurn(async ({ attempt }) => {
        if (attempt < 3) throw new Error("no");
      });
      for (const id of ["a", "b"]) await session.submit(prompt(id));
      await drained(kernel);
      expect(await phases(kernel)).toEqual(["a consumed", "b consumed"]);
    });

    promise("a failure names a cause, whatever was thrown (R-98)", async (ground) => {
      const { kernel, session, told } = await stage(ground);
      const hostile = {
        get message(): string {
          throw new Error("hostile");
        },
      };
      const thrown: unknown[] = [
        undefined,
        null,
        0,
        "",
        "text",
        {},
        { message: 5 },
        { message: "" },
        hostile,
        Symbol("s"),
        new Error(""),
      ];
      thrown.push(new Error(`\ud800${"x".repeat(5_000)}`), Object.create(null), () => 1);
      let at = 0;
      session.onTurn(async ({ attempt }) => {
        if (attempt === 1) throw thrown[at++];
      });
      for (const n of thrown.keys()) await session.submit(prompt(`i${n}`));
      await drained(kernel);
      const errors = told.filter(({ code }) => code === "run.failed").map(({ error = "" }) => error);
      expect([errors.length, errors.filter((error) => error.trim() === "" || error.includes("unknown"))]).toEqual([
        thrown.length,
        [],
      ]);
      expect(errors[4]).toBe("text");
      expect((await phases(kernel)).every((line) => line.endsWith("consumed"))).toBe(true);
    });

    promise("a handler that throws at once, or returns no promise, is like any other", async (ground) => {
      const { kernel, session } = await stage(ground);
      session.onTurn(((turn: Turn) => {
        if (turn.attempt === 1) throw new Error("at once");
        turn.append(saying("done"));
      }) as never);
      await session.submit(prompt("a"));
      await drained(kernel);
      expect(await said(session)).toEqual(["a", "done"]);
    });

    promise("an input that is cancelled while it runs is never run again, and takes no other with it (R-99)", async (ground) => {
      const { kernel, session, told } = await stage(ground);
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
      promise(`an input that is cancelled in the moment in which its handler ${end} is not run again (R-99)`, async (ground) => {
        const { kernel, session } = await stage(ground);
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
        const next = await stage(ground);
        next.session.onTurn(async () => void begins++);
        await ground.clock.advance(10_000);
        await drained(next.kernel);
        expect([begins, await outcomeOf(next.kernel, "a")]).toEqual([1, ABANDONED("cancelled")]);
      });
    }
  }

  function steps(): void {
    promise("a step runs once for all attempts at its inputs, and is gone with them", async (ground) => {
      const { kernel, session } = await stage(ground);
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
        expect((await readRows(ground, "turnSteps")).length).toBe(2);
      });
      await session.submit(prompt("a"));
      await drained(kernel);
      expect(ran).toEqual([[1, "string", true]]);
      expect(results).toEqual(count(3).flatMap(() => [{ n: 1 }, null]));
      expect(await readRows(ground, "turnSteps")).toEqual([]);
      expect(await phases(kernel)).toEqual(["a consumed"]);
    });

    promise("calls of one key at once share one run; one that throws stores nothing and may be tried again", async (ground) => {
      const { kernel, session } = await stage(ground);
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
            await mismatch(
              step(bad as never, () => 1),
              "invalid",
              "key",
            ),
          );
        found.push(await mismatch(step("d", 5 as never), "invalid", "run"));
        found.push(
          await mismatch(
            step("d", () => Number.NaN),
            "invalid",
          ),
        );
      });
      await session.submit(prompt("a"));
      await drained(kernel);
      expect(found).toEqual([[1, 1, 2], "no", "yes", undefined, undefined, undefined, undefined, undefined, undefined]);
      expect(await phases(kernel)).toEqual(["a consumed"]);
    });

    promise("steps of other inputs are their own", async (ground) => {
      const { kernel, session } = await stage(ground);
      const found: unknown[] = [];
      session.onTurn(async ({ step, inputs }) => void found.push(await step("call", () => inputs[0]?.inputId ?? "")));
      for (const id of ["a", "b"]) await session.submit(prompt(id));
      await drained(kernel);
      expect(found).toEqual(["a", "b"]);
    });
  }

  function ends(): void {
    promise("a turn that is over takes nothing more", async (ground) => {
      const { kernel, session } = await stage(ground);
      const turns: Turn[] = [];
      session.onTurn(async (turn) => void turns.push(turn));
      await session.submit(prompt("a"));
      await drained(kernel);
      await quiet();
      const [turn] = turns as [Turn];
      await refused(
        Promise.resolve().then(() => turn.append(saying("late"))),
        "lease-lost",
      );
      await refused(turn.checkpoint(), "lease-lost");
      await refused(
        turn.step("late", () => 1),
        "lease-lost",
      );
      expect([await said(session), await readRows(ground, "turnSteps")]).toEqual([["a"], []]);
    });

    promise(
      "twenty closes in a row in the middle of one turn lose nothing, and then it completes (R-61, R-94)",
      async (ground) => {
        await (await ground.kernel.session("s")).submit(prompt("a"));
        const attempts: number[] = [];
        let ran = 0;
        for (const n of count(20)) {
          if (n % 5 === 0) await ground.reopen();
          const kernel = await ground.open({ loop: "inline" });
          const session = await kernel.session("s");
          const begun = gate();
          session.onTurn(async (turn) => {
            attempts.push(turn.attempt);
            await turn.step("once", () => ++ran);
            turn.append(saying(`part ${n}`));
            await turn.checkpoint();
            turn.append(saying("dropped"));
            begun.open();
            await new Promise(() => {});
          });
          await begun.promise;
          await kernel.close();
        }
        const { kernel, session } = await stage(ground);
        expect(session.recovery).toEqual({ recovered: 1, requeued: 1, consumed: 0, abandoned: 0, dropped: 0 });
        session.onTurn(async (turn) => {
          attempts.push(turn.attempt);
          turn.append(saying(String(await turn.step("once", () => ++ran))));
        });
        await drained(kernel);
        expect(attempts).toEqual(count(21));
        expect(await said(session)).toEqual(["a", ...count(20).map((n) => `part ${n}`), "1"]);
        const { terminalOutcome, recoveryCount, attemptCount } = await stateOf(kernel, "a");
        expect([terminalOutcome, recoveryCount, attemptCount]).toEqual([CONSUMED, 0, 21]);
      },
    );

    promise("a handler that is taken off in the middle hands its turn back; another tab goes on (R-61)", async (ground) => {
      const { session } = await stage(ground);
      const other = await stage(ground);
      const { begun, off } = stand(session);
      await session.submit(prompt("a"));
      const turn = await begun;
      other.session.onTurn(async (next) => next.append(saying(`attempt ${next.attempt}`)));
      off();
      await comes(() => turn.signal.aborted, "the abort");
      await comes(async () => (await stateOf(other.kernel, "a")).currentState === "queued", "the input back");
      expect(await other.kernel.runtime.loadRuntimeState(RUNTIME)).toBe("idle");
      await refused(turn.checkpoint(), "lease-lost");
      await ground.clock.advance(5_000);
      await drained(other.kernel);
      expect(await said(session)).toEqual(["a", "attempt 2"]);
      expect((await stateOf(other.kernel, "a")).recoveryCount).toBe(0);
      expect(session.state).toBe("idle");
    });

    promise("a handler that is taken off and another put on in the same moment: that one goes on at once", async (ground) => {
      const { kernel, session } = await stage(ground);
      for (const n of count(10)) {
        const { begun, off } = stand(session);
        if (n === 1) await session.submit(prompt("a"));
        await begun;
        off();
      }
      session.onTurn(async (turn) => turn.append(saying("done")));
      await drained(kernel);
      expect(await said(session)).toEqual(["a", "done"]);
      const { attemptCount, recoveryCount } = await stateOf(kernel, "a");
      expect([attemptCount, recoveryCount]).toEqual([11, 0]);
    });

    promise("a handler may end its own session object, its handler or its kernel, and hangs nobody", async (ground) => {
      await (await ground.kernel.session("s")).submit(prompt("a"));
      for (const how of ["dispose", "off", "close"] as const) {
        const kernel = await ground.open({ loop: "inline" });
        const session = await kernel.session("s");
        const done = gate();
        const off = session.onTurn(async (turn) => {
          turn.append(saying("dropped"));
          if (how === "dispose") await session[Symbol.asyncDispose]();
          else if (how === "off") off();
          else await kernel.close();
          done.open();
        });
        await done.promise;
        if (how === "off") await quiet();
        await kernel.close();
        expect((await stateOf(ground.kernel, "a")).recoveryCount).toBe(0);
      }
      const { kernel, session } = await stage(ground);
      session.onTurn(async (turn) => turn.append(saying("done")));
      await drained(kernel);
      expect(await said(session)).toEqual(["a", "done"]);
    });

    promise("a session that is left in the middle of a turn hands it back, unless it is open here once more", async (ground) => {
      const { kernel, session } = await stage(ground);
      const again = await kernel.session("s");
      const { begun, leave } = stand(again);
      await session.submit(prompt("a"));
      await begun;
      await session[Symbol.asyncDispose]();
      await refused(session.submit(prompt("b")), "closed");
      await quiet();
      expect((await stateOf(kernel, "a")).currentState).toBe("staged");
      leave();
      await drained(kernel);
      const last = stand(again);
      await again.submit(prompt("b"));
      await last.begun;
      await again[Symbol.asyncDispose]();
      expect((await stateOf(kernel, "b")).currentState).toBe("queued");
      expect(await readRows(ground, "attachments")).toEqual([]);
    });

    promise("a run whose lease another took stores nothing more (R-95)", async (ground) => {
      const { session, told } = await stage(ground);
      const { begun, leave } = stand(session);
      await session.submit(prompt("a"));
      const turn = await begun;
      turn.append(saying("lost"));
      const [lease] = await readRows(ground, "leases");
      const put = { ...lease, v: 1, ownerId: "another", leaseToken: "another.9", fencingToken: 9 };
      await writeRows(ground, { table: "leases", put });
      await refused(turn.checkpoint(), "lease-lost");
      await refused(
        turn.step("late", () => 1),
        "lease-lost",
      );
      leave();
      await quiet();
      expect([await said(session), await readRows(ground, "receipts"), await readRows(ground, "turnSteps")]).toEqual([
        [],
        [],
        [],
      ]);
      expect(codesOf(told).includes("run.completed")).toBe(false);
      expect((await stateOf(ground.kernel, "a")).currentState).toBe("staged");
      expect((await readRows(ground, "leases"))[0]).toEqual(put);
    });
  }

  function commands(): void {
    for (const [name, reason] of [
      ["stop", "stopped"],
      ["destroy", "destroyed"],
    ] as const) {
      for (const isElsewhere of [false, true]) {
        promise(
          `${name} ${isElsewhere ? "by another tab" : "by its own tab"} ends the turn that runs; nothing of it is stored, nor brings the state back (R-133, R-134, R-138)`,
          async (ground) => {
            const { kernel, session, told } = await stage(ground);
            const { begun, leave } = stand(session);
            await session.submit(prompt("a"));
            await session.submit(prompt("b"));
            const turn = await begun;
            turn.append(saying("lost"));
            const by = isElsewhere ? await (await ground.open()).session("s") : session;
            const report = await by[name]();
            if (name === "destroy") expect(report).toEqual({ abandoned: 2 });
            await refused(turn.checkpoint(), "lease-lost");
            leave();
            if (isElsewhere) await ground.clock.advance(5_000);
            await comes(() => turn.signal.aborted, "the abort");
            await quiet();
            expect(await kernel.runtime.loadRuntimeState(RUNTIME)).toBe(reason);
            expect([await outcomeOf(kernel, "a"), await outcomeOf(kernel, "b")]).toEqual([ABANDONED(reason), ABANDONED(reason)]);
            expect([await said(session), await readRows(ground, "receipts")]).toEqual([[], []]);
            expect(codesOf(told).filter((code) => code === "run.completed" || code === "run.failed")).toEqual([]);
            expect((await runtimeRow(ground)).run ?? "none").toBe("none");
            await refused(session.submit(prompt("c")), "not-ready", reason);
          },
        );
      }
    }

    promise("a tab without a channel learns the state with its next look (R-138)", async (ground) => {
      const { session } = await stage(ground);
      const { begun, leave } = stand(session);
      await session.submit(prompt("a"));
      await begun;
      await (await (await ground.open()).session("s")).stop();
      leave();
      await ground.clock.advance(10_000);
      expect(session.state).toBe("stopped");
    });

    promise(
      "reset and recycle are refused while a turn runs, in its tab and in others, and it goes on (R-132, R-136)",
      async (ground) => {
        const { kernel, session } = await stage(ground);
        const other = await (await ground.open()).session("s");
        const { begun, leave } = stand(session);
        await session.submit(prompt("a"));
        await begun;
        for (const by of [session, other]) {
          await refused(by.reset(), "not-ready", "running");
          await refused(by.recycle(), "not-ready", "running");
        }
        await session.retire();
        for (const by of [session, other]) {
          await refused(by.reset(), "not-ready", "running");
          await refused(by.recycle(), "not-ready", "running");
        }
        leave();
        await drained(kernel);
        expect(await phases(kernel)).toEqual(["a consumed"]);
        expect(await session.reset()).toEqual({ abandoned: 0 });
        expect((await session.submit(prompt("b"))).outcome).toBe("accepted");
      },
    );

    promise("retire during a turn lets it end and drains what waits; the state stays (R-92, R-130, R-138)", async (ground) => {
      const { kernel, session } = await stage(ground);
      const { begun, leave } = stand(session);
      for (const id of ["a", "b"]) await session.submit(prompt(id));
      await begun;
      const other = await (await ground.open()).session("s");
      expect(await other.retire()).toEqual({ abandoned: 0, pendingDrain: 2 });
      await refused(session.submit(prompt("c")), "not-ready", "retired");
      expect(await kernel.runtime.loadRuntimeState(RUNTIME)).toBe("retired");
      leave();
      await drained(kernel);
      await comes(async () => (await kernel.runtime.loadRuntimeState(RUNTIME)) === "retired", "the retired state");
      expect(await phases(kernel)).toEqual(["a consumed", "b consumed"]);
      await refused(session.submit(prompt("c")), "not-ready", "retired");
    });

    promise("a retired session takes no input while it drains, either (R-130)", async (ground) => {
      const { kernel, session } = await stage(ground);
      const off = session.onTurn(async () => {});
      await comes(async () => (await readRows(ground, "attachments")).some(({ handler }) => handler === 1), "the attachment");
      await session.submit({ ...(SUBMISSIONS.peer_response_progress as object), inputType: "peer", inputId: "a" });
      await quiet();
      const held = stand(session);
      expect((await session.retire()).pendingDrain).toBe(1);
      await held.begun;
      await refused(session.submit(prompt("late")), "not-ready");
      held.leave();
      await drained(kernel);
      expect(await phases(kernel)).toEqual(["a consumed"]);
      expect(await kernel.runtime.loadRuntimeState(RUNTIME)).toBe("retired");
      off();
    });

    promise(
      "a failing turn of a retired session gives its input up after three failures and stays retired (R-61, R-92)",
      async (ground) => {
        const { kernel, session } = await stage(ground);
        let first = true;
        session.onTurn(async () => {
          if (first) await session.retire();
          first = false;
          throw new Error("no");
        });
        await session.submit(prompt("a"));
        await drained(kernel);
        expect(await outcomeOf(kernel, "a")).toEqual(ABANDONED({ max_attempts_exhausted: { attempts: 3 } }));
        expect(await kernel.runtime.loadRuntimeState(RUNTIME)).toBe("retired");
      },
    );

    promise("a handler may retire, stop or destroy its own session (R-130, R-133, R-134)", async (ground) => {
      for (const [name, phase, state] of [
        ["retire", "consumed", "retired"],
        ["stop", "abandoned", "stopped"],
        ["destroy", "abandoned", "destroyed"],
      ] as const) {
        const { kernel, session } = await stage(ground);
        session.onTurn(async (turn) => {
          turn.append(saying("said"));
          await session[name]();
        });
        await session.submit(prompt("a"));
        await drained(kernel);
        await quiet();
        expect([await phases(kernel), await kernel.runtime.loadRuntimeState(RUNTIME)]).toEqual([[`a ${phase}`], state]);
        await kernel.sessions.delete("s");
        await kernel.close();
      }
    });
  }

  function processes(): void {
    const turnOf = (input: unknown, id = "p") => ({
      id,
      input: { type: "session_turn" as const, sessionId: "s", input: input as never },
    });

    promise("a process that is a turn goes the way of all inputs and ends with it", async (ground) => {
      const { kernel, session } = await stage(ground);
      session.onTurn(async (turn) => turn.append(saying("answer")));
      const handle = await kernel.start(turnOf("hello"));
      await ground.clock.advance(1_000);
      const output = await handle.result();
      const [state] = await kernel.runtime.loadInputStates(RUNTIME);
      expect(output).toEqual({
        type: "success",
        value: { inputId: state?.inputId, runId: state?.lastRunId, outcome: CONSUMED },
      } as never);
      expect(await said(session)).toEqual(["hello", "answer"]);
    });

    promise("it fails when its input is given up or its session stopped, and is cancelled with it (R-123)", async (ground) => {
      const { kernel, session } = await stage(ground);
      const { begun } = stand(session);
      const running = await kernel.start(turnOf("one", "p1"));
      const waiting = await kernel.start(turnOf("two", "p2"));
      await ground.clock.advance(1_000);
      await begun;
      await comes(async () => (await kernel.runtime.loadInputStates(RUNTIME)).length === 2, "both inputs");
      await running.cancel("not wanted");
      expect((await running.result()).type).toBe("cancelled");
      await session.stop();
      const output = await waiting.result();
      expect([output.type, (output as { code?: unknown }).code]).toEqual(["failure", "stopped"]);
      const outcomes = (await kernel.runtime.loadInputStates(RUNTIME)).map(({ terminalOutcome }) =>
        JSON.stringify(terminalOutcome),
      );
      expect(outcomes.sort()).toEqual([ABANDONED("cancelled"), ABANDONED("stopped")].map((outcome) => JSON.stringify(outcome)));
    });

    promise("it is run by nobody where the session has no handler", async (ground) => {
      const { kernel, session } = await stage(ground);
      const handle = await kernel.start(turnOf("hello"));
      await ground.clock.advance(60_000);
      expect([await phases(kernel), (await handle.record())?.status.state]).toEqual([[], "running"]);
      session.onTurn(async () => {});
      await ground.clock.advance(60_000);
      expect((await handle.result()).type).toBe("success");
    });
  }
}
