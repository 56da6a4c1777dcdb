// Browsers that lack a feature, workers that die or never start, and a page that may run nothing but its own files.
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import {
  eventually,
  expectSound,
  type Missing,
  newName,
  openTabs,
  QUICK,
  SLOW,
  serveFile,
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

it.each(["own", "late"] as const)(
  "runs the loop in the app's own worker file with a storage that only the app knows, however late it calls: %s (A-31)",
  async (worker) => {
    const name = newName();
    const [a, b] = await openTabs(["a", "b"], { name, worker });
    await a.start("p", { steps: 3, gateAt: 1 });
    await eventually(() => stepsBegun("p").at(-1)?.key).toBe("s1");
    for (const tab of [a, b]) {
      await eventually(() => tab.loop()).toBe("worker");
      expect(await tab.heard("fault")).toEqual([]);
    }
    // Longer than a lease lives: the worker renews it, in the app's own database.
    await new Promise((resolve) => setTimeout(resolve, QUICK.leaseTtlMs + QUICK.leaseRenewMs));
    for (const tab of [a, b]) await tab.openGate("p");
    await a.ended("p");
    const { events } = await expectSound(`own-${name}`, "p", { state: "completed", steps: 3 });
    expect(new Set(events.map(({ fencingToken }) => fencingToken))).toEqual(new Set([1]));
    for (const tab of [a, b]) expect(await tab.heard("fault")).toEqual([]);
  },
);

/** Runs a kernel when its page asks for it, and tells what came of it. */
const SERVICE_WORKER = `
import { createKernel } from "./shipped-service-worker.js";
addEventListener("install", () => skipWaiting());
addEventListener("message", (event) => event.waitUntil(serve(event.data, event.ports[0])));
async function serve(name, port) {
  try {
    const add = async ({ input, step }) => (await step("one", () => input.args.add)) + 1;
    const kernel = await createKernel({ name, handlers: { add } });
    const faults = [];
    kernel.on("fault", ({ message }) => faults.push(message));
    const output = await kernel.processes.awaitProcess("p");
    // What is loaded later elsewhere is there.
    await kernel.secrets.put("a", "mine");
    const { loop, storage, secrets, locks, channel } = await kernel.status();
    port.postMessage({ output, faults, loop, storage, secrets, locks, channel });
    await kernel.close();
  } catch (error) {
    port.postMessage(String(error?.stack ?? error));
  }
}`;

it("runs a kernel in a service worker, on the database of its page (A-32)", async () => {
  const shipped = readFileSync(new URL("../../dist/service-worker.js", import.meta.url), "utf8");
  expect(shipped).not.toMatch(/\bimport\s*\(|import\.meta/);
  const name = newName();
  const [a] = await openTabs(["a"], { name });
  await serveFile("service-worker.js", SERVICE_WORKER);
  const told = await a.call(async ({ kernel }, database) => {
    const registration = await navigator.serviceWorker.register("/service-worker.js", { type: "module" });
    const { active } = await navigator.serviceWorker.ready;
    // Only the service worker has this handler.
    await kernel.start({ id: "p", input: { type: "task", name: "add", args: { add: 41 } } });
    const { port1, port2 } = new MessageChannel();
    const reported = new Promise<unknown>((resolve) => {
      port1.onmessage = ({ data }) => resolve(data);
    });
    active?.postMessage(database, [port2]);
    const output = await kernel.processes.awaitProcess("p");
    const report = await reported;
    const secret = await kernel.secrets.get("a");
    await registration.unregister();
    return { report, output, secret };
  }, name);
  const output = { type: "success", value: 42 };
  const status = { loop: "inline", storage: "indexeddb", secrets: "sealed", locks: true, channel: true };
  expect(told).toEqual({ report: { output, faults: [], ...status }, output, secret: "mine" });
  await expectSound(name, "p", { state: "completed" });
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
