import { isHoldfastError } from "../../domain/errors.js";
import type { ProcessLease } from "../../domain/lease.js";
import { ABANDON_REASONS, INPUT_PHASES, type InputOutcome } from "../../domain/session/input.js";
import { mintLifecycleCommit } from "../../domain/session/lifecycle-commit.js";
import { RUNTIME_STATES } from "../../domain/session/session.js";
import type { RuntimeStore } from "../../kernel/runtime-store.js";
import type { Row } from "../../ports/storage.js";
import { loadLiveInputs } from "../../stores/session/inputs/input-rows.js";
import { casesOn, type Ground, mismatch, type OpenFixture, type Runner, refusal, refused, task } from "../kit/fixture.js";
import { onRows, readRows, writeRows } from "../kit/rows.fixture.js";
import {
  bytesOf,
  DECISION,
  fullInput,
  input,
  PROMPT,
  RUNTIME,
  readRuntimes,
  receipt,
  snapshot,
  textOf,
} from "./runtime.fixture.js";

const OTHER = "rt:session:other";
const DELTA = snapshot({ id: "s", messages: [{ role: "user", content: "hello" }] });

/** What hosts that drive sessions themselves store: snapshots, receipts, inputs and the runtime's state. */
export function runtimeCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise } = casesOn(open, runner);

  async function changesNothing(runtime: RuntimeStore, work: () => Promise<void>): Promise<void> {
    const before = await readRuntimes(runtime, [RUNTIME, OTHER]);
    await work();
    expect(await readRuntimes(runtime, [RUNTIME, OTHER])).toEqual(before);
  }

  /** The lease of a process, as whoever runs a session for another program has one. */
  async function leased({ processes }: Ground, id = "p"): Promise<ProcessLease> {
    await processes.registerProcess(task(id));
    return await processes.claimProcessLease(id, "owner", 1_000);
  }

  const ids = async (runtime: RuntimeStore) => (await runtime.loadInputStates(RUNTIME)).map(({ inputId }) => inputId);

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

  promise("a snapshot leaves receipts, inputs and state as they are (R-10)", async ({ kernel: { runtime } }) => {
    await runtime.atomicApply(RUNTIME, undefined, receipt(), [fullInput("a"), input("b")]);
    await runtime.commitMachineLifecycle(RUNTIME, mintLifecycleCommit("running"), []);
    const [before] = (await readRuntimes(runtime)) as [object];
    await runtime.commitSessionSnapshot(RUNTIME, snapshot({ id: "s" }));
    expect(await readRuntimes(runtime)).toEqual([{ ...before, snapshot: '{"id":"s"}' }]);
  });

  promise("nothing is deleted: what has ended stays, and no method takes it away (R-6)", async ({ kernel: { runtime } }) => {
    for (const sequence of [0, 1, 2]) {
      const ended = fullInput(`input ${sequence}`, { createdAtMs: 0, updatedAtMs: 0 });
      await runtime.atomicApply(RUNTIME, DELTA, receipt({ sequence }), [ended]);
    }
    await runtime.commitMachineLifecycle(RUNTIME, mintLifecycleCommit("destroyed"), []);
    expect(await ids(runtime)).toEqual(["input 0", "input 1", "input 2"]);
    for (const sequence of [0, 1, 2])
      expect((await runtime.loadBoundaryReceipt(RUNTIME, "run", sequence))?.sequence).toBe(sequence);
    expect(Object.keys(runtime).filter((name) => /delete|remove|drop|forget|clear/i.test(name))).toEqual([]);
  });

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

  promise("a snapshot lists its session under the session's own id, in the same write (R-11)", async (ground) => {
    const { runtime } = ground.kernel;
    const listed = async () =>
      (await readRows(ground, "sessions")).map(({ sessionId, runtimeId, messageCount }) => [sessionId, runtimeId, messageCount]);
    await runtime.commitSessionSnapshot(RUNTIME, snapshot({ id: "s", messages: [1, 2] }));
    expect(await listed()).toEqual([["s", RUNTIME, 2]]);
    await runtime.atomicApply(RUNTIME, snapshot({ id: "s", messages: "none" }), receipt(), []);
    await refused(runtime.atomicApply(RUNTIME, snapshot({ id: "t" }), receipt(), []), "write-failed");
    expect(await listed()).toEqual([["s", RUNTIME, 0]]);
    await runtime.atomicApply(OTHER, undefined, receipt(), []);
    expect((await listed()).length).toBe(1);
  });

  promise("snapshot, receipt and inputs of one call stand or fall together (R-12)", async (ground) => {
    const { runtime } = ground.kernel;
    const lease = await leased(ground);
    await runtime.atomicApply(RUNTIME, DELTA, receipt(), [input("a"), input("b")], "s", { lease });
    expect(await readRuntimes(runtime)).toEqual([
      {
        state: "none",
        snapshot: textOf(DELTA.sessionSnapshot),
        inputs: [input("a"), input("b")],
        receipt: receipt(),
        ops: "none",
      },
    ]);
    await changesNothing(runtime, async () => {
      const next = [input("a", { currentState: "staged" }), input("c")];
      await refused(runtime.atomicApply(RUNTIME, snapshot({ id: "t" }), receipt(), next), "write-failed");
      const dead = { lease: { ...lease, fencingToken: 9 } };
      await refused(runtime.atomicApply(OTHER, DELTA, receipt(), next, "s", dead), "lease-lost");
    });
    expect((await readRows(ground, "sessions")).map(({ sessionId }) => sessionId)).toEqual(["s"]);
  });

  promise("a key that is not the snapshot's session is a mismatch, and nothing is visible (R-13)", async (ground) => {
    const { runtime } = ground.kernel;
    await changesNothing(runtime, async () => {
      const error = await refusal(runtime.atomicApply(RUNTIME, DELTA, receipt(), [input("a")], "t"));
      expect(isHoldfastError(error) && [error.code, error.details]).toEqual([
        "session-key-mismatch",
        { expected: "t", actual: "s" },
      ]);
    });
    expect(await readRows(ground, "sessions")).toEqual([]);
    await runtime.atomicApply(RUNTIME, undefined, receipt(), [input("a")], "t");
    expect(await ids(runtime)).toEqual(["a"]);
  });

  promise("a key only confirms: the snapshot has one address (R-14)", async ({ kernel: { runtime } }) => {
    await runtime.atomicApply(RUNTIME, DELTA, receipt(), [], "s");
    expect(await runtime.loadSessionSnapshot("s")).toBe(undefined);
    expect(textOf(await runtime.loadSessionSnapshot(RUNTIME))).toBe(textOf(DELTA.sessionSnapshot));
  });

  promise("a receipt is written once: also the same again is refused, with all that came along (R-16)", async (ground) => {
    const { kernel, open: openMore } = ground;
    const { runtime } = kernel;
    await runtime.atomicApply(RUNTIME, DELTA, receipt(), [input("a")]);
    const other = await openMore();
    await changesNothing(runtime, async () => {
      for (const again of [receipt(), receipt({ messageCount: 9 })]) {
        for (const store of [runtime, other.runtime]) {
          const call = store.atomicApply(RUNTIME, snapshot({ id: "t" }), again, [input("a", { attemptCount: 1 }), input("b")]);
          await refused(call, "write-failed", "run", "0");
        }
      }
    });
    await runtime.atomicApply(OTHER, undefined, receipt(), []);
    await runtime.atomicApply(RUNTIME, undefined, receipt({ runId: "another" }), []);
  });

  promise("of calls with one receipt that come at once, one is stored, whole (R-16)", async ({ kernel, open: openMore }) => {
    const other = await openMore();
    const stores = [kernel.runtime, other.runtime, kernel.runtime, other.runtime];
    const problems = await Promise.all(
      stores.map((store, at) =>
        mismatch(store.atomicApply(RUNTIME, snapshot({ id: `s${at}` }), receipt(), [input(`i${at}`)]), "write-failed"),
      ),
    );
    const winner = problems.findIndex((problem) => problem !== undefined);
    expect(problems.filter((problem) => problem !== undefined).length).toBe(1);
    expect(textOf(await kernel.runtime.loadSessionSnapshot(RUNTIME))).toBe(`{"id":"s${winner}"}`);
    expect(await ids(kernel.runtime)).toEqual([`i${winner}`]);
  });

  promise("receipts of a run come in any order, and come back whole (R-17)", async ({ kernel: { runtime } }) => {
    const receipts = [
      receipt({ sequence: 5, boundary: "immediate", contributingInputIds: [], messageCount: 0 }),
      receipt({ sequence: 2, boundary: "run_checkpoint", contributingInputIds: ["z", "a", "z", "m"] }),
      receipt({ sequence: 3, conversationDigest: "ab".repeat(32) }),
      receipt({ sequence: 0 }),
    ];
    for (const given of receipts) await runtime.atomicApply(RUNTIME, undefined, given, []);
    for (const given of receipts) {
      const read = await runtime.loadBoundaryReceipt(RUNTIME, "run", given.sequence);
      expect(read).toEqual(given);
      expect(Object.keys(read ?? {}).sort()).toEqual(Object.keys(given).sort());
    }
  });

  promise("input updates are upserts, and of several of one input the last counts (R-18, R-19)", async (ground) => {
    const { runtime } = ground.kernel;
    await runtime.persistInputState(RUNTIME, input("a", { durability: "durable", lastRunId: "gone" }));
    const updates = [input("a", { attemptCount: 1 }), input("b"), input("a", { attemptCount: 2 })];
    await runtime.atomicApply(RUNTIME, undefined, receipt(), updates);
    expect(await runtime.loadInputStates(RUNTIME)).toEqual([input("a", { attemptCount: 2 }), input("b")]);
    await runtime.atomicApply(RUNTIME, undefined, receipt({ sequence: 1 }), []);
    expect(await runtime.loadInputStates(RUNTIME)).toEqual([input("a", { attemptCount: 2 }), input("b")]);
    expect(await runtime.loadSessionSnapshot(RUNTIME)).toBe(undefined);
    const keyed = ["first", "last"].map((idempotencyKey) => input("a", { idempotencyKey }));
    await runtime.atomicApply(RUNTIME, undefined, receipt({ sequence: 2 }), keyed);
    expect((await readRows(ground, "inputKeys")).map(({ idempotencyKey }) => idempotencyKey)).toEqual(["last"]);
  });

  promise("everything is checked before anything is written, whichever argument is wrong (R-21)", async ({ kernel }) => {
    const { runtime } = kernel;
    const good = [DELTA, receipt(), [input("a")], "s", {}] as const;
    const wrong: [at: number, value: unknown, code: "invalid" | "write-failed" | "session-key-mismatch"][] = [
      [0, { sessionSnapshot: bytesOf("no") }, "write-failed"],
      [1, receipt({ sequence: -1 }), "write-failed"],
      [2, [input("a"), input("")], "invalid"],
      [3, "t", "session-key-mismatch"],
      [3, "", "invalid"],
      [4, { lease: {} }, "invalid"],
    ];
    await changesNothing(runtime, async () => {
      for (const [at, value, code] of wrong) {
        const args = good.map((arg, place) => (place === at ? value : arg)) as unknown as typeof good;
        await refused(runtime.atomicApply(RUNTIME, ...args), code);
      }
    });
    await runtime.atomicApply(RUNTIME, ...good);
  });

  promise("what resolved is there after close and reopen (R-22)", async ({ kernel, reopen }) => {
    await kernel.runtime.persistInputState(RUNTIME, fullInput("a"));
    await kernel.runtime.atomicApply(RUNTIME, DELTA, receipt(), [input("b")]);
    await kernel.runtime.commitMachineLifecycle(RUNTIME, mintLifecycleCommit("stopped"), [input("c")]);
    const before = await readRuntimes(kernel.runtime);
    expect(await readRuntimes((await reopen()).runtime)).toEqual(before);
  });

  promise("inputs are listed by id in code units, whenever they came (R-23)", async ({ kernel: { runtime } }) => {
    const sorted = ["A", "Z", "a", "a1", "b", "\u00e9", "\ud83d\ude00", "\uff5e"];
    for (const at of [3, 7, 0, 6, 2, 5, 1, 4]) await runtime.persistInputState(RUNTIME, input(sorted[at] as string));
    await runtime.persistInputState(RUNTIME, input("b", { attemptCount: 1 }));
    expect(await ids(runtime)).toEqual(sorted);
  });

  async function tamper(ground: Ground, inputId: string, change: (row: Row) => object): Promise<void> {
    const row = (await readRows(ground, "inputs")).find((stored) => stored.inputId === inputId) as Row;
    await writeRows(ground, { table: "inputs", put: { ...row, ...change(row) } });
  }
  const record = (more: object) => (row: Row) => ({ record: { ...(row.record as object), ...more } });

  promise("one row that does not decode fails the list by its id, and harms no sibling (R-24, R-53)", async (ground) => {
    const { runtime } = ground.kernel;
    const broken: [string, (row: Row) => object][] = [
      ["an unknown phase", record({ currentState: "asleep" })],
      ["an unknown durability", record({ durability: "solid" })],
      ["an unknown apply mode", record({ policy: { version: 1, decision: { ...DECISION, applyMode: "later" } } })],
      ["an unknown outcome", record({ terminalOutcome: { outcomeType: "lost" } })],
      ["an unknown reason", record({ terminalOutcome: { outcomeType: "abandoned", reason: "bored" } })],
      ["an unknown boundary", record({ runtimeSemantics: { boundary: "never", executionKind: "content_turn" } })],
      ["an unknown type", record({ persistedInput: { inputType: "rumour" } })],
      ["no time", record({ createdAtMs: undefined })],
      ["another input's record", record({ inputId: "a" })],
      ["no record", () => ({ record: undefined })],
      ["a text for a record", () => ({ record: "queued" })],
      ["a broken column", () => ({ rank: "first" })],
    ];
    for (const id of ["a", "b", "c"]) await runtime.persistInputState(RUNTIME, fullInput(id));
    await runtime.persistInputState(OTHER, input("a"));
    for (const [name, change] of broken) {
      await runtime.persistInputState(RUNTIME, fullInput("b"));
      await tamper(ground, "b", change);
      for (const call of [runtime.loadInputStates(RUNTIME), runtime.loadInputState(RUNTIME, "b")]) {
        const error = await refusal(call);
        const { inputId, table } = (isHoldfastError(error) ? error.details : {}) as { inputId?: string; table?: string };
        expect([name, (error as { code?: string }).code, table, inputId]).toEqual([name, "read-failed", "inputs", "b"]);
      }
      expect((await runtime.loadInputState(RUNTIME, "a"))?.inputId).toBe("a");
      expect((await runtime.loadInputStates(OTHER)).length).toBe(1);
      await writeRows(ground, { table: "inputs", drop: [RUNTIME, "b"] });
    }
  });

  promise("a row of a newer holdfast is refused as such, and is not written over", async (ground) => {
    const { runtime } = ground.kernel;
    await runtime.persistInputState(RUNTIME, fullInput("a"));
    await tamper(ground, "a", () => ({ v: 2 }));
    await refused(runtime.loadInputStates(RUNTIME), "version");
    await refused(runtime.persistInputState(RUNTIME, input("a")), "version");
    expect((await readRows(ground, "inputs")).map(({ v }) => v)).toEqual([2]);
  });

  promise("receipts and states that do not decode are read-failed by their row", async (ground) => {
    const { runtime } = ground.kernel;
    await runtime.atomicApply(RUNTIME, DELTA, receipt(), []);
    await runtime.commitMachineLifecycle(RUNTIME, mintLifecycleCommit("idle"), []);
    const change = async (table: string, more: object) => {
      const [row] = await readRows(ground, table);
      await writeRows(ground, { table, put: { ...(row as Row), ...more } });
    };
    await change("receipts", { receipt: { ...receipt(), boundary: "never" } });
    await change("runtimes", { state: "asleep" });
    await change("snapshots", { bytes: { 0: 1 } });
    const loads = [
      runtime.loadBoundaryReceipt(RUNTIME, "run", 0),
      runtime.loadRuntimeState(RUNTIME),
      runtime.loadSessionSnapshot(RUNTIME),
    ];
    const tables = ["receipts", "runtimes", "snapshots"];
    for (const [at, load] of loads.entries()) await refused(load as Promise<unknown>, "read-failed", tables[at] as string);
  });

  promise("a lifecycle commit writes the state and its inputs in one (R-26, R-29)", async (ground) => {
    const { runtime } = ground.kernel;
    await runtime.persistInputState(RUNTIME, input("a"));
    await runtime.persistInputState(RUNTIME, input("b"));
    const abandoned = input("b", {
      currentState: "abandoned",
      terminalOutcome: { outcomeType: "abandoned", reason: "stopped" },
    });
    await runtime.commitMachineLifecycle(RUNTIME, mintLifecycleCommit("stopped"), [input("c"), abandoned]);
    expect(await runtime.loadRuntimeState(RUNTIME)).toBe("stopped");
    expect(await runtime.loadInputStates(RUNTIME)).toEqual([input("a"), abandoned, input("c")]);
    const lease = { ...(await leased(ground)), leaseToken: "another" };
    await changesNothing(runtime, async () => {
      const call = runtime.commitMachineLifecycle(RUNTIME, mintLifecycleCommit("idle"), [input("a", { attemptCount: 1 })], {
        lease,
      });
      await refused(call, "lease-lost");
      const bad = [input("a", { attemptCount: 1 }), input("b", { currentState: "asleep" as never })];
      await refused(runtime.commitMachineLifecycle(RUNTIME, mintLifecycleCommit("idle"), bad), "invalid", "inputStates/1");
    });
  });

  promise("what looks like a lifecycle commit and was not made by a runtime is refused (R-27)", async ({ kernel }) => {
    const { runtime } = kernel;
    await changesNothing(runtime, async () => {
      const real = mintLifecycleCommit("stopped");
      for (const forged of [{ runtimeState: "stopped" }, Object.create(real), structuredClone(real), new Proxy(real, {})])
        await refused(runtime.commitMachineLifecycle(RUNTIME, forged as never, [input("a")]), "invalid", "commit");
    });
  });

  promise("every state that a commit carries is stored but attached, which is refused (R-28)", async ({ kernel }) => {
    const { runtime } = kernel;
    for (const state of RUNTIME_STATES.filter((known) => known !== "attached")) {
      await runtime.commitMachineLifecycle(RUNTIME, mintLifecycleCommit(state), []);
      expect(await runtime.loadRuntimeState(RUNTIME)).toBe(state);
    }
    await changesNothing(runtime, async () => {
      const call = runtime.commitMachineLifecycle(RUNTIME, mintLifecycleCommit("attached"), [input("a")]);
      await refused(call, "invalid", "attached");
    });
  });

  promise("an input keeps every member, with its outcome and its attempts (R-50, R-51)", async ({ kernel: { runtime } }) => {
    const outcomes: InputOutcome[] = [
      { outcomeType: "consumed" },
      { outcomeType: "superseded", supersededBy: "x" },
      { outcomeType: "coalesced", aggregateId: "x" },
      ...ABANDON_REASONS.map((reason): InputOutcome => ({ outcomeType: "abandoned", reason })),
      { outcomeType: "abandoned", reason: { max_attempts_exhausted: { attempts: 3 } } },
    ];
    for (const terminalOutcome of outcomes) {
      const state = fullInput("a", { currentState: terminalOutcome.outcomeType, terminalOutcome, attemptCount: 7 });
      await runtime.persistInputState(RUNTIME, state);
      expect(await runtime.loadInputState(RUNTIME, "a")).toEqual(state);
      expect(await runtime.loadInputStates(RUNTIME)).toEqual([state]);
    }
    const projected = fullInput("a", {
      reconstructionSource: { sourceType: "projection", ruleId: "r", sourceEventId: "e" },
      runtimeSemantics: {
        boundary: "run_checkpoint",
        executionKind: "resume_pending",
        peerResponseTerminalApplyIntent: "append_context_and_run",
      },
    });
    await runtime.persistInputState(RUNTIME, projected);
    expect(await runtime.loadInputState(RUNTIME, "a")).toEqual(projected);
  });

  promise("what is absent stays absent, and defaults are filled in (R-50)", async ({ kernel: { runtime } }) => {
    const { drainPolicy: _, routingDisposition: __, recordTranscript: ___, emitOperatorContent: ____, ...decision } = DECISION;
    const least = {
      inputId: "a",
      currentState: "queued",
      createdAtMs: 1,
      updatedAtMs: 2,
      lastRunId: undefined,
      policy: { version: 1, decision },
      runtimeSemantics: { boundary: "run_start", executionKind: "content_turn", peerResponseTerminalApplyIntent: null },
    };
    await runtime.persistInputState(RUNTIME, least as never);
    const read = await runtime.loadInputState(RUNTIME, "a");
    const { lastRunId: _____, ...wanted } = least;
    expect(read).toEqual({
      ...wanted,
      policy: { version: 1, decision: DECISION },
      runtimeSemantics: { boundary: "run_start", executionKind: "content_turn" },
      attemptCount: 0,
      recoveryCount: 0,
      history: [],
    });
    expect(Object.hasOwn(read ?? {}, "lastRunId")).toBe(false);
    expect(Object.keys(read?.runtimeSemantics ?? {}).sort()).toEqual(["boundary", "executionKind"]);
  });

  promise("every phase is stored as it is", async ({ kernel: { runtime } }) => {
    for (const currentState of INPUT_PHASES) {
      await runtime.persistInputState(RUNTIME, input("a", { currentState, idempotencyKey: "k" }));
      expect((await runtime.loadInputState(RUNTIME, "a"))?.currentState).toBe(currentState);
    }
  });

  promise("types by their old names are read as what they are now (R-52)", async (ground) => {
    const { runtime } = ground.kernel;
    const old: [string, string][] = [
      ["system_generated", "continuation"],
      ["projected", "operation"],
    ];
    for (const [was, is] of old) {
      await runtime.persistInputState(RUNTIME, input(was, { persistedInput: { ...PROMPT, inputType: was as never } }));
      await runtime.persistInputState(RUNTIME, input("stored", { persistedInput: PROMPT }));
      await tamper(ground, "stored", record({ persistedInput: { ...PROMPT, inputType: was } }));
      for (const id of [was, "stored"])
        expect((await runtime.loadInputState(RUNTIME, id))?.persistedInput).toEqual({ ...PROMPT, inputType: is });
    }
  });

  promise(
    "a write under a lease is refused once that is not the live one, and takes back nothing (R-12, R-26)",
    async (ground) => {
      const { kernel, clock } = ground;
      const { runtime } = kernel;
      const lease = await leased(ground);
      await leased(ground, "q");
      const calls = [
        (held: ProcessLease) => runtime.persistInputState(RUNTIME, input("a", { attemptCount: 9 }), { lease: held }),
        (held: ProcessLease) => runtime.atomicApply(RUNTIME, snapshot({ id: "t" }), receipt(), [], undefined, { lease: held }),
        (held: ProcessLease) =>
          runtime.commitMachineLifecycle(RUNTIME, mintLifecycleCommit("idle"), [input("b")], { lease: held }),
      ];
      const refusesAll = (held: ProcessLease) =>
        changesNothing(runtime, async () => {
          for (const call of calls) await refused(call(held), "lease-lost");
        });
      await refusesAll({ ...lease, processId: "q" });
      await refusesAll({ ...lease, processId: "nobody" });
      await refusesAll({ ...lease, ownerId: "another" });
      for (const call of calls) await call(lease);
      expect(await ids(runtime)).toEqual(["a", "b"]);
      await clock.advance(1_000);
      await refusesAll(lease);
      await runtime.persistInputState(RUNTIME, input("c"));
    },
  );

  promise("live inputs are found by their order of admission, the ones that nobody admitted last", async (ground) => {
    const { runtime } = ground.kernel;
    for (const id of ["z", "y", "x"]) await runtime.persistInputState(RUNTIME, input(id));
    await tamper(ground, "z", () => ({ rank: 1, liveRank: 1, starts: 1 }));
    await runtime.persistInputState(RUNTIME, input("z", { attemptCount: 1 }));
    const rows = () => readRows(ground, "inputs");
    expect((await rows()).map(({ inputId, liveRank, starts }) => [inputId, liveRank, starts])).toEqual([
      ["x", Number.MAX_SAFE_INTEGER, undefined],
      ["y", Number.MAX_SAFE_INTEGER, undefined],
      ["z", 1, 1],
    ]);
    const live = await onRows(ground, (open) => open.transact(["inputs"], "read", (tx) => loadLiveInputs(tx, RUNTIME)));
    expect(live.map(({ inputId }) => inputId)).toEqual(["z", "x", "y"]);
    for (const id of ["x", "z"]) await runtime.persistInputState(RUNTIME, input(id, { currentState: "coalesced" }));
    expect((await rows()).map(({ inputId, rank, liveRank }) => [inputId, rank, liveRank])).toEqual([
      ["x", undefined, undefined],
      ["y", undefined, Number.MAX_SAFE_INTEGER],
      ["z", 1, undefined],
    ]);
  });

  promise("the rows of idempotency keys follow their inputs (R-75)", async (ground) => {
    const { runtime } = ground.kernel;
    const keys = async () =>
      (await readRows(ground, "inputKeys")).map(({ idempotencyKey, inputId, endedAtMs }) => [idempotencyKey, inputId, endedAtMs]);
    const ended = async () => (await readRows(ground, "runtimes")).map(({ endedKeys }) => endedKeys);
    const keyed = (id: string, idempotencyKey: string, more = {}) => input(id, { idempotencyKey, ...more });
    const done = { currentState: "consumed", updatedAtMs: 5 } as const;
    await runtime.persistInputState(RUNTIME, keyed("a", "k"));
    await runtime.persistInputState(RUNTIME, keyed("e", "ephemeral", { durability: "ephemeral" }));
    await runtime.persistInputState(RUNTIME, keyed("e", "ephemeral", { durability: "ephemeral", ...done }));
    await runtime.persistInputState(RUNTIME, input("n"));
    expect(await keys()).toEqual([["k", "a", undefined]]);
    expect(await ended()).toEqual([]);

    const both = [keyed("a", "k2", done), keyed("b", "k", done)];
    await runtime.commitMachineLifecycle(RUNTIME, mintLifecycleCommit("idle"), both);
    expect(await keys()).toEqual([
      ["k", "b", 5],
      ["k2", "a", 5],
    ]);
    expect(await ended()).toEqual([2]);

    await runtime.atomicApply(RUNTIME, undefined, receipt(), [keyed("a", "k", done), keyed("b", "k", { updatedAtMs: 6 })]);
    expect(await keys()).toEqual([["k", "b", undefined]]);
    expect(await ended()).toEqual([0]);
  });

  promise("a session whose messages are rows is read as the snapshot that they make", async (ground) => {
    const { runtime } = ground.kernel;
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
    await writeRows(ground, message(10, "ü"), message(2, "hello"));
    expect(await load()).toBe("none");
    await writeRows(ground, { table: "runtimes", put: row });
    expect(await load()).toBe("none");
    await writeRows(ground, { table: "runtimes", put: { ...row, state: "idle" } });
    expect(await load()).toBe('{"id":"s","messages":[{"role":"user","content":"hello"},{"role":"user","content":"ü"}]}');
    const live = { ...row, state: "running", run, head: { id: "s", title: "t", messages: [1] } };
    await writeRows(ground, { table: "runtimes", put: live });
    expect(await load()).toBe(
      '{"id":"s","title":"t","messages":[{"role":"user","content":"hello"},{"role":"user","content":"ü"}]}',
    );

    await runtime.commitSessionSnapshot(RUNTIME, snapshot({ id: "s", messages: [] }));
    expect(await load()).toBe('{"id":"s","messages":[]}');
    expect(await readRows(ground, "messages")).toEqual([]);
    const { head: _, ...next } = live;
    const [stored] = await readRows(ground, "runtimes");
    expect({ ...stored, updatedAtMs: 1 }).toEqual({ ...next, messageCount: 0, digest: "" });
  });
}
