// The bench's way from figures to the text of its report.
import { describe, expect, it } from "vitest";
import { measure, quantile } from "../../bench/measure.js";
import { plot } from "../../bench/plot.js";
import { verdict } from "../../bench/verdict.js";
import type { Bench, Measured } from "../../bench/work.js";

const measured: Measured = {
  work: "w",
  seconds: 1,
  rows: [
    { name: "mine", rounds: [1, 2, 4] },
    { name: "floor", rounds: [2, 2, 2] },
  ],
  facts: [{ name: "size", value: 41, unit: "kB" }],
};

describe("a verdict", () => {
  it("compares within each round and goes by the median", () => {
    expect(verdict({ of: "mine", over: "floor", speed: 1 }, measured)).toMatchObject({ values: [2, 1, 0.5], reached: true });
    expect(verdict({ of: "mine", over: "floor", speed: 1.1 }, measured)).toMatchObject({ reached: false });
    expect(verdict({ of: "mine", over: "floor", time: 1 }, measured)).toMatchObject({ values: [0.5, 1, 2], reached: true });
    expect(verdict({ of: "mine", over: "floor", time: 0.9 }, measured)).toMatchObject({ reached: false });
    expect(verdict({ of: "mine", over: "floor", beyondMs: 0 }, measured)).toMatchObject({ values: [-1, 0, 2], reached: true });
  });

  it("takes a fact as it is", () => {
    expect(verdict({ fact: "size", atMost: 41 }, measured)).toMatchObject({ values: [41], reached: true });
    expect(verdict({ fact: "size", atMost: 40 }, measured)).toMatchObject({ reached: false });
  });

  it("compares at the size that the goal names, where there are several", () => {
    const rows = [1, 100].flatMap((at) => [
      { name: "mine", at, rounds: [3 * at] },
      { name: "floor", at, rounds: [at === 1 ? 1 : 50] },
    ]);
    const sized = { ...measured, rows };
    expect(verdict({ of: "mine", over: "floor", at: 100, time: 6 }, sized)).toMatchObject({ values: [6], reached: true });
    expect(verdict({ of: "mine", over: "floor", at: 1, time: 6 }, sized)).toMatchObject({ values: [3] });
    expect(verdict({ of: "mine", over: "floor", at: 10, time: 6 }, sized)).toBeUndefined();
  });

  it("is none where a side was not measured, and judges nothing that is only printed", () => {
    expect(verdict({ of: "mine", over: "absent", speed: 1 }, measured)).toBeUndefined();
    expect(verdict({ of: "mine", over: "floor", speed: "printed" }, measured)?.reached).toBeUndefined();
  });
});

describe("a measurement", () => {
  const bench: Bench = {
    quick: false,
    size: (full) => full,
    peers: async () => ({}),
    heap: async () => 0,
    openTab: () => Promise.reject(new Error("no tabs")),
  };

  it("runs every variant in every round, in changing order, after one that does not count", async () => {
    const order: string[] = [];
    const variants = ["a", "b", "c"].map((name) => ({
      name,
      run: async () => {
        order.push(name);
        return 1;
      },
    }));
    const work = { name: "w", title: "", about: "", unit: "ms", goals: [], rounds: 7 };
    const { rows } = await measure({ ...work, open: async () => ({ variants, close: async () => {} }) }, bench);
    expect(rows.map(({ rounds }) => rounds.length)).toEqual([7, 7, 7]);
    const rounds = Array.from({ length: 8 }, (_, at) => order.slice(at * 3, at * 3 + 3));
    for (const round of rounds) expect([...round].sort()).toEqual(["a", "b", "c"]);
    expect(new Set(rounds.map(([first]) => first)).size).toBe(3);
  });

  it("tells of many samples their median and their 95th percentile", async () => {
    const samples = Array.from({ length: 101 }, (_, at) => at);
    const variants = [{ name: "a", run: async () => samples }];
    const work = { name: "w", title: "", about: "", unit: "ms", goals: [], rounds: 1 };
    const { rows } = await measure({ ...work, open: async () => ({ variants, close: async () => {} }) }, bench);
    expect(rows).toEqual([
      { name: "a, median", rounds: [50] },
      { name: "a, p95", rounds: [95] },
    ]);
  });

  it("closes what a work opened when a variant fails", async () => {
    let closed = false;
    const failing = { name: "a", run: () => Promise.reject(new Error("broken")) };
    const close = async () => {
      closed = true;
    };
    const work = { name: "w", title: "", about: "", unit: "ms", goals: [] };
    await expect(measure({ ...work, open: async () => ({ variants: [failing], close }) }, bench)).rejects.toThrow("broken");
    expect(closed).toBe(true);
  });
});

it("a quantile lies between its neighbours", () => {
  expect(quantile([4, 1, 3, 2], 0.5)).toBe(2.5);
  expect(quantile([1], 0.95)).toBe(1);
});

it("a plot puts equal factors at equal distances", () => {
  const points = [1, 10, 100].map((x) => ({ x, y: x, low: x, high: x }));
  const svg = plot("t", "x", "y", [{ name: "linear", points }]);
  const circles = [...svg.matchAll(/<circle cx="([\d.]+)" cy="([\d.]+)" r="3.5"/g)].map(([, x, y]) => [Number(x), Number(y)]);
  const [a, b, c] = circles as [number[], number[], number[]];
  expect((b[0] ?? 0) - (a[0] ?? 0)).toBeCloseTo((c[0] ?? 0) - (b[0] ?? 0), 0);
  expect((a[1] ?? 0) - (b[1] ?? 0)).toBeCloseTo((b[1] ?? 0) - (c[1] ?? 0), 0);
  expect(b[1]).toBeLessThan(a[1] ?? 0);
});
