import type { SessionRuntime } from "../../../kernel/session/session.js";
import { type OpenFixture, type Runner, refusal, refused, type Setup } from "../../kit/fixture.js";
import { readRows } from "../../kit/rows.fixture.js";
import { DECISION, RUNTIME } from "../runtime.fixture.js";
import { comes, drained, phases, prompt, quiet, SUBMISSIONS, sessionCasesOn, stateOf, withTurns } from "../session.fixture.js";
import { runtimeRow } from "./turn.fixture.js";

/** Batches: the inputs that one run takes together. */
export function batchingCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise } = sessionCasesOn(open, runner);

  /** The ids that each run took, with `ids` waiting before the first run begins. */
  async function runs(setup: Setup, submit: (session: SessionRuntime) => Promise<void>): Promise<string[][]> {
    const { kernel, session } = await withTurns(setup);
    await submit(session);
    const taken: string[][] = [];
    session.onTurn(async ({ inputs }) => void taken.push(inputs.map(({ inputId }) => inputId)));
    await quiet();
    await comes(
      async () => (await kernel.runtime.loadRuntimeState(RUNTIME)) === "idle" && (await runtimeRow(setup)).run === undefined,
      "an idle session",
    );
    return taken;
  }
  const event = (inputId: string) => ({ inputType: "external_event" as const, inputId });
  const progress = (inputId: string) =>
    ({ ...(SUBMISSIONS.peer_response_progress as object), inputType: "peer", inputId }) as const;

  promise("a run takes the queue up to its first prompt, that one included (R-90)", async (setup) => {
    const taken = await runs(setup, async (session) => {
      for (const id of ["e1", "e2"]) await session.submit(event(id));
      for (const id of ["p1", "p2"]) await session.submit(prompt(id));
      await session.submit(event("e3"));
    });
    expect(taken).toEqual([["e1", "e2", "p1"], ["p2"], ["e3"]]);
  });

  promise("what never wakes begins no run, and rides along before what does (R-90)", async (setup) => {
    const { kernel } = await withTurns(setup);
    const session = await kernel.session("s", { silentIntents: ["look"] });
    const taken: string[][] = [];
    session.onTurn(async ({ inputs }) => void taken.push(inputs.map(({ inputId }) => inputId)));
    await session.submit({ ...(SUBMISSIONS.peer_request as object), inputType: "peer", inputId: "silent" });
    await session.submit(progress("g"));
    await quiet();
    await setup.clock.advance(60_000);
    expect([taken, await phases(kernel)]).toEqual([[], ["g queued", "silent queued"]]);
    await session.submit(prompt("a"));
    await drained(kernel);
    expect(taken).toEqual([["g"], ["silent", "a"]]);
  });

  promise("the steer lane's prefix is of one boundary, execution and intent (R-90, R-91)", async (setup) => {
    const taken = await runs(setup, async (session) => {
      await session.submit(prompt("s1", { handlingMode: "steer" }));
      await session.submit({ ...event("s2"), handlingMode: "steer" });
      await session.submit({ inputType: "continuation", inputId: "c" });
      await session.submit({ ...event("s3"), handlingMode: "steer" });
      await session.submit(prompt("q"));
    });
    expect(taken).toEqual([["s1", "s2"], ["c"], ["s3"], ["q"]]);
  });

  promise(
    "what comes while a turn runs waits for the next, with the policy of a busy moment: a run has one boundary (R-63, R-101)",
    async (setup) => {
      const { kernel, session } = await withTurns(setup);
      const taken: string[][] = [];
      session.onTurn(async ({ inputs }) => {
        taken.push(inputs.map(({ inputId }) => inputId));
        if (taken.length > 1) return;
        await session.submit(event("e"));
        await session.submit(prompt("s", { handlingMode: "steer" }));
        await session.submit(prompt("b"));
        expect((await stateOf(kernel, "b")).policy?.decision.wakeMode).toBe("none");
      });
      await session.submit(prompt("a"));
      await drained(kernel);
      expect(taken).toEqual([["a"], ["s"], ["e", "b"]]);
      const receipts = (await readRows(setup, "receipts")).map(({ receipt }) => receipt as { sequence: number; runId: string });
      expect([receipts.map(({ sequence }) => sequence), new Set(receipts.map(({ runId }) => runId)).size]).toEqual([
        [0, 0, 0],
        3,
      ]);
    },
  );

  promise("a retry runs exactly the inputs that failed together, whatever came meanwhile (R-61, R-90)", async (setup) => {
    const { kernel, session } = await withTurns(setup);
    const taken: string[] = [];
    session.onTurn(async ({ inputs, attempt }) => {
      taken.push(`${attempt}: ${inputs.map(({ inputId }) => inputId).join(" ")}`);
      if (taken.length > 1) return;
      await session.submit(event("e2"));
      throw new Error("no");
    });
    await session.submit(event("e1"));
    await drained(kernel);
    expect(taken).toEqual(["1: e1", "2: e1", "1: e2"]);
  });

  promise("a session's own policy decides, is asked for both moments, and is no way past the checks", async (setup) => {
    const { kernel } = await withTurns(setup);
    const asked: unknown[] = [];
    const session = await kernel.session("s", {
      policy(input) {
        asked.push(input);
        return input.kind === "external_event" ? { ...DECISION, routingDisposition: "steer" } : undefined;
      },
    });
    await session.submit(prompt("a"));
    await session.submit(event("e"));
    const kinds = (asked as { kind: string; idle: boolean }[]).map(({ kind, idle }) => `${kind} ${idle}`);
    expect(kinds).toEqual(["prompt true", "prompt false", "external_event true", "external_event false"]);
    expect((await stateOf(kernel, "e")).policy?.decision.routingDisposition).toBe("steer");
    for (const policy of [() => 5, () => ({}), () => Promise.resolve(DECISION)]) {
      const other = await kernel.session("s", { policy: policy as never });
      await refused(other.submit(prompt("x")), "invalid", "policy");
    }
    const thrower = await kernel.session("s", {
      policy() {
        throw new Error("broken");
      },
    });
    await refusal(thrower.submit(prompt("x")));
    expect(await phases(kernel)).toEqual(["a queued", "e queued"]);
  });
}
