// Many tabs on one database: one wins a lease, all hear of a write, and the data survives a deletion or an upgrade as promised.
import { expect, it } from "vitest";
import {
  eventually,
  expectSound,
  newName,
  newTab,
  openTabs,
  QUICK,
  readStored,
  SLOW,
  stepIn,
  stepsBegun,
  useTabs,
} from "./harness.js";

useTabs();

it("has exactly one winner whenever six tabs claim one lease, and the fence only rises", async () => {
  const name = newName();
  const tabs = await openTabs(["a", "b", "c", "d", "e", "f"], { name, loop: "off" });
  await tabs[0]?.start("p", { steps: 1 });
  for (let round = 1; round <= 20; round++) {
    const outcomes = await Promise.all(
      tabs.map((tab) =>
        tab.call(async ({ kernel, codeOf }, ownerId) => {
          const claim = kernel.processes.claimProcessLease("p", ownerId, 60_000);
          return (await codeOf(claim)) === "resolved" ? await claim : await codeOf(claim);
        }, tab.name),
      ),
    );
    const winners = outcomes.filter((outcome) => typeof outcome === "object");
    expect(winners.map(({ fencingToken }) => fencingToken)).toEqual([round]);
    expect(outcomes.filter((outcome) => outcome === "lease-held")).toHaveLength(5);
    await tabs[0]?.call(({ kernel }, lease) => kernel.processes.completeProcessLease(lease), {
      processId: "p",
      leaseToken: winners[0]?.leaseToken ?? "",
    });
  }

  const won = await Promise.all(
    tabs.map((tab) =>
      tab.call(async ({ kernel, codeOf }, ownerId) => {
        const fences: number[] = [];
        while (fences.length < 30) {
          const claim = kernel.processes.claimProcessLease("p", ownerId, 60_000);
          if ((await codeOf(claim)) !== "resolved") continue;
          const lease = await claim;
          fences.push(lease.fencingToken);
          await kernel.processes.completeProcessLease(lease);
        }
        return fences;
      }, tab.name),
    ),
  );
  for (const fences of won) expect(fences).toEqual([...fences].sort((a, b) => a - b));
  expect(won.flat().sort((a, b) => a - b)).toEqual(Array.from({ length: 6 * 30 }, (_, at) => 21 + at));
});

it("tells a waiting tab of another tab's events and end by notice alone", async () => {
  await followFromAnotherTab({ timings: SLOW });
});

it("tells a waiting tab that hears no notices by reading again", async () => {
  await followFromAnotherTab({ timings: QUICK, channel: false });
});

async function followFromAnotherTab(options: { timings: typeof SLOW; channel?: false }): Promise<void> {
  const name = newName();
  const [a] = await openTabs(["a"], { name, timings: SLOW });
  const [b] = await openTabs(["b"], { name, loop: "off", ...options });
  await a.start("p", { steps: 4, gateAt: 1 });
  await stepIn(a, "p", "s1");
  const waiting = b.call(async ({ kernel }) => {
    const handle = kernel.process("p");
    const followed: number[] = [];
    const follow = async () => {
      for await (const { sequence } of handle.events()) followed.push(sequence);
    };
    const [, next, output, result] = await Promise.all([
      follow(),
      kernel.processes.waitEventAfter("p", "process.step", 1),
      kernel.processes.awaitProcess("p"),
      handle.outcome(),
    ]);
    return { followed, next: next.sequence, ends: [output.type, result.type] };
  });
  // The gate stays closed until the waits have read what is there.
  await b.call(() => new Promise((resolve) => setTimeout(resolve, 300)));
  await a.openGate("p");
  expect(await waiting).toEqual({ followed: [1, 2, 3, 4, 5], next: 2, ends: ["success", "success"] });
  await expectSound(name, "p", { state: "completed", steps: 4 });
}

it("says so when its database is deleted from another tab, and a new kernel works", async () => {
  const name = newName();
  const [a] = await openTabs(["a"], { name });
  const other = await newTab("other");
  await a.start("p", { steps: 2, gateAt: 1 });
  await stepIn(a, "p", "s1");
  await other.call(
    (_, database) =>
      new Promise<void>((resolve, reject) => {
        const request = indexedDB.deleteDatabase(database);
        request.onsuccess = () => resolve();
        request.onerror = () => reject(request.error);
        request.onblocked = () => reject(new Error("a connection was not let go"));
      }),
    name,
  );
  await eventually(() => a.heard("storage")).toEqual([{ state: "lost" }]);
  const codes = await a.call(({ kernel, codeOf }) =>
    Promise.all([
      codeOf(kernel.processes.getProcess("p")),
      codeOf(kernel.start({ input: { type: "external", metadata: null } })),
      codeOf(kernel.process("p").outcome()),
    ]),
  );
  expect(codes).toEqual(["unavailable", "unavailable", "unavailable"]);
  await a.openGate("p");
  await eventually(() => a.refusals("p")).toEqual(["unavailable"]);

  expect(await a.call(({ kernel, codeOf }) => codeOf(kernel.close()))).toBe("resolved");
  await a.open({ name, timings: QUICK });
  await a.start("p", { steps: 2 });
  await a.ended("p");
  await expectSound(name, "p", { state: "completed", steps: 2 });
});

it("leaves a database alone that a newer program upgraded while the tab was open", async () => {
  const name = newName();
  const [a] = await openTabs(["a"], { name });
  const other = await newTab("other");
  await a.start("p", { steps: 3, gateAt: 1 });
  await stepIn(a, "p", "s1");
  const versionOf = () =>
    other.call(async (_, database) => (await indexedDB.databases()).find((found) => found.name === database)?.version, name);
  await other.call(
    (_, database) =>
      new Promise<void>((resolve, reject) => {
        const request = indexedDB.open(database, 999);
        request.onsuccess = () => resolve(request.result.close());
        request.onerror = () => reject(request.error);
        request.onblocked = () => reject(new Error("a connection was not let go"));
      }),
    name,
  );
  const before = await readStored(name, "p");
  await eventually(() => a.heard("storage")).toEqual([{ state: "upgrade-required" }]);
  await eventually(() => a.aborts("p")).toEqual(["version"]);
  await a.openGate("p");
  await eventually(() => a.refusals("p")).toEqual(["version"]);
  const codes = await a.call(({ kernel, codeOf }) =>
    Promise.all([
      codeOf(kernel.processes.getProcess("p")),
      codeOf(kernel.processes.appendEvent("p", { eventType: "process.cancel_requested", payload: {}, replayKey: "k" })),
      codeOf(kernel.process("p").outcome()),
    ]),
  );
  expect(codes).toEqual(["version", "version", "version"]);
  expect(await a.call(({ codeOf, open }, database) => codeOf(open({ name: database })), name)).toBe("version");
  expect(await versionOf()).toBe(999);
  expect(await readStored(name, "p")).toEqual(before);
  expect(before.events).toHaveLength(1);
});

it("deletes all that a database left behind when an app asks for it, and its tabs are told (A-29)", async () => {
  const name = newName();
  const [a, b, gone] = await openTabs(["a", "b", "gone"], { name });
  await a.start("p", { steps: 2, gateAt: 1 });
  await eventually(() => stepsBegun("p").at(-1)?.key).toBe("s1");
  // A page that goes leaves a note beside the database.
  await gone.call((fixture) => fixture.attend("s"));
  await gone.load("/elsewhere");
  const other = await newTab("other");
  const left = () =>
    other.call(async (_, database) => {
      const { held = [], pending = [] } = await navigator.locks.query();
      const databases = (await indexedDB.databases()).map((found) => found.name);
      return {
        database: databases.includes(database),
        notes: Object.keys(localStorage).filter((key) => key.startsWith("holdfast:")).length,
        locks: held.length + pending.length,
      };
    }, name);
  await eventually(async () => (await left()).notes).toBe(1);
  expect(await left()).toMatchObject({ database: true, locks: expect.any(Number) });
  const code = await other.call(({ deleteKernelData, codeOf }, database) => codeOf(deleteKernelData(database)), name);
  expect(code).toBe("resolved");
  for (const tab of [a, b]) {
    await eventually(() => tab.heard("storage")).toEqual([{ state: "lost" }]);
    const codes = await tab.call(({ kernel, codeOf }) =>
      Promise.all([
        codeOf(kernel.processes.getProcess("p")),
        codeOf(kernel.start({ input: { type: "external", metadata: null } })),
        codeOf(kernel.processes.awaitProcess("p")),
      ]),
    );
    expect(codes).toEqual(["unavailable", "unavailable", "unavailable"]);
  }
  await eventually(left).toEqual({ database: false, notes: 0, locks: 0 });

  // The tab that deletes may be one of those that have it open. A new kernel begins empty, in each of them.
  await b.open({ name });
  expect(await b.call(async ({ kernel }) => (await kernel.processes.list()).length)).toBe(0);
  await b.start("q", { steps: 1 });
  await b.ended("q");
  expect(await b.call(({ deleteKernelData, codeOf }, database) => codeOf(deleteKernelData(database)), name)).toBe("resolved");
  await eventually(() => b.heard("storage")).toEqual([{ state: "lost" }, { state: "lost" }]);
  await a.open({ name });
  expect(await a.call(async ({ kernel }) => (await kernel.processes.list()).length)).toBe(0);
});

it("leaves no lock and no connection of openings that were given up, at whatever moment (A-27)", async () => {
  const name = newName();
  const a = await newTab("a");
  const codes: string[] = [];
  for (const afterMs of [0, 1, 2, 4, 8, 16, 32, 64, 0, 1, 2, 4, 8, 16])
    codes.push(await a.call((fixture, ...given) => fixture.giveUpOpening(...given), name, afterMs));
  expect(codes[0]).toBe("aborted");
  expect(codes.filter((code) => code !== "aborted" && code !== "resolved")).toEqual([]);
  await a.call(
    (_, database) =>
      new Promise<void>((resolve, reject) => {
        const request = indexedDB.deleteDatabase(database);
        request.onsuccess = () => resolve();
        request.onerror = () => reject(request.error);
        request.onblocked = () => reject(new Error("a connection was not let go"));
      }),
    name,
  );
  await eventually(() => a.call(async () => (await navigator.locks.query()).held?.length)).toBe(0);
});
