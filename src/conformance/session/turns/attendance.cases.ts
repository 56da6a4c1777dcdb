import { DEFAULT_TIMINGS } from "../../../domain/time.js";
import type { Kernel } from "../../../kernel/kernel.js";
import type { AnyTurnHandler, Turn } from "../../../kernel/session/turn.js";
import { type OpenFixture, type Runner, refused, type Setup } from "../../kit/fixture.js";
import { readRows, writeRows } from "../../kit/rows.fixture.js";
import { abandonedRun } from "../inputs/recovery.fixture.js";
import { RUNTIME } from "../runtime.fixture.js";
import { comes, drained, gate, phases, prompt, quiet, sessionCasesOn, stateOf } from "../session.fixture.js";
import { stand } from "./turn.fixture.js";

const { pollMs, leaseTtlMs } = DEFAULT_TIMINGS;

/** `KernelOptions.turns` that notes which inputs of which sessions it ran. */
function noting(): { ran: string[]; turns: AnyTurnHandler } {
  const ran: string[] = [];
  const turns: AnyTurnHandler = async ({ inputs }, { sessionId }) =>
    void ran.push(`${sessionId}: ${inputs.map(({ inputId }) => inputId).join(" ")}`);
  return { ran, turns };
}

/** `KernelOptions.turns` whose turns wait until a case lets them go on. */
function standing(): { begun: [string, Turn][]; leave(): void; turns: AnyTurnHandler } {
  const begun: [string, Turn][] = [];
  const left = gate();
  const turns: AnyTurnHandler = async (turn, { sessionId }) => {
    begun.push([sessionId, turn]);
    await left.promise;
  };
  return { begun, leave: () => left.open(), turns };
}

/** Submits a prompt to a session, from a kernel that runs no turns, and leaves the session. */
async function leaves(kernel: Kernel, sessionId: string, ...inputIds: string[]): Promise<void> {
  const session = await kernel.session(sessionId);
  for (const inputId of inputIds) await session.submit(prompt(inputId));
  await session[Symbol.asyncDispose]();
}

const attachments = (setup: Setup) => readRows(setup, "attachments");

async function figures(kernel: Kernel): Promise<unknown[]> {
  return (await kernel.sessions.list()).map(({ sessionId, waiting, running }) => [sessionId, waiting, running]);
}

/** `KernelOptions.turns`: one handler for all sessions, and sessions that no code has open. */
export function attendanceCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise, changesNoRow } = sessionCasesOn(open, runner);

  promise("a session that waits is gone on with by a host that never opened it, and is left again (A-17)", async (setup) => {
    const { kernel, clock } = setup;
    const { ran, turns } = noting();
    await leaves(kernel, "s", "a");
    const host = await setup.open({ loop: "inline", turns });
    await comes(() => ran.length === 1, "the turn of what waited");
    await leaves(kernel, "t", "b");
    await comes(async () => {
      await clock.advance(pollMs);
      return ran.length === 2;
    }, "the turn of what came later");
    expect(ran).toEqual(["s: a", "t: b"]);
    await comes(async () => (await attachments(setup)).length === 0, "the end of both visits");
    expect(await figures(host)).toEqual([
      ["s", 0, false],
      ["t", 0, false],
    ]);
  });

  promise("what a dead host left under way is gone on with once its lease is over (A-17)", async (setup) => {
    const { kernel, clock } = setup;
    const { ran, turns } = noting();
    await leaves(kernel, "s", "a");
    await abandonedRun(setup, "a", { outOfOrder: true, isLive: true });
    await setup.open({ loop: "inline", turns });
    await quiet();
    await clock.advance(pollMs);
    expect([ran, await phases(kernel)]).toEqual([[], ["a staged"]]);
    await clock.advance(leaseTtlMs);
    await comes(async () => {
      await clock.advance(pollMs);
      return ran.length === 1;
    }, "the second attempt");
    await drained(kernel);
    const { attemptCount, recoveryCount } = await stateOf(kernel, "a");
    expect([ran, attemptCount, recoveryCount]).toEqual([["s: a"], 2, 1]);
  });

  promise("a session's own handler goes before it, and it is back when that is taken off (A-17)", async (setup) => {
    const { ran, turns } = noting();
    const kernel = await setup.open({ loop: "inline", turns });
    const session = await kernel.session("s");
    const run = async (inputId: string) => {
      await session.submit(prompt(inputId));
      await drained(kernel);
    };
    await run("a");
    await comes(() => session.state === "attached", "a session with a handler");
    expect((await attachments(setup)).map(({ handler }) => handler)).toEqual([1]);
    const off = session.onTurn(async () => void ran.push("its own"));
    await run("b");
    off();
    await run("c");
    const { begun, off: offInTheMiddle } = stand(session);
    await session.submit(prompt("d"));
    await begun;
    offInTheMiddle();
    await comes(() => ran.length === 4, "the turn that was handed back");
    await drained(kernel);
    expect(ran).toEqual(["s: a", "its own", "s: c", "s: d"]);
    expect((await stateOf(kernel, "d")).attemptCount).toBe(2);
  });

  promise("of many sessions that wait, as many as there are places run at once, and all in the end (A-17)", async (setup) => {
    const { kernel } = setup;
    const ids = Array.from({ length: 40 }, (_, at) => `s${10 + at}`);
    for (const id of ids) await leaves(kernel, id, "a");
    const { begun, leave, turns } = standing();
    await setup.open({ loop: "inline", concurrency: 3, turns });
    await comes(() => begun.length === 3, "as many turns as there are places");
    await quiet();
    expect([begun.length, (await attachments(setup)).length]).toEqual([3, 3]);
    expect((await figures(kernel)).filter((row) => (row as unknown[])[2] === true)).toEqual([
      ["s10", 1, true],
      ["s11", 1, true],
      ["s12", 1, true],
    ]);
    leave();
    await comes(() => begun.length === ids.length, "a turn of each session");
    expect(begun.map(([sessionId]) => sessionId)).toEqual(ids);
  });

  promise("what waits the longest goes first: a session with more inputs leaves its place after a turn (A-17)", async (setup) => {
    const { kernel, clock } = setup;
    await leaves(kernel, "c", "1", "2", "3");
    await clock.advance(1);
    await leaves(kernel, "b", "1");
    await clock.advance(1);
    await leaves(kernel, "a", "1");
    await clock.advance(1);
    const { ran, turns } = noting();
    await setup.open({ loop: "inline", concurrency: 1, turns });
    await comes(() => ran.length === 5, "all turns");
    expect(ran).toEqual(["c: 1", "b: 1", "a: 1", "c: 2", "c: 3"]);
  });

  promise("a session that comes to wait while all places are taken by busy ones gets one of them (A-17)", async (setup) => {
    const { kernel, clock } = setup;
    await leaves(kernel, "a", "0");
    const session = await kernel.session("a");
    const ran: string[] = [];
    const turns: AnyTurnHandler = async (_, { sessionId }) => {
      ran.push(sessionId);
      // There is always one more.
      if (ran.length < 20 && sessionId === "a") await session.submit(prompt(`${ran.length}`));
      await clock.advance(pollMs);
    };
    await setup.open({ loop: "inline", concurrency: 1, turns });
    await comes(() => ran.length > 2, "turns of the busy session");
    await leaves(kernel, "b", "1");
    await comes(() => ran.includes("b"), "a turn of the other session");
    expect(ran.length < 20).toBe(true);
    await comes(() => ran.length >= 20, "the end of the busy one");
  });

  promise("a session that is deleted while it is attended is not made again, and its place is free (A-17)", async (setup) => {
    const { kernel, clock } = setup;
    await leaves(kernel, "s", "a");
    const { begun, leave, turns } = standing();
    const host = await setup.open({ loop: "inline", concurrency: 1, turns });
    await comes(() => begun.length === 1, "the turn");
    await leaves(kernel, "t", "b");
    await kernel.sessions.delete("s");
    await clock.advance(pollMs);
    const [, turn] = begun[0] as [string, Turn];
    await comes(() => turn.signal.aborted, "the end of the deleted session's turn");
    leave();
    await comes(async () => {
      await clock.advance(pollMs);
      return begun.length === 2;
    }, "the turn of the other session");
    expect(begun.map(([sessionId]) => sessionId)).toEqual(["s", "t"]);
    await comes(async () => (await attachments(setup)).length === 0, "the end of the visits");
    expect(await figures(host)).toEqual([["t", 0, false]]);
  });

  promise("a retired session is run empty, and one that was stopped is left alone (A-17)", async (setup) => {
    const { kernel } = setup;
    const later = { inputType: "peer", convention: { conventionType: "response_progress", requestId: "r" } } as const;
    const session = await kernel.session("s");
    await session.submit({ ...later, inputId: "later" });
    const another = await kernel.session("t");
    await another.submit({ ...later, inputId: "later" });
    const { ran, turns } = noting();
    // A host with a handler: it is there, and runs nothing.
    const [row] = await attachments(setup);
    await writeRows(setup, { table: "attachments", put: { ...row, v: 1, bootId: "other", handler: 1 } });
    await session.retire();
    await setup.open({ loop: "inline", turns });
    await comes(() => ran.length === 1, "the last turn of the retired session");
    await drained(kernel);
    await quiet();
    expect([ran, await kernel.runtime.loadRuntimeState(RUNTIME)]).toEqual([["s: later"], "retired"]);
    // An input that begins no run waits for one that does.
    expect(await figures(kernel)).toEqual([
      ["s", 0, false],
      ["t", 1, false],
    ]);
    expect((await readRows(setup, "runtimes")).filter(({ due }) => due !== undefined)).toEqual([]);
  });

  promise("a pause holds where no code has the session open, and any host goes on after it (A-17, A-18)", async (setup) => {
    const { kernel, clock } = setup;
    const pauseMs = 2 * pollMs;
    const turnRetry = { attempts: 2, backoffMs: pauseMs, jitter: 0 };
    const turns: AnyTurnHandler = () => Promise.reject(new Error("no"));
    await leaves(kernel, "s", "a");
    const first = await setup.open({ loop: "inline", turns, turnRetry });
    await comes(async () => (await stateOf(kernel, "a")).retryAtMs !== undefined, "the failure");
    await first.close();
    const second = noting();
    await setup.open({ loop: "inline", turns: second.turns, turnRetry });
    await quiet();
    await clock.advance(pauseMs - 1);
    await quiet();
    expect([second.ran, await attachments(setup)]).toEqual([[], []]);
    await comes(async () => {
      await clock.advance(pollMs);
      return second.ran.length === 1;
    }, "the second try");
    await drained(kernel);
    expect((await stateOf(kernel, "a")).attemptCount).toBe(2);
  });

  promise("the retry of a session that is open holds for the kernel's handler too (A-17, A-18)", async (setup) => {
    const turns: AnyTurnHandler = () => Promise.reject(new Error("no"));
    const kernel = await setup.open({ loop: "inline", turns, turnRetry: { attempts: 3, backoffMs: 0 } });
    const session = await kernel.session("s", { retry: { attempts: 2, backoffMs: 0 } });
    const other = await kernel.session("t");
    const ends = [await session.submit(prompt("a")), await other.submit(prompt("b"))];
    expect((await session.outcome(ends[0] ?? "")).outcome).toBe("failed");
    expect((await other.outcome(ends[1] ?? "")).outcome).toBe("failed");
    const attempts = [await session.inputs(), await other.inputs()].map(([input]) => input?.attemptCount);
    expect(attempts).toEqual([2, 3]);
  });

  promise("a closed kernel hands back what it attends to: no attempt is lost (A-17)", async (setup) => {
    const { kernel, clock } = setup;
    await leaves(kernel, "s", "a");
    const { begun, turns } = standing();
    const host = await setup.open({ loop: "inline", turns });
    await comes(() => begun.length === 1, "the turn");
    await host.close();
    expect(await attachments(setup)).toEqual([]);
    const { ran, turns: others } = noting();
    await setup.open({ loop: "inline", turns: others });
    await comes(async () => {
      await clock.advance(pollMs);
      return ran.length === 1;
    }, "the turn in another host");
    await drained(kernel);
    const { attemptCount, recoveryCount } = await stateOf(kernel, "a");
    expect([attemptCount, recoveryCount]).toEqual([2, 0]);
  });

  promise("a session that cannot be opened is told, and holds up no other (A-17)", async (setup) => {
    const { kernel } = setup;
    for (const id of ["r", "s", "t"]) await leaves(kernel, id, "a");
    const [input] = (await readRows(setup, "inputs")).filter(({ runtimeId }) => runtimeId === "rt:session:r");
    await writeRows(setup, { table: "inputs", put: { ...input, v: 1, record: 7 } });
    const { ran, turns } = noting();
    const host = await setup.open({ loop: "inline", concurrency: 1, turns });
    const faults: string[] = [];
    host.on("fault", ({ area, code }) => void faults.push(`${area} ${code}`));
    await comes(() => ran.length === 2, "the turns of the others");
    expect([ran, faults]).toEqual([["s: a", "t: a"], ["session read-failed"]]);
    await writeRows(setup, { table: "inputs", put: { ...input, v: 1 } });
  });

  promise("where the loop is off it runs nothing, and what is no function is refused (A-17)", async (setup) => {
    await leaves(setup.kernel, "s", "a");
    const { ran, turns } = noting();
    await changesNoRow(setup, async () => {
      const off = await setup.open({ loop: "off", turns });
      const session = await off.session("s");
      await quiet();
      expect([ran, session.state]).toEqual([[], "idle"]);
      await session[Symbol.asyncDispose]();
    });
    await refused(setup.open({ turns: 7 as never }), "invalid", "turns");
  });

  promise("the list says how many inputs wait, and which session a living host runs (A-17)", async (setup) => {
    const { kernel, clock } = setup;
    const session = await kernel.session("s");
    await kernel.session("t");
    for (const inputId of ["a", "b", "c"]) await session.submit(prompt(inputId));
    expect(await figures(kernel)).toEqual([
      ["s", 3, false],
      ["t", 0, false],
    ]);
    await abandonedRun(setup, "a", { outOfOrder: true, isLive: true });
    expect((await figures(kernel))[0]).toEqual(["s", 3, true]);
    // Its lease runs out: its owner may be dead, and does not run it.
    await clock.advance(leaseTtlMs);
    expect((await figures(kernel))[0]).toEqual(["s", 3, false]);
    await session.cancel("c");
    expect((await figures(kernel))[0]).toEqual(["s", 2, false]);
    await session.shutdown();
    expect((await figures(kernel))[0]).toEqual(["s", 0, false]);
    await kernel.sessions.delete("s");
    expect(await figures(kernel)).toEqual([["t", 0, false]]);
  });

  promise("the list counts what a program stored itself, and an imported session waits (A-17)", async (setup) => {
    const { kernel } = setup;
    await leaves(kernel, "s", "a", "b");
    const lines: string[] = [];
    for await (const line of kernel.sessions.export("s")) lines.push(line);
    await kernel.sessions.delete("s");
    await kernel.sessions.import(lines);
    expect(await figures(kernel)).toEqual([["s", 2, false]]);
    const { ran, turns } = noting();
    const host = await setup.open({ loop: "inline", turns });
    await comes(() => ran.length === 2, "the turns of the imported session");
    await drained(kernel);
    const state = { ...(await stateOf(kernel, "a")), inputId: "c", currentState: "queued" as const, history: [] };
    const { terminalOutcome: _, ...waiting } = state;
    await host.runtime.persistInputState(RUNTIME, waiting);
    expect(await figures(kernel)).toEqual([["s", 1, false]]);
    await comes(async () => {
      await setup.clock.advance(pollMs);
      return ran.length === 3;
    }, "the turn of what a program stored");
    await drained(kernel);
    await host.close();
  });

  promise("closing a session's object leaves a turn of the kernel's handler alone (A-12, A-17)", async (setup) => {
    const { begun, leave, turns } = standing();
    const kernel = await setup.open({ loop: "inline", turns });
    const session = await kernel.session("s");
    await session.submit(prompt("a"));
    await comes(() => begun.length === 1, "the turn");
    await session.submit(prompt("b"));
    await session.close();
    // Opened and closed once more in the same turn.
    await (await kernel.session("s")).close();
    await quiet();
    const [, turn] = begun[0] as [string, Turn];
    expect([turn.signal.aborted, begun.length, await phases(kernel)]).toEqual([false, 1, ["a staged", "b queued"]]);
    leave();
    await comes(async () => {
      await setup.clock.advance(pollMs);
      return begun.length === 2;
    }, "the turn of what waits");
    await drained(kernel);
    expect([(await stateOf(kernel, "a")).attemptCount, (await stateOf(kernel, "b")).attemptCount]).toEqual([1, 1]);
    await comes(async () => (await attachments(setup)).length === 0, "the end of the visit");
  });

  promise("the object's own handler is ended by its close, and the kernel's goes on (A-12, A-17)", async (setup) => {
    const { ran, turns } = noting();
    const kernel = await setup.open({ loop: "inline", turns });
    const session = await kernel.session("s");
    const { begun } = stand(session);
    await session.submit(prompt("a"));
    const turn = await begun;
    await session.close();
    expect(turn.signal.aborted).toBe(true);
    await comes(async () => {
      await setup.clock.advance(pollMs);
      return ran.length === 1;
    }, "the kernel's turn");
    await drained(kernel);
  });

  promise("retire leaves what waits to a host that runs all sessions, and that runs it (A-17, R-130)", async (setup) => {
    const { ran, turns } = noting();
    await setup.open({ loop: "inline", turns });
    await comes(async () => {
      await setup.clock.advance(pollMs);
      return (await readRows(setup, "hosts")).some((row) => row.turns === 1);
    }, "the host's row");
    const session = await setup.kernel.session("s");
    await session.submit(prompt("a"));
    expect(await session.retire()).toEqual({ abandoned: 0, pendingDrain: 1 });
    await comes(async () => {
      await setup.clock.advance(pollMs);
      return ran.length === 1;
    }, "its turn");
    await drained(setup.kernel);
    expect(ran).toEqual(["s: a"]);
  });

  promise(
    "where the loop is off, a host with turns is none that runs what a retired session left (A-17, R-131)",
    async (setup) => {
      await setup.open({ loop: "off", turns: noting().turns });
      const session = await setup.kernel.session("s");
      await session.submit(prompt("a"));
      expect(await session.retire()).toEqual({ abandoned: 1, pendingDrain: 0 });
    },
  );

  promise("a session that waited before the clock was set back is run at once (A-17)", async (setup) => {
    const { kernel, clock } = setup;
    await leaves(kernel, "s", "a");
    const [row] = await readRows(setup, "runtimes");
    const aheadMs = clock.now() + 3_600_000;
    await writeRows(setup, { table: "runtimes", put: { ...row, v: 1, dueAtMs: aheadMs, updatedAtMs: aheadMs } });
    const { ran, turns } = noting();
    await setup.open({ loop: "inline", turns });
    await comes(() => ran.length === 1, "its turn");
    await drained(kernel);
  });
}
