// Sessions that no code of a tab has open, in real tabs: the tab goes on with them all the same. Slow timings rule out that a poll or an
// expired lease explains the result.
import { expect, it } from "vitest";
import { answered, atGate, attend, expectSound, say, turns } from "./conversation.js";
import { newName, openTabs, SLOW, useTabs } from "./harness.js";

useTabs();

it("goes on with a session that it never opened when the renderer of the tab that runs it crashes (A-17)", async () => {
  const name = newName();
  const [a] = await openTabs(["a"], { name, timings: SLOW, turns: { parts: 3, gateAt: 1 } });
  const [b] = await openTabs(["b"], { name, timings: SLOW, turns: { parts: 3 } });
  await attend(a);
  await say(a, "one");
  await atGate(a);
  await say(a, "two");
  await a.crash();
  await answered(b, "one");
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

it("runs at its next start what waited in sessions that no tab had open any more (A-17)", async () => {
  const name = newName();
  const [a] = await openTabs(["a"], { name, timings: SLOW, loop: "off" });
  await attend(a);
  await say(a, "one");
  await a.close();
  const [b] = await openTabs(["b"], { name, timings: SLOW, turns: { parts: 1 } });
  await answered(b, "one");
  expect(turns()).toEqual(["b1 one"]);
  await expectSound(name, ["one"], 1);
  expect(await b.heard("fault")).toEqual([]);
});
