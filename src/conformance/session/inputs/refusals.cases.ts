import type { InputSubmission } from "../../../stores/session/inputs/submission.js";
import { count, type OpenFixture, outcomes, type Runner, refused } from "../../kit/fixture.js";
import { RUNTIME } from "../runtime.fixture.js";
import { phases, prompt, quiet, runsOf, SUBMISSIONS, sessionCasesOn, withoutTurns, withTurns } from "../session.fixture.js";

/** Refused and rejected inputs, and the first error of several. */
export function inputRefusalCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise, changesNoRow } = sessionCasesOn(open, runner);

  promise(
    "an id that is known is refused and the input that has it stays as it is, live or ended (R-62, R-67)",
    async (setup) => {
      const { kernel, session } = await withoutTurns(setup);
      await session.submit(prompt("a", { idempotencyKey: "k" }));
      await session.submit({ inputType: "operation", inputId: "o" });
      await changesNoRow(setup, async () => {
        for (const id of ["a", "o"]) {
          await refused(session.submit(prompt(id, { text: "another" })), "conflict", `"${id}"`);
          await refused(session.submit(prompt(id, { idempotencyKey: "new" })), "conflict", `"${id}"`);
        }
      });
      const again = await (await setup.reopen()).session("s");
      await refused(again.submit(prompt("a")), "conflict");
      expect(await again.submit(prompt("b", { idempotencyKey: "new" }))).toEqual({ outcome: "accepted", inputId: "b" });
      expect(kernel).toBe(setup.kernel);
    },
  );

  promise("of a hundred submissions of one id at once, one is stored (R-62)", async (setup) => {
    const { kernel, session } = await withoutTurns(setup);
    const other = await (await setup.open()).session("s");
    const calls = count(100).map((n) => (n % 2 ? session : other).submit(prompt("a", { n })));
    const { values, codes } = await outcomes(calls);
    expect(values.map(({ outcome }) => outcome)).toEqual(["accepted"]);
    expect(new Set(codes)).toEqual(new Set(["conflict"]));
    expect(await phases(kernel)).toEqual(["a queued"]);
  });

  promise("what is wrong first is what is told: state, durability, lane, terminal fact, key, id (section D)", async (setup) => {
    const { session } = await withoutTurns(setup);
    await session.submit(prompt("a", { idempotencyKey: "k" }));
    const bad = {
      inputType: "peer",
      inputId: "a",
      idempotencyKey: "k",
      convention: { conventionType: "response_terminal", requestId: "" },
      source: { type: "peer" },
    } as const;
    const derived = { ...bad, durability: "derived" } as const;
    await changesNoRow(setup, async () => {
      expect(await session.submit(derived)).toEqual({ outcome: "rejected", reason: "durability_violation" });
      expect(await session.submit(bad)).toEqual({ outcome: "rejected", reason: "peer_response_terminal_invalid" });
      expect(await session.submit(prompt("a", { idempotencyKey: "k" }))).toEqual({
        outcome: "deduplicated",
        inputId: "a",
        existingId: "a",
      });
    });
    await session.retire();
    await refused(session.submit(derived), "not-ready", "retired");
    await refused(session.submit(prompt("a", { idempotencyKey: "k" })), "not-ready", "retired");
  });

  promise("what is refused, rejected or deduplicated leaves nothing and wakes nobody (R-70)", async (setup) => {
    const { kernel, session, told } = await withTurns(setup);
    await session.submit({ inputType: "operation", inputId: "o", idempotencyKey: "k" });
    const runs = runsOf(session);
    await quiet();
    told.splice(0);
    await changesNoRow(setup, async () => {
      await session.submit(prompt("b", { idempotencyKey: "k" }));
      await session.submit(prompt("c", { durability: "derived" }));
      const image = { type: "image", data: new Uint8Array([1]) };
      await session.submit(prompt("d", { idempotencyKey: "k", blocks: [image] }));
      await session.submit(prompt("e", { durability: "derived", blocks: [image] }));
      await refused(session.submit(prompt("o")), "conflict");
      await refused(session.submit({ inputType: "prompt" } as never), "invalid", "text");
      await quiet();
    });
    expect(runs).toEqual([]);
    expect(told.map(({ code, inputId }) => [code, inputId])).toEqual([
      ["input.deduplicated", "b"],
      ["input.deduplicated", "d"],
    ]);
    expect(await kernel.runtime.loadInputState(RUNTIME, "b")).toBe(undefined);
  });

  promise("only system and flow derive inputs, and only of kinds that can be derived again (R-71)", async (setup) => {
    const { session } = await withoutTurns(setup);
    const plain = { inputType: "peer", body: "without a convention" } as const;
    const derivable = new Set<object>([
      plain,
      ...(["peer_response_progress", "external_event", "continuation", "operation"] as const).map((kind) => SUBMISSIONS[kind]),
    ]);
    const message = { inputType: "peer", convention: { conventionType: "message" } } as const;
    const { peer_message: _, ...others } = SUBMISSIONS;
    for (const submission of [plain, message, ...Object.values(others)]) {
      for (const type of ["operator", "peer", "flow", "system", "external"] as const) {
        const outcome = await session.submit({ ...submission, durability: "derived", source: { type } } as InputSubmission);
        const isAllowed = derivable.has(submission) && (type === "system" || type === "flow");
        const found = outcome.outcome === "rejected" ? outcome.reason : outcome.outcome;
        expect([submission, type, found]).toEqual([submission, type, isAllowed ? "accepted" : "durability_violation"]);
      }
    }
  });

  promise("a terminal response names its request; a progress response may leave it out (R-72)", async (setup) => {
    const { session } = await withoutTurns(setup);
    const response = (conventionType: string, more: object) =>
      session.submit({ inputType: "peer", convention: { conventionType, ...more } });
    const rejected = { outcome: "rejected", reason: "peer_response_terminal_invalid" };
    for (const more of [{}, { requestId: "" }, { requestId: "  " }, { requestId: 7 }]) {
      expect(await response("response_terminal", more)).toEqual(rejected);
    }
    expect((await response("response_terminal", { requestId: "r" })).outcome).toBe("accepted");
    expect((await response("response_progress", {})).outcome).toBe("accepted");
  });
}
