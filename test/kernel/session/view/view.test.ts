import { afterEach, beforeEach, describe, expect, it } from "vitest";
import "../../../../src/kernel/session/view/session-view.js";
import "../../../../src/kernel/session/view/view-sources.js";
import { HoldfastError } from "../../../../src/domain/errors.js";
import type { SessionView, View } from "../../../../src/index.js";
import { buildTown, type Town } from "../../../loop/town.js";
import type { Seen } from "../../../stores/probe-storage.js";
import { task } from "../../hosts.js";
import { rounds } from "../../rounds.js";
import { openTab, prompt, saying, type Tab } from "../tabs.js";

let town: Town;

beforeEach(() => {
  town = buildTown();
});

afterEach(() => town.close());

const POLL_MS = 5_000;
const FRAME_MS = 16;

const isOfView = ({ tables }: Seen) => tables.includes("messages") && tables.includes("leases");
const isOfProcesses = ({ mode, tables, ranges }: Seen) =>
  mode === "read" && tables.includes("registrations") && ranges.some((range) => range.startsWith("processes"));
const reads = ({ probed }: Pick<Tab, "probed">, which = isOfView) => probed.seen.filter(which).length;

const frame = async () => {
  await town.clock.advance(FRAME_MS);
  await rounds();
};

/** Subscribes; `told` has the values that the listener found. */
async function subscribe<T>(view: View<T>) {
  const told: T[] = [];
  const off = view.subscribe(() => told.push(view.get()));
  await rounds();
  return { told, off };
}

const contents = ({ messages }: SessionView) => messages.map(({ content }) => content);

describe("a view of a session", () => {
  it("reads nothing before its first subscriber and after its last (A-21)", async () => {
    const a = await openTab(town, "a");
    await a.session.submit(prompt("p"));
    await town.clock.advance(POLL_MS);
    expect(reads(a)).toBe(0);
    const { off } = await subscribe(a.session.view);
    expect(reads(a)).toBe(1);
    await town.clock.advance(POLL_MS);
    expect(reads(a)).toBe(2);
    off();
    off();
    await a.session.submit(prompt("q"));
    await town.clock.advance(3 * POLL_MS);
    expect(reads(a)).toBe(2);
    expect(contents(a.session.view.get())).toEqual(["p"]);
  });

  it("reads once for all its subscribers, also those of another object of the session (A-21)", async () => {
    const a = await openTab(town, "a");
    const again = await a.kernel.session("s");
    const views = [a.session.view, a.session.view, again.view];
    const told = await Promise.all(views.map(subscribe));
    expect(reads(a)).toBe(1);
    await a.session.submit(prompt("p"));
    await frame();
    expect(reads(a)).toBe(2);
    expect(told.map(({ told }) => told.at(-1))).toEqual(Array(3).fill(a.session.view.get()));
    expect(again.view.get()).toBe(a.session.view.get());
  });

  it("makes one read of a burst, in the next frame (A-21)", async () => {
    const a = await openTab(town, "a");
    const b = await openTab(town, "b");
    const { told } = await subscribe(a.session.view);
    told.length = 0;
    for (let at = 0; at < 50; at++) await b.session.submit(prompt(`p${at}`));
    expect([reads(a), told.length]).toEqual([1, 0]);
    await frame();
    expect([reads(a), told.length, a.session.view.get().waiting]).toEqual([2, 1, 50]);
    await frame();
    expect(reads(a)).toBe(2);
  });

  it("reads once more for changes that came while it read (A-21)", async () => {
    const a = await openTab(town, "a");
    a.probed.hooks.done = async (seen) => {
      if (!isOfView(seen) || reads(a) > 1) return;
      for (const id of ["p", "q"]) await a.session.submit(prompt(id));
    };
    await subscribe(a.session.view);
    expect([reads(a), a.session.view.get().waiting]).toEqual([1, 0]);
    await frame();
    expect([reads(a), a.session.view.get().waiting]).toEqual([2, 2]);
  });

  it("is right within one poll of a lost notice (A-21)", async () => {
    const a = await openTab(town, "a", undefined, { channel: false });
    const b = await openTab(town, "b", async (turn) => void turn.append(saying("x")), { channel: false });
    await subscribe(a.session.view);
    await b.session.submit(prompt("p"));
    await rounds(30);
    expect(contents(a.session.view.get())).toEqual([]);
    await town.clock.advance(POLL_MS);
    expect(contents(a.session.view.get())).toEqual(["p", "x"]);
  });

  it("is the same object after a read that found nothing new, and tells no one (A-21)", async () => {
    const a = await openTab(town, "a");
    await a.session.submit(prompt("p"));
    const { told } = await subscribe(a.session.view);
    const before = a.session.view.get();
    told.length = 0;
    await town.clock.advance(4 * POLL_MS);
    expect([reads(a), told.length, a.session.view.get() === before]).toEqual([5, 0, true]);
    await a.session.submit(prompt("hidden", { visibility: { transcriptEligible: false } }));
    await frame();
    const after = a.session.view.get();
    expect([after.waiting, after === before, after.messages === before.messages]).toEqual([2, false, true]);
  });

  it("keeps the objects of a transcript that a snapshot holds (A-21)", async () => {
    const a = await openTab(town, "a");
    const snapshot = (...texts: string[]) => ({
      sessionSnapshot: new TextEncoder().encode(
        JSON.stringify({ id: "s", messages: texts.map((content) => ({ role: "user", content })) }),
      ),
    });
    await a.kernel.runtime.commitSessionSnapshot(a.session.runtimeId, snapshot("one"));
    await subscribe(a.session.view);
    const { messages } = a.session.view.get();
    await town.clock.advance(POLL_MS);
    expect(a.session.view.get().messages).toBe(messages);
    await a.kernel.runtime.commitSessionSnapshot(a.session.runtimeId, snapshot("one", "two"));
    await frame();
    expect(contents(a.session.view.get())).toEqual(["one", "two"]);
    expect(a.session.view.get().messages[0]).toBe(messages[0]);
  });

  it("keeps its value when a read fails, says why, and tries again (A-21)", async () => {
    const a = await openTab(town, "a");
    await a.session.submit(prompt("p"));
    await subscribe(a.session.view);
    const before = a.session.view.get();
    a.probed.hooks.open = (seen) => {
      if (isOfView(seen)) throw new HoldfastError("unavailable", "no storage today");
    };
    await town.clock.advance(POLL_MS);
    expect(a.session.view.get()).toEqual({ ...before, error: "no storage today" });
    expect(a.session.view.get().messages).toBe(before.messages);
    a.probed.hooks = {};
    await town.clock.advance(POLL_MS);
    expect(a.session.view.get()).toEqual(before);
  });

  it("is not disturbed by a listener that throws, which is told as a fault (A-21, A-24)", async () => {
    const a = await openTab(town, "a", undefined, { log: false });
    const error = new Error("a listener failed");
    const fails = () => {
      throw error;
    };
    const offs = [a.session.view.subscribe(fails), a.kernel.views.sessions().subscribe(fails)];
    const { told } = await subscribe(a.session.view);
    await a.session.submit(prompt("p"));
    await frame();
    const failed = () => new Set(a.faults.map(({ message }) => message.split(" threw")[0]));
    await expect.poll(failed).toEqual(new Set(["a listener of the session", "a listener of views.sessions"]));
    for (const off of offs) off();
    expect(told.at(-1)).toBe(a.session.view.get());
    expect(contents(a.session.view.get())).toEqual(["p"]);
    expect(new Set(a.faults.map(({ area, error }) => (area === "listener" ? error : area)))).toEqual(new Set([error]));
    expect(failed().size).toBe(2);
  });

  it("refuses what is no listener (A-21)", async () => {
    const a = await openTab(town, "a");
    expect(() => a.session.view.subscribe(undefined as never)).toThrow(/listener/);
    expect(() => a.kernel.views.hosts().subscribe({} as never)).toThrow(/listener/);
  });

  it("shows no run of an owner that is gone, and its prompt waits, until another tab goes on (A-21)", async () => {
    const a = await openTab(town, "a", () => new Promise(() => {}));
    await a.session.submit(prompt("p"));
    await rounds(30);
    const b = await openTab(town, "b");
    await subscribe(b.session.view);
    expect(b.session.view.get().run).toMatchObject({ hostId: "a", attempt: 1, self: false });
    a.die();
    await town.clock.advance(120_000);
    const { run, messages, waiting } = b.session.view.get();
    expect([run, messages.map(({ pending }) => pending), waiting]).toEqual([undefined, ["waiting"], 1]);
    b.session.onTurn(() => new Promise(() => {}));
    await town.clock.advance(10_000);
    expect(b.session.view.get()).toMatchObject({ run: { hostId: "b", attempt: 2, self: true }, state: "running", waiting: 0 });
  });

  it("reads of a long queue only what changed (A-21)", async () => {
    const a = await openTab(town, "a");
    for (let at = 0; at < 40; at++) await a.session.submit(prompt(`p${at}`));
    await subscribe(a.session.view);
    await a.session.cancel("p7");
    await frame();
    expect(a.probed.seen.filter(isOfView).map(({ rows }) => rows)).toEqual([41, 2]);
    expect(a.session.view.get().messages[7]).toMatchObject({ content: "p7", pending: "cancelled" });
    expect(a.session.view.get().waiting).toBe(39);
  });

  it("is over for good with its kernel: nothing is read or told any more (A-21)", async () => {
    const a = await openTab(town, "a");
    const { told } = await subscribe(a.session.view);
    const processes = await subscribe(a.kernel.views.processes());
    await a.kernel.close();
    const { length } = a.probed.seen;
    expect(told.at(-1)?.status).toBe("closed");
    await subscribe(a.session.view);
    await subscribe(a.kernel.views.hosts());
    await town.clock.advance(4 * POLL_MS);
    expect([a.probed.seen.length, processes.told]).toEqual([length, []]);
    expect(a.session.view.get().status).toBe("closed");
  });
});

describe("views of a kernel", () => {
  it("of one name and filter read once, and give the same objects (A-21)", async () => {
    const a = await town.host("a", { loop: "off" });
    await a.kernel.processes.registerProcess({ id: "p", ...task("t") });
    const before = reads(a, isOfProcesses);
    const [one, two] = [a.kernel.views.processes(), a.kernel.views.processes({})];
    const [first, second] = [await subscribe(one), await subscribe(two)];
    expect([reads(a, isOfProcesses) - before, one.get().length, one.get() === two.get()]).toEqual([1, 1, true]);
    expect(a.kernel.views.processes().get()).toBe(one.get());
    for (const id of ["q", "r"]) await a.kernel.processes.registerProcess({ id, ...task("t") });
    await frame();
    expect([reads(a, isOfProcesses) - before, one.get().length, one.get() === two.get()]).toEqual([2, 3, true]);
    first.off();
    second.off();
    await town.clock.advance(2 * POLL_MS);
    expect(reads(a, isOfProcesses) - before).toBe(2);
  });

  it("refuse a wrong filter at once (A-21)", async () => {
    const { views } = (await town.host("a", { loop: "off" })).kernel;
    const invalid = expect.objectContaining({ code: "invalid" });
    expect(() => views.processes({ state: "gone" as never })).toThrow(invalid);
    expect(() => views.processes({ limit: -1 })).toThrow(invalid);
    expect(() => views.process("")).toThrow(invalid);
    expect(() => views.sessions("s" as never)).toThrow(invalid);
  });

  it("of one process hear of that one alone (A-21)", async () => {
    const a = await town.host("a", { loop: "off" });
    const { off } = await subscribe(a.kernel.views.process("p"));
    const isGet = ({ gets }: Seen) => gets.some((get) => get === 'processes "p"');
    const before = reads(a, isGet);
    await a.kernel.processes.registerProcess({ id: "other", ...task("t") });
    await frame();
    expect(reads(a, isGet)).toBe(before);
    await a.kernel.processes.registerProcess({ id: "p", ...task("t") });
    await frame();
    expect(a.kernel.views.process("p").get()).toMatchObject({ id: "p" });
    off();
  });
});
