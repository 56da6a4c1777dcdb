import { isHoldfastError } from "../../../domain/errors.js";
import { ABANDON_REASONS, INPUT_PHASES, type InputOutcome } from "../../../domain/session/input.js";
import { mintLifecycleCommit } from "../../../domain/session/lifecycle-commit.js";
import type { Row } from "../../../ports/storage.js";
import { loadLiveInputs } from "../../../stores/session/inputs/input-rows.js";
import { casesOn, type OpenFixture, type Runner, refusal, refused, type Setup } from "../../kit/fixture.js";
import { onRows, readRows, writeRows } from "../../kit/rows.fixture.js";
import { DECISION, fullInput, input, PROMPT, RUNTIME, receipt } from "../runtime.fixture.js";
import { DELTA, idsIn, OTHER } from "./runtime-store.fixture.js";

/** Inputs as they are stored and read back. */
export function inputRowCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise } = casesOn(open, runner);

  promise("inputs are listed by id in code units, whenever they came (R-23)", async ({ kernel: { runtime } }) => {
    const sorted = ["A", "Z", "a", "a1", "b", "\u00e9", "\ud83d\ude00", "\uff5e"];
    for (const at of [3, 7, 0, 6, 2, 5, 1, 4]) await runtime.persistInputState(RUNTIME, input(sorted[at] as string));
    await runtime.persistInputState(RUNTIME, input("b", { attemptCount: 1 }));
    expect(await idsIn(runtime)).toEqual(sorted);
  });

  promise("one row that does not decode fails the list by its id, and harms no sibling (R-24, R-53)", async (setup) => {
    const { runtime } = setup.kernel;
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
      await tamper(setup, "b", change);
      for (const call of [runtime.loadInputStates(RUNTIME), runtime.loadInputState(RUNTIME, "b")]) {
        const error = await refusal(call);
        const { inputId, table } = (isHoldfastError(error) ? error.details : {}) as { inputId?: string; table?: string };
        expect([name, (error as { code?: string }).code, table, inputId]).toEqual([name, "read-failed", "inputs", "b"]);
      }
      expect((await runtime.loadInputState(RUNTIME, "a"))?.inputId).toBe("a");
      expect((await runtime.loadInputStates(OTHER)).length).toBe(1);
      await writeRows(setup, { table: "inputs", drop: [RUNTIME, "b"] });
    }
  });

  promise("a row of a newer holdfast is refused as such, and is not written over", async (setup) => {
    const { runtime } = setup.kernel;
    await runtime.persistInputState(RUNTIME, fullInput("a"));
    await tamper(setup, "a", () => ({ v: 2 }));
    await refused(runtime.loadInputStates(RUNTIME), "version");
    await refused(runtime.persistInputState(RUNTIME, input("a")), "version");
    expect((await readRows(setup, "inputs")).map(({ v }) => v)).toEqual([2]);
  });

  promise("receipts and states that do not decode are read-failed by their row", async (setup) => {
    const { runtime } = setup.kernel;
    await runtime.atomicApply(RUNTIME, DELTA, receipt(), []);
    await runtime.commitMachineLifecycle(RUNTIME, mintLifecycleCommit("idle"), []);
    const change = async (table: string, more: object) => {
      const [row] = await readRows(setup, table);
      await writeRows(setup, { table, put: { ...(row as Row), ...more } });
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

  promise("types by their old names are read as what they are now (R-52)", async (setup) => {
    const { runtime } = setup.kernel;
    const old: [string, string][] = [
      ["system_generated", "continuation"],
      ["projected", "operation"],
    ];
    for (const [was, is] of old) {
      await runtime.persistInputState(RUNTIME, input(was, { persistedInput: { ...PROMPT, inputType: was as never } }));
      await runtime.persistInputState(RUNTIME, input("stored", { persistedInput: PROMPT }));
      await tamper(setup, "stored", record({ persistedInput: { ...PROMPT, inputType: was } }));
      for (const id of [was, "stored"])
        expect((await runtime.loadInputState(RUNTIME, id))?.persistedInput).toEqual({ ...PROMPT, inputType: is });
    }
  });

  promise("live inputs are found by their order of admission, the ones that nobody admitted last", async (setup) => {
    const { runtime } = setup.kernel;
    for (const id of ["z", "y", "x"]) await runtime.persistInputState(RUNTIME, input(id));
    await tamper(setup, "z", () => ({ rank: 1, liveRank: 1, starts: 1 }));
    await runtime.persistInputState(RUNTIME, input("z", { attemptCount: 1 }));
    const rows = () => readRows(setup, "inputs");
    expect((await rows()).map(({ inputId, liveRank, starts }) => [inputId, liveRank, starts])).toEqual([
      ["x", Number.MAX_SAFE_INTEGER, undefined],
      ["y", Number.MAX_SAFE_INTEGER, undefined],
      ["z", 1, 1],
    ]);
    const live = await onRows(setup, (open) => open.transact(["inputs"], "read", (tx) => loadLiveInputs(tx, RUNTIME)));
    expect(live.map(({ inputId }) => inputId)).toEqual(["z", "x", "y"]);
    for (const id of ["x", "z"]) await runtime.persistInputState(RUNTIME, input(id, { currentState: "coalesced" }));
    expect((await rows()).map(({ inputId, rank, liveRank }) => [inputId, rank, liveRank])).toEqual([
      ["x", undefined, undefined],
      ["y", undefined, Number.MAX_SAFE_INTEGER],
      ["z", 1, undefined],
    ]);
  });

  promise("the rows of idempotency keys follow their inputs (R-75)", async (setup) => {
    const { runtime } = setup.kernel;
    const keys = async () =>
      (await readRows(setup, "inputKeys")).map(({ idempotencyKey, inputId, endedAtMs }) => [idempotencyKey, inputId, endedAtMs]);
    const ended = async () => (await readRows(setup, "runtimes")).map(({ endedKeys }) => endedKeys);
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
}

async function tamper(setup: Setup, inputId: string, change: (row: Row) => object): Promise<void> {
  const row = (await readRows(setup, "inputs")).find((stored) => stored.inputId === inputId) as Row;
  await writeRows(setup, { table: "inputs", put: { ...row, ...change(row) } });
}

const record = (more: object) => (row: Row) => ({ record: { ...(row.record as object), ...more } });
