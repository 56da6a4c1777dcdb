// Browsers that lack a feature, workers that die or never start, and a page that may run nothing but its own files.
import { expect, it } from "vitest";
import {
  eventually,
  expectSound,
  type Missing,
  newName,
  openTabs,
  QUICK,
  SLOW,
  stepIn,
  stepsBegun,
  takeViolations,
  useTabs,
} from "./harness.js";

useTabs();

it("goes on with a new worker when its worker is ended, and keeps the lease", async () => {
  const name = newName();
  const [a] = await openTabs(["a"], { name, worker: "kept" });
  await a.start("p", { steps: 3, gateAt: 1 });
  await stepIn(a, "p", "s1");
  await a.call((fixture) => fixture.workers[0]?.terminate());
  await eventually(() => a.call((fixture) => fixture.workers.length)).toBe(2);
  expect(await a.heard("fault")).toEqual([expect.objectContaining({ area: "worker", code: "unavailable" })]);
  expect(await a.loop()).toBe("worker");

  // The new worker claims a new process, and it renews the old one.
  await a.start("q", { steps: 2 });
  await a.ended("q");
  await new Promise((resolve) => setTimeout(resolve, QUICK.leaseTtlMs));
  await a.openGate("p");
  await a.ended("p");
  const { events } = await expectSound(name, "p", { state: "completed", steps: 3 });
  expect(events.map(({ fencingToken }) => fencingToken)).toEqual([1, 1, 1, 1]);
  expect(stepsBegun("p").map(({ key }) => key)).toEqual(["s0", "s1", "s2"]);
  expect(a.aborts("p")).toEqual([]);
});

it("runs the loop in the page when the worker's file is missing", async () => {
  const name = newName();
  const [a] = await openTabs(["a"], { name, worker: "missing" });
  await a.start("p", { steps: 3 });
  await a.ended("p");
  expect(await a.loop()).toBe("inline");
  const message = expect.stringMatching(/^the loop's worker failed.*The loop runs in the page now.*holdfast\/worker/);
  expect(await a.heard("fault")).toEqual([{ area: "worker", code: "unavailable", message, error: expect.anything() }]);
  await expectSound(name, "p", { state: "completed", steps: 3 });
});

it("runs the loop in a worker whose URL a Trusted Types policy of the page made", async () => {
  const name = newName();
  const [a] = await openTabs(["a"], { name, trusted: true, worker: "trusted" });
  await a.start("p", { steps: 3 });
  await a.ended("p");
  expect(await a.loop()).toBe("worker");
  expect(await a.heard("fault")).toEqual([]);
  expect(takeViolations()).toEqual([]);
  await expectSound(name, "p", { state: "completed", steps: 3 });
});

it("runs the loop in the page where Trusted Types refuse the worker's URL, and tells so once, with what to do", async () => {
  const name = newName();
  const [a] = await openTabs(["a"], { name, trusted: true });
  await a.start("p", { steps: 3 });
  await a.ended("p");
  expect(await a.loop()).toBe("inline");
  const [fault, ...more] = await a.heard("fault");
  expect(fault).toMatchObject({ area: "worker", code: "unavailable" });
  expect((fault as { message: string }).message).toMatch(/TrustedScriptURL.*The loop runs in the page now.*Trusted Types/);
  expect(more).toEqual([]);
  await eventually(() => takeViolations().join()).toContain("require-trusted-types-for");
  await expectSound(name, "p", { state: "completed", steps: 3 });
});

const without: readonly (readonly [string, readonly Missing[]])[] = [
  ["Worker", ["Worker"]],
  ["BroadcastChannel", ["BroadcastChannel"]],
  ["Web Locks", ["locks"]],
  ["any of the three", ["Worker", "BroadcastChannel", "locks"]],
];

it.each(without)("survives a crash and a closed tab without %s", async (_, missing) => {
  const name = newName();
  const [a, b, c] = await openTabs(["a", "b", "c"], { name, without: missing });
  const status = await a.call((fixture) => fixture.kernel.status());
  expect(status).toMatchObject({
    storage: "indexeddb",
    loop: missing.includes("Worker") ? "inline" : "worker",
    channel: !missing.includes("BroadcastChannel"),
    locks: !missing.includes("locks"),
  });

  await a.start("p", { steps: 4, gateAt: 2 });
  await eventually(() => stepsBegun("p").at(-1)?.key).toBe("s2");
  const first = [a, b, c].find((tab) => tab.name === ownerOf("p")) ?? a;
  const rest = [a, b, c].filter((tab) => tab !== first);
  await first.crash();
  await eventually(() => stepsBegun("p").filter(({ key }) => key === "s2").length).toBe(2);
  const second = rest.find((tab) => tab.name === ownerOf("p"));
  const third = rest.find((tab) => tab !== second);
  await third?.openGate("p");
  await second?.close();
  await third?.ended("p");
  await expectSound(name, "p", { state: "completed", steps: 4 });
  expect(stepsBegun("p").map(({ key }) => key)).toEqual(["s0", "s1", "s2", "s2", "s2", "s3"]);
});

it("looks for an owner at once when a process starts, also without BroadcastChannel", async () => {
  const name = newName();
  const [a] = await openTabs(["a"], { name, timings: SLOW, without: ["BroadcastChannel"] });
  // The loop's first sweep is over.
  await a.start("first", { steps: 1 });
  await a.ended("first");
  for (const id of ["p1", "p2", "p3"]) {
    await a.start(id, { steps: 2 });
    await a.ended(id);
    await expectSound(name, id, { state: "completed", steps: 2 });
  }
});

it("checks payload schemas under a policy that forbids eval", async () => {
  const name = newName();
  const [a] = await openTabs(["a"], { name });
  await a.call(async (fixture) => {
    const payloadSchema = {
      type: "object",
      required: ["celsius"],
      properties: { celsius: { type: "number", minimum: -273.15 } },
    };
    await fixture.kernel.start({
      id: "p",
      input: { type: "task", name: "emits", args: [{ celsius: 21 }, { celsius: -300 }, {}] },
      eventTypes: [{ name: "reading", payloadSchema }],
    });
  });
  await a.ended("p");
  const { process } = await expectSound(name, "p", { state: "completed" });
  expect(process.awaitOutput?.value).toEqual(["stored", "invalid", "invalid"]);
  expect(takeViolations()).toEqual([]);

  await expect(a.call((fixture) => fixture.evaluateText("1"))).rejects.toThrow("EvalError");
  await eventually(() => takeViolations().length).toBeGreaterThan(0);
});

function ownerOf(processId: string): string | undefined {
  return stepsBegun(processId).at(-1)?.tab;
}
