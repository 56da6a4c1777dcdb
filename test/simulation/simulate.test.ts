import { describe, expect, it } from "vitest";
import { type FaultKind, shrink, simulate } from "../../src/simulation.js";
import { meddle, puts } from "./meddle.js";

const SEEDS = 240;
const PARTS = 6;
const STEPS = 60;

describe("simulated worlds", () => {
  const struck = new Map<string, number>();

  it.each(Array.from({ length: PARTS }, (_, part) => [1 + (part * SEEDS) / PARTS, ((part + 1) * SEEDS) / PARTS] as const))(
    "hold every rule, and finish what can finish: seeds %i to %i",
    async (first, last) => {
      for (let seed = first; seed <= last; seed++) {
        const { failure, faults } = await simulate({ seed, steps: STEPS });
        expect(failure, `npm run simulate -- --seed ${seed} --steps ${STEPS}`).toBeUndefined();
        for (const [kind, count] of Object.entries(faults)) struck.set(kind, (struck.get(kind) ?? 0) + count);
      }
    },
    120_000,
  );

  it("met every kind of fault, many times", () => {
    const wanted: readonly FaultKind[] = [
      ...([
        "crash",
        "leave",
        "freeze",
        "slowWake",
        "sleep",
        "slow",
        "clockForward",
        "clockBack",
        "lost",
        "doubled",
        "delayed",
      ] as const),
      ...(["reordered", "aborted", "quota", "cut", "unheard", "wiped", "lockless"] as const),
    ];
    expect([...struck.keys()].sort()).toEqual([...wanted].sort());
    for (const kind of wanted) expect(struck.get(kind), kind).toBeGreaterThan(20);
  });
});

describe("a seed", () => {
  it.each([1, 2, 3, 7, 20])("%i gives the same history twice, byte for byte", async (seed) => {
    const [one, other] = [await simulate({ seed }), await simulate({ seed })];
    expect(one.history.join("\n")).toBe(other.history.join("\n"));
    expect(one).toEqual(other);
    expect(one.commits).toBeGreaterThan(50);
  });

  it("gives the same history beside other worlds that run at the same time", async () => {
    const alone = await simulate({ seed: 4 });
    const [beside] = await Promise.all([simulate({ seed: 4 }), simulate({ seed: 5 }), simulate({ seed: 6 })]);
    expect(beside.history).toEqual(alone.history);
  });

  it("gives another history than another one", async () => {
    const [one, other] = [await simulate({ seed: 1 }), await simulate({ seed: 2 })];
    expect(one.history).not.toEqual(other.history);
  });
});

describe("a failure", () => {
  const sabotage = meddle(() => ({ writes: puts("receipts", () => undefined) }));

  it("is run again by its steps alone, and shrinks to fewer of them", async () => {
    const options = { seed: 2, sabotage };
    const failed = await simulate(options);
    const shortest = await shrink(options, failed);
    expect(shortest.failure?.rule).toBe(failed.failure?.rule);
    expect(shortest.steps.length).toBeLessThan(failed.steps.length);
    expect(shortest.steps.map(({ told }) => told).join()).toContain("submits");
    const again = await simulate({ ...options, only: shortest.steps.map(({ number }) => number) });
    expect(again).toEqual(shortest);
  });
});

describe("a world that cannot be", () => {
  it.each([
    [{ seed: "1" }, /options\.seed/],
    [{ seed: 1.5 }, /options\.seed/],
    [{ seed: 1, steps: -1 }, /options\.steps/],
    [{ seed: 1, hosts: 0 }, /options\.hosts/],
    [{ seed: 1, faults: ["flood"] }, /options\.faults\[0\]/],
    [{ seed: 1, work: "start" }, /options\.work/],
    [{ seed: 1, only: [0] }, /options\.only\[0\]/],
    [undefined, /options/],
  ])("is refused: %j", async (options, message) => {
    await expect(simulate(options as never)).rejects.toMatchObject({ code: "invalid", message: expect.stringMatching(message) });
  });

  it("may be an empty one", async () => {
    expect(await simulate({ seed: 1, work: [], faults: [] })).not.toHaveProperty("failure");
    expect((await simulate({ seed: 1, steps: 0, hosts: 1 })).steps).toEqual([]);
  });
});
