import { mintLifecycleCommit } from "../../../domain/session/lifecycle-commit.js";
import { casesOn, type OpenFixture, type Runner } from "../../kit/fixture.js";
import { fullInput, input, RUNTIME, readRuntimes, receipt, snapshot } from "../runtime.fixture.js";
import { DELTA, idsIn, OTHER } from "./runtime-store.fixture.js";

/** Records of hosts that run sessions themselves: each belongs to one runtime id, and not to the host that wrote it. */
export function runtimeIsolationCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise } = casesOn(open, runner);

  promise("what is stored under one runtime id is invisible under another (R-1, R-25)", async ({ kernel: { runtime } }) => {
    await runtime.atomicApply(RUNTIME, DELTA, receipt(), [input("a", { attemptCount: 1 })]);
    await runtime.commitMachineLifecycle(RUNTIME, mintLifecycleCommit("retired"), []);
    const nothing = await readRuntimes(runtime, [OTHER]);
    await runtime.persistInputState(OTHER, input("a", { attemptCount: 2 }));
    expect(nothing).toEqual([{ state: "none", snapshot: "none", inputs: [], receipt: "none", ops: "none" }]);
    expect((await runtime.loadInputState(RUNTIME, "a"))?.attemptCount).toBe(1);
    expect((await runtime.loadInputState(OTHER, "a"))?.attemptCount).toBe(2);
    expect(await runtime.loadRuntimeState(OTHER)).toBe(undefined);
  });

  promise("one runtime id that begins like another is another", async ({ kernel: { runtime } }) => {
    for (const id of ["r", "r1", "r\uffff", "R"]) await runtime.persistInputState(id, input(`of ${id}`));
    expect((await runtime.loadInputStates("r")).map(({ inputId }) => inputId)).toEqual(["of r"]);
  });

  promise("loads of what nobody stored give nothing, and no error (R-2)", async ({ kernel: { runtime } }) => {
    const nothing = async () => {
      expect(await readRuntimes(runtime, [OTHER])).toEqual([
        { state: "none", snapshot: "none", inputs: [], receipt: "none", ops: "none" },
      ]);
      expect(await runtime.loadInputState(OTHER, "a")).toBe(undefined);
    };
    await nothing();
    await runtime.atomicApply(RUNTIME, DELTA, receipt(), [input("a")]);
    await nothing();
    expect(await runtime.loadBoundaryReceipt(RUNTIME, "run", 1)).toBe(undefined);
    expect(await runtime.loadBoundaryReceipt(RUNTIME, "another", 0)).toBe(undefined);
    expect(await runtime.loadInputState(RUNTIME, "b")).toBe(undefined);
  });

  promise("two kernels on one place see what the other committed (R-3)", async ({ kernel, open: openMore }) => {
    const other = await openMore();
    await kernel.runtime.atomicApply(RUNTIME, DELTA, receipt(), [input("a")]);
    expect(await readRuntimes(other.runtime)).toEqual(await readRuntimes(kernel.runtime));
    await other.runtime.persistInputState(RUNTIME, input("a", { currentState: "staged" }));
    expect((await kernel.runtime.loadInputState(RUNTIME, "a"))?.currentState).toBe("staged");
  });

  promise("nobody holds what is stored: neither who wrote it nor who read it (R-4)", async ({ kernel: { runtime } }) => {
    const state = fullInput("a");
    const given = receipt();
    const delta = snapshot({ id: "s" });
    await runtime.atomicApply(RUNTIME, delta, given, [state]);
    const before = await readRuntimes(runtime);
    state.history.push({ timestampMs: 1, from: "queued", to: "staged" });
    (state.persistedInput as Record<string, unknown>).text = "another";
    given.contributingInputIds.push("c");
    delta.sessionSnapshot.fill(0);
    expect(await readRuntimes(runtime)).toEqual(before);

    const read = await runtime.loadInputState(RUNTIME, "a");
    read?.history.pop();
    const [listed] = await runtime.loadInputStates(RUNTIME);
    if (listed) listed.currentState = "queued";
    (await runtime.loadBoundaryReceipt(RUNTIME, "run", 0))?.contributingInputIds.pop();
    (await runtime.loadSessionSnapshot(RUNTIME))?.fill(0);
    expect(await readRuntimes(runtime)).toEqual(before);
  });

  promise("a value that changes while it is read is stored as it was read", async ({ kernel: { runtime } }) => {
    let reads = 0;
    const shifty = {
      ...input("a"),
      get currentState() {
        return ++reads === 1 ? ("queued" as const) : ("nonsense" as never);
      },
    };
    await runtime.persistInputState(RUNTIME, shifty);
    expect([reads, (await runtime.loadInputState(RUNTIME, "a"))?.currentState]).toEqual([1, "queued"]);
  });

  promise("snapshot, receipts, inputs and state are tables of their own (R-5, R-10)", async ({ kernel: { runtime } }) => {
    const none = { state: "none", snapshot: "none", inputs: [] as unknown[], receipt: "none" as unknown, ops: "none" };
    await runtime.commitSessionSnapshot("snapshot", snapshot({ id: "s" }));
    await runtime.atomicApply("receipt", undefined, receipt(), []);
    await runtime.persistInputState("input", input("a"));
    await runtime.commitMachineLifecycle("state", mintLifecycleCommit("idle"), []);
    expect(await readRuntimes(runtime, ["snapshot", "receipt", "input", "state"])).toEqual([
      { ...none, snapshot: '{"id":"s"}' },
      { ...none, receipt: receipt() },
      { ...none, inputs: [input("a")] },
      { ...none, state: "idle" },
    ]);
  });

  promise("nothing is deleted: what has ended stays, and no method takes it away (R-6)", async ({ kernel: { runtime } }) => {
    for (const sequence of [0, 1, 2]) {
      const ended = fullInput(`input ${sequence}`, { createdAtMs: 0, updatedAtMs: 0 });
      await runtime.atomicApply(RUNTIME, DELTA, receipt({ sequence }), [ended]);
    }
    await runtime.commitMachineLifecycle(RUNTIME, mintLifecycleCommit("destroyed"), []);
    expect(await idsIn(runtime)).toEqual(["input 0", "input 1", "input 2"]);
    for (const sequence of [0, 1, 2])
      expect((await runtime.loadBoundaryReceipt(RUNTIME, "run", sequence))?.sequence).toBe(sequence);
    expect(Object.keys(runtime).filter((name) => /delete|remove|drop|forget|clear/i.test(name))).toEqual([]);
  });

  promise("what resolved is there after close and reopen (R-22)", async ({ kernel, reopen }) => {
    await kernel.runtime.persistInputState(RUNTIME, fullInput("a"));
    await kernel.runtime.atomicApply(RUNTIME, DELTA, receipt(), [input("b")]);
    await kernel.runtime.commitMachineLifecycle(RUNTIME, mintLifecycleCommit("stopped"), [input("c")]);
    const before = await readRuntimes(kernel.runtime);
    expect(await readRuntimes((await reopen()).runtime)).toEqual(before);
  });
}
