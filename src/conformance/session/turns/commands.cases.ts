import { type OpenFixture, type Runner, refused } from "../../kit/fixture.js";
import { readRows } from "../../kit/rows.fixture.js";
import { RUNTIME } from "../runtime.fixture.js";
import {
  ABANDONED,
  comes,
  drained,
  outcomeOf,
  phases,
  prompt,
  quiet,
  SUBMISSIONS,
  said,
  sessionCasesOn,
  withTurns,
} from "../session.fixture.js";
import { codesOf, runtimeRow, saying, stand } from "./turn.fixture.js";

/** Commands on a session with a running turn. */
export function turnCommandCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise } = sessionCasesOn(open, runner);

  for (const [name, reason] of [
    ["shutdown", "stopped"],
    ["destroy", "destroyed"],
  ] as const) {
    for (const isElsewhere of [false, true]) {
      promise(
        `${name} ${isElsewhere ? "by another tab" : "by its own tab"} ends the turn that runs; nothing of it is stored, nor brings the state back (R-133, R-134, R-138)`,
        async (setup) => {
          const { kernel, session, told } = await withTurns(setup);
          const { begun, leave } = stand(session);
          await session.submit(prompt("a"));
          await session.submit(prompt("b"));
          const turn = await begun;
          turn.append(saying("lost"));
          const by = isElsewhere ? await (await setup.open()).session("s") : session;
          const report = await by[name]();
          if (name === "destroy") expect(report).toEqual({ abandoned: 2 });
          await refused(turn.checkpoint(), "lease-lost");
          leave();
          if (isElsewhere) await setup.clock.advance(5_000);
          await comes(() => turn.signal.aborted, "the abort");
          await quiet();
          expect(await kernel.runtime.loadRuntimeState(RUNTIME)).toBe(reason);
          expect([await outcomeOf(kernel, "a"), await outcomeOf(kernel, "b")]).toEqual([ABANDONED(reason), ABANDONED(reason)]);
          expect([await said(session), await readRows(setup, "receipts")]).toEqual([[], []]);
          expect(codesOf(told).filter((code) => code === "run.completed" || code === "run.failed")).toEqual([]);
          expect((await runtimeRow(setup)).run ?? "none").toBe("none");
          await refused(session.submit(prompt("c")), "not-ready", reason);
        },
      );
    }
  }

  promise("a tab without a channel learns the state with its next look (R-138)", async (setup) => {
    const { session } = await withTurns(setup);
    const { begun, leave } = stand(session);
    await session.submit(prompt("a"));
    await begun;
    await (await (await setup.open()).session("s")).shutdown();
    leave();
    await setup.clock.advance(10_000);
    expect(session.state).toBe("stopped");
  });

  promise(
    "reset and recycle are refused while a turn runs, in its tab and in others, and it goes on (R-132, R-136)",
    async (setup) => {
      const { kernel, session } = await withTurns(setup);
      const other = await (await setup.open()).session("s");
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

  promise("retire during a turn lets it end and drains what waits; the state stays (R-92, R-130, R-138)", async (setup) => {
    const { kernel, session } = await withTurns(setup);
    const { begun, leave } = stand(session);
    for (const id of ["a", "b"]) await session.submit(prompt(id));
    await begun;
    const other = await (await setup.open()).session("s");
    expect(await other.retire()).toEqual({ abandoned: 0, pendingDrain: 2 });
    await refused(session.submit(prompt("c")), "not-ready", "retired");
    expect(await kernel.runtime.loadRuntimeState(RUNTIME)).toBe("retired");
    leave();
    await drained(kernel);
    await comes(async () => (await kernel.runtime.loadRuntimeState(RUNTIME)) === "retired", "the retired state");
    expect(await phases(kernel)).toEqual(["a consumed", "b consumed"]);
    await refused(session.submit(prompt("c")), "not-ready", "retired");
  });

  promise("a retired session takes no input while it drains, either (R-130)", async (setup) => {
    const { kernel, session } = await withTurns(setup);
    const off = session.onTurn(async () => {});
    await comes(async () => (await readRows(setup, "attachments")).some(({ handler }) => handler === 1), "the attachment");
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
    async (setup) => {
      const { kernel, session } = await withTurns(setup);
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

  promise("a handler may retire, shut down or destroy its own session (R-130, R-133, R-134)", async (setup) => {
    for (const [name, phase, state] of [
      ["retire", "consumed", "retired"],
      ["shutdown", "abandoned", "stopped"],
      ["destroy", "abandoned", "destroyed"],
    ] as const) {
      const { kernel, session } = await withTurns(setup);
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
