import { afterEach, describe, expect, it, vi } from "vitest";
import { systemClock } from "../../src/adapters/clock-system.js";

afterEach(() => vi.restoreAllMocks());

/** A platform whose timers fire when the test says, and whose time stands still in between. */
function platform() {
  let nowMs = 1_000;
  const timers = new Map<number, { run: () => void; delayMs: number }>();
  vi.spyOn(performance, "now").mockImplementation(() => nowMs);
  vi.spyOn(globalThis, "setTimeout").mockImplementation(((run: () => void, delayMs: number) => {
    const id = timers.size + 1;
    timers.set(id, { run, delayMs });
    return id;
  }) as never);
  vi.spyOn(globalThis, "clearTimeout").mockImplementation((id) => void timers.delete(id as unknown as number));
  return {
    timers,
    fireAt(atMs: number) {
      nowMs = atMs;
      for (const [id, { run }] of [...timers]) {
        timers.delete(id);
        run();
      }
    },
  };
}

describe("a timer of the machine's clock", () => {
  it("runs nothing before its time, however early the platform fires", () => {
    const { fireAt, timers } = platform();
    let ran = 0;
    systemClock().setTimer(() => ran++, 500);
    fireAt(1_499.7);
    expect(ran).toBe(0);
    fireAt(1_499.9);
    expect(ran).toBe(0);
    fireAt(1_500);
    expect(ran).toBe(1);
    expect(timers.size).toBe(0);
  });

  it("waits for longer than a platform's timer can", () => {
    const { fireAt, timers } = platform();
    let ran = 0;
    systemClock().setTimer(() => ran++, 3_000_000_000);
    expect([...timers.values()].map(({ delayMs }) => delayMs)).toEqual([2_147_483_647]);
    fireAt(1_000 + 2_147_483_647);
    expect(ran).toBe(0);
    fireAt(1_000 + 3_000_000_000);
    expect(ran).toBe(1);
  });

  it("that was cancelled never runs, also after it fired too early", () => {
    const { fireAt, timers } = platform();
    let ran = 0;
    const cancel = systemClock().setTimer(() => ran++, 500);
    fireAt(1_499.5);
    cancel();
    expect(timers.size).toBe(0);
    fireAt(2_000);
    expect(ran).toBe(0);
  });
});
