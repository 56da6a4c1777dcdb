import { mintLifecycleCommit } from "../../../domain/session/lifecycle-commit.js";
import type { RuntimeState } from "../../../domain/session/session.js";
import type { SessionRuntime } from "../../../kernel/session/session.js";
import type { InputSubmission } from "../../../stores/session/inputs/submission.js";
import { type OpenFixture, outcomes, type Runner, refused, type Setup } from "../../kit/fixture.js";
import { readRows } from "../../kit/rows.fixture.js";
import { RUNTIME } from "../runtime.fixture.js";
import {
  ABANDONED,
  comes,
  drained,
  idsOf,
  phases,
  prompt,
  quiet,
  runsOf,
  SUBMISSIONS,
  sessionCasesOn,
  stateOf,
  withoutTurns,
  withTurns,
} from "../session.fixture.js";

/** Commands on a session without a running turn: the inputs that they end, and the state afterwards. */
export function sessionCommandCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise } = sessionCasesOn(open, runner);

  const STATES = ["idle", "retired", "stopped", "destroyed"] as const;
  type State = (typeof STATES)[number];
  type Name = "retire" | "reset" | "recycle" | "shutdown" | "destroy";
  const LEADS: Record<Name, Partial<Record<State, RuntimeState>>> = {
    retire: { idle: "retired", retired: "retired" },
    reset: { idle: "idle", retired: "idle" },
    recycle: { idle: "idle", retired: "idle" },
    shutdown: { idle: "stopped", retired: "stopped", stopped: "stopped" },
    destroy: { idle: "destroyed", retired: "destroyed", stopped: "destroyed" },
  };

  /** A session in that state. The program has restarted in between where `isLater`. */
  async function inState(setup: Setup, state: State, isLater: boolean) {
    const session = await setup.kernel.session("s");
    if (state === "retired") await session.retire();
    if (state === "stopped") await session.shutdown();
    if (state === "destroyed") await session.destroy();
    if (!isLater) return { kernel: setup.kernel, session };
    const kernel = await setup.reopen();
    return { kernel, session: await kernel.session("s") };
  }

  for (const state of STATES) {
    for (const name of Object.keys(LEADS) as Name[]) {
      const next = LEADS[name][state];
      const to = next ?? "a refusal";
      promise(`${name} from ${state} gives ${to}, also after a restart (R-117, R-132, R-133, R-134, R-137)`, async (setup) => {
        for (const isLater of [false, true]) {
          const { kernel, session } = await inState(setup, state, isLater);
          expect([session.state, await kernel.runtime.loadRuntimeState(RUNTIME)]).toEqual([state, state]);
          if (next === undefined) await refused(session[name]() as Promise<unknown>, "not-ready", state);
          else await session[name]();
          const now = next ?? state;
          expect([session.state, await kernel.runtime.loadRuntimeState(RUNTIME)]).toEqual([now, now]);
          if (now === "idle") expect((await session.submit(prompt(`a${isLater}`))).outcome).toBe("accepted");
          else await refused(session.submit(prompt("a")), "not-ready", now);
          if (!isLater) await kernel.sessions.delete("s");
        }
      });
    }
  }

  /** Four inputs: a prompt, a continuation, an operation, which ends at once, and a progress message, which wakes no run. */
  async function furnish(session: SessionRuntime): Promise<void> {
    await session.submit(prompt("a", { idempotencyKey: "k" }));
    await session.submit({ inputType: "continuation", inputId: "b" });
    await session.submit({ inputType: "operation", inputId: "done" });
    await session.submit({ ...SUBMISSIONS.peer_response_progress, inputId: "c" } as InputSubmission);
  }

  const ENDS = [
    ["retire", "retired", { abandoned: 3, pendingDrain: 0 }, "R-131"],
    ["reset", "reset", { abandoned: 3 }, "R-132"],
    ["shutdown", "stopped", undefined, "R-133"],
    ["destroy", "destroyed", { abandoned: 3 }, "R-134"],
  ] as const;
  for (const [name, reason, report, statement] of ENDS) {
    promise(`${name} without a turn handler abandons all that lives, with the reason ${reason} (${statement})`, async (setup) => {
      const { kernel, session, told } = await withoutTurns(setup);
      await furnish(session);
      const by = await (await setup.open()).session("s");
      expect((await by[name]()) as unknown).toEqual(report);
      expect(await phases(kernel)).toEqual(["a abandoned", "b abandoned", "c abandoned", "done consumed"]);
      for (const id of ["a", "b", "c"]) {
        const { terminalOutcome, history } = await stateOf(kernel, id);
        expect(terminalOutcome).toEqual(ABANDONED(reason));
        const last = history.at(-1);
        expect([last?.from, last?.to, last?.reason]).toEqual(["queued", "abandoned", reason]);
      }
      expect(idsOf(told, "input.abandoned")).toEqual([]);
      const state = name === "reset" ? "idle" : reason;
      const again = await setup.reopen();
      expect(await again.runtime.loadRuntimeState(RUNTIME)).toBe(state);
      const later = await again.session("s");
      expect([later.state, later.recovery?.recovered]).toEqual([state, 0]);
      if (state === "idle") {
        // The input that had the key was given up.
        expect(await later.submit(prompt("new", { idempotencyKey: "k" }))).toEqual({ outcome: "accepted", inputId: "new" });
      }
    });
  }

  promise("who abandons tells of each input (R-85, R-133)", async (setup) => {
    const { session, told } = await withoutTurns(setup);
    await furnish(session);
    told.splice(0);
    await session.shutdown();
    expect(idsOf(told, "input.abandoned").sort()).toEqual(["a", "b", "c"]);
    expect(told.filter(({ code }) => code === "runtime.state_changed").map(({ state }) => state)).toEqual(["stopped"]);
  });

  promise("shutdown again is harmless, and destroy after it ends nothing twice (R-67, R-133, R-134)", async (setup) => {
    const { kernel, session } = await withoutTurns(setup);
    await session.submit(prompt("a"));
    await session.shutdown();
    const before = await stateOf(kernel, "a");
    await session.shutdown();
    expect(await session.destroy()).toEqual({ abandoned: 0 });
    expect(await stateOf(kernel, "a")).toEqual(before);
  });

  promise("retire leaves what waits where any tab has a turn handler, and that tab runs it (R-130)", async (setup) => {
    const here = await withTurns(setup);
    const { kernel, session } = await withoutTurns(setup);
    await session.submit(prompt("a"));
    // The input does not run by itself: this kernel was not told of it.
    const runs = runsOf(here.session);
    await comes(async () => (await readRows(setup, "attachments")).some(({ handler }) => handler === 1), "the attachment");
    await drained(kernel);
    await session.submit(prompt("b"));
    await session.submit({ ...SUBMISSIONS.peer_response_progress, inputId: "c" } as InputSubmission);
    expect(await session.retire()).toEqual({ abandoned: 0, pendingDrain: 2 });
    await refused(session.submit(prompt("late")), "not-ready", "retired");
    await setup.clock.advance(5_000);
    await drained(kernel);
    // An input that nothing would ever wake runs too.
    expect(runs).toEqual([["a"], ["c"], ["b"]]);
    expect(await kernel.runtime.loadRuntimeState(RUNTIME)).toBe("retired");
  });

  promise("recycle keeps all that waits and tells how many; it is idle again after a retirement (R-136)", async (setup) => {
    const here = await withTurns(setup);
    const off = here.session.onTurn(async () => {});
    await quiet();
    const { kernel, session } = await withoutTurns(setup);
    await furnish(session);
    expect((await session.retire()).pendingDrain).toBe(3);
    expect(await session.recycle()).toEqual({ carriedOver: 3 });
    expect(await kernel.runtime.loadRuntimeState(RUNTIME)).toBe("idle");
    expect(await phases(kernel)).toEqual(["a queued", "b queued", "c queued", "done consumed"]);
    expect((await session.submit(prompt("d"))).outcome).toBe("accepted");
    off();
  });

  promise("a deleted session is not found by any command of its old object (R-137)", async (setup) => {
    const { kernel, session } = await withoutTurns(setup);
    await session.submit(prompt("a"));
    await kernel.sessions.delete("s");
    const calls = [
      session.submit(prompt("b")),
      session.retire(),
      session.reset(),
      session.recycle(),
      session.shutdown(),
      session.destroy(),
    ];
    expect((await outcomes<unknown>(calls)).codes).toEqual(calls.map(() => "not-found"));
    await refused(session.cancel("a"), "not-found");
    await refused(session.messages(), "not-found");
    const again = await kernel.session("s");
    expect([again.state, await phases(kernel)]).toEqual(["idle", []]);
  });

  promise("a session is attached in the tab that has a handler, and stored as idle (R-102)", async (setup) => {
    const { kernel, session } = await withTurns(setup);
    const other = await withoutTurns(setup);
    expect(session.state).toBe("idle");
    const off = session.onTurn(async () => {});
    expect([session.state, other.session.state]).toEqual(["attached", "idle"]);
    await session.recycle();
    expect(await kernel.runtime.loadRuntimeState(RUNTIME)).toBe("idle");
    await session.submit(prompt("a"));
    await drained(kernel);
    expect(await kernel.runtime.loadRuntimeState(RUNTIME)).toBe("idle");
    await comes(() => session.state === "attached", "attached again");
    off();
    expect(session.state).toBe("idle");
    await refused(kernel.runtime.commitMachineLifecycle(RUNTIME, mintLifecycleCommit("attached"), []), "invalid", "attached");
  });

  promise("its runtime's state is stored when a session was opened (R-111)", async (setup) => {
    const { kernel } = setup;
    expect(await kernel.runtime.loadRuntimeState(RUNTIME)).toBe(undefined);
    await kernel.session("s");
    expect(await kernel.runtime.loadRuntimeState(RUNTIME)).toBe("idle");
  });

  promise("a stored initializing becomes idle, and a running that nobody runs, too (R-111)", async (setup) => {
    const { kernel } = setup;
    for (const state of ["initializing", "running"] as const) {
      await kernel.runtime.commitMachineLifecycle(RUNTIME, mintLifecycleCommit(state), []);
      expect((await kernel.session("s")).state).toBe("idle");
      expect(await kernel.runtime.loadRuntimeState(RUNTIME)).toBe("idle");
    }
  });
}
