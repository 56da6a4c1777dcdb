import type { View } from "../../../corridor/view.js";
import { NonRetryableError } from "../../../domain/errors.js";
import type { SessionView } from "../../../kernel/session/view/session-view.rules.js";
import { type OpenFixture, type Runner, type Setup, success, task } from "../../kit/fixture.js";
import { comes, prompt, sessionCasesOn, withoutTurns, withTurns } from "../session.fixture.js";
import { saying, stand } from "../turns/turn.fixture.js";

/** What user interfaces are shown of sessions, processes and hosts. */
export function viewCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise } = sessionCasesOn(open, runner);

  /** Subscribes, and waits until the view shows it. The clock goes on meanwhile: frames and pauses pass. */
  async function shows<T>(setup: Setup, view: View<T>, holds: (value: T) => boolean): Promise<T> {
    const off = view.subscribe(() => {});
    try {
      const what = `a view that shows ${holds}`;
      await comes(async () => {
        if (holds(view.get())) return true;
        await setup.clock.advance(1_000);
        return holds(view.get());
      }, what);
      return view.get();
    } finally {
      off();
    }
  }

  const lines = ({ messages }: SessionView) => messages.map(({ content, pending }) => `${content} ${pending ?? "-"}`);

  promise("a session's view is loading before its first subscriber, and then shows what is stored (A-21)", async (setup) => {
    const { session } = await withoutTurns(setup);
    expect(session.view.get()).toEqual({ status: "loading", messages: [], live: [], waiting: 0, state: "initializing" });
    await session.submit(prompt("a"));
    expect(session.view.get().status).toBe("loading");
    const shown = await shows(setup, session.view, ({ status }) => status === "ready");
    expect(shown).toEqual({
      status: "ready",
      messages: [{ role: "user", content: "a", inputId: "a", pending: "waiting" }],
      live: [],
      waiting: 1,
      state: "idle",
    });
  });

  promise("a view shows the turn that runs, behind it what waits, and then the answer (A-21)", async (setup) => {
    const { kernel, session } = await withTurns(setup);
    const { begun, leave } = stand(session);
    await session.submit(prompt("a"));
    const { runId } = await begun;
    await session.submit(prompt("b"));
    const running = await shows(setup, session.view, ({ run, waiting }) => run !== undefined && waiting === 1);
    expect(lines(running)).toEqual(["a running", "b waiting"]);
    expect([running.run, running.state]).toEqual([
      { runId, attempt: 1, inputIds: ["a"], hostId: kernel.hostId, self: true },
      "running",
    ]);
    const other = await setup.open();
    const elsewhere = await shows(setup, (await other.session("s")).view, ({ run }) => run !== undefined);
    expect(elsewhere.run).toEqual({ ...running.run, self: false });
    leave();
    const done = await shows(setup, session.view, ({ waiting, run }) => waiting === 0 && run === undefined);
    expect([lines(done), done.state]).toEqual([["a -", "b -"], "attached"]);
  });

  promise("a prompt whose message a checkpoint stored is shown once, as running (A-21)", async (setup) => {
    const { session } = await withTurns(setup);
    let leave = () => {};
    const left = new Promise<void>((resolve) => {
      leave = resolve;
    });
    session.onTurn(async (turn) => {
      turn.append(saying("half"));
      await turn.checkpoint();
      await left;
    });
    await session.submit(prompt("a"));
    expect(lines(await shows(setup, session.view, ({ messages }) => messages.length === 2))).toEqual(["a running", "half -"]);
    leave();
    const done = await shows(setup, session.view, ({ run }) => run === undefined);
    expect(lines(done)).toEqual(["a -", "half -"]);
  });

  promise(
    "a prompt that was given up stays where it came, with its error until one behind it is answered (A-21)",
    async (setup) => {
      const { session } = await withTurns(setup);
      session.onTurn(async (turn) => {
        if (turn.inputs.some(({ inputId }) => inputId.startsWith("bad"))) throw new Error("no model today");
        turn.append(saying(`to ${turn.inputs[0]?.inputId}`));
      });
      await session.submit(prompt("good"));
      await session.submit(prompt("bad"));
      const failed = await shows(setup, session.view, ({ messages }) => messages.at(-1)?.pending === "failed");
      expect(lines(failed)).toEqual(["good -", "to good -", "bad failed"]);
      expect([failed.error, failed.waiting]).toEqual(["no model today", 0]);
      await session.submit(prompt("later"));
      const later = await shows(setup, session.view, ({ messages }) => messages.length === 5);
      expect(lines(later)).toEqual(["good -", "to good -", "bad failed", "later -", "to later -"]);
      expect(later.error).toBe(undefined);
    },
  );

  promise("a prompt that was cancelled while another ran stays behind that one's answer (A-21)", async (setup) => {
    const { session } = await withTurns(setup);
    const { begun, leave } = stand(session);
    await session.submit(prompt("a"));
    (await begun).append(saying("answer"));
    await session.submit(prompt("b"));
    await session.cancel("b");
    const cancelled = await shows(setup, session.view, ({ messages }) => messages.length === 2);
    expect(lines(cancelled)).toEqual(["a running", "b cancelled"]);
    leave();
    const done = await shows(setup, session.view, ({ run, messages }) => run === undefined && messages.length === 3);
    expect(lines(done)).toEqual(["a -", "answer -", "b cancelled"]);
  });

  promise("a prompt that failed leaves the view when its idempotency key is used again (A-19, A-21)", async (setup) => {
    const { session } = await withTurns(setup);
    const off = session.view.subscribe(() => {});
    session.onTurn(async (turn) => {
      if (turn.inputs.some(({ inputId }) => inputId === "first")) throw new NonRetryableError("no");
    });
    await session.submit(prompt("first", { idempotencyKey: "k" }));
    expect(lines(await shows(setup, session.view, ({ messages }) => messages[0]?.pending === "failed"))).toEqual([
      "first failed",
    ]);
    await session.submit(prompt("second", { idempotencyKey: "k" }));
    const done = await shows(
      setup,
      session.view,
      ({ waiting, run, messages }) => !run && waiting === 0 && !messages.some(({ pending }) => pending),
    );
    expect([lines(done), done.error]).toEqual([["second -"], undefined]);
    const again = await setup.open();
    const elsewhere = await shows(setup, (await again.session("s")).view, ({ status }) => status === "ready");
    expect(lines(elsewhere)).toEqual(["second -"]);
    off();
  });

  promise("what the transcript does not show, a view counts but does not show either (A-21)", async (setup) => {
    const { session } = await withoutTurns(setup);
    await session.submit(prompt("hidden", { visibility: { transcriptEligible: false } }));
    await session.submit(prompt("shown"));
    const view = await shows(setup, session.view, ({ status }) => status === "ready");
    expect([lines(view), view.waiting]).toEqual([["shown waiting"], 2]);
    for (const id of ["hidden", "shown"]) await session.cancel(id);
    expect(lines(await shows(setup, session.view, ({ waiting }) => waiting === 0))).toEqual(["shown cancelled"]);
  });

  promise("an ephemeral prompt leaves the view with its end (A-21)", async (setup) => {
    const { session } = await withoutTurns(setup);
    const off = session.view.subscribe(() => {});
    await session.submit(prompt("brief", { durability: "ephemeral" }));
    await shows(setup, session.view, ({ messages }) => messages.length === 1);
    await session.cancel("brief");
    expect((await shows(setup, session.view, ({ waiting }) => waiting === 0)).messages).toEqual([]);
    off();
  });

  promise(
    "a session's view is closed with its object, its kernel or its session, and keeps what it showed (A-21)",
    async (setup) => {
      const { kernel, session } = await withoutTurns(setup);
      await session.submit(prompt("a"));
      for (const how of ["object", "kernel", "session"] as const) {
        const own = await setup.open();
        const runtime = await own.session("s");
        const told: string[] = [];
        await shows(setup, runtime.view, ({ status }) => status === "ready");
        runtime.view.subscribe(() => told.push(runtime.view.get().status));
        await setup.clock.advance(16);
        if (how === "object") await runtime.close();
        else if (how === "kernel") await own.close();
        else await kernel.sessions.delete("s");
        await comes(async () => {
          await setup.clock.advance(1_000);
          return told.includes("closed");
        }, "the end");
        expect([how, told.at(-1), runtime.view.get().status]).toEqual([how, "closed", "closed"]);
        expect(lines(runtime.view.get())).toEqual(["a waiting"]);
        const last = runtime.view.get();
        runtime.view.subscribe(() => told.push("more"))();
        expect(runtime.view.get()).toBe(last);
        expect(told.filter((each) => each === "more")).toEqual([]);
      }
    },
  );

  promise("views of a kernel show its sessions, processes and hosts as its reads do (A-21)", async (setup) => {
    const { kernel, processes } = setup;
    const { views } = kernel;
    expect([views.sessions().get(), views.process("p").get(), views.processes().get(), views.hosts().get()]).toEqual([
      [],
      undefined,
      [],
      [],
    ]);
    await kernel.session("s");
    await processes.registerProcess(task("p"));
    await processes.registerProcess(task("q"));
    await processes.completeProcess("q", success(1));
    expect(await shows(setup, views.sessions(), ({ length }) => length > 0)).toEqual(await kernel.sessions.list());
    expect(await shows(setup, views.process("p"), (record) => record !== undefined)).toEqual(await processes.getProcess("p"));
    expect(await shows(setup, views.processes(), ({ length }) => length > 0)).toEqual(await processes.list());
    expect(await shows(setup, views.processes({ state: "completed" }), ({ length }) => length > 0)).toEqual(
      await processes.list({ state: "completed" }),
    );
    expect((await shows(setup, views.hosts(), ({ length }) => length > 0)).map(({ hostId }) => hostId)).toEqual([kernel.hostId]);
  });

  promise("a change keeps the objects of all that did not change (A-21)", async (setup) => {
    const { kernel, processes } = setup;
    for (const id of ["a", "b", "c"]) await processes.registerProcess(task(id));
    const view = kernel.views.processes();
    const off = view.subscribe(() => {});
    const before = await shows(setup, view, ({ length }) => length === 3);
    await processes.completeProcess("b", success(1));
    const after = await shows(setup, view, (records) => records[1]?.status.state === "completed");
    expect([after[0] === before[0], after[1] === before[1], after[2] === before[2]]).toEqual([true, false, true]);
    await processes.registerProcess(task("0"));
    const more = await shows(setup, view, ({ length }) => length === 4);
    expect(more.slice(1).every((record, at) => record === after[at])).toBe(true);
    const { session } = await withoutTurns(setup);
    for (const id of ["m", "n"]) await session.submit(prompt(id));
    const offToo = session.view.subscribe(() => {});
    const [first] = (await shows(setup, session.view, ({ messages }) => messages.length === 2)).messages;
    await session.cancel("n");
    const { messages } = await shows(setup, session.view, ({ waiting }) => waiting === 1);
    expect([messages[0] === first, messages[1]?.pending]).toEqual([true, "cancelled"]);
    off();
    offToo();
  });
}
