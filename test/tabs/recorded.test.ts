// The record of what clients in several tabs asked for and were answered, while one tab crashes, one freezes past its leases and
// thaws, and one is closed. A correct holdfast must be able to have answered so.
import { expect, it } from "vitest";
import { eventually, expectSound, facts, freeze, newName, openTabs, type Tab, useTabs } from "./harness.js";
import { complaintsOf, operationsOf } from "./history.js";

useTabs();

const LEASED = ["x", "y"];
const LOGS = ["of-a", "of-b", "of-c"];

const operations = () => operationsOf(facts("operation"));
const told = (tab: string) => facts("operation").filter((fact) => fact.tab === tab && fact.phase === "return");
const refusals = () =>
  operations().flatMap(({ call, outcome }) => (outcome.type === "fail" ? [`${call.op}: ${outcome.code}`] : []));
/** The owners of this process in order: each tab that ran steps, with its fence. */
const owners = (processId: string) => {
  const runs = facts("operation").flatMap((fact) =>
    fact.phase === "invoke" && fact.call.op === "run" && fact.call.resource === processId
      ? [`${fact.tab} ${fact.call.fence}`]
      : [],
  );
  return [...new Set(runs)];
};

const begin = (tab: Tab) =>
  tab.call((fixture, owner, resources) => void fixture.clients.push(fixture.client(fixture.kernel, owner, resources)), tab.name, {
    ttlMs: 800,
    leased: LEASED,
    logs: LOGS,
  });

it("answers the clients of four tabs as one storage would, while tabs crash, freeze and close", async () => {
  const name = newName();
  // Each of the first three tabs has room for one process, its own.
  const open = async (tabName: string) => {
    const [tab] = await openTabs([tabName], { name, concurrency: 1 });
    const processId = `of-${tabName}`;
    await tab.call(async ({ kernel }, id) => {
      const input = { type: "task", name: "recordedSteps", args: { steps: 12 } } as const;
      await kernel.start({ id, input });
    }, processId);
    await eventually(() => owners(processId)).toEqual([`${tabName} 1`]);
    return tab;
  };
  const a = await open("a");
  const b = await open("b");
  const c = await open("c");
  const [d] = await openTabs(["d"], { name, concurrency: 8 });
  await d.call(async ({ kernel }, ids) => {
    const input = { type: "external", metadata: null } as const;
    for (const id of ids) await kernel.start({ id, input, eventTypes: [{ name: "noted" }] });
  }, LEASED);
  for (const tab of [a, b, c, d]) await begin(tab);
  await eventually(() => Math.min(...["a", "b", "c", "d"].map((tab) => told(tab).length))).toBeGreaterThan(30);

  await a.crash();
  await eventually(() => owners("of-a")).toEqual(["a 1", "d 2"]);
  await b.call((fixture) => fixture.tick());
  await freeze(b);
  await eventually(() => owners("of-b")).toEqual(["b 1", "d 2"]);
  await c.close();
  await eventually(() => owners("of-c")).toEqual(["c 1", "d 2"]);
  await b.setLifecycle("active");
  await b.activate();
  await eventually(() => operations().filter(({ outcome }) => outcome.type === "ok").length).toBeGreaterThan(400);
  // Refused: the writes of the thawed tab's handler, and the calls of clients under leases that had run out or that others held.
  await eventually(refusals).toEqual(
    expect.arrayContaining(["step: lease-lost", "append: lease-lost", "renew: lease-lost", "claim: lease-held"]),
  );
  for (const processId of LOGS) await d.ended(processId);
  for (const tab of [b, d]) await tab.call((fixture) => Promise.all(fixture.clients.map((client) => client.stop())));

  expect(complaintsOf(operations())).toEqual([]);
  for (const processId of LOGS) await expectSound(name, processId, { state: "completed", steps: 12 });
});
