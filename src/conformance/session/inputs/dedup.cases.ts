import { casesOn, count, type OpenFixture, type Runner } from "../../kit/fixture.js";
import { readRows, writeRows } from "../../kit/rows.fixture.js";
import { RUNTIME } from "../runtime.fixture.js";
import { drained, phases, prompt, sessionCasesOn, stateOf, waiting, withoutTurns, withTurns } from "../session.fixture.js";

const DAY = 24 * 60 * 60 * 1_000;

/** Idempotency keys: the input that a key stands for, and how long. */
export function dedupCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise } = sessionCasesOn(open, runner);
  /** Cases with forged rows, for which the invariants do not hold. */
  const bare = casesOn(open, runner);

  promise("the same key again is the same input, whatever it carries and whoever submits (R-73)", async (setup) => {
    const { kernel, session } = await withoutTurns(setup);
    await session.submit(prompt("a", { idempotencyKey: "k" }));
    const other = await (await setup.open()).session("s");
    const again = { outcome: "deduplicated", inputId: "b", existingId: "a" };
    expect(await other.submit(prompt("b", { idempotencyKey: "k" }))).toEqual(again);
    expect(await session.submit({ inputType: "operation", inputId: "b", idempotencyKey: "k" })).toEqual(again);
    expect(await phases(kernel)).toEqual(["a queued"]);
  });

  promise("of a hundred submissions of one key at once, one is stored and the others name it (R-73)", async (setup) => {
    const { kernel, session } = await withoutTurns(setup);
    const other = await (await setup.open()).session("s");
    const calls = count(100).map((n) => (n % 2 ? session : other).submit(prompt(`i${n}`, { idempotencyKey: "k" })));
    const found = await Promise.all(calls);
    const [stored] = await kernel.runtime.loadInputStates(RUNTIME);
    expect((await phases(kernel)).length).toBe(1);
    expect(found.filter(({ outcome }) => outcome === "accepted").map(({ outcome, ...rest }) => rest)).toEqual([
      { inputId: stored?.inputId },
    ]);
    const named = found.flatMap((outcome) => (outcome.outcome === "deduplicated" ? [outcome.existingId] : []));
    expect(named).toEqual(count(99).map(() => stored?.inputId));
  });

  promise("keys are of one session: another one does not know them (R-73)", async ({ kernel }) => {
    const one = await kernel.session("s");
    const other = await kernel.session("t");
    for (const session of [one, other]) {
      expect((await session.submit(prompt("a", { idempotencyKey: "k" }))).outcome).toBe("accepted");
    }
  });

  promise("a key stands for an ended input for 24 hours and is let go after; the input stays (R-74)", async (setup) => {
    const { kernel, session } = await withoutTurns(setup);
    await setup.clock.advance(3_000);
    const of = (inputId: string) => session.submit({ inputType: "operation", inputId, idempotencyKey: "k" });
    await of("a");
    await setup.clock.advance(DAY);
    expect(await of("b")).toEqual({ outcome: "deduplicated", inputId: "b", existingId: "a" });
    await setup.clock.advance(1);
    expect(await of("c")).toEqual({ outcome: "accepted", inputId: "c" });
    expect(await phases(kernel)).toEqual(["a consumed", "c consumed"]);
    expect((await stateOf(kernel, "a")).idempotencyKey).toBe("k");
    await setup.clock.advance(DAY);
    expect(await of("d")).toEqual({ outcome: "deduplicated", inputId: "d", existingId: "c" });
  });

  promise("a key whose input was given up stands for the next one from then on (A-19)", async (setup) => {
    const { kernel, session } = await withTurns(setup);
    const other = await (await setup.open()).session("s");
    const submit = (inputId: string, by = session) => by.submit(prompt(inputId, { idempotencyKey: "k" }));
    let isBroken = true;
    session.onTurn(async () => {
      if (isBroken) throw new Error("no");
    });
    await submit("a");
    await drained(kernel);
    expect(await phases(kernel)).toEqual(["a abandoned"]);
    isBroken = false;
    const calls = [await submit("b"), await submit("c", other)];
    expect(calls).toEqual([
      { outcome: "accepted", inputId: "b" },
      { outcome: "deduplicated", inputId: "c", existingId: "b" },
    ]);
    await drained(kernel);
    expect(await submit("d")).toEqual({ outcome: "deduplicated", inputId: "d", existingId: "b" });
    expect(await phases(kernel)).toEqual(["a abandoned", "b consumed"]);
    const keys = await readRows(setup, "inputKeys");
    expect(keys.map(({ idempotencyKey, inputId }) => [idempotencyKey, inputId])).toEqual([["k", "b"]]);
  });

  promise(
    "a key whose input was ended by a command may be used again, and that of a cancelled one may not (A-19)",
    async (setup) => {
      const { kernel, session } = await withoutTurns(setup);
      const submit = async (inputId: string, idempotencyKey: string) =>
        (await session.submit(prompt(inputId, { idempotencyKey }))).outcome;
      await submit("a", "reset");
      await submit("b", "cancelled");
      await session.cancel("b");
      await session.reset();
      expect(await submit("c", "reset")).toBe("accepted");
      expect(await submit("d", "cancelled")).toBe("deduplicated");
      expect(await phases(kernel)).toEqual(["a abandoned", "b abandoned", "c queued"]);
    },
  );

  promise(
    "the same submission again is answered with itself, however and whenever its input ended (A-19, R-74)",
    async (setup) => {
      const { session } = await withoutTurns(setup);
      const submit = (inputId: string) => session.submit(prompt(inputId, { idempotencyKey: "k" }));
      await submit("a");
      await session.reset();
      const again = { outcome: "deduplicated", inputId: "a", existingId: "a" };
      expect(await submit("a")).toEqual(again);
      await setup.clock.advance(DAY + 1);
      expect(await submit("a")).toEqual(again);
      expect(await submit("b")).toEqual({ outcome: "accepted", inputId: "b" });
      expect(await submit("a")).toEqual({ outcome: "deduplicated", inputId: "a", existingId: "b" });
    },
  );

  promise("a key of an input that lives is never let go of (R-74)", async (setup) => {
    const { session } = await withoutTurns(setup);
    await session.submit(prompt("a", { idempotencyKey: "k" }));
    await setup.clock.advance(400 * DAY);
    await session.submit(prompt("b", { idempotencyKey: "other" }));
    expect(await session.submit(prompt("c", { idempotencyKey: "k" }))).toEqual({
      outcome: "deduplicated",
      inputId: "c",
      existingId: "a",
    });
  });

  promise("time counts from the end of an input, not from its admission (R-74)", async (setup) => {
    const { session } = await withoutTurns(setup);
    await session.submit(prompt("a", { idempotencyKey: "k" }));
    await setup.clock.advance(2 * DAY);
    await session.cancel("a");
    await setup.clock.advance(DAY);
    expect((await session.submit(prompt("b", { idempotencyKey: "k" }))).outcome).toBe("deduplicated");
  });

  promise("old keys go when an input with a key comes, and only then (R-74)", async (setup) => {
    const { session } = await withoutTurns(setup);
    await session.submit({ inputType: "operation", inputId: "a", idempotencyKey: "old" });
    await setup.clock.advance(DAY + 1);
    const keys = async () => (await readRows(setup, "inputKeys")).map(({ idempotencyKey }) => idempotencyKey);
    await session.submit(prompt("b"));
    expect(await keys()).toEqual(["old"]);
    await session.submit(prompt("c", { idempotencyKey: "new" }));
    expect(await keys()).toEqual(["new"]);
    expect((await readRows(setup, "runtimes")).map(({ endedKeys }) => endedKeys)).toEqual([0]);
  });

  bare.promise("over 4096 keys of ended inputs the oldest go, and no live one (R-74)", async (setup) => {
    const { session } = await withoutTurns(setup);
    await session.submit(prompt("live", { idempotencyKey: "live" }));
    await setup.clock.advance(1_000);
    const key = (n: number) => `k${String(n).padStart(5, "0")}`;
    const [runtime] = await readRows(setup, "runtimes");
    const endedAtMs = setup.clock.now();
    await writeRows(
      setup,
      { table: "runtimes", put: { ...runtime, v: 1, endedKeys: 4_097 } },
      ...count(4_097).map((n) => ({
        table: "inputKeys",
        // The oldest key sorts last by name.
        put: { v: 1, runtimeId: RUNTIME, idempotencyKey: key(n), inputId: `i${n}`, endedAtMs, endedRank: endedAtMs - n },
      })),
    );
    await session.submit({ inputType: "operation", inputId: "x", idempotencyKey: "x" });
    const kept = new Set((await readRows(setup, "inputKeys")).map(({ idempotencyKey }) => idempotencyKey));
    expect([kept.has(key(4_097)), kept.has(key(4_096)), kept.has(key(1)), kept.has("live"), kept.has("x")]).toEqual([
      false,
      true,
      true,
      true,
      true,
    ]);
    expect(kept.size).toBe(4_098);
    expect((await session.submit(prompt("y", { idempotencyKey: key(4_097) }))).outcome).toBe("accepted");
    expect((await session.submit(prompt("z", { idempotencyKey: "live" }))).outcome).toBe("deduplicated");
  });

  promise("a later start knows the keys of all that is stored, ended ones too, but of no ephemeral one (R-75)", async (setup) => {
    const { session } = await withoutTurns(setup);
    await session.submit(prompt("a", { idempotencyKey: "live" }));
    await session.submit({ inputType: "operation", inputId: "b", idempotencyKey: "ended" });
    await session.submit(prompt("c", { idempotencyKey: "short", durability: "ephemeral" }));
    await setup.kernel.runtime.persistInputState(RUNTIME, waiting("d", { idempotencyKey: "handed over" }));
    const again = await (await setup.reopen()).session("s");
    const outcomeOf = async (idempotencyKey: string) =>
      (await again.submit(prompt(`new ${idempotencyKey}`, { idempotencyKey }))).outcome;
    expect(await outcomeOf("live")).toBe("deduplicated");
    expect(await outcomeOf("ended")).toBe("deduplicated");
    expect(await outcomeOf("handed over")).toBe("deduplicated");
    expect(await outcomeOf("short")).toBe("accepted");
  });
}
