import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { buildTown, type Town } from "../../loop/town.js";
import { until } from "../rounds.js";
import { openTab, prompt, rowsOf, saying } from "./tabs.js";

let town: Town;
let rows: ReturnType<typeof rowsOf>;

beforeEach(() => {
  town = buildTown();
  rows = rowsOf(town);
});

afterEach(() => town.close());

describe("without any clock, over the channel,", () => {
  it("an input that another tab submits begins a turn (R-86)", async () => {
    const a = await openTab(town, "a", async (turn) => void turn.append(saying("heard")));
    const b = await openTab(town, "b");
    await b.session.submit(prompt("p"));
    await until(() => a.told.some(({ code }) => code === "run.completed"), "its turn");
    expect(await rows.said()).toEqual(["p", "heard"]);
    expect(await b.session.messages()).toEqual(await a.session.messages());
    // The tab that made the change emits the event.
    expect(b.told.map(({ code }) => code).filter((code) => code.startsWith("run."))).toEqual([]);
  });

  it("an ephemeral input of another tab is run, and gone then (R-84, R-121)", async () => {
    const b = await openTab(town, "b");
    await b.session.submit(prompt("p", { durability: "ephemeral" }));
    const a = await openTab(town, "a", async (turn) => void turn.append(saying("heard")));
    await until(() => a.told.some(({ code }) => code === "run.completed"), "its turn");
    expect(await rows.said()).toEqual(["p", "heard"]);
    expect(await rows.inputs()).toEqual([]);
  });

  it("an ephemeral input outlives a crash of the tab that runs it, while its own tab lives (R-112, R-121)", async () => {
    const b = await openTab(town, "b");
    const a = await openTab(town, "a", async () => await new Promise(() => {}));
    await b.session.submit(prompt("p", { durability: "ephemeral" }));
    await until(() => a.told.some(({ code }) => code === "run.started"), "its turn");
    a.die();
    const c = await openTab(town, "c", async (turn) => void turn.append(saying(`attempt ${turn.attempt}`)));
    await until(() => c.told.some(({ code }) => code === "run.completed"), "the next turn");
    expect(await rows.said()).toEqual(["p", "attempt 2"]);
    expect(await rows.inputs()).toEqual([]);
  });

  it("an ephemeral input goes with its tab, also from under its executor's queue (R-112)", async () => {
    const b = await openTab(town, "b");
    await b.session.submit(prompt("p", { durability: "ephemeral" }));
    await b.session.submit(prompt("q"));
    b.die();
    const ran: string[] = [];
    const a = await openTab(town, "a");
    await until(() => a.session.recovery !== undefined, "an opening");
    a.session.onTurn(async ({ inputs }) => void ran.push(...inputs.map(({ inputId }) => inputId)));
    await until(() => a.told.some(({ code }) => code === "run.completed"), "a turn");
    expect(ran).toEqual(["q"]);
  });

  it("a tab's listeners and state follow what the others do (R-117, R-138)", async () => {
    const a = await openTab(town, "a");
    const b = await openTab(town, "b");
    const heard: string[] = [];
    a.session.subscribe((change) => heard.push(change.type === "input" ? change.inputId : change.type));
    await b.session.submit(prompt("p"));
    await until(() => heard.includes("p"), "the input");
    b.session.onTurn(async (turn) => void turn.append(saying("x")));
    await until(() => heard.includes("messages"), "the messages");
    expect(await a.session.messages()).toHaveLength(2);
    await until(() => a.session.state === "idle" && b.session.state === "attached", "both states");
    for (const [name, state] of [
      ["retire", "retired"],
      ["recycle", "attached"],
      ["shutdown", "stopped"],
      ["destroy", "destroyed"],
    ] as const) {
      await b.session[name]();
      expect(b.session.state).toBe(state);
      await until(() => a.session.state === (state === "attached" ? "idle" : state), `${state} in the other tab`);
    }
    expect(a.told.flatMap(({ code, state }) => (code === "runtime.state_changed" ? [state] : []))).toEqual(
      expect.arrayContaining(["retired", "idle", "stopped", "destroyed"]),
    );
  });

  it("a retirement by a tab without a handler leaves the work to the one that has one (R-130)", async () => {
    const ran: string[] = [];
    const a = await openTab(town, "a", async ({ inputs }) => void ran.push(...inputs.map(({ inputId }) => inputId)));
    const b = await openTab(town, "b");
    await until(() => a.session.state === "attached", "the handler");
    await town.clock.advance(0);
    await b.session.submit({ inputType: "peer", inputId: "g", convention: { conventionType: "response_progress" } });
    expect(await b.session.retire()).toEqual({ abandoned: 0, pendingDrain: 1 });
    await until(() => ran.length === 1, "the drain");
    expect(ran).toEqual(["g"]);
    await until(() => b.session.state === "retired", "the state");
  });

  it("a retirement after the only tab with a handler died abandons what waits (R-131)", async () => {
    const a = await openTab(town, "a", async () => await new Promise(() => {}));
    const b = await openTab(town, "b");
    await town.clock.advance(0);
    await b.session.submit(prompt("p"));
    await until(() => a.told.some(({ code }) => code === "run.started"), "its turn");
    a.die();
    await town.clock.advance(120_000);
    expect(await b.session.retire()).toEqual({ abandoned: 1, pendingDrain: 0 });
    expect((await rows.record("p")).terminalOutcome).toEqual({ outcomeType: "abandoned", reason: "retired" });
  });
});
