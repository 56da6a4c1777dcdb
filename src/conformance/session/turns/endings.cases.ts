import type { Turn } from "../../../kernel/session/turn.js";
import { count, type OpenFixture, type Runner, refused } from "../../kit/fixture.js";
import { readRows } from "../../kit/rows.fixture.js";
import { RUNTIME } from "../runtime.fixture.js";
import {
  CONSUMED,
  comes,
  drained,
  gate,
  phases,
  prompt,
  quiet,
  said,
  sessionCasesOn,
  stateOf,
  withTurns,
} from "../session.fixture.js";
import { saying, stand } from "./turn.fixture.js";

/** Turns that ended, were handed back or left: another attempt goes on. */
export function turnEndingCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise } = sessionCasesOn(open, runner);

  promise("a turn that is over takes nothing more", async (setup) => {
    const { kernel, session } = await withTurns(setup);
    const turns: Turn[] = [];
    session.onTurn(async (turn) => void turns.push(turn));
    await session.submit(prompt("a"));
    await drained(kernel);
    await quiet();
    const [turn] = turns as [Turn];
    await refused(
      Promise.resolve().then(() => void turn.append(saying("late"))),
      "lease-lost",
    );
    await refused(turn.checkpoint(), "lease-lost");
    await refused(
      turn.step("late", () => 1),
      "lease-lost",
    );
    expect([await said(session), await readRows(setup, "turnSteps")]).toEqual([["a"], []]);
  });

  promise("twenty closes in a row in the middle of one turn lose nothing, and then it completes (R-61, R-94)", async (setup) => {
    await (await setup.kernel.session("s")).submit(prompt("a"));
    const attempts: number[] = [];
    let ran = 0;
    for (const n of count(20)) {
      if (n % 5 === 0) await setup.reopen();
      const kernel = await setup.open({ loop: "inline" });
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
    const { kernel, session } = await withTurns(setup);
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
  });

  promise("a handler that is taken off in the middle hands its turn back; another tab goes on (R-61)", async (setup) => {
    const { session } = await withTurns(setup);
    const other = await withTurns(setup);
    const { begun, off } = stand(session);
    await session.submit(prompt("a"));
    const turn = await begun;
    other.session.onTurn(async (next) => void next.append(saying(`attempt ${next.attempt}`)));
    off();
    await comes(() => turn.signal.aborted, "the abort");
    await comes(async () => (await stateOf(other.kernel, "a")).currentState === "queued", "the input back");
    expect(await other.kernel.runtime.loadRuntimeState(RUNTIME)).toBe("idle");
    await refused(turn.checkpoint(), "lease-lost");
    await setup.clock.advance(5_000);
    await drained(other.kernel);
    expect(await said(session)).toEqual(["a", "attempt 2"]);
    expect((await stateOf(other.kernel, "a")).recoveryCount).toBe(0);
    expect(session.state).toBe("idle");
  });

  promise("a handler that is taken off and another put on in the same moment: that one goes on at once", async (setup) => {
    const { kernel, session } = await withTurns(setup);
    for (const n of count(10)) {
      const { begun, off } = stand(session);
      if (n === 1) await session.submit(prompt("a"));
      await begun;
      off();
    }
    session.onTurn(async (turn) => void turn.append(saying("done")));
    await drained(kernel);
    expect(await said(session)).toEqual(["a", "done"]);
    const { attemptCount, recoveryCount } = await stateOf(kernel, "a");
    expect([attemptCount, recoveryCount]).toEqual([11, 0]);
  });

  promise("a handler may end its own session object, its handler or its kernel, and hangs nobody", async (setup) => {
    await (await setup.kernel.session("s")).submit(prompt("a"));
    for (const how of ["dispose", "off", "close"] as const) {
      const kernel = await setup.open({ loop: "inline" });
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
      expect((await stateOf(setup.kernel, "a")).recoveryCount).toBe(0);
    }
    const { kernel, session } = await withTurns(setup);
    session.onTurn(async (turn) => void turn.append(saying("done")));
    await drained(kernel);
    expect(await said(session)).toEqual(["a", "done"]);
  });

  promise("a session that is left in the middle of a turn hands it back, unless it is open here once more", async (setup) => {
    const { kernel, session } = await withTurns(setup);
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
    expect(await readRows(setup, "attachments")).toEqual([]);
  });

  promise("close() of a session resolves when no input is staged and no lease is held (A-12)", async (setup) => {
    const { kernel, session } = await withTurns(setup);
    const { begun } = stand(session);
    await session.submit(prompt("a"));
    await session.submit(prompt("b"));
    await begun;
    await Promise.all([session.close(), session.close()]);
    expect(await phases(kernel)).toEqual(["a queued", "b queued"]);
    expect((await readRows(setup, "leases")).filter(({ leaseToken }) => leaseToken !== undefined)).toEqual([]);
    expect(await readRows(setup, "attachments")).toEqual([]);
    await session.close();
    await refused(session.submit(prompt("c")), "closed");
    expect((await stateOf(kernel, "a")).recoveryCount).toBe(0);
  });
}
