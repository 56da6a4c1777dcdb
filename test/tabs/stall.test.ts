// Tabs that live and do not run: blocked, frozen, or kept for the back button. Their leases go to others, and their late writes
// change nothing.
import { expect, it } from "vitest";
import {
  eventually,
  expectSound,
  facts,
  freeze,
  goBack,
  newName,
  openTabs,
  SLOW,
  stepIn,
  stepsBegun,
  useTabs,
} from "./harness.js";

useTabs();

it("takes over from a page in an endless loop, and refuses what that page writes when it wakes", async () => {
  const name = newName();
  const [a] = await openTabs(["a"], { name });
  await a.start("p", { steps: 4, gateAt: 2, blockMs: 10_000 });
  await stepIn(a, "p", "s2");
  const [b] = await openTabs(["b"], { name });
  await stepIn(b, "p", "s2");
  expect(a.refusals("p"), "the page still sleeps").toEqual([]);

  await eventually(() => a.refusals("p")).toEqual(["lease-lost"]);
  expect(a.aborts("p")).toEqual(["lease-lost"]);
  expect(await a.heard("leaseLost")).toEqual([{ processId: "p" }]);
  await b.openGate("p");
  await b.ended("p");
  const { events } = await expectSound(name, "p", { state: "completed", steps: 4 });
  expect(events.map(({ fencingToken }) => fencingToken)).toEqual([1, 1, 2, 2, 2]);
});

it("takes over from a frozen tab, and refuses what that tab writes when it thaws", async () => {
  const name = newName();
  const [a] = await openTabs(["a"], { name });
  await a.start("p", { steps: 4, gateAt: 2 });
  await stepIn(a, "p", "s2");
  await a.call((fixture) => fixture.tick());
  const [b] = await openTabs(["b"], { name });
  await freeze(a);
  await stepIn(b, "p", "s2");
  expect(a.aborts("p"), "the tab is still frozen").toEqual([]);

  await a.setLifecycle("active");
  await a.activate();
  await eventually(() => a.aborts("p")).toEqual(["lease-lost"]);
  await a.openGate("p");
  await eventually(() => a.refusals("p")).toEqual(["lease-lost"]);
  await b.openGate("p");
  await b.ended("p");
  await expectSound(name, "p", { state: "completed", steps: 4 });
  expect(stepsBegun("p").map(({ tab, key }) => tab + key)).toEqual(["as0", "as1", "as2", "bs2", "bs3"]);

  // The tab is a host like any other again.
  await b.close();
  await a.start("next", { steps: 2 });
  await a.ended("next");
  await expectSound(name, "next", { state: "completed", steps: 2 });
});

it("keeps no other tab from the database when it is frozen in the middle of a transaction", async () => {
  const name = newName();
  const many = 300;
  const [a] = await openTabs(["a"], { name, timings: { ...SLOW, leaseRenewMs: 40, sweepMs: 60 }, concurrency: many });
  await a.call(async ({ kernel }, count) => {
    const start = (_: unknown, at: number) =>
      kernel.start({ id: `p${at}`, input: { type: "task", name: "steps", args: { steps: 1, gateAt: 0 } } });
    await Promise.all(Array.from({ length: count }, start));
  }, many);
  // So many renewals and sweeps leave hardly a moment without a transaction.
  await eventually(() => facts("step").length).toBe(many);
  await a.call((fixture) => fixture.tick());
  const [b] = await openTabs(["b"], { name, loop: "off" });
  await freeze(a);
  // The browser itself would end a transaction that blocks others, but only after a minute.
  let written = false;
  const write = b
    .call(({ kernel }) => kernel.process("p0").cancel())
    .then(() => {
      written = true;
    });
  await eventually(() => written).toBe(true);
  await write;

  await a.setLifecycle("active");
  await a.activate();
  await a.openGate("p0");
  await a.ended("p0");
  await a.start("next", { steps: 2 });
  await a.ended("next");
  await expectSound(name, "next", { state: "completed", steps: 2 });
});

it("goes on where it was when a frozen tab thaws and nobody took its work", async () => {
  const name = newName();
  const [a] = await openTabs(["a"], { name });
  const [other] = await openTabs(["other"], { name: newName() });
  await a.start("p", { steps: 4, gateAt: 2 });
  await stepIn(a, "p", "s2");
  await a.call((fixture) => fixture.tick());
  await other.activate();
  await freeze(a);
  const leaseOf = () =>
    other.call(async (fixture, database) => {
      await fixture.open({ name: database, loop: "off" });
      const lease = await fixture.kernel.processes.getLease("p");
      await fixture.kernel.close();
      return lease;
    }, name);
  await eventually(leaseOf).toBeUndefined();

  await a.setLifecycle("active");
  await a.activate();
  await a.openGate("p");
  await a.ended("p");
  await expectSound(name, "p", { state: "completed", steps: 4 });
  expect(stepsBegun("p").map(({ key }) => key)).toEqual(["s0", "s1", "s2", "s3"]);
  expect(a.aborts("p")).toEqual([]);
});

it("resumes after the back button brings the page back as it was", async () => {
  const name = newName();
  const [a] = await openTabs(["a"], { name, timings: SLOW });
  await a.start("p", { steps: 4, gateAt: 2 });
  await stepIn(a, "p", "s2");
  await a.load("/elsewhere");
  await goBack(a);
  expect(a.aborts("p")).toEqual(["lease-lost"]);
  await stepIn(a, "p", "s2", 1);
  await a.openGate("p");
  await a.ended("p");
  await expectSound(name, "p", { state: "completed", steps: 4 });
  expect(await a.heard("fault")).toEqual([]);
});

it("hands over at once when its page is put aside, and works again when the page comes back", async () => {
  const name = newName();
  const [a] = await openTabs(["a"], { name });
  await a.start("p", { steps: 4, gateAt: 2 });
  await stepIn(a, "p", "s2");
  const [b] = await openTabs(["b"], { name, timings: SLOW });
  await a.load("/elsewhere");
  await b.openGate("p");
  await b.ended("p");
  await goBack(a);
  await a.openGate("p");
  await eventually(() => a.refusals("p")).toEqual(["lease-lost"]);
  await expectSound(name, "p", { state: "completed", steps: 4 });

  await b.start("q", { steps: 2, gateAt: 1 });
  await eventually(() => stepsBegun("q").some(({ key }) => key === "s1")).toBe(true);
  await a.openGate("q");
  await b.close();
  await a.ended("q");
  await expectSound(name, "q", { state: "completed", steps: 2 });
});
