import type { OpenFixture, Runner } from "../../kit/fixture.js";
import { readRows } from "../../kit/rows.fixture.js";
import {
  comes,
  phases,
  prompt,
  runsOf,
  said,
  sessionCasesOn,
  stateOf,
  waiting,
  withoutTurns,
  withTurns,
} from "../session.fixture.js";
import { applied, handOver } from "./recovery.fixture.js";

/** Ephemeral inputs live as long as the tab that submitted them. */
export function ephemeralCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise } = sessionCasesOn(open, runner);

  promise("an ephemeral input is stored for the other tabs, and gone with its end (R-84)", async (setup) => {
    const { kernel, session } = await withTurns(setup);
    const other = await setup.open();
    await session.submit(prompt("e", { durability: "ephemeral", idempotencyKey: "k" }));
    expect((await stateOf(other, "e")).durability).toBe("ephemeral");
    expect((await session.submit(prompt("f", { idempotencyKey: "k" }))).outcome).toBe("deduplicated");
    runsOf(session);
    await comes(async () => (await phases(kernel)).length === 0, "its end");
    expect(await said(session)).toEqual(["e"]);
    expect((await session.submit(prompt("f", { idempotencyKey: "k" }))).outcome).toBe("accepted");
  });

  promise("a session that is opened while its last object is left is attended all the same (R-84, R-112)", async (setup) => {
    const { kernel, session } = await withoutTurns(setup);
    const [again] = await Promise.all([kernel.session("s"), session[Symbol.asyncDispose]()]);
    expect((await readRows(setup, "attachments")).length).toBe(1);
    await again.submit(prompt("e", { durability: "ephemeral" }));
    await (await setup.open()).session("s");
    expect(await phases(kernel)).toEqual(["e queued"]);
  });

  promise("a tab's ephemeral inputs live while it has the session open, and go with it (R-112)", async (setup) => {
    const { kernel, session } = await withoutTurns(setup);
    await session.submit(prompt("e", { durability: "ephemeral" }));
    await session.submit(prompt("d"));
    const other = await setup.open();
    await other.session("s");
    expect(await phases(other)).toEqual(["d queued", "e queued"]);
    await kernel.close();
    await (await setup.open()).session("s");
    expect(await phases(other)).toEqual(["d queued"]);
  });

  promise("ephemeral rows of nobody are dropped and counted for nothing (R-112, R-120)", async (setup) => {
    const { kernel } = setup;
    await handOver(
      setup,
      waiting("e", { durability: "ephemeral" }),
      applied("f", { durability: "ephemeral" }),
      waiting("g", { durability: "ephemeral", currentState: "staged", idempotencyKey: "k" }),
      waiting("d"),
    );
    const session = await kernel.session("s");
    expect(session.recovery).toEqual({ recovered: 1, requeued: 0, consumed: 0, abandoned: 0, dropped: 3 });
    expect(await phases(kernel)).toEqual(["d queued"]);
    expect(await readRows(setup, "inputKeys")).toEqual([]);
  });
}
