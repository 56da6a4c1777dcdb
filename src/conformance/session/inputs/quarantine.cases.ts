import type { StoredInputState } from "../../../domain/session/input.js";
import { mintLifecycleCommit } from "../../../domain/session/lifecycle-commit.js";
import type { Row } from "../../../ports/storage.js";
import { type OpenFixture, type Runner, refusal, refused } from "../../kit/fixture.js";
import { readRows, writeRows } from "../../kit/rows.fixture.js";
import { RUNTIME, receipt } from "../runtime.fixture.js";
import { phases, prompt, quiet, sessionCasesOn, waiting } from "../session.fixture.js";
import { applied, handOver } from "./recovery.fixture.js";

/** Stored rows that a session cannot use. */
export function quarantineCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise, changesNoRow } = sessionCasesOn(open, runner);

  promise("a receipt that does not decode fails the opening: it does not count as missing (R-114, R-118)", async (setup) => {
    const { kernel } = setup;
    await handOver(setup, applied("a"), waiting("b", { currentState: "staged" }));
    const row = { runtimeId: RUNTIME, runId: "run", sequence: 0 };
    for (const [put, code] of [
      [{ ...row, v: 1, receipt: 5 }, "read-failed"],
      [{ ...row, v: 99, receipt: receipt() }, "version"],
    ] as const) {
      await writeRows(setup, { table: "receipts", put });
      await changesNoRow(setup, () => refused(kernel.session("s"), code));
    }
  });

  const BROKEN: [string, Partial<Record<keyof StoredInputState, unknown>>, string][] = [
    ["payload", { persistedInput: undefined }, "has no persisted input"],
    ["policy stamp", { policy: undefined }, "missing runtime admission policy stamp"],
    ["semantics stamp", { runtimeSemantics: undefined }, "missing runtime execution semantics stamp"],
    ["true semantics", { runtimeSemantics: { boundary: "immediate", executionKind: "content_turn" } }, "semantics"],
    ["true execution kind", { runtimeSemantics: { boundary: "run_start", executionKind: "resume_pending" } }, "semantics"],
  ];

  for (const [what, change, fragment] of BROKEN) {
    promise(`a live row without its ${what} fails the opening whole, an ended one does not (R-113, R-114)`, async (setup) => {
      const { kernel } = setup;
      const broken = (inputId: string, more: object) => ({ ...waiting(inputId), ...change, ...more }) as StoredInputState;
      await handOver(
        setup,
        broken("ended", { currentState: "consumed", terminalOutcome: { outcomeType: "consumed" } }),
        applied("a"),
      );
      await kernel.session("s");
      await handOver(setup, applied("a"), broken("bad", {}));
      const fresh = await setup.open();
      await changesNoRow(setup, async () => {
        await refused(fresh.session("s"), "read-failed", "store corruption", "bad", fragment);
      });
    });
  }

  promise("with quarantine the broken rows are set aside and told, and the others go on (R-24, R-113)", async (setup) => {
    const { kernel } = setup;
    await kernel.session("s");
    await handOver(setup, { ...waiting("bad"), policy: undefined } as never, applied("a"), waiting("b"));
    await writeRows(setup, {
      table: "inputs",
      put: { v: 1, runtimeId: RUNTIME, inputId: "worse", liveRank: 5, record: { inputId: "worse", currentState: "no phase" } },
    });
    const fresh = await setup.open();
    const error = await fresh.session("s").catch((thrown: unknown) => thrown);
    expect((error as { code?: unknown }).code).toBe("read-failed");
    const faults: string[] = [];
    fresh.on("fault", ({ message }) => void faults.push(message));
    const session = await fresh.session("s", { quarantine: true });
    expect(session.quarantined.map(({ inputId }) => inputId).sort()).toEqual(["bad", "worse"]);
    expect(session.quarantined.every(({ reason }) => reason.length > 0)).toBe(true);
    expect(faults.length).toBe(2);
    expect(await phases(fresh)).toEqual(["a queued", "b queued"]);
    expect((await readRows(setup, "quarantine")).map(({ inputId }) => inputId)).toEqual(["bad", "worse"]);
    const again = await setup.open();
    expect((await again.session("s")).quarantined).toEqual([]);
  });

  promise("an ended row that does not decode opens, and quarantine sets it aside, too (R-24, R-113)", async (setup) => {
    const { kernel } = setup;
    await kernel.session("s");
    await handOver(setup, waiting("a"));
    await writeRows(setup, { table: "inputs", put: { v: 1, runtimeId: RUNTIME, inputId: "bad", record: { inputId: "bad" } } });
    await refused(kernel.runtime.loadInputStates(RUNTIME), "read-failed", "bad");
    expect((await kernel.session("s")).quarantined).toEqual([]);
    const session = await kernel.session("s", { quarantine: true });
    expect(session.quarantined.map(({ inputId }) => inputId)).toEqual(["bad"]);
    expect(await phases(kernel)).toEqual(["a queued"]);
  });

  promise("the key of an input that was set aside stands for nothing any more (R-24, R-73)", async (setup) => {
    const { kernel } = setup;
    await handOver(setup, { ...waiting("bad", { idempotencyKey: "k" }), policy: undefined } as never);
    const session = await kernel.session("s", { quarantine: true });
    expect(await session.submit(prompt("again", { idempotencyKey: "k" }))).toEqual({ outcome: "accepted", inputId: "again" });
  });

  promise("outcome() of an input that is set aside is read-failed, before and after (A-16, R-24)", async (setup) => {
    const { kernel } = setup;
    const session = await kernel.session("s");
    await session.submit(prompt("a"));
    const other = await setup.open();
    const waits = [session, await other.session("s")].map((each) => refusal(each.outcome("a")));
    await quiet();
    const [row] = await readRows(setup, "inputs");
    const { policy: _, ...record } = (row as Row).record as { policy: unknown };
    await writeRows(setup, { table: "inputs", put: { ...row, v: 1, record } });
    const fresh = await setup.open();
    expect((await fresh.session("s", { quarantine: true })).quarantined.map(({ inputId }) => inputId)).toEqual(["a"]);
    // No notice reaches the others: they poll.
    await setup.clock.advance(10_000);
    for (const error of await Promise.all(waits)) expect((error as { code?: unknown }).code).toBe("read-failed");
    await refused(session.outcome("a"), "read-failed", "set aside");
  });

  promise("stopped or destroyed with inputs that live is corruption, and nothing is touched (R-116)", async (setup) => {
    const { kernel } = setup;
    for (const state of ["stopped", "destroyed"] as const) {
      await kernel.runtime.commitMachineLifecycle(RUNTIME, mintLifecycleCommit(state), [waiting("a"), applied("b")]);
      await changesNoRow(setup, async () => {
        await refused(kernel.session("s"), "read-failed", state, "conflicts with 2 active inputs");
      });
    }
    const ended = { currentState: "consumed", terminalOutcome: { outcomeType: "consumed" } } as const;
    await handOver(setup, waiting("a", ended), waiting("b", ended));
    expect((await kernel.session("s")).state).toBe("destroyed");
  });
}
