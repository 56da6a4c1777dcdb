import { afterEach, describe, expect, it, vi } from "vitest";
import { manualClock } from "../../../src/adapters/clock-manual.js";
import type { Corridor } from "../../../src/corridor/command.js";
import { HoldfastError } from "../../../src/domain/errors.js";
import { startHost, unstartedHost } from "../../../src/kernel/host/host.js";
import { lockService } from "../../loop/locks-double.js";
import { gate, rounds } from "../rounds.js";

const CLOSED = new HoldfastError("closed", "the kernel is closed");

afterEach(() => vi.unstubAllGlobals());

/** A page with a host, whose writes are answered when the test says so. */
function page() {
  const window = new EventTarget();
  vi.stubGlobal("window", window);
  vi.stubGlobal("document", new EventTarget());
  const locks = lockService().client("page");
  const writes: ReturnType<typeof gate<void>>[] = [];
  const loops: string[] = [];
  const faults: unknown[] = [];
  let boots = 0;
  const corridor = {
    run() {
      const write = gate<void>();
      writes.push(write);
      return write.promise;
    },
  } as unknown as Corridor;
  const current = unstartedHost("host", []);
  const host = startHost({
    host: current,
    corridor,
    notices: { publish() {}, subscribe: () => () => {}, pause() {}, resume() {}, close() {}, dropped: 0 },
    presence: { open() {}, close() {} },
    clock: manualClock(),
    locks,
    farewellNotes: undefined,
    newBootId: () => `boot-${++boots}`,
    lockName: (bootId) => bootId,
    startLoop() {
      const { bootId } = current.identity;
      loops.push(bootId);
      return {
        kind: "inline",
        poke() {},
        stop: async () => void loops.splice(loops.indexOf(bootId), 1),
        kill: () => void loops.pop(),
      };
    },
    work: { isHolding: false, wake: async () => {}, endAll() {}, settle: async () => {} },
    onBoot() {},
    onFault: (error) => faults.push(error),
  });
  const show = (name: "pagehide" | "pageshow") => window.dispatchEvent(Object.assign(new Event(name), { persisted: true }));
  return {
    host,
    faults,
    /** The ids of the boots whose loops run. */
    loops,
    locks: async () => {
      const { held = [], pending = [] } = await locks.query();
      return { held: held.map(({ name }) => name), pending: pending.map(({ name }) => name) };
    },
    hide: () => show("pagehide"),
    comeBack: () => show("pageshow"),
    /** Answers all writes that were asked for. */
    async answer() {
      for (const write of writes.splice(0)) write.open();
      await rounds();
    },
  };
}

describe("a page that comes back from the back/forward cache", () => {
  it("and is closed before its old boot is freed asks for no lock any more", async () => {
    const { host, locks, loops, hide, comeBack, answer } = page();
    await rounds();
    expect(await locks()).toEqual({ held: ["boot-1"], pending: [] });
    hide();
    await rounds();
    expect(await locks()).toEqual({ held: [], pending: [] });
    comeBack();
    const closed = host.close(CLOSED);
    await rounds();
    await answer();
    await closed;
    await rounds();
    expect(await locks()).toEqual({ held: [], pending: [] });
    expect(loops).toEqual([]);
  });

  it("and whose database is another's before its old boot is freed asks for no lock any more", async () => {
    const { host, locks, loops, hide, comeBack, answer } = page();
    await rounds();
    hide();
    comeBack();
    host.abort(new HoldfastError("version", "a newer holdfast upgraded it"));
    await answer();
    expect(await locks()).toEqual({ held: [], pending: [] });
    expect(loops).toEqual([]);
  });

  it("and goes again before its old boot is freed holds no lock while it is away, and one with one loop when it is back", async () => {
    const { host, locks, loops, faults, hide, comeBack, answer } = page();
    await rounds();
    hide();
    comeBack();
    hide();
    await answer();
    expect(await locks()).toEqual({ held: [], pending: [] });
    comeBack();
    hide();
    comeBack();
    await answer();
    expect(await locks()).toEqual({ held: ["boot-4"], pending: [] });
    expect(loops).toEqual(["boot-4"]);
    expect(faults).toEqual([]);
    const closed = host.close(CLOSED);
    await rounds();
    await answer();
    await closed;
    expect(await locks()).toEqual({ held: [], pending: [] });
  });
});
