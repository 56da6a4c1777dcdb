import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { manualClock } from "../../src/adapters/clock-manual.js";
import { followReads } from "../../src/corridor/follow.js";
import { broadcastNotices } from "../../src/corridor/notices.js";
import { HoldfastError } from "../../src/domain/errors.js";
import type { Change } from "../../src/ports/notices.js";
import { gate, rounds } from "../kernel/rounds.js";

const CHANGE: Change = { about: "record", id: "p" };
const POLL_MS = 5_000;

function followed(read: () => Promise<number> = async () => 1) {
  const clock = manualClock();
  const notices = broadcastNotices("n", undefined);
  const seen = { reads: 0, found: [] as number[], failed: [] as unknown[] };
  const end = followReads<number>(
    { notices, clock, timings: { pollMs: POLL_MS } },
    {
      concerns: ({ id }) => id === "p",
      read() {
        seen.reads++;
        return read();
      },
      found: (value) => seen.found.push(value),
      failed: (error) => seen.failed.push(error),
    },
  );
  return { clock, seen, end, notify: (...changes: Change[]) => notices.publish(changes.length > 0 ? changes : [CHANGE]) };
}

describe("reads that follow notices (A-21)", () => {
  it("wait 16 ms for more notices where there are no frames", async () => {
    const { clock, seen, notify, end } = followed();
    await rounds();
    for (let at = 0; at < 9; at++) notify();
    await clock.advance(15);
    expect(seen.reads).toBe(1);
    await clock.advance(1);
    expect(seen.reads).toBe(2);
    notify({ about: "record", id: "other" });
    await clock.advance(100);
    expect(seen.reads).toBe(2);
    end();
  });

  it("are made one at a time, and once more after one that may have read too early", async () => {
    const held = gate<number>();
    const answers = [held.promise, Promise.resolve(2)];
    const { clock, seen, notify, end } = followed(() => answers.shift() as Promise<number>);
    for (let at = 0; at < 3; at++) {
      notify();
      await clock.advance(100);
    }
    expect(seen.reads).toBe(1);
    held.open(1);
    await clock.advance(16);
    expect([seen.reads, seen.found]).toEqual([2, [1, 2]]);
    end();
  });

  it("are polled, from the last one on", async () => {
    const { clock, seen, notify, end } = followed();
    await rounds();
    await clock.advance(POLL_MS - 20);
    notify();
    await clock.advance(16);
    expect(seen.reads).toBe(2);
    await clock.advance(POLL_MS - 1);
    expect(seen.reads).toBe(2);
    await clock.advance(1);
    expect(seen.reads).toBe(3);
    end();
  });

  it("go on after one that fails, and end with the kernel", async () => {
    const errors = [new Error("once"), undefined, new HoldfastError("closed", "the kernel is closed")];
    const { clock, seen, notify } = followed(async () => {
      const error = errors.shift();
      if (error) throw error;
      return 1;
    });
    await clock.advance(2 * POLL_MS);
    expect([seen.reads, seen.found, seen.failed]).toEqual([3, [1], [new Error("once")]]);
    notify();
    await clock.advance(9 * POLL_MS);
    expect(seen.reads).toBe(3);
  });

  it("tell nothing and read nothing after their end", async () => {
    const held = gate<number>();
    const { clock, seen, notify, end } = followed(() => held.promise);
    notify();
    end();
    held.open(1);
    await clock.advance(9 * POLL_MS);
    expect(seen).toEqual({ reads: 1, found: [], failed: [] });
  });

  describe("in a page", () => {
    let frames: Map<number, () => void>;
    let page: { visibilityState: string };

    beforeEach(() => {
      let last = 0;
      frames = new Map();
      page = { visibilityState: "visible" };
      vi.stubGlobal("document", page);
      vi.stubGlobal("requestAnimationFrame", (run: () => void) => {
        frames.set(++last, run);
        return last;
      });
      vi.stubGlobal("cancelAnimationFrame", (id: number) => frames.delete(id));
    });

    afterEach(() => {
      vi.unstubAllGlobals();
    });

    it("wait for its next frame", async () => {
      const { clock, seen, notify, end } = followed();
      await rounds();
      notify();
      notify();
      await clock.advance(100);
      expect([seen.reads, frames.size]).toEqual([1, 1]);
      for (const run of [...frames.values()]) run();
      await rounds();
      expect([seen.reads, frames.size]).toEqual([2, 0]);
      notify();
      end();
      expect(frames.size).toBe(0);
    });

    it("do not wait for ever for one that does not come", async () => {
      const { clock, seen, notify, end } = followed();
      await rounds();
      notify();
      await clock.advance(250);
      expect([seen.reads, frames.size]).toEqual([2, 0]);
      page.visibilityState = "hidden";
      notify();
      await clock.advance(16);
      expect([seen.reads, frames.size]).toEqual([3, 0]);
      end();
    });
  });
});
