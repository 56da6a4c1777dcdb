// Sessions in real tabs: one tab runs the turns, all see them, and another goes on when that tab ends. Tests with slow timings
// rule out that an expired lease explains the result.
import { expect, it } from "vitest";
import { answered, atGate, attend, expectSound, messages, readStored, SESSION, say, turns } from "./conversation.js";
import { eventually, facts, type Missing, newName, openTabs, QUICK, SLOW, type Tab, useTabs } from "./harness.js";

useTabs();

it("is run by one of three tabs; the others see messages and states live, and submit", async () => {
  const name = newName();
  const [a, b, c] = await openTabs(["a", "b", "c"], { name, timings: SLOW });
  await attend(a, { parts: 2 });
  await attend(b);
  await attend(c);
  await say(b, "one");
  await answered(c, "one");
  await say(c, "two");
  await answered(b, "two");
  const whole = ["say one", "part 0", "part 1", "say two", "part 0", "part 1"];
  for (const tab of [a, b, c]) {
    expect(await messages(tab)).toEqual(whole);
    await eventually(() => tab.call(({ transcripts }) => transcripts.at(-1))).toEqual(whole);
    await eventually(() => tab.call(({ states }) => [states.includes("running"), states.at(-1)])).toEqual([
      true,
      tab === a ? "attached" : "idle",
    ]);
  }
  // The parts were seen as they were stored, not all at the end.
  const seen = await c.call(({ transcripts }) => transcripts.map(({ length }) => length));
  expect(seen).toEqual([...seen].sort((x, y) => x - y));
  expect(seen.length).toBeGreaterThan(2);
  expect(turns()).toEqual(["a1 one", "a1 two"]);
  await expectSound(name, ["one", "two"], 2);
});

it("is run by one tab at a time where every tab would run it", async () => {
  const name = newName();
  const tabs = await openTabs(["a", "b", "c"], { name, timings: SLOW });
  for (const tab of tabs) await attend(tab, { parts: 2 });
  const ids = ["1", "2", "3", "4", "5", "6"];
  await Promise.all(ids.map((id, at) => say(tabs[at % 3] as Tab, id)));
  for (const id of ids) await answered(tabs[0], id);
  expect(facts("turn").map(({ attempt, inputs }) => `${inputs} ${attempt}`)).toHaveLength(6);
  expect(new Set(facts("turn").map(({ attempt, inputs }) => `${inputs} ${attempt}`))).toEqual(
    new Set(ids.map((id) => `${id} 1`)),
  );
  await expectSound(name, ids, 2);
});

it("goes on at once in another attached tab when the renderer of the one that runs it crashes", async () => {
  const name = newName();
  const [a, b] = await openTabs(["a", "b"], { name, timings: SLOW });
  await attend(a, { parts: 3, gateAt: 1 });
  await attend(b);
  await say(b, "one");
  await atGate(a);
  await attend(b, { parts: 3 });
  await say(a, "two");
  await a.crash();
  await answered(b, "two");
  expect(turns()).toEqual(["a1 one", "b2 one", "b1 two"]);
  const { inputs, messages: rows } = await expectSound(name, ["one", "two"], 3);
  expect(inputs.map(({ record }) => [record.attemptCount, record.recoveryCount])).toEqual([
    [2, 1],
    [1, 0],
  ]);
  expect(rows.map(({ message }) => (message as { by?: string }).by ?? "-").join("")).toBe("-abb-bbb");
  expect(await b.heard("fault")).toEqual([]);
});

it.each(["closed", "left"])(
  "goes on at once in another attached tab when the one that runs it is %s: no attempt is lost",
  async (how) => {
    const name = newName();
    const [a, b] = await openTabs(["a", "b"], { name, timings: SLOW });
    await attend(a, { parts: 2, gateAt: 1 });
    await attend(b);
    await say(b, "one");
    await atGate(a);
    await attend(b, { parts: 2 });
    if (how === "closed") await a.close();
    else await a.load("/elsewhere");
    await answered(b, "one");
    const { inputs } = await expectSound(name, ["one"], 2);
    expect(inputs[0]?.record).toMatchObject({ attemptCount: 2, recoveryCount: 0 });
  },
);

it("survives twenty reloads in the middle of one turn", async () => {
  const name = newName();
  const [a] = await openTabs(["a"], { name, timings: SLOW });
  await attend(a, { parts: 2, gateAt: 1 });
  await say(a, "one");
  for (let reloads = 1; reloads <= 20; reloads++) {
    await atGate(a, reloads);
    await a.reload();
    await a.open({ name, timings: SLOW });
    await attend(a, { parts: 2, gateAt: 1 });
  }
  await atGate(a, 21);
  await a.openGate(SESSION);
  await answered(a, "one");
  const { inputs } = await expectSound(name, ["one"], 2);
  expect(inputs[0]?.record).toMatchObject({ attemptCount: 21, recoveryCount: 0 });
});

it("gives an input up that crashed five tabs in a row without a checkpoint", async () => {
  const name = newName();
  for (const crash of [1, 2, 3, 4, 5]) {
    const [tab] = await openTabs([`t${crash}`], { name, timings: SLOW });
    await attend(tab, { parts: 1, gateAt: 0 });
    if (crash === 1) await say(tab, "poison");
    await atGate(tab);
    await tab.crash();
    await tab.close();
  }
  const [last] = await openTabs(["last"], { name, timings: SLOW });
  await attend(last, { parts: 1 });
  const end = () =>
    last.call(async ({ kernel }) => (await kernel.runtime.loadInputState("rt:session:s", "poison"))?.terminalOutcome);
  await eventually(end).toEqual({ outcomeType: "abandoned", reason: { max_attempts_exhausted: { attempts: 5 } } });
  await say(last, "next");
  await answered(last, "next");
  expect(turns()).toEqual(["t11 poison", "t22 poison", "t33 poison", "t44 poison", "t55 poison", "last1 next"]);
});

it("keeps every input that was acknowledged before a crash in the middle of accepting, once", async () => {
  const name = newName();
  const [a] = await openTabs(["a"], { name, timings: SLOW });
  await attend(a);
  void a.call((fixture) => fixture.flood()).catch(() => undefined);
  await eventually(() => facts("acknowledged").length).toBeGreaterThan(20);
  await a.crash();
  const [b] = await openTabs(["b"], { name, timings: SLOW });
  await attend(b, { parts: 1 });
  await say(b, "last");
  await answered(b, "last");
  const told = facts("acknowledged").map(({ inputId }) => inputId);
  const { inputs, receipts, messages: rows } = await readStored(name);
  const ids = inputs.map(({ inputId }) => inputId);
  expect(told.filter((inputId) => !ids.includes(inputId))).toEqual([]);
  expect(inputs.every(({ record }) => record.currentState === "consumed" && record.attemptCount === 1)).toBe(true);
  expect(receipts.flatMap(({ receipt }) => receipt.contributingInputIds).sort()).toEqual(ids);
  expect(rows.flatMap(({ message }) => message.inputId ?? []).sort()).toEqual(ids);
});

it("goes on elsewhere when the tab that runs it is frozen, and what that one does after its thaw changes nothing", async () => {
  const name = newName();
  const [a, b] = await openTabs(["a", "b"], { name, timings: QUICK });
  await attend(a, { parts: 3, gateAt: 1 });
  await attend(b);
  await say(b, "one");
  await atGate(a);
  await attend(b, { parts: 3 });
  await b.activate();
  await a.setLifecycle("frozen");
  await answered(b, "one");
  await a.setLifecycle("active");
  await a.openGate(SESSION);
  await eventually(() => a.aborts(SESSION)).toEqual(["lease-lost"]);
  await eventually(() => a.refusals(SESSION)).toEqual(["lease-lost"]);
  await expectSound(name, ["one"], 3);
  await say(a, "two");
  await answered(b, "two");
  await expectSound(name, ["one", "two"], 3);
});

it("is attached again after the back/forward cache", async () => {
  const name = newName();
  const [a] = await openTabs(["a"], { name, timings: SLOW });
  await attend(a, { parts: 2, gateAt: 1 });
  await say(a, "one");
  await atGate(a);
  await a.load("/elsewhere");
  const reasons = await a.back();
  await eventually(() => facts("pageshow").some(({ persisted }) => persisted)).toBe(true);
  expect(reasons).toEqual([]);
  await atGate(a, 2);
  await a.openGate(SESSION);
  await answered(a, "one");
  await say(a, "two");
  await answered(a, "two");
  const { inputs } = await expectSound(name, ["one", "two"], 2);
  expect(inputs[0]?.record).toMatchObject({ attemptCount: 2, recoveryCount: 0 });
});

it("stops where its session is deleted in another tab, and begins anew under the same id", async () => {
  const name = newName();
  const [a, b] = await openTabs(["a", "b"], { name, timings: SLOW });
  await attend(a, { parts: 2, gateAt: 1 });
  await attend(b);
  await say(b, "one");
  await atGate(a);
  await b.call(({ kernel }) => kernel.sessions.delete("s").then(() => {}));
  await eventually(() => a.aborts(SESSION)).toEqual(["lease-lost"]);
  await a.openGate(SESSION);
  await eventually(() => a.refusals(SESSION)).toEqual(["lease-lost"]);
  expect(await a.call((fixture) => fixture.codeOf(fixture.session.submit({ inputType: "prompt", text: "late" })))).toBe(
    "not-found",
  );
  await attend(b, { parts: 2 });
  await say(b, "two");
  await answered(b, "two");
  await expectSound(name, ["two"], 2);
});

const POOR: Missing[][] = [
  ["locks"],
  ["BroadcastChannel"],
  ["Worker"],
  ["locks", "BroadcastChannel"],
  ["locks", "BroadcastChannel", "Worker"],
];

it.each(POOR.map((without) => [without.join(", "), without] as const))(
  "goes on in another tab after a crash, without %s",
  async (_, without) => {
    const name = newName();
    const [a, b] = await openTabs(["a", "b"], { name, timings: QUICK, without });
    await attend(a, { parts: 2, gateAt: 1 });
    await attend(b);
    await say(b, "one");
    await atGate(a);
    await attend(b, { parts: 2 });
    await a.crash();
    await answered(b, "one");
    const { inputs } = await expectSound(name, ["one"], 2);
    expect(inputs[0]?.record).toMatchObject({ attemptCount: 2, recoveryCount: 1 });
  },
);
