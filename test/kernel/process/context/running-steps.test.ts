// Steps of one run that are under way: which calls share a run, and which wait for themselves.
import { describe, expect, it } from "vitest";
import { manualClock } from "../../../../src/adapters/clock-manual.js";
import { createRunningSteps } from "../../../../src/kernel/process/context/running-steps.js";
import { gate, rounds } from "../../rounds.js";

function steps() {
  const clock = manualClock();
  const told: string[] = [];
  return { clock, told, steps: createRunningSteps({ clock, waitMs: 10_000, tell: (message) => told.push(message) }) };
}

describe("calls of one step", () => {
  it("share the run that the first of them began, and the next one begins anew", async () => {
    const { steps: running } = steps();
    let runs = 0;
    const call = () => running.share("a", async () => ++runs);
    expect(await Promise.all([call(), call()])).toEqual([1, 1]);
    expect(await call()).toBe(2);
  });

  it("made in its own run are refused at once before that has yielded", async () => {
    const { steps: running } = steps();
    const outer = running.share("a", () => running.begin("a", () => running.share("a", async () => 1)));
    await expect(outer).rejects.toMatchObject({ code: "invalid", message: 'step "a" was called in its own run' });
  });

  it("made in its own run later wait for themselves, and that is told", async () => {
    const { clock, told, steps: running } = steps();
    const inner = async () => {
      await Promise.resolve();
      return await running.share("a", async () => 1);
    };
    void running.share("a", () => running.begin("a", inner));
    await rounds();
    await clock.advance(9_999);
    expect(told).toEqual([]);
    await clock.advance(1);
    expect(told).toEqual([expect.stringContaining('step "a" has waited 10000 ms')]);
  });

  it("that wait no longer than that are not told, whether the run ends well or not", async () => {
    const { clock, told, steps: running } = steps();
    for (const isGood of [true, false]) {
      const { promise, open } = gate();
      const run = async () => {
        await promise;
        if (!isGood) throw new Error("no");
        return 1;
      };
      const calls = Promise.allSettled([running.share("a", run), running.share("a", run)]);
      await clock.advance(9_000);
      open();
      expect((await calls).map(({ status }) => status)).toEqual(Array(2).fill(isGood ? "fulfilled" : "rejected"));
    }
    await clock.advance(60_000);
    expect(told).toEqual([]);
  });
});

describe("steps are idle", () => {
  it("while all that run pause between two tries, and only then (F-5)", async () => {
    const { steps: running } = steps();
    const [pause, run] = [gate(), gate<number>()];
    const seen = [running.isIdle];
    const paused = running.share("a", async () => {
      await running.pausing(() => pause.promise);
      return 1;
    });
    seen.push(running.isIdle);
    const other = running.share("b", () => run.promise);
    seen.push(running.isIdle);
    run.open(2);
    await other;
    seen.push(running.isIdle);
    pause.open();
    await rounds(1);
    await paused;
    seen.push(running.isIdle);
    expect(seen).toEqual([true, true, false, true, true]);
  });
});
