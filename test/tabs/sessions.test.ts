// Sessions in real tabs that end at any moment: while they submit, run turns, or recover another tab's turn; and turns whose
// page is blocked, whose worker ends, or for which no space is left. Tests with slow timings rule out that an expired lease
// explains the result.
import { expect, it } from "vitest";
import type { StoredInputState } from "../../src/index.js";
import { answered, atGate, attend, expectSound, messages, readStored, SESSION, say, turns } from "./conversation.js";
import { eventually, facts, goBack, newName, newTab, openTabs, QUICK, SLOW, type Tab, useTabs } from "./harness.js";

useTabs();

const acknowledged = (prefix = "") =>
  facts("acknowledged").flatMap(({ inputId }) => (inputId.startsWith(prefix) ? [inputId] : []));
const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

// This test is the first: the browser remembers for a while how much space is left.
it("refuses inputs for which no space is left, counts no turn as failed over it, and goes on when there is some again", async () => {
  const name = newName();
  const timings = { leaseTtlMs: 20_000, leaseRenewMs: 2_000, sweepMs: 1_000, pollMs: 500 };
  const first = await newTab("first");
  await first.setQuota(3_000_000);
  const [a, b] = await openTabs(["a", "b"], { name, timings });
  await attend(a, { parts: 2, gateAt: 1 });
  await attend(b);
  await say(b, "one");
  await atGate(a);
  // The inputs fill the space down to the last bytes.
  const refused = await b.call(async ({ kernel, codeOf }) => {
    const other = await kernel.session("other");
    const codes: string[] = [];
    for (let length = 512_000; length > 256; ) {
      const code = await codeOf(other.submit({ inputType: "prompt", text: "x".repeat(length) }));
      if (code === "resolved") continue;
      codes.push(code);
      length /= 2;
    }
    return codes;
  });
  expect(new Set(refused)).toEqual(new Set(["quota-exceeded"]));
  const before = await readStored(name);
  const submit = (tab: Tab, length: number) =>
    tab.call(
      ({ session, codeOf }, text) => codeOf(session.submit({ inputType: "prompt", text, inputId: "two", idempotencyKey: "2" })),
      "say two".padEnd(length),
    );
  try {
    await a.setQuota(1);
    for (const tab of [a, b, a, b]) expect(await submit(tab, 5_000)).toBe("quota-exceeded");
    await a.openGate(SESSION);
    await eventually(() => a.refusals(SESSION)).toEqual(["quota-exceeded"]);
    expect(await readStored(name)).toEqual({ ...before, lease: expect.anything() });
  } finally {
    await a.setQuota();
  }
  await answered(b, "one");
  expect(turns()).toEqual(["a1 one", "a2 one"]);
  expect(await submit(b, 0)).toBe("resolved");
  await answered(b, "two");
  const { inputs } = await expectSound(name, ["one", "two"], 2);
  expect(inputs[0]?.record).toMatchObject({ attemptCount: 2, recoveryCount: 0 });
});

it("loses and doubles nothing when tabs that submit crash one after another while another runs the turns", async () => {
  const name = newName();
  const [b] = await openTabs(["b"], { name, timings: SLOW });
  await attend(b, { parts: 1 });
  for (const round of [1, 2, 3, 4, 5]) {
    const [a] = await openTabs([`a${round}`], { name, timings: SLOW });
    await attend(a);
    void a.call((fixture, prefix) => fixture.flood(prefix), `r${round}`).catch(() => undefined);
    await eventually(() => acknowledged(`r${round}`).length).toBeGreaterThan(round * 2);
    await a.crash();
    await a.close();
  }
  // A client that does not know the outcome of a submit submits the input again: its key makes both one.
  const told = acknowledged();
  const again = await b.call(
    (fixture, ids) =>
      Promise.all(
        ids.map((id) =>
          fixture.session.submit({
            inputType: "prompt",
            text: `say ${id}`,
            inputId: `again ${id}`,
            idempotencyKey: `key of ${id}`,
          }),
        ),
      ),
    told,
  );
  expect(again).toEqual(told.map((id) => ({ outcome: "deduplicated", inputId: `again ${id}`, existingId: id })));
  await say(b, "last");
  await answered(b, "last");
  const ids = (await readStored(name)).inputs.map(({ inputId }) => inputId);
  expect(told.filter((id) => !ids.includes(id))).toEqual([]);
  const { inputs } = await expectSound(name, ids, 1);
  expect(inputs.filter(({ record }) => record.attemptCount !== 1)).toEqual([]);
  expect(await b.heard("fault")).toEqual([]);
});

it("runs no input again that has its receipt, and says nothing twice, whenever its executors crash", async () => {
  const name = newName();
  const [watcher] = await openTabs(["watcher"], { name, timings: SLOW });
  await attend(watcher);
  const ids = Array.from({ length: 60 }, (_, at) => `i${String(at).padStart(2, "0")}`);
  for (const id of ids) await say(watcher, id);
  for (const round of [1, 2, 3, 4, 5, 6]) {
    const [tab] = await openTabs([`e${round}`], { name, timings: SLOW });
    await attend(tab, { parts: 3 });
    await eventually(() => facts("turn").filter((fact) => fact.tab === tab.name).length).toBeGreaterThan(round % 3);
    await tab.crash();
    await tab.close();
  }
  const crashed = new Set(facts("turn").flatMap(({ inputs }) => inputs)).size;
  expect(crashed, "nothing was left to be crashed over").toBeLessThan(ids.length);
  await attend(watcher, { parts: 3 });
  await answered(watcher, ids.at(-1) ?? "");
  const { inputs, receipts } = await expectSound(name, ids, 3);
  expect(receipts).toHaveLength(ids.length);
  // Every attempt but the last was a crash; none was a failure.
  for (const { record } of inputs) expect(record.attemptCount).toBe(record.recoveryCount + 1);
  const recovered = inputs.reduce((sum, { record }) => sum + record.recoveryCount, 0);
  expect(recovered).toBeLessThanOrEqual(6);
  expect(await messages(watcher)).toHaveLength(ids.length * 4);
  expect(await watcher.heard("fault")).toEqual([]);
});

it("counts one crash, and loses nothing, when tabs crash in the middle of recovering what a crashed one left", async () => {
  const name = newName();
  const [a] = await openTabs(["a"], { name, timings: SLOW });
  await attend(a, { parts: 3, gateAt: 1 });
  await say(a, "one");
  await say(a, "two");
  await atGate(a);
  await a.crash();
  for (const [at, delayMs] of [0, 10, 25, 45, 70, 100].entries()) {
    const tab = await newTab(`r${at}`);
    const opening = async () => {
      await tab.open({ name, timings: SLOW });
      await attend(tab);
    };
    void opening().catch(() => undefined);
    await wait(delayMs);
    await tab.crash();
    await tab.close();
  }
  const [b] = await openTabs(["b"], { name, timings: SLOW });
  await attend(b, { parts: 3 });
  await answered(b, "two");
  expect(turns()).toEqual(["a1 one", "b2 one", "b1 two"]);
  const { inputs } = await expectSound(name, ["one", "two"], 3);
  expect(inputs.map(({ record }) => [record.attemptCount, record.recoveryCount])).toEqual([
    [2, 1],
    [1, 0],
  ]);
});

it("goes from tab to tab and back when the one that runs it reloads, ten times, and loses no attempt", async () => {
  const name = newName();
  const [a, b] = await openTabs(["a", "b"], { name, timings: SLOW });
  const parts = { parts: 2, gateAt: 1 };
  const atGates = () => facts("part").map(({ tab }) => tab);
  await attend(a, parts);
  await attend(b, parts);
  await say(a, "one");
  for (let reloads = 1; reloads <= 10; reloads++) {
    await eventually(() => atGates().length).toBe(reloads);
    const owner = atGates().at(-1) === "a" ? a : b;
    await owner.reload();
    await eventually(() => atGates().at(-1)).toBe(owner === a ? "b" : "a");
    await owner.open({ name, timings: SLOW });
    await attend(owner, parts);
  }
  for (const tab of [a, b]) await tab.openGate(SESSION);
  await answered(a, "one");
  const { inputs } = await expectSound(name, ["one"], 2);
  expect(inputs[0]?.record).toMatchObject({ attemptCount: 11, recoveryCount: 0 });
});

it("keeps its turn when the worker ends that renews its lease", async () => {
  const name = newName();
  const [a] = await openTabs(["a"], { name, worker: "kept" });
  const [b] = await openTabs(["b"], { name });
  await attend(a, { parts: 2, gateAt: 1 });
  await say(a, "one");
  await atGate(a);
  await attend(b, { parts: 2 });
  await a.call((fixture) => fixture.workers[0]?.terminate());
  await eventually(() => a.call((fixture) => fixture.workers.length)).toBe(2);
  await wait(QUICK.leaseTtlMs + QUICK.pollMs);
  await a.openGate(SESSION);
  await answered(b, "one");
  expect(turns()).toEqual(["a1 one"]);
  expect(a.aborts(SESSION)).toEqual([]);
  await expectSound(name, ["one"], 2);
});

it("goes on in another tab when the page that runs it is in an endless loop, and refuses that one when it wakes", async () => {
  const name = newName();
  const [a, b] = await openTabs(["a", "b"], { name });
  await attend(a, { parts: 3, gateAt: 1, blockMs: 9_000 });
  await attend(b);
  await say(b, "one");
  await atGate(a);
  await attend(b, { parts: 3 });
  await answered(b, "one");
  expect(a.refusals(SESSION), "the page still sleeps").toEqual([]);
  await eventually(() => a.refusals(SESSION)).toEqual(["lease-lost"]);
  await expectSound(name, ["one"], 3);
  // The tab works like any other again.
  await say(a, "two");
  await answered(a, "two");
  await expectSound(name, ["one", "two"], 3);
  expect(await messages(a)).toEqual(await messages(b));
});

const goings: [string, (tab: Tab) => Promise<void>][] = [
  ["its kernel is closed", (tab) => tab.call((fixture) => fixture.kernel.close())],
  ["its session is closed", (tab) => tab.call((fixture) => fixture.session[Symbol.asyncDispose]())],
];

it.each(goings)("goes on in another tab at once when %s, and refuses what the old handler still does", async (_, go) => {
  const name = newName();
  const [a, b] = await openTabs(["a", "b"], { name, timings: SLOW });
  await attend(a, { parts: 2, gateAt: 1 });
  await attend(b);
  await say(b, "one");
  await atGate(a);
  await attend(b, { parts: 2, gateAt: 1 });
  await go(a);
  await atGate(b);
  await a.openGate(SESSION);
  await eventually(() => a.refusals(SESSION).length).toBe(1);
  await b.openGate(SESSION);
  await answered(b, "one");
  expect(turns()).toEqual(["a1 one", "b2 one"]);
  const { inputs } = await expectSound(name, ["one"], 2);
  expect(inputs[0]?.record).toMatchObject({ attemptCount: 2, recoveryCount: 0 });
});

it("hands over when its page is put aside, and is followed, served and run there again when the page comes back", async () => {
  const name = newName();
  const [a] = await openTabs(["a"], { name, timings: SLOW });
  await attend(a, { parts: 2, gateAt: 1 });
  await say(a, "one");
  await atGate(a);
  await a.load("/elsewhere");
  const [b] = await openTabs(["b"], { name, timings: SLOW });
  await attend(b, { parts: 2 });
  await answered(b, "one");
  await goBack(a);
  await a.openGate(SESSION);
  await eventually(() => a.refusals(SESSION)).toEqual(["lease-lost"]);

  await say(a, "two");
  await answered(b, "two");
  await eventually(() => a.call(({ transcripts }) => transcripts.at(-1)?.length)).toBe(6);
  await b.crash();
  await say(a, "three");
  await answered(a, "three");
  await expectSound(name, ["one", "two", "three"], 2);
  expect(facts("turn").filter(({ tab }) => tab === "a").length).toBeGreaterThan(1);
});

it("is left behind by nobody, whatever its tabs do at the moment in which it is deleted", async () => {
  const name = newName();
  const [a, b] = await openTabs(["a", "b"], { name, timings: SLOW });
  for (let round = 0; round < 8; round++) {
    await attend(a, { parts: 3 });
    await attend(b);
    const runs = turns().length;
    const ids = [1, 2, 3, 4, 5, 6].map((at) => `r${round}-${at}`);
    const said = Promise.allSettled(ids.map((id) => say(round % 2 ? a : b, id)));
    await eventually(() => turns().length).toBeGreaterThan(runs + (round % 3));
    await b.call(({ kernel }) => kernel.sessions.delete("s").then(() => {}));
    await said;
    for (const tab of [a, b]) {
      const late = tab.call(({ session, codeOf }) => codeOf(session.submit({ inputType: "prompt", text: "late" })));
      expect(await late).toBe("not-found");
    }
    const stored = await readStored(name);
    expect([stored.messages, stored.inputs, stored.receipts]).toEqual([[], [], []]);
    expect(stored.runtime).toMatchObject({ incarnation: round + 1, messageCount: 0 });
    expect(stored.runtime).not.toHaveProperty("state");
    expect(stored.lease?.leaseToken).toBeUndefined();
  }
  await attend(a, { parts: 1 });
  await attend(b);
  await say(b, "anew");
  await answered(b, "anew");
  await expectSound(name, ["anew"], 1);
});

it("a turn that fails in two tabs pauses in both, and is tried again after each pause (A-18)", async () => {
  const name = newName();
  const tabs = await openTabs(["a", "b"], { name, timings: QUICK });
  for (const tab of tabs) {
    await attend(tab);
    await tab.call(({ session }) => {
      session.onTurn(async ({ attempt }) => {
        if (attempt < 3) throw new Error(`no ${attempt}`);
      });
    });
  }
  const [a, b] = tabs as [Tab, Tab];
  await a.call(({ session }) => session.submit({ inputType: "prompt", text: "p", inputId: "p" }));
  const stateIn = (tab: Tab) => tab.call(async ({ session }) => (await session.inputs())[0]);
  await eventually(async () => (await stateIn(b))?.error).toBe("no 1");
  // News in both tabs, while the pause lasts.
  await b.call(({ session }) => session.submit({ inputType: "prompt", text: "q", inputId: "q" }));
  expect((await b.call(({ session }) => session.outcome("p"))).outcome).toBe("completed");
  await b.call(({ session }) => session.outcome("q"));
  const { inputs } = await readStored(name);
  const [p] = inputs.filter(({ inputId }) => inputId === "p");
  expect(p?.record).toMatchObject({ currentState: "consumed", attemptCount: 3, recoveryCount: 0 });
  const moves = (p?.record as unknown as StoredInputState | undefined)?.history ?? [];
  const pauses = moves.flatMap(({ from, to, timestampMs }, at) =>
    from === "staged" && to === "queued" ? [(moves[at + 1]?.timestampMs ?? 0) - timestampMs] : [],
  );
  // The default policy: one second, then four, each less or more by a fifth.
  expect(pauses.map((ms, at) => ms >= 0.8 * 1_000 * 4 ** at)).toEqual([true, true]);
});
