import { describe, expect, it } from "vitest";
import { createDice } from "../../src/simulation/machine/dice.js";
import { planOf, type Weights } from "../../src/simulation/plan.rules.js";

const FAULTS: Weights<"crash" | "freeze"> = [
  ["crash", 3],
  ["freeze", 1],
];
const WORK: Weights<"start" | "append" | "read"> = [
  ["start", 8],
  ["append", 1],
  ["read", 1],
];
const SEEDS = Array.from({ length: 60 }, (_, seed) => seed);
const planned = (seed: number, more: Partial<Parameters<typeof planOf>[0]> = {}) =>
  planOf({ steps: 100, hosts: 3, faults: FAULTS, work: WORK, ...more }, createDice(`plan ${seed}`));
const kindsOf = (seed: number) => new Set<string>(planned(seed).map(({ kind }) => kind));

describe("a plan", () => {
  it("has as many steps as were asked for, numbered from 1, one after another, each for one of the hosts", () => {
    for (const seed of SEEDS) {
      const steps = planned(seed);
      expect(steps.map(({ number }) => number)).toEqual(Array.from({ length: 100 }, (_, at) => at + 1));
      expect(steps.map(({ atMs }) => atMs)).toEqual(steps.map(({ atMs }) => atMs).sort((a, b) => a - b));
      expect(new Set(steps.map(({ host }) => host))).toEqual(new Set([0, 1, 2]));
    }
  });

  it("is the same one for the same seed, and another for another", () => {
    expect(planned(1)).toEqual(planned(1));
    expect(planned(1)).not.toEqual(planned(2));
  });

  it("leaves some kinds out in some worlds, and each is met in others", () => {
    const all = SEEDS.map(kindsOf);
    for (const kind of ["crash", "freeze", "start", "append", "read"]) {
      const having = all.filter((kinds) => kinds.has(kind)).length;
      expect(having, kind).toBeGreaterThan(0);
      expect(having, kind).toBeLessThan(SEEDS.length);
    }
  });

  it("draws a kind as often as its weight says beside the others", () => {
    const steps = SEEDS.flatMap((seed) => {
      const kinds = kindsOf(seed);
      return kinds.has("start") && kinds.has("append") ? planned(seed) : [];
    });
    const count = (of: string) => steps.filter(({ kind }) => kind === of).length;
    expect(count("start")).toBeGreaterThan(4 * count("append"));
  });

  it("is work alone where there are no faults, faults alone where there is no work, and empty where there is neither", () => {
    const work = new Set<string>(WORK.map(([kind]) => kind));
    expect(planned(1, { faults: [] }).every(({ kind }) => work.has(kind))).toBe(true);
    expect(planned(1, { work: [] }).some(({ kind }) => work.has(kind))).toBe(false);
    expect(planned(1, { faults: [], work: [] })).toEqual([]);
    expect(planned(1, { steps: 0 })).toEqual([]);
  });
});
