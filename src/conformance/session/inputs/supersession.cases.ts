import type { PolicyDecision } from "../../../domain/session/input.js";
import type { InputSubmission } from "../../../stores/session/inputs/submission.js";
import type { OpenFixture, Runner } from "../../kit/fixture.js";
import { DECISION, RUNTIME } from "../runtime.fixture.js";
import {
  events,
  gate,
  idsOf,
  outcomeOf,
  phases,
  prompt,
  SUBMISSIONS,
  sessionCasesOn,
  stateOf,
  withoutTurns,
} from "../session.fixture.js";

/** Inputs that replace earlier ones. */
export function supersessionCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise } = sessionCasesOn(open, runner);

  const progress = (inputId: string, more: object = {}): InputSubmission => ({
    ...(SUBMISSIONS.peer_response_progress as object as { inputType: "peer" }),
    inputId,
    supersessionKey: "k",
    ...more,
  });

  promise(
    "the newer progress of one key takes the older one's place, and its payload alone counts (R-77, R-78)",
    async (setup) => {
      const { kernel, session, told } = await withoutTurns(setup);
      await session.submit(progress("a", { body: "10 %" }));
      await session.submit(progress("b", { body: "20 %" }));
      await session.submit(progress("c", { body: "30 %" }));
      expect(await phases(kernel)).toEqual(["a coalesced", "b coalesced", "c queued"]);
      expect(await outcomeOf(kernel, "a")).toEqual({ outcomeType: "coalesced", aggregateId: "b" });
      expect(await outcomeOf(kernel, "b")).toEqual({ outcomeType: "coalesced", aggregateId: "c" });
      expect((await stateOf(kernel, "c")).persistedInput?.body).toBe("30 %");
      expect(idsOf(told, "input.coalesced")).toEqual(["a", "b"]);
      const history = (await stateOf(kernel, "a")).history.map(({ from, to }) => [from, to]);
      expect(history).toEqual([
        ["accepted", "queued"],
        ["queued", "coalesced"],
      ]);
    },
  );

  promise("a crash after it brings the replaced one back in no tab (R-79)", async (setup) => {
    const { session } = await withoutTurns(setup);
    await session.submit(progress("a"));
    await session.submit(progress("b"));
    const again = await setup.reopen();
    const opening = await again.session("s");
    expect(await phases(again)).toEqual(["a coalesced", "b queued"]);
    expect(opening.recovery?.recovered).toBe(1);
  });

  promise("a supersession key on a prompt does nothing by itself (R-77)", async (setup) => {
    const { kernel, session } = await withoutTurns(setup);
    for (const id of ["a", "b"]) await session.submit(prompt(id, { supersessionKey: "k" }));
    for (const id of ["c", "d"]) await session.submit({ inputType: "external_event", inputId: id, supersessionKey: "k" });
    expect(await phases(kernel)).toEqual(["a queued", "b queued", "c queued", "d queued"]);
  });

  promise("a policy that supersedes replaces a waiting input of the same kind and key, and tells (R-77, R-80)", async (setup) => {
    const { kernel } = setup;
    const told = events(kernel);
    let queueMode: PolicyDecision["queueMode"] = "supersede";
    const session = await kernel.session("s", { policy: () => ({ ...DECISION, queueMode }) });
    const key = { supersessionKey: "k" };
    queueMode = "fifo";
    await session.submit(prompt("a", key));
    await session.submit(prompt("other key", { supersessionKey: "l" }));
    await session.submit(prompt("no key"));
    await session.submit({ inputType: "external_event", inputId: "other kind", ...key });
    queueMode = "supersede";
    await session.submit(prompt("keyless"));
    expect((await phases(kernel)).filter((line) => !line.endsWith("queued"))).toEqual([]);
    await session.submit(prompt("b", key));
    expect((await phases(kernel)).filter((line) => !line.endsWith("queued"))).toEqual(["a superseded"]);
    expect(await outcomeOf(kernel, "a")).toEqual({ outcomeType: "superseded", supersededBy: "b" });
    expect(idsOf(told, "input.superseded")).toEqual(["a"]);
    for (const mode of ["none", "priority", "fifo"] as const) {
      queueMode = mode;
      await session.submit(prompt(mode, key));
    }
    expect(await phases(kernel)).toEqual([
      "a superseded",
      "b queued",
      ...["fifo queued", "keyless queued", "no key queued", "none queued"],
      ...["other key queued", "other kind queued", "priority queued"],
    ]);
  });

  promise("the first that waits is replaced, the queue before the steer lane, and never one that runs (R-76)", async (setup) => {
    const kernel = await setup.open({ loop: "inline" });
    let decision = DECISION;
    const session = await kernel.session("s", { policy: () => decision });
    const key = { supersessionKey: "k" };
    const [begun, leave] = [gate(), gate()];
    const off = session.onTurn(async () => {
      begun.open();
      await leave.promise;
    });
    await session.submit(prompt("running", key));
    await begun.promise;
    decision = { ...DECISION, routingDisposition: "steer" };
    await session.submit(prompt("steer", key));
    decision = DECISION;
    await session.submit(prompt("q1", key));
    await session.submit(prompt("q2", key));
    decision = { ...DECISION, queueMode: "supersede" };
    for (const id of ["n1", "n2", "n3"]) await session.submit(prompt(id, key));
    const replaced = (await kernel.runtime.loadInputStates(RUNTIME)).flatMap(({ inputId, terminalOutcome }) =>
      terminalOutcome?.outcomeType === "superseded" ? [[inputId, terminalOutcome.supersededBy]] : [],
    );
    expect(replaced).toEqual([
      ["n1", "n3"],
      ["q1", "n1"],
      ["q2", "n2"],
    ]);
    expect((await stateOf(kernel, "running")).currentState).toBe("staged");
    leave.open();
    off();
  });

  promise("what was replaced keeps its key: the same again is deduplicated (R-74, R-77)", async (setup) => {
    const { session } = await withoutTurns(setup);
    await session.submit(progress("a", { idempotencyKey: "one" }));
    await session.submit(progress("b", { idempotencyKey: "two" }));
    expect(await session.submit(progress("c", { idempotencyKey: "one" }))).toEqual({
      outcome: "deduplicated",
      inputId: "c",
      existingId: "a",
    });
  });
}
