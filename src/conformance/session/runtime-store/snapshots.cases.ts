import { isHoldfastError } from "../../../domain/errors.js";
import { mintLifecycleCommit } from "../../../domain/session/lifecycle-commit.js";
import { type OpenFixture, type Runner, refusal, refused } from "../../kit/fixture.js";
import { readRows, writeRows } from "../../kit/rows.fixture.js";
import { bytesOf, fullInput, input, RUNTIME, readRuntimes, receipt, snapshot, textOf } from "../runtime.fixture.js";
import { DELTA, idsIn, OTHER, runtimeCasesOn } from "./runtime-store.fixture.js";

/** Snapshots that hosts write whole. */
export function snapshotCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise, changesNothing } = runtimeCasesOn(open, runner);

  promise("a snapshot replaces the one before it, and comes back byte by byte (R-9)", async ({ kernel: { runtime } }) => {
    const texts = ['{"id":"s"}', ' {"b" : 1.0,\r\n"id":"\\u0073", "a":[ ], "id":"s"}\n', '{"id":"\u2028\ud83d\ude00"}'];
    for (const text of texts) {
      const sessionSnapshot = bytesOf(text);
      await runtime.commitSessionSnapshot(RUNTIME, { sessionSnapshot });
      expect(Array.from((await runtime.loadSessionSnapshot(RUNTIME)) ?? [])).toEqual(Array.from(sessionSnapshot));
    }
    const part = new Uint8Array([1, 2, ...bytesOf('{"id":"p"}'), 3]).subarray(2, -1);
    await runtime.atomicApply(RUNTIME, { sessionSnapshot: part }, receipt(), []);
    expect(textOf(await runtime.loadSessionSnapshot(RUNTIME))).toBe('{"id":"p"}');
    expect((await runtime.loadSessionSnapshot(RUNTIME)) instanceof Uint8Array).toBe(true);
  });

  promise("a snapshot leaves receipts, inputs and state as they are (R-10)", async ({ kernel: { runtime } }) => {
    await runtime.atomicApply(RUNTIME, undefined, receipt(), [fullInput("a"), input("b")]);
    await runtime.commitMachineLifecycle(RUNTIME, mintLifecycleCommit("running"), []);
    const [before] = (await readRuntimes(runtime)) as [object];
    await runtime.commitSessionSnapshot(RUNTIME, snapshot({ id: "s" }));
    expect(await readRuntimes(runtime)).toEqual([{ ...before, snapshot: '{"id":"s"}' }]);
  });

  promise("a snapshot lists its session under the session's own id, in the same write (R-11)", async (setup) => {
    const { runtime } = setup.kernel;
    const listed = async () =>
      (await readRows(setup, "sessions")).map(({ sessionId, runtimeId, messageCount }) => [sessionId, runtimeId, messageCount]);
    await runtime.commitSessionSnapshot(RUNTIME, snapshot({ id: "s", messages: [1, 2] }));
    expect(await listed()).toEqual([["s", RUNTIME, 2]]);
    await runtime.atomicApply(RUNTIME, snapshot({ id: "s", messages: "none" }), receipt(), []);
    await refused(runtime.atomicApply(RUNTIME, snapshot({ id: "t" }), receipt(), []), "write-failed");
    expect(await listed()).toEqual([["s", RUNTIME, 0]]);
    await runtime.atomicApply(OTHER, undefined, receipt(), []);
    expect((await listed()).length).toBe(1);
  });

  promise("a key that is not the snapshot's session is a mismatch, and nothing is visible (R-13)", async (setup) => {
    const { runtime } = setup.kernel;
    await changesNothing(runtime, async () => {
      const error = await refusal(runtime.atomicApply(RUNTIME, DELTA, receipt(), [input("a")], "t"));
      expect(isHoldfastError(error) && [error.code, error.details]).toEqual([
        "session-key-mismatch",
        { expected: "t", actual: "s" },
      ]);
    });
    expect(await readRows(setup, "sessions")).toEqual([]);
    await runtime.atomicApply(RUNTIME, undefined, receipt(), [input("a")], "t");
    expect(await idsIn(runtime)).toEqual(["a"]);
  });

  promise("a key only confirms: the snapshot has one address (R-14)", async ({ kernel: { runtime } }) => {
    await runtime.atomicApply(RUNTIME, DELTA, receipt(), [], "s");
    expect(await runtime.loadSessionSnapshot("s")).toBe(undefined);
    expect(textOf(await runtime.loadSessionSnapshot(RUNTIME))).toBe(textOf(DELTA.sessionSnapshot));
  });

  promise("a session whose messages are rows is read as the snapshot that they make", async (setup) => {
    const { runtime } = setup.kernel;
    const row = {
      v: 1,
      runtimeId: RUNTIME,
      incarnation: 0,
      sessionId: "s",
      nextRank: 4,
      firstRank: -2,
      endedKeys: 0,
      messageCount: 2,
      digest: "d",
      updatedAtMs: 1,
    };
    const message = (position: number, content: string) => ({
      table: "messages",
      put: { v: 1, runtimeId: RUNTIME, position, message: { role: "user", content } },
    });
    const load = async () => textOf(await runtime.loadSessionSnapshot(RUNTIME));
    const run = { runId: "r", before: "idle", inputIds: ["a"], workId: "w" };
    await writeRows(setup, message(10, "ü"), message(2, "hello"));
    expect(await load()).toBe("none");
    await writeRows(setup, { table: "runtimes", put: row });
    expect(await load()).toBe("none");
    await writeRows(setup, { table: "runtimes", put: { ...row, state: "idle" } });
    expect(await load()).toBe('{"id":"s","messages":[{"role":"user","content":"hello"},{"role":"user","content":"ü"}]}');
    const live = { ...row, state: "running", run, due: "running", dueAtMs: 1, head: { id: "s", title: "t", messages: [1] } };
    await writeRows(setup, { table: "runtimes", put: live });
    expect(await load()).toBe(
      '{"id":"s","title":"t","messages":[{"role":"user","content":"hello"},{"role":"user","content":"ü"}]}',
    );

    await runtime.commitSessionSnapshot(RUNTIME, snapshot({ id: "s", messages: [] }));
    expect(await load()).toBe('{"id":"s","messages":[]}');
    expect(await readRows(setup, "messages")).toEqual([]);
    const { head: _, ...next } = live;
    const [stored] = await readRows(setup, "runtimes");
    expect({ ...stored, updatedAtMs: 1 }).toEqual({ ...next, messageCount: 0, digest: "" });
  });
}
