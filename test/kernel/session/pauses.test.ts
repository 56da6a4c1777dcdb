import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { comes } from "../../../src/conformance/session/session.fixture.js";
import { buildTown, type Town } from "../../loop/town.js";
import { rounds } from "../rounds.js";
import { openTab, prompt, rowsOf } from "./tabs.js";

let town: Town;
let rows: ReturnType<typeof rowsOf>;

beforeEach(() => {
  town = buildTown();
  rows = rowsOf(town);
});

afterEach(() => town.close());

/** The end of a pause, and the moments in which the tabs let those before them go first. */
async function pauseEnds(ms: number): Promise<void> {
  await town.clock.advance(ms);
  for (let moment = 0; moment < 4; moment++) {
    await rounds(30);
    await town.clock.advance(30);
  }
}

const POLICY = { attempts: 5, backoffMs: 2_000, factor: 2, maxBackoffMs: 60_000 };

describe("a failed turn of several tabs (A-18)", () => {
  it("is begun again at the end of the pause, by one tab, and by none before", async () => {
    const begun: string[] = [];
    const turnRetry = { ...POLICY, jitter: 0 };
    const open = (name: string) =>
      openTab(
        town,
        name,
        async ({ attempt, inputs }) => {
          begun.push(`${inputs[0]?.inputId} ${attempt} at ${town.clock.now() - startMs}`);
          if (inputs[0]?.inputId === "p" && attempt < 3) throw new Error("no");
        },
        { turnRetry },
      );
    const startMs = town.clock.now();
    const [a] = await Promise.all(["a", "b", "c"].map(open));
    await a?.session.submit(prompt("p"));
    await comes(async () => (await rows.record("p")).retryAtMs !== undefined, "its failure");
    const failedMs = town.clock.now() - startMs;
    expect((await rows.record("p")).retryAtMs).toBe(startMs + failedMs + 2_000);
    expect((await rows.lease())?.leaseToken).toBeUndefined();
    // Another input in its lane wakes the tabs, and changes nothing.
    await a?.session.submit(prompt("q"));
    await rounds(30);
    await town.clock.advance(1_990);
    await rounds(30);
    expect(begun.length).toBe(1);
    await pauseEnds(10);
    await comes(async () => (await rows.record("p")).attemptCount === 2, "its second attempt");
    await town.clock.advance(3_000);
    await rounds(30);
    expect(begun.length).toBe(2);
    await pauseEnds(1_200);
    await comes(async () => (await rows.phase("q")) === "consumed", "the end of both");
    expect(begun).toEqual(["p 1 at 0", "p 2 at 2000", "p 3 at 6000", "q 1 at 6000"]);
    expect(await rows.phase("p")).toBe("consumed");
  });

  it("goes on in another tab when the one that began the pause dies", async () => {
    const turnRetry = { ...POLICY, jitter: 0 };
    const a = await openTab(town, "a", () => Promise.reject(new Error("no")), { turnRetry });
    await a.session.submit(prompt("p"));
    await comes(async () => (await rows.record("p")).retryAtMs !== undefined, "its failure");
    const { retryAtMs = 0 } = await rows.record("p");
    a.die();
    const begun: number[] = [];
    await openTab(town, "b", async () => void begun.push(town.clock.now()), { turnRetry });
    await rounds(30);
    await town.clock.advance(1_900);
    await rounds(30);
    expect([begun, (await rows.record("p")).retryAtMs]).toEqual([[], retryAtMs]);
    await pauseEnds(200);
    await comes(async () => (await rows.phase("p")) === "consumed", "its end");
    expect(begun.length).toBe(1);
    expect((begun[0] ?? 0) >= retryAtMs).toBe(true);
    expect(await rows.counts("p")).toEqual({ attemptCount: 2, recoveryCount: 0 });
  });

  it("has pauses that chance makes longer or shorter, by the random numbers of the kernel", async () => {
    const pauses: number[] = [];
    for (const [name, byte] of [
      ["a", 0],
      ["b", 255],
    ] as const) {
      let counter = 0;
      // Ids must differ: only the first half of each draw is fixed.
      const random = (bytes: number) => Uint8Array.from({ length: bytes }, (_, at) => (at < 8 ? byte : counter++ % 256));
      const options = { turnRetry: { ...POLICY, jitter: 0.5 }, random };
      const tab = await openTab(town, name, () => Promise.reject(new Error("no")), options);
      await tab.session.submit(prompt(name));
      await comes(async () => (await rows.record(name)).retryAtMs !== undefined, "its failure");
      const { retryAtMs = 0, updatedAtMs } = await rows.record(name);
      pauses.push(retryAtMs - updatedAtMs);
      await tab.session.cancel(name);
      await tab.kernel.close();
    }
    expect(pauses).toEqual([1_000, 3_000]);
  });
});
