import { count, type OpenFixture, type Runner, refusal, refused } from "../../kit/fixture.js";
import { RUNTIME } from "../runtime.fixture.js";
import { drained, phases, prompt, quiet, sessionCasesOn, withoutTurns, withTurns } from "../session.fixture.js";
import { stand } from "../turns/turn.fixture.js";

/** What an app reads of a session: its inputs, how one ended, and who runs them. */
export function inputReadCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise, changesNoRow } = sessionCasesOn(open, runner);

  promise("inputs() lists them by id: all, the live ones, the ended ones, page by page (A-15)", async (setup) => {
    const { kernel, session } = await withoutTurns(setup);
    const other = await (await setup.open()).session("s");
    expect(await session.inputs()).toEqual([]);
    // Ranks run against the order of ids.
    for (const id of ["d", "c", "b", "a"]) await session.submit(prompt(id));
    await session.submit({ inputType: "operation", inputId: "bb" });
    await session.cancel("c");
    const ids = async (...filter: Parameters<typeof other.inputs>) =>
      (await other.inputs(...filter)).map(({ inputId }) => inputId).join(" ");
    expect(await ids()).toBe("a b bb c d");
    expect(await ids({})).toBe("a b bb c d");
    expect(await ids({ live: true })).toBe("a b d");
    expect(await ids({ live: false })).toBe("bb c");
    expect(await ids({ after: "b", limit: 2 })).toBe("bb c");
    expect(await ids({ live: true, after: "a", limit: 1 })).toBe("b");
    expect(await ids({ live: false, after: "bb" })).toBe("c");
    expect(await ids({ after: "d" })).toBe("");
    expect(await session.inputs()).toEqual(await kernel.runtime.loadInputStates(RUNTIME));
    await changesNoRow(setup, async () => {
      for (const filter of [null, { live: 1 }, { after: "" }, { limit: 0 }, { limit: 1.5 }])
        await refused(session.inputs(filter as never), "invalid");
      await refused(session.inputs(7 as never), "invalid", "filter must be");
    });
  });

  promise("inputs() reads past any number of ended ones (A-15)", async (setup) => {
    const { session } = await withoutTurns(setup);
    const padded = (n: number) => String(n).padStart(4, "0");
    await Promise.all(count(600).map((n) => session.submit(prompt(padded(n)))));
    await session.cancel(padded(599));
    await session.cancel(padded(3));
    expect((await session.inputs({ live: false, limit: 2 })).map(({ inputId }) => inputId)).toEqual([padded(3), padded(599)]);
    expect((await session.inputs()).length).toBe(600);
  });

  promise("owner() is the host that runs a turn, and none else (A-15)", async (setup) => {
    const { kernel, session } = await withTurns(setup);
    const other = await (await setup.open()).session("s");
    expect((await other.owner()) ?? "none").toBe("none");
    const { begun, leave } = stand(session);
    await session.submit(prompt("a"));
    await begun;
    const owner = await other.owner();
    expect([owner?.hostId, owner?.fencingToken]).toEqual([kernel.hostId, 1]);
    expect((owner?.expiresAtMs ?? 0) > setup.clock.now()).toBe(true);
    leave();
    await drained(kernel);
    await quiet();
    expect((await other.owner()) ?? "none").toBe("none");
  });

  promise("outcome() tells how an input ended, before and after its end, in any tab (A-16)", async (setup) => {
    const { kernel, session } = await withTurns(setup);
    const other = await (await setup.open()).session("s");
    const runs: string[] = [];
    const ids = ["good", "bad", "taken", "e1", "e2"];
    await session.submit(prompt("good"));
    await session.submit(prompt("bad"));
    await session.submit(prompt("taken"));
    const progress = { inputType: "peer", convention: { conventionType: "response_progress" }, supersessionKey: "k" } as const;
    await session.submit({ ...progress, inputId: "e1" });
    await session.submit({ ...progress, inputId: "e2" });
    const early = Promise.all(ids.map((id) => other.outcome(id)));
    await session.cancel("taken");
    session.onTurn(async (turn) => {
      if (turn.inputs.some(({ inputId }) => inputId === "bad")) throw new Error(`no ${turn.attempt}`);
      runs.push(turn.runId);
    });
    await drained(kernel);
    // No notice reaches the other kernel: it polls.
    await setup.clock.advance(10_000);
    const found = await early;
    expect(await Promise.all(ids.map((id) => session.outcome(id)))).toEqual(found);
    const [good, bad, taken, coalesced, last] = found;
    expect(runs.includes(good?.runId ?? "")).toBe(true);
    expect(good).toEqual({ outcome: "completed", runId: good?.runId });
    expect(bad).toEqual({ outcome: "failed", runId: bad?.runId, error: "no 3" });
    expect(taken).toEqual({ outcome: "cancelled" });
    expect(coalesced).toEqual({ outcome: "coalesced", by: "e2" });
    expect(last?.outcome).toBe("completed");
  });

  promise("outcome() names why a command on the session ended the input (A-16)", async (setup) => {
    const { session } = await withoutTurns(setup);
    await session.submit(prompt("a"));
    const ended = session.outcome("a");
    await session.reset();
    expect(await ended).toEqual({ outcome: "abandoned", reason: "reset" });
    await session.submit(prompt("b"));
    await session.shutdown();
    expect(await session.outcome("b")).toEqual({ outcome: "abandoned", reason: "stopped" });
  });

  promise(
    "outcome() of an input that is not there is not-found; of an ephemeral one only after its end (A-16)",
    async (setup) => {
      const { kernel, session } = await withTurns(setup);
      await refused(session.outcome("a"), "not-found");
      await session.submit(prompt("e", { durability: "ephemeral" }));
      await session.submit(prompt("f", { durability: "ephemeral" }));
      const [ended, dropped] = [session.outcome("e"), refusal(session.outcome("f"))];
      await quiet();
      await session.cancel("f");
      expect(((await dropped) as { code?: unknown }).code).toBe("not-found");
      session.onTurn(async () => {});
      expect((await ended).outcome).toBe("completed");
      expect(await phases(kernel)).toEqual([]);
      await refused(session.outcome("e"), "not-found");
    },
  );

  promise("outcome() takes what submit() resolved with: accepted, deduplicated, and no rejected one (A-16)", async (setup) => {
    const { session } = await withTurns(setup);
    const keyed = { inputType: "prompt", text: "a", idempotencyKey: "k" } as const;
    const [accepted, again] = [await session.submit(keyed), await session.submit(keyed)];
    expect([accepted.outcome, again.outcome]).toEqual(["accepted", "deduplicated"]);
    const waits = [session.outcome(accepted), session.outcome(again), session.outcome(accepted.inputId)];
    session.onTurn(async () => {});
    const [first, second, third] = await Promise.all(waits);
    expect([first?.outcome, second, third]).toEqual(["completed", first, first]);
    expect(await session.outcome(await session.submit(keyed))).toEqual(first);
    const rejected = await session.submit({ inputType: "peer", convention: { conventionType: "response_terminal" } });
    await refused(session.outcome(rejected), "invalid", "peer_response_terminal_invalid");
    const broken: unknown[] = [null, undefined, 1, {}, [], { outcome: "lost", inputId: "a" }, { outcome: "accepted" }];
    for (const value of [...broken, { outcome: "deduplicated", inputId: accepted.inputId }])
      await refused(session.outcome(value as never), "invalid", "input");
  });

  promise("a prompt is never rejected, whatever its type admits (A-16)", async (setup) => {
    const { session } = await withoutTurns(setup);
    const ids = new Set<string>();
    for (const durability of [undefined, "durable", "ephemeral"] as const)
      for (const handlingMode of [undefined, "queue", "steer"] as const)
        for (const source of [undefined, "operator", "peer", "flow", "system", "external"] as const) {
          const { inputId } = await session.submit({
            inputType: "prompt",
            text: "a",
            ...(durability && { durability }),
            ...(handlingMode && { handlingMode }),
            ...(source && { source: { type: source } }),
          });
          ids.add(inputId);
        }
    expect(ids.size).toBe(54);
    const derived = await session.submit({ inputType: "prompt", text: "a", durability: "derived" } as never);
    expect(derived.outcome as string).toBe("rejected");
  });

  promise("outcome() ends with its signal, its object and its session (A-16)", async (setup) => {
    const { kernel, session } = await withoutTurns(setup);
    await session.submit(prompt("a"));
    const abort = new AbortController();
    const again = await kernel.session("s");
    const waits = [session.outcome("a", { signal: abort.signal }), again.outcome("a"), session.outcome("a")].map(
      async (wait) => ((await refusal(wait)) as { code?: unknown }).code,
    );
    await quiet();
    abort.abort();
    await again.close();
    await kernel.sessions.delete("s");
    expect(await Promise.all(waits)).toEqual(["aborted", "closed", "not-found"]);
    await refused(again.outcome("a"), "closed");
    await refused(session.outcome(""), "invalid");
    await refused(session.outcome("a", { signal: 1 as never }), "invalid");
  });
}
