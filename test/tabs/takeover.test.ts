// The work of a tab that ends: closed, crashed, reloaded, or its kernel closed. Tests with slow timings rule out that an
// expired lease explains the result.
import { expect, it } from "vitest";
import { eventually, expectSound, newName, openTabs, SLOW, stepIn, stepsBegun, useTabs } from "./harness.js";

useTabs();

it("goes on in another tab at once when its tab is closed", async () => {
  const name = newName();
  const [a] = await openTabs(["a"], { name, timings: SLOW });
  await a.start("p", { steps: 4, gateAt: 2 });
  await stepIn(a, "p", "s2");
  const [b] = await openTabs(["b"], { name, timings: SLOW });
  await b.openGate("p");
  await a.close();
  await b.ended("p");
  const { process } = await expectSound(name, "p", { state: "completed", steps: 4 });
  expect(process.awaitOutput?.value).toEqual([
    { tab: "a", fence: 1 },
    { tab: "a", fence: 1 },
    { tab: "b", fence: 2 },
    { tab: "b", fence: 2 },
  ]);
  expect(await b.heard("fault")).toEqual([]);
});

it("goes on in another tab at once when its renderer crashes", async () => {
  const name = newName();
  const [a] = await openTabs(["a"], { name, timings: SLOW });
  await a.start("p", { steps: 4, gateAt: 2 });
  await stepIn(a, "p", "s2");
  const [b] = await openTabs(["b"], { name, timings: SLOW });
  await b.openGate("p");
  await a.crash();
  await b.ended("p");
  await expectSound(name, "p", { state: "completed", steps: 4 });
  expect(stepsBegun("p").map(({ tab, key }) => tab + key)).toEqual(["as0", "as1", "as2", "bs2", "bs3"]);
  expect(await b.heard("fault")).toEqual([]);
});

it("goes on in another tab at once when its kernel is closed, and the old handler's write is refused", async () => {
  const name = newName();
  const [a] = await openTabs(["a"], { name, timings: SLOW });
  await a.start("p", { steps: 3, gateAt: 1 });
  await stepIn(a, "p", "s1");
  const [b] = await openTabs(["b"], { name, timings: SLOW });
  await a.call((fixture) => fixture.kernel.close());
  await stepIn(b, "p", "s1");
  await a.openGate("p");
  await eventually(() => a.refusals("p")).toEqual(["closed"]);
  await b.openGate("p");
  await b.ended("p");
  expect(a.aborts("p")).toEqual(["closed"]);
  await expectSound(name, "p", { state: "completed", steps: 3 });
  expect(await a.call((fixture) => fixture.codeOf(fixture.kernel.processes.getProcess("p")))).toBe("closed");
});

it("finishes a chain of processes that wait for one another after a crash, with one slot a tab", async () => {
  const name = newName();
  const [a] = await openTabs(["a"], { name, timings: SLOW, concurrency: 1 });
  const leaf = "p/child/child/leaf";
  await a.call((fixture) =>
    fixture.kernel
      .start({ id: "p", input: { type: "task", name: "nested", args: { depth: 2, steps: 3, gateAt: 1 } } })
      .then(() => {}),
  );
  await stepIn(a, leaf, "s1");
  const [b] = await openTabs(["b"], { name, timings: SLOW, concurrency: 1 });
  await b.openGate(leaf);
  await a.crash();
  await b.ended("p");
  for (const id of ["p", "p/child", "p/child/child"]) await expectSound(name, id, { state: "completed" });
  await expectSound(name, leaf, { state: "completed", steps: 3 });
});

it("runs a process once that two tabs start at the same moment", async () => {
  const name = newName();
  const [a, b] = await openTabs(["a", "b"], { name });
  for (const id of ["p1", "p2", "p3", "p4", "p5"]) {
    await Promise.all([a.start(id, { steps: 3 }), b.start(id, { steps: 3 })]);
    await Promise.all([a.ended(id), b.ended(id)]);
    const { lease } = await expectSound(name, id, { state: "completed", steps: 3 });
    expect(lease?.fencingToken).toBe(1);
    expect(stepsBegun(id)).toHaveLength(3);
    const [one, other] = await Promise.all(
      [a, b].map((tab) => tab.call((fixture, processId) => fixture.kernel.processes.getProcess(processId), id)),
    );
    expect(one).toEqual(other);
  }
});

it("survives eight reloads during one step: an orderly end uses up no attempt", async () => {
  const name = newName();
  const [a] = await openTabs(["a"], { name, timings: SLOW });
  await a.start("p", { steps: 2, gateAt: 0 });
  let fence = await stepIn(a, "p", "s0");
  for (let reloads = 1; reloads <= 8; reloads++) {
    await a.reload();
    await a.open({ name, timings: SLOW });
    fence = await stepIn(a, "p", "s0", fence);
  }
  await a.openGate("p");
  await a.ended("p");
  await expectSound(name, "p", { state: "completed", steps: 2 });
});

it("gives a process up that crashed five tabs in a row without progress", async () => {
  const name = newName();
  for (const crash of [1, 2, 3, 4, 5]) {
    const [tab] = await openTabs([`t${crash}`], { name, timings: SLOW });
    if (crash === 1) await tab.start("p", { steps: 2, gateAt: 0 });
    await stepIn(tab, "p", "s0");
    await tab.crash();
    await tab.close();
  }
  const [last] = await openTabs(["last"], { name, timings: SLOW });
  await last.ended("p");
  const { process } = await expectSound(name, "p", { state: "failed", steps: 0 });
  expect(process.awaitOutput).toMatchObject({ type: "failure", code: "process_recovery_failed" });
  expect(stepsBegun("p")).toHaveLength(5);
});
