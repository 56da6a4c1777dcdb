// Timers, signals, suspension, limits and schedules in tabs that crash, close and freeze, with the loop in each tab's worker.
import { expect, it } from "vitest";
import type { FlowArgs } from "./fixture/flow.js";
import {
  eventually,
  type FixtureOptions,
  freeze,
  newName,
  newTab,
  openTabs,
  QUICK,
  readStored,
  SLOW,
  type Tab,
  useTabs,
} from "./harness.js";

useTabs();

type Handler = "gather" | "nap" | "narrow";
interface Taken {
  payload: number;
  signalId: string;
  sequence: number;
}

/** Suspends at once what waits. */
const BRIEF = { ...QUICK, suspendAfterMs: 100 };

const start = (tab: Tab, id: string, name: Handler, args: FlowArgs) =>
  tab.call(
    async ({ kernel }, processId, handler, given) =>
      void (await kernel.start({ id: processId, input: { type: "task", name: handler, args: { ...given } } })),
    id,
    name,
    args,
  );

/** Sends a signal whose id is made of its number, with a payload of so many characters, or the number; gives the refusal's code, or "resolved". */
const send = (tab: Tab, id: string, mark: number, length = 0) =>
  tab.call(
    ({ kernel, codeOf }, processId, number, size) => {
      const payload = size > 0 ? "x".repeat(size) : number;
      return codeOf(kernel.process(processId).signal("mark", payload, { signalId: `m${number}` }));
    },
    id,
    mark,
    length,
  );

const record = (tab: Tab, id: string) =>
  tab.call(async ({ kernel }, processId) => {
    const found = await kernel.processes.getProcess(processId);
    return { waits: found?.waiting?.map(({ kind }) => kind) ?? [], suspended: found?.suspended === true };
  }, id);

const waitsIn = (tab: Tab, id: string, kind: string) => eventually(async () => (await record(tab, id)).waits).toEqual([kind]);

/** What a process ended with, and its events. */
async function outcome(name: string, id: string): Promise<{ value: unknown; types: string[]; signals: number[] }> {
  const { process, events } = await readStored(name, id);
  expect(process.state).toBe("completed");
  return {
    value: process.awaitOutput?.value,
    types: events.map(({ eventType }) => eventType),
    signals: events.filter(({ eventType }) => eventType === "process.signal").map(({ sequence }) => sequence),
  };
}

const openFlow = <const N extends readonly string[]>(names: N, name: string, timings: FixtureOptions["timings"] = QUICK) =>
  openTabs(names, { name, timings, flow: true });

// This test is the first: the browser remembers for a while how much space is left.
it("tells the sender when the disk is full, stores nothing of the signal, and brings it on when there is room again (F-13)", async () => {
  const name = newName();
  const first = await newTab("first");
  await first.setQuota(3_000_000);
  // The lease ends a run that could not write soon after there is room again.
  const [a] = await openFlow(["a"], name, { ...QUICK, leaseTtlMs: 6_000 });
  await start(a, "p", "gather", { count: 2 });
  await start(a, "full", "gather", { count: 99 });
  await waitsIn(a, "p", "signal");
  const [b] = await openTabs(["b"], { name });
  try {
    await b.setQuota(1);
    // Signals that no process takes fill the space down to the last bytes.
    const refused = await b.call(async ({ kernel, codeOf }) => {
      const codes: string[] = [];
      for (let length = 512_000; length > 256; ) {
        const code = await codeOf(kernel.process("full").signal("other", "x".repeat(length)));
        if (code === "resolved") continue;
        codes.push(code);
        length /= 2;
      }
      return codes;
    });
    expect(new Set(refused)).toEqual(new Set(["quota-exceeded"]));
    const before = await readStored(name, "p");
    for (const tab of [a, b, a, b]) expect(await send(tab, "p", 1, 5_000)).toBe("quota-exceeded");
    expect((await readStored(name, "p")).events).toEqual(before.events);
  } finally {
    await b.setQuota();
  }
  await eventually(() => send(b, "p", 1, 5_000)).toBe("resolved");
  expect(await send(b, "p", 2)).toBe("resolved");
  await a.ended("p");
  const { value, signals } = await outcome(name, "p");
  expect((value as Taken[]).map(({ signalId }) => signalId)).toEqual(["m1", "m2"]);
  expect(signals).toHaveLength(2);
});

it("brings a signal from one tab to the handler that waits in another, by notice alone (F-13)", async () => {
  const name = newName();
  const [a] = await openFlow(["a"], name, SLOW);
  expect(await a.loop()).toBe("worker");
  await start(a, "p", "gather", { count: 1 });
  await waitsIn(a, "p", "signal");
  const [b] = await openTabs(["b"], { name, timings: SLOW });
  expect(await send(b, "p", 7)).toBe("resolved");
  await a.ended("p");
  expect((await outcome(name, "p")).value).toMatchObject([{ payload: 7, signalId: "m7" }]);
});

it("takes each of twenty signals once and in order, sent twice by two tabs while the waiting tab crashes (F-14)", async () => {
  const name = newName();
  const [a] = await openFlow(["a"], name);
  await start(a, "p", "gather", { count: 20 });
  await waitsIn(a, "p", "signal");
  const [b] = await openTabs(["b"], { name });
  const [c] = await openFlow(["c"], name);
  const sendAll = (from: number, to: number) =>
    Promise.all(
      [b, c].map(async (tab) => {
        for (let mark = from; mark < to; mark++) expect(await send(tab, "p", mark)).toBe("resolved");
      }),
    );
  await sendAll(0, 7);
  // The others go on sending while the waiting tab dies.
  await Promise.all([sendAll(7, 14), a.crash()]);
  await sendAll(14, 20);
  await c.ended("p");
  const { value, signals } = await outcome(name, "p");
  const taken = value as Taken[];
  expect(signals).toHaveLength(20);
  expect(taken.map(({ sequence }) => sequence)).toEqual(signals);
  expect(taken.map(({ payload }) => payload).sort((x, y) => x - y)).toEqual(Array.from({ length: 20 }, (_, at) => at));
  expect(taken.every(({ payload, signalId }) => signalId === `m${payload}`)).toBe(true);
});

it("suspends what waits, and goes on after all pages were closed: at a signal, and at a time that passed (F-19)", async () => {
  const name = newName();
  const [a] = await openFlow(["a"], name, BRIEF);
  await start(a, "p", "gather", { count: 1 });
  await start(a, "slept", "nap", { sleepMs: 2_000 });
  for (const [id, kind] of [
    ["p", "signal"],
    ["slept", "timer"],
  ] as const)
    await eventually(() => record(a, id)).toEqual({ waits: [kind], suspended: true });
  await a.close();

  // This page has none of the handlers: it sends, and sees the time pass.
  const [sender] = await openTabs(["sender"], { name, timings: BRIEF });
  expect(await send(sender, "p", 1)).toBe("resolved");
  await sender.call(() => new Promise((resolve) => setTimeout(resolve, 2_000)));
  expect([await sender.state("p"), await sender.state("slept")]).toEqual(["running", "running"]);
  await sender.close();

  const [b] = await openFlow(["b"], name, SLOW);
  await Promise.all([b.ended("p"), b.ended("slept")]);
  expect((await outcome(name, "p")).value).toMatchObject([{ payload: 1 }]);
  expect((await outcome(name, "slept")).types.filter((type) => type === "process.step")).toHaveLength(1);
});

it("never runs more than two of one key at a time over three tabs (F-23)", async () => {
  const name = newName();
  const tabs = await openFlow(["a", "b", "c"], name);
  const ids = Array.from({ length: 12 }, (_, at) => `p${at}`);
  await Promise.all(ids.map((id, at) => start(tabs[at % 3] as Tab, id, "narrow", { tenant: at < 9 ? "one" : "two" })));
  for (const id of ids) await tabs[0].ended(id);
  const spans: { beginMs: number; endMs: number }[] = [];
  for (const id of ids) {
    const output = await tabs[0].call(async ({ kernel }, processId) => await kernel.process(processId).outcome(), id);
    expect(output.type).toBe("success");
    spans.push((output as unknown as { value: (typeof spans)[number] }).value);
  }
  for (const key of [spans.slice(0, 9), spans.slice(9)]) {
    const atOnce = key.map(({ beginMs }) => key.filter((other) => other.beginMs <= beginMs && beginMs < other.endMs).length);
    expect(Math.max(...atOnce)).toBeLessThanOrEqual(2);
  }
});

it("starts each occurrence of a schedule once over three tabs, and catches up after all were closed (F-27, F-28)", async () => {
  const name = newName();
  const tabs = await openFlow(["a", "b", "c"], name);
  const everyMs = 1_000;
  await tabs[0].call(
    async ({ kernel }, every) =>
      void (await kernel.schedules.put({ id: "s", when: { everyMs: every }, start: { name: "tick" }, overlap: "allow" })),
    everyMs,
  );
  const times = (tab: Tab) =>
    tab.call(async ({ kernel }) => {
      const ids = (await kernel.processes.list()).map(({ id }) => id);
      return ids.map((id) => Number(id.slice("s@".length))).sort((x, y) => x - y);
    });
  const read = (tab: Tab) => tab.call(({ kernel }) => kernel.schedules.get("s"));
  await eventually(async () => (await times(tabs[1])).length).toBeGreaterThanOrEqual(3);
  for (const tab of tabs) await tab.close();

  // A tab without a loop sees occurrences pass that no tab starts.
  const [watcher] = await openTabs(["watcher"], { name, loop: "off" });
  const before = await times(watcher);
  const { nextAtMs = 0 } = (await read(watcher)) ?? {};
  await eventually(() => watcher.call(() => Date.now())).toBeGreaterThan(nextAtMs + 2 * everyMs);
  expect(await times(watcher)).toEqual(before);

  const [again] = await openFlow(["again"], name);
  await eventually(async () => (await times(watcher)).length).toBeGreaterThan(before.length + 1);
  await again.call(({ kernel }) => kernel.schedules.pause("s").then(() => undefined));
  const all = await times(watcher);
  const [caughtUp = 0] = all.slice(before.length);
  expect(new Set(all).size).toBe(all.length);
  for (const [at, time] of before.entries()) expect(time).toBe((before[0] as number) + at * everyMs);
  expect(caughtUp, "the latest missed one alone").toBeGreaterThan(nextAtMs);
  for (const time of all) await again.ended(`s@${time}`);
  expect((await read(again))?.missed).toBeGreaterThanOrEqual(2);
});

it("loses no signal and fires a timer once when a tab freezes and thaws (F-22)", async () => {
  const name = newName();
  const [a] = await openFlow(["a"], name);
  await start(a, "p", "gather", { count: 1 });
  await start(a, "slept", "nap", { sleepMs: 1_500 });
  await waitsIn(a, "p", "signal");
  await waitsIn(a, "slept", "timer");
  await a.call((fixture) => fixture.tick());
  const [b] = await openTabs(["b"], { name });
  await freeze(a);
  expect(await send(b, "p", 3)).toBe("resolved");
  expect(await send(b, "p", 3)).toBe("resolved");
  // The frozen tab is the only one with the handlers; the sleep's time passes meanwhile.
  await b.call(() => new Promise((resolve) => setTimeout(resolve, 1_500)));
  expect([await b.state("p"), await b.state("slept")]).toEqual(["running", "running"]);
  await a.setLifecycle("active");
  await a.activate();
  await Promise.all([b.ended("p"), b.ended("slept")]);
  const { value, signals } = await outcome(name, "p");
  expect(value).toMatchObject([{ payload: 3, signalId: "m3" }]);
  expect(signals).toHaveLength(1);
  expect((await outcome(name, "slept")).types.filter((type) => type === "process.step")).toHaveLength(1);
});
