import { mintLifecycleCommit } from "../../../domain/session/lifecycle-commit.js";
import { casesOn, type OpenFixture, type Runner, refusalMismatch, refused } from "../../kit/fixture.js";
import { hostileObjects, noCount, noId } from "../../kit/hostile.js";
import { writeRows } from "../../kit/rows.fixture.js";
import { RUNTIME, readRuntimes, snapshot } from "../runtime.fixture.js";
import { furnish, linesOf, rowsOf, TRANSCRIPT } from "./archive.fixture.js";

/** Lists and reads of sessions that are not open. */
export function sessionListCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise } = casesOn(open, runner);

  promise("the list is by session id and tells state and messages, also of what a host stored itself", async (setup) => {
    const { kernel, clock } = setup;
    expect(await kernel.sessions.list()).toEqual([]);
    await kernel.session("b");
    await clock.advance(1_000);
    await kernel.runtime.commitSessionSnapshot(RUNTIME, TRANSCRIPT);
    await kernel.runtime.commitSessionSnapshot("their own", snapshot({ id: "a\uffff" }));
    await kernel.runtime.commitMachineLifecycle("their own", mintLifecycleCommit("retired"), []);
    const now = clock.now();
    const idle = { waiting: 0, running: false };
    expect(await kernel.sessions.list()).toEqual([
      { sessionId: "a\uffff", runtimeId: "their own", state: "retired", messageCount: 0, ...idle, updatedAtMs: now },
      { sessionId: "b", runtimeId: "rt:session:b", state: "idle", messageCount: 0, ...idle, updatedAtMs: now - 1_000 },
      { sessionId: "s", runtimeId: RUNTIME, state: "idle", messageCount: 2, ...idle, updatedAtMs: now },
    ]);
  });

  promise("a session's row that changed later than its list row tells when", async ({ kernel, clock }) => {
    const session = await kernel.session("s");
    await clock.advance(5);
    await session.submit({ inputType: "prompt", text: "hello" });
    expect((await kernel.sessions.list()).map(({ updatedAtMs }) => updatedAtMs)).toEqual([clock.now()]);
  });

  promise("a list row that cannot be read hides no other session", async (setup) => {
    await setup.kernel.session("good");
    await setup.kernel.session("worse");
    await writeRows(
      setup,
      { table: "sessions", put: { v: 1, sessionId: "bad" } },
      { table: "runtimes", put: { v: 1, runtimeId: "rt:session:worse" } },
    );
    expect((await setup.kernel.sessions.list()).map(({ sessionId }) => sessionId)).toEqual(["good"]);
  });

  promise("messages are read without attaching, and nothing is made by it", async (setup) => {
    const { sessions, runtime } = setup.kernel;
    await refused(sessions.messages("s"), "not-found", '"s"');
    expect(await rowsOf(setup)).toEqual([]);
    await runtime.commitSessionSnapshot(RUNTIME, TRANSCRIPT);
    const whole = await sessions.messages("s");
    expect(await rowsOf(setup)).toEqual(["sessions", "snapshots"]);
    await (await setup.kernel.session("s"))[Symbol.asyncDispose]();
    expect(await sessions.messages("s")).toEqual(whole);
    expect(whole.map(({ content }) => content)).toEqual(["hello", "ü\u{1f600}"]);
    for (const after of [0, 1, 2, 3]) expect(await sessions.messages("s", { after })).toEqual(whole.slice(after));
    await refused(sessions.messages("s/"), "not-found");
  });

  promise("no argument may be anything else than it is, and nothing is changed", async (setup) => {
    await furnish(setup);
    const { sessions } = setup.kernel;
    const before = await readRuntimes(setup.kernel.runtime);
    const wrong: string[] = [];
    const check = async (name: string, call: () => Promise<unknown>, field: string) => {
      const why = await refusalMismatch((async () => await call())(), "invalid", field);
      if (why !== undefined) wrong.push(`${name}: ${why}`);
    };
    for (const [name, value] of Object.entries({ ...noId(), "a frame": "s/frame:f" })) {
      const id = value as string;
      await check(`messages of ${name}`, () => sessions.messages(id), "sessionId");
      await check(`export of ${name}`, () => linesOf(sessions, id), "sessionId");
      await check(`delete of ${name}`, () => sessions.delete(id), "sessionId");
    }
    const { undefined: _, ...counts } = noCount();
    for (const [name, after] of Object.entries(counts))
      await check(`after ${name}`, () => sessions.messages("s", { after: after as number }), "after");
    const lists = { undefined: undefined, null: null, "a number": 1, "a text": "{}", "an object": {}, ...hostileObjects() };
    for (const [name, lines] of Object.entries(lists))
      await check(`import of ${name}`, () => sessions.import(lines as string[]), "lines");
    expect(wrong).toEqual([]);
    expect(await readRuntimes(setup.kernel.runtime)).toEqual(before);
  });

  promise("a closed kernel refuses all of it", async (setup) => {
    const { kernel } = setup;
    await kernel.runtime.commitSessionSnapshot(RUNTIME, TRANSCRIPT);
    const lines = await linesOf(kernel.sessions, "s");
    await kernel.close();
    const { sessions } = kernel;
    for (const call of [
      () => sessions.list(),
      () => sessions.messages("s"),
      () => linesOf(sessions, "s"),
      () => sessions.import(lines),
      () => sessions.delete("s"),
    ])
      await refused(call(), "closed");
  });
}
