import { mintLifecycleCommit } from "../../../domain/session/lifecycle-commit.js";
import { casesOn, count, type OpenFixture, type Runner, refusalMismatch, refused, task } from "../../kit/fixture.js";
import { readRows, writeRows } from "../../kit/rows.fixture.js";
import { RUNTIME, snapshot, textOf } from "../runtime.fixture.js";
import { furnish, linesOf, rowsOf, TRANSCRIPT } from "./archive.fixture.js";

/** Deletions: the rows that go, and the rows that stay. */
export function deletionCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise } = casesOn(open, runner);

  promise("a process's lease is its own, also where a session's runtime id is the same", async ({ kernel, processes }) => {
    await processes.registerProcess(task("p"));
    const lease = await processes.claimProcessLease("p", "owner", 1_000);
    await kernel.runtime.commitSessionSnapshot("p", TRANSCRIPT);
    await kernel.runtime.commitMachineLifecycle("p", mintLifecycleCommit("idle"), []);
    await kernel.sessions.delete("s");
    expect((await processes.renewProcessLease(lease, 1_000)).fencingToken).toBe(lease.fencingToken);
  });

  promise("a deletion leaves a runtime id alone that has become another session's", async (setup) => {
    const { kernel } = setup;
    await kernel.runtime.commitSessionSnapshot("shared", snapshot({ id: "s" }));
    await kernel.runtime.commitSessionSnapshot("shared", snapshot({ id: "t" }));
    await kernel.runtime.commitSessionSnapshot("rt:session:t", snapshot({ id: "u" }));
    await kernel.sessions.delete("s");
    await kernel.sessions.delete("u");
    expect(textOf(await kernel.runtime.loadSessionSnapshot("shared"))).toBe('{"id":"t"}');
    expect(textOf(await kernel.runtime.loadSessionSnapshot("rt:session:t"))).toBe('{"id":"u"}');
    expect((await kernel.sessions.list()).map(({ sessionId }) => sessionId)).toEqual(["t"]);
  });

  promise("a deletion leaves nothing of a session but its incarnation, and every other one whole (R-1)", async (setup) => {
    const { kernel } = setup;
    await furnish(setup);
    await kernel.session("s");
    await kernel.sessions.import(
      (await linesOf(kernel.sessions, "s")).map((line, at) => (at > 0 ? line : line.replace('"s"', '"s2"'))),
    );
    const other = await rowsOf(setup, "rt:session:s2", "s2");
    const lines = await linesOf(kernel.sessions, "s2");
    expect((await rowsOf(setup)).includes("attachments")).toBe(true);
    expect(await kernel.sessions.delete("s")).toEqual({
      sessionId: "s",
      revokedHandleCount: 0,
      deletedWakeCount: 0,
      cancelProcessIds: [],
      preservedProcessIds: [],
    });
    expect(await rowsOf(setup)).toEqual(["runtimes"]);
    const [tombstone] = (await readRows(setup, "runtimes")).filter(({ runtimeId }) => runtimeId === RUNTIME);
    expect(tombstone).toEqual({
      v: 1,
      runtimeId: RUNTIME,
      incarnation: 1,
      nextRank: 0,
      firstRank: 0,
      endedKeys: 0,
      messageCount: 0,
      digest: "",
      updatedAtMs: setup.clock.now(),
    });
    expect(await rowsOf(setup, "rt:session:s2", "s2")).toEqual(other);
    expect(await linesOf(kernel.sessions, "s2")).toEqual(lines);
    expect((await kernel.sessions.list()).map(({ sessionId }) => sessionId)).toEqual(["s2"]);
    await refused(kernel.sessions.messages("s"), "not-found");
    await refused(linesOf(kernel.sessions, "s"), "not-found");
    expect(await kernel.runtime.loadRuntimeState(RUNTIME)).toBe(undefined);
    expect(await kernel.runtime.loadSessionSnapshot(RUNTIME)).toBe(undefined);
  });

  promise("a deletion is seen after a restart, and opening the session again begins a new one", async (setup) => {
    await furnish(setup);
    await setup.kernel.sessions.delete("s");
    const kernel = await setup.reopen();
    await refused(kernel.sessions.messages("s"), "not-found");
    const session = await kernel.session("s");
    expect([session.state, await session.messages(), await kernel.runtime.loadInputStates(RUNTIME)]).toEqual(["idle", [], []]);
    expect((await session.submit({ inputType: "prompt", text: "x", idempotencyKey: "k" })).outcome).toBe("accepted");
  });

  promise("whoever has a deleted session open is refused with its next call, whatever it is", async (setup) => {
    const { kernel } = setup;
    const there = await setup.open();
    const handles = [await kernel.session("s"), await there.session("s")];
    for (const handle of handles) await handle.submit({ inputType: "prompt", text: "before" });
    await kernel.sessions.delete("s");
    const again = await there.session("s");
    const wrong: (string | undefined)[] = [];
    for (const handle of handles) {
      const calls: (() => Promise<unknown>)[] = [
        () => handle.submit({ inputType: "prompt", text: "late" }),
        () => handle.messages(),
        () => handle.blob("hash"),
        () => handle.retire(),
        () => handle.reset(),
        () => handle.recycle(),
        () => handle.shutdown(),
        () => handle.destroy(),
        () => handle.ops.list(),
        () => handle.ops.register({ id: "op", kind: "background_tool_op", displayName: "op" }),
        () => handle.ops.collectCompleted(),
      ];
      for (const call of calls) wrong.push(await refusalMismatch(call(), "not-found"));
      await handle[Symbol.asyncDispose]();
    }
    expect(wrong.filter((why) => why !== undefined)).toEqual([]);
    // The old handles must not change the session that was opened anew.
    expect((await readRows(setup, "attachments")).length).toBe(1);
    expect((await again.submit({ inputType: "prompt", text: "new" })).outcome).toBe("accepted");
  });

  promise(
    "a deletion takes all grants of the session and asks those to cancel that nobody else was granted (P-33)",
    async (setup) => {
      const { kernel, processes } = setup;
      for (const id of ["alone", "frame", "shared", "ended", "others"]) await processes.registerProcess(task(id));
      const scope = { sessionId: "s" };
      for (const id of ["alone", "shared", "ended"]) await processes.grantHandle(scope, id, {});
      await processes.grantHandle({ sessionId: "s", agentFrameId: "f" }, "frame", {});
      for (const id of ["shared", "others"]) await processes.grantHandle({ sessionId: "t" }, id, {});
      await processes.completeProcess("ended", { type: "success", value: 1 });
      await kernel.session("s");
      expect(await kernel.sessions.delete("s")).toEqual({
        sessionId: "s",
        revokedHandleCount: 4,
        deletedWakeCount: 0,
        cancelProcessIds: ["alone", "frame"],
        preservedProcessIds: ["shared"],
      });
      expect(await rowsOf(setup)).toEqual(["runtimes"]);
      const asked = async (id: string) =>
        (await processes.eventsAfter(id, 0))
          .filter(({ eventType }) => eventType === "process.cancel_requested")
          .map(({ payload }) => payload);
      for (const id of ["alone", "frame"]) expect(await asked(id)).toEqual([{ reason: "session deleted" }]);
      for (const id of ["shared", "ended", "others"]) expect(await asked(id)).toEqual([]);
      expect((await processes.listHandleGrants({ sessionId: "t" })).map(({ record }) => record.id)).toEqual(["others", "shared"]);
      expect(await kernel.sessions.delete("s")).toEqual({
        sessionId: "s",
        revokedHandleCount: 0,
        deletedWakeCount: 0,
        cancelProcessIds: [],
        preservedProcessIds: [],
      });
    },
  );

  promise("of a session that has nothing but grants these are revoked, and of one unknown nothing is made", async (setup) => {
    const { kernel, processes } = setup;
    await processes.registerProcess(task("p"));
    await processes.grantHandle({ sessionId: "s" }, "p", {});
    expect((await kernel.sessions.delete("s")).cancelProcessIds).toEqual(["p"]);
    expect((await kernel.sessions.delete("unknown")).revokedHandleCount).toBe(0);
    expect(await readRows(setup, "runtimes")).toEqual([]);
  });

  promise("what is granted after a deletion has a higher fencing token than all before, whatever it is of", async (setup) => {
    const { kernel, processes } = setup;
    await kernel.session("s");
    const left = { v: 1, claimedAtMs: 0, expiresAtMs: 0, fruitless: 0 };
    await writeRows(setup, { table: "leases", put: { ...left, resource: RUNTIME, fencingToken: 7, attempts: 7 } });
    await kernel.sessions.delete("s");
    expect(await readRows(setup, "leases")).toEqual([]);
    await processes.registerProcess(task("p"));
    expect((await processes.claimProcessLease("p", "a", 1_000)).fencingToken).toBe(8);
    // A second deletion, with a lower token, must not set the floor back.
    await kernel.session("s");
    await writeRows(setup, { table: "leases", put: { ...left, resource: RUNTIME, fencingToken: 2, attempts: 1 } });
    await kernel.sessions.delete("s");
    await processes.registerProcess(task("q"));
    expect((await processes.claimProcessLease("q", "a", 1_000)).fencingToken).toBe(8);
  });

  promise("many sessions deleted at once by two kernels are deleted once each", async (setup) => {
    const there = await setup.open();
    const ids = count(10).map((at) => `s${at}`);
    for (const id of ids) await setup.kernel.session(id);
    await Promise.all(ids.flatMap((id) => [setup.kernel.sessions.delete(id), there.sessions.delete(id)]));
    expect(await setup.kernel.sessions.list()).toEqual([]);
    expect((await readRows(setup, "runtimes")).map(({ incarnation }) => incarnation)).toEqual(ids.map(() => 1));
  });
}
