// One session with a backlog in several real tabs. All of them submit, and each could run the turns.
import { expect, it } from "vitest";
import { attend, expectSound, readStored, type Stored, turns } from "./conversation.js";
import { eventually, facts, newName, openTabs, SLOW, type Tab, useTabs } from "./harness.js";

useTabs();

const NAMES = ["a", "b", "c", "d", "e", "f"] as const;
const EACH = 15;

/** Submits four inputs at a time, each as soon as an earlier one is acknowledged. */
const submitMany = (tab: Tab) =>
  tab.call(
    async ({ session }, prefix, count) => {
      for (let at = 0; at < count; at += 4) {
        const ids = Array.from(
          { length: Math.min(4, count - at) },
          (_, more) => `${prefix}${String(at + more).padStart(2, "0")}`,
        );
        await Promise.all(ids.map((inputId) => session.submit({ inputType: "prompt", text: `say ${inputId}`, inputId })));
      }
    },
    tab.name,
    EACH,
  );

const allIds = NAMES.flatMap((name) => Array.from({ length: EACH }, (_, at) => `${name}${String(at).padStart(2, "0")}`));

const isDrained = async (name: string) =>
  (await readStored(name)).inputs.every(({ record }) => record.currentState === "consumed");

/** The messages, in the order of their inputs, follow the order of admission. */
function expectInOrder({ inputs, messages }: Stored): void {
  const ranks = new Map(inputs.map((row) => [row.inputId, (row as unknown as { rank: number }).rank]));
  const said = messages.flatMap(({ message }) => ranks.get(message.inputId ?? "") ?? []);
  expect(said).toEqual([...said].sort((a, b) => a - b));
  expect(said).toHaveLength(inputs.length);
}

it("runs each input of six tabs' backlog once and in order, in tabs that never take a turn from each other", async () => {
  const name = newName();
  const tabs = await openTabs(NAMES, { name, timings: SLOW });
  for (const tab of tabs) await attend(tab, { parts: 1 });
  await Promise.all(tabs.map(submitMany));
  await eventually(() => turns().length).toBeGreaterThanOrEqual(allIds.length);
  await eventually(() => isDrained(name)).toBe(true);
  const stored = await expectSound(name, allIds, 1);
  expectInOrder(stored);
  expect(stored.inputs.filter(({ record }) => record.attemptCount !== 1)).toEqual([]);
  expect(stored.receipts).toHaveLength(allIds.length);
  expect(turns()).toHaveLength(allIds.length);
  for (const tab of tabs) expect(await tab.heard("fault")).toEqual([]);
});

it("goes on with it in another tab whenever the one that runs it crashes", async () => {
  const name = newName();
  const tabs: Tab[] = await openTabs(NAMES, { name, timings: SLOW });
  for (const tab of tabs) await attend(tab, { parts: 1 });
  await Promise.all(tabs.map(submitMany));
  for (const _ of [1, 2, 3]) {
    const before = turns().length;
    await eventually(() => turns().length).toBeGreaterThan(before + 5);
    const runner = tabs.find((tab) => tab.name === facts("turn").at(-1)?.tab) as Tab;
    tabs.splice(tabs.indexOf(runner), 1);
    await runner.crash();
    await runner.close();
  }
  await eventually(() => isDrained(name)).toBe(true);
  const stored = await expectSound(name, allIds, 1);
  expectInOrder(stored);
  expect(stored.receipts).toHaveLength(allIds.length);
  for (const { record } of stored.inputs) expect(record.attemptCount).toBe(record.recoveryCount + 1);
  for (const tab of tabs) expect(await tab.heard("fault")).toEqual([]);
});
