// The work of a tab that ends, in any browser. Timings are slow unless a scenario says otherwise: they rule out that an expired
// lease explains the result.
import assert from "node:assert/strict";
import { eventually, QUICK, type Tab, until, type World } from "./world.js";

export interface Scenario {
  name: string;
  /** The browser must come back with what it had stored. */
  needsCrash: boolean;
  run(world: World): Promise<void>;
}

const scenarios: Scenario[] = [];
const scenario = (name: string, run: Scenario["run"], needsCrash = false) => scenarios.push({ name, needsCrash, run });

type Going = (tab: Tab) => Promise<void>;
const killed: Going = (tab) => tab.kill();
const closed: Going = (tab) => tab.close();
const left: Going = (tab) => tab.load("/elsewhere");
const shut: Going = (tab) => tab.call(({ kernel }) => kernel.close());
const WAYS = [
  ["its tab is closed", closed],
  ["its content process is killed", killed],
  ["its page is left", left],
] as const;

scenario("runs with IndexedDB, a worker, a channel, Web Locks and a key of its own", async (world) => {
  const a = await world.open("a");
  const { storage, loop, channel, locks, secrets } = await a.call(({ kernel }) => kernel.status());
  assert.deepEqual(
    { storage, loop, channel, locks, secrets },
    { storage: "indexeddb", loop: "worker", channel: true, locks: true, secrets: "sealed" },
  );
});

for (const [how, go] of WAYS) {
  scenario(`a process goes on in another tab at once when ${how}`, async (world) => {
    const a = await world.open("a");
    await a.start("p", { steps: 4, gateAt: 2 });
    await a.stepped("p", "s2");
    const b = await world.open("b");
    await b.openGate("p");
    await go(a);
    await b.ended("p");
    const value = [
      { tab: "a", fence: 1 },
      { tab: "a", fence: 1 },
      { tab: "b", fence: 2 },
      { tab: "b", fence: 2 },
    ];
    await sound(world, "p", { type: "success", value });
    await eventually(() => world.ran("p"), ["as0", "as1", "as2", "bs2", "bs3"]);
    assert.deepEqual(await b.heard("fault"), []);
  });
}

scenario(
  "a process goes on in another tab at once when its kernel is closed, and the old handler's write is refused",
  async (world) => {
    const a = await world.open("a");
    await a.start("p", { steps: 3, gateAt: 1 });
    await a.stepped("p", "s1");
    const b = await world.open("b");
    await shut(a);
    await b.stepped("p", "s1");
    await a.openGate("p");
    await eventually(() => world.refusals("p"), ["a closed"]);
    await b.openGate("p");
    await b.ended("p");
    await eventually(() => world.aborts("p"), ["a closed"]);
    const value = [1, 2, 2].map((fence) => ({ tab: fence === 1 ? "a" : "b", fence }));
    await sound(world, "p", { type: "success", value });
  },
);

scenario(
  "a process whose page hangs goes on in another tab when its lease has run out, and the late write is refused",
  async (world) => {
    const a = await world.open("a", { timings: QUICK });
    await a.start("p", { steps: 3, gateAt: 1, blockMs: 15_000 });
    await a.stepped("p", "s1");
    const b = await world.open("b", { timings: QUICK });
    await b.openGate("p");
    await b.ended("p");
    assert.deepEqual(world.refusals("p"), [], "the page had not come back");
    await eventually(() => world.refusals("p"), ["a lease-lost"]);
    const value = [1, 2, 2].map((fence) => ({ tab: fence === 1 ? "a" : "b", fence }));
    await sound(world, "p", { type: "success", value });
  },
);

scenario(
  "a process whose content process is stopped goes on in another tab when its lease has run out, and the late write is refused",
  async (world) => {
    const a = await world.open("a", { timings: QUICK });
    const { stop, resume } = await a.stopper();
    await a.start("p", { steps: 3, gateAt: 1 });
    await a.stepped("p", "s1");
    stop();
    try {
      // The second tab opens the database, too, while the first one stands still.
      const b = await world.open("b", { timings: QUICK });
      await b.stepped("p", "s1");
      assert.deepEqual([...world.refusals("p"), ...world.aborts("p")], [], "the page did not stand still");
      resume();
      await a.openGate("p");
      await eventually(() => world.refusals("p"), ["a lease-lost"]);
      await eventually(() => world.aborts("p"), ["a lease-lost"]);
      await b.openGate("p");
      await b.ended("p");
    } finally {
      resume();
    }
    const value = [1, 2, 2].map((fence) => ({ tab: fence === 1 ? "a" : "b", fence }));
    await sound(world, "p", { type: "success", value });
  },
);

scenario("a process keeps its owner when the worker of its tab is ended: another worker is started", async (world) => {
  const a = await world.open("a", { timings: QUICK, worker: "kept" });
  await a.start("p", { steps: 3, gateAt: 1 });
  await a.stepped("p", "s1");
  await a.call(({ workers }) => workers[0]?.terminate());
  await eventually(() => a.call(({ workers }) => workers.length), 2);
  // The new worker alone can have claimed this process.
  await a.start("q", { steps: 2 });
  await a.ended("q");
  await a.openGate("p");
  await a.ended("p");
  const value = [1, 1, 1].map((fence) => ({ tab: "a", fence }));
  await sound(world, "p", { type: "success", value });
  assert.deepEqual(world.aborts("p"), []);
});

for (const missing of [["locks"], ["BroadcastChannel"], ["Worker", "BroadcastChannel", "locks"]] as const) {
  scenario(`a process survives a killed content process and a closed tab without ${missing.join(", ")}`, async (world) => {
    const open = async (name: string) => {
      const tab = await world.newTab(name);
      await tab.lose(...missing);
      await tab.open({ timings: QUICK });
      return tab;
    };
    const lacks = (what: string) => (missing as readonly string[]).includes(what);
    const a = await open("a");
    const { loop, channel, locks } = await a.call(({ kernel }) => kernel.status());
    assert.deepEqual(
      { loop, channel, locks },
      { loop: lacks("Worker") ? "inline" : "worker", channel: !lacks("BroadcastChannel"), locks: !lacks("locks") },
    );
    await a.start("p", { steps: 3, gateAt: 1 });
    await a.stepped("p", "s1");
    const b = await open("b");
    await killed(a);
    await b.stepped("p", "s1");
    const c = await open("c");
    await c.openGate("p");
    await closed(b);
    await c.ended("p");
    const value = [
      { tab: "a", fence: 1 },
      { tab: "c", fence: 3 },
      { tab: "c", fence: 3 },
    ];
    await sound(world, "p", { type: "success", value });
  });
}

scenario("a chain of processes that wait for one another is finished in another tab, with one slot a tab", async (world) => {
  const leaf = "p/child/child/leaf";
  const a = await world.open("a", { concurrency: 1 });
  await a.call(async ({ kernel }) => {
    await kernel.start({ id: "p", input: { type: "task", name: "nested", args: { depth: 2, steps: 3, gateAt: 1 } } });
  });
  await a.stepped(leaf, "s1");
  const b = await world.open("b", { concurrency: 1 });
  await b.openGate(leaf);
  await killed(a);
  await b.ended("p");
  for (const id of ["p", "p/child", "p/child/child", leaf]) await sound(world, id);
});

scenario("a process is given up that cost five content processes in a row without progress", async (world) => {
  for (const at of [1, 2, 3, 4, 5]) {
    const tab = await world.open(`t${at}`);
    if (at === 1) await tab.start("p", { steps: 2, gateAt: 0 });
    await tab.stepped("p", "s0");
    await killed(tab);
  }
  const last = await world.open("last");
  await last.ended("p");
  const { process } = await stored(world, "p");
  const output = process?.awaitOutput as { code: string } | undefined;
  assert.equal(output?.code, "process_recovery_failed");
  await eventually(() => world.ran("p").length, 5);
});

scenario("five processes that two tabs start at the same moment run once each", async (world) => {
  const tabs = [await world.open("a"), await world.open("b")];
  const ids = ["p1", "p2", "p3", "p4", "p5"];
  for (const tab of tabs) {
    await tab.call(({ kernel }) => {
      const channel = new BroadcastChannel("start");
      channel.onmessage = ({ data: id }) => void kernel.start({ id, input: { type: "task", name: "steps", args: { steps: 3 } } });
      Object.assign(window, { channel });
    });
  }
  const starter = await world.newTab("starter");
  for (const id of ids) {
    await starter.call((_, id) => {
      const channel = new BroadcastChannel("start");
      channel.postMessage(id);
      channel.close();
    }, id);
    for (const tab of tabs)
      await until(
        () => tab.state(id),
        (state) => state === "completed",
      );
    await eventually(() => world.ran(id).length, 3);
    const { lease } = await sound(world, id);
    assert.equal(lease?.fencingToken, 1);
  }
});

scenario("a process survives five reloads during one step: an orderly end uses up no attempt", async (world) => {
  const a = await world.open("a");
  await a.start("p", { steps: 2, gateAt: 0 });
  for (let begun = 1; begun <= 6; begun++) {
    await eventually(() => world.ran("p").length, begun);
    if (begun === 6) break;
    await a.load();
    await a.open();
  }
  await a.openGate("p");
  await a.ended("p");
  await sound(world, "p");
});

scenario(
  "a session's messages and states are seen live in a tab that does not run it, and inputs from there are run",
  async (world) => {
    const [a, b] = [await world.open("a"), await world.open("b")];
    await a.attend({ parts: 2 });
    await b.attend();
    await b.say("one");
    await b.answered("one");
    await eventually<string[] | undefined>(
      () => b.call(({ transcripts }) => transcripts.at(-1)),
      ["say one", "part 0", "part 1"],
    );
    await eventually(() => b.call(({ states }) => [states.includes("running"), states.at(-1) ?? ""]), [true, "idle"]);
    await eventually(world.turns, ["a1 one"]);
    await conversed(world, "one");
  },
);

for (const [how, go] of WAYS) {
  scenario(`a session's turn is handed over at once when ${how}`, async (world) => {
    const [a, b] = [await world.open("a"), await world.open("b")];
    await a.attend({ parts: 2, gateAt: 1 });
    await b.attend();
    await b.say("one");
    await a.atGate();
    await b.attend({ parts: 2 });
    await b.say("two");
    await go(a);
    await b.answered("two");
    await eventually(world.turns, ["a1 one", "b1 two", "b2 one"]);
    const [one] = await conversed(world, "one", "two");
    assert.equal(one?.attemptCount, 2);
    if (go === closed) world.isLeft(one?.recoveryCount, 0, 1);
    else assert.equal(one?.recoveryCount, go === killed ? 1 : 0);
    assert.deepEqual(await b.heard("fault"), []);
  });
}

const ENDS = [
  ["the content process", false],
  ["the whole browser", true],
] as const;

for (const [what, needsCrash] of ENDS) {
  const run = async (world: World) => {
    const a = await world.open("a");
    await a.attend();
    await a.call((fixture) => void fixture.flood());
    const acknowledged = () => world.facts("acknowledged").map(({ inputId }) => inputId);
    await until(acknowledged, ({ length }) => length > 20);
    await (needsCrash ? world.crash() : killed(a));
    const b = await world.open("b");
    await b.attend({ parts: 2 });
    await b.say("last");
    await b.answered("last");
    const { inputs = [], receipts = [] } = await world.rows("rt:session:s", "inputs", "receipts");
    const ids = inputs.map(({ inputId }) => inputId as string);
    assert.deepEqual(
      acknowledged().filter((id) => !ids.includes(id)),
      [],
    );
    assert.deepEqual(
      receipts.flatMap(({ receipt }) => (receipt as { contributingInputIds: string[] }).contributingInputIds).sort(),
      ids,
    );
    await conversed(world, ...ids);
  };
  scenario(`every input that was acknowledged before ${what} was killed is run, once`, run, needsCrash);
}

for (const [how, go] of WAYS) {
  const gone = (registration: string) => ({ status: "offline", registration, incarnation: 1 });
  scenario(`an agent is offline at once, told once in each other tab, when ${how}`, async (world) => {
    const a = await world.open("a");
    await a.enlist("one", "two");
    const others = [await world.open("b"), await world.open("c")];
    await others[0]?.enlist("other");
    for (const tab of others) await eventually(() => tab.seen("one", "other"), { one: true, other: true });
    await go(a);
    for (const tab of others) {
      const offline = async () =>
        ((await tab.heard("agentOffline")) as { agentId: string }[]).map(({ agentId }) => agentId).sort();
      await eventually(offline, ["one", "two"]);
      const one = await tab.agent("one");
      if (go === closed) world.isLeft<unknown>(one, gone("deregistered"), gone("expired"));
      else assert.deepEqual(one, gone(go === killed ? "expired" : "deregistered"));
      assert.deepEqual(await tab.agent("other"), { status: "online", registration: "registered", incarnation: 1 });
      await eventually(() => tab.seen("one", "two", "other"), { one: false, two: false, other: true });
      assert.deepEqual(await offline(), ["one", "two"]);
    }
  });
}

export { scenarios };

async function stored(world: World, id: string) {
  const { processes = [], events = [], leases = [] } = await world.rows(id, "processes", "events", "leases");
  return { process: processes[0], events, lease: leases[0] };
}

/** The promises for a completed process, however its owners ended: nothing doubled, nothing lost, no late write of an old one. */
async function sound(world: World, id: string, output?: object) {
  const found = await stored(world, id);
  const { process, events, lease } = found;
  assert.equal(process?.state, "completed");
  assert.deepEqual(
    events.map(({ sequence }) => sequence),
    events.map((_, at) => at + 1),
  );
  assert.equal(process?.lastSequence, events.length);
  const keys = events.flatMap(({ replayKey }) => (replayKey === undefined ? [] : [replayKey as string]));
  assert.equal(new Set(keys).size, keys.length);
  assert.equal(events.filter(({ eventType }) => eventType === "process.completed").length, 1);
  const fences = events.flatMap(({ fencingToken }) => (fencingToken === undefined ? [] : [fencingToken as number]));
  assert.deepEqual(
    fences,
    [...fences].sort((a, b) => a - b),
  );
  assert.equal(lease?.leaseToken, undefined);
  if (output) assert.deepEqual(process?.awaitOutput, output);
  return found;
}

/** The promises for a session, however its executors ended: each input run to its end, answered once, in two parts, in order. */
async function conversed(world: World, ...inputIds: string[]) {
  const tables = ["runtimes", "inputs", "messages", "leases"];
  const read = () => world.rows("rt:session:s", ...tables);
  const { runtimes, inputs, messages } = await until(read, ({ leases }) => leases?.[0]?.leaseToken === undefined);
  const records = (inputs ?? []).map(
    ({ record }) => record as { inputId: string; currentState: string; attemptCount: number; recoveryCount: number },
  );
  assert.deepEqual(
    (inputs ?? []).map(({ inputId }) => inputId),
    [...inputIds].sort(),
  );
  assert.deepEqual([...new Set(records.map(({ currentState }) => currentState))], ["consumed"]);
  const said = (messages ?? []).map(({ message }) => message as { content: string; inputId?: string });
  const order = said.flatMap(({ inputId }) => inputId ?? []);
  assert.deepEqual([...order].sort(), [...inputIds].sort());
  assert.deepEqual(
    said.map(({ content }) => content),
    order.flatMap((id) => [`say ${id}`, "part 0", "part 1"]),
  );
  assert.equal(runtimes?.[0]?.state, "idle");
  assert.equal(runtimes?.[0]?.messageCount, said.length);
  return records;
}
