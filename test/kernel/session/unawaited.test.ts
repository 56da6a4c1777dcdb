import { afterEach, describe, expect, it } from "vitest";
import { memoryStorage } from "../../../src/adapters/storage-memory.js";
import type { Turn } from "../../../src/index.js";
import { buildTown, type Town } from "../../loop/town.js";
import { rounds, until } from "../rounds.js";
import { openTab, prompt, rowsOf, saying } from "./tabs.js";

let town: Town;

afterEach(() => town.close());

/** The faults after a turn of this handler, and the unhandled rejections of the program meanwhile. */
async function run(handler: (turn: Turn) => Promise<void>) {
  town = buildTown(memoryStorage());
  const unhandled: unknown[] = [];
  const hear = (reason: unknown) => unhandled.push(reason);
  process.on("unhandledRejection", hear);
  const tab = await openTab(town, "a", handler);
  await tab.session.submit(prompt("p"));
  await until(() => tab.told.some(({ code }) => code === "run.completed"), "the end of the turn");
  await rounds(20);
  process.off("unhandledRejection", hear);
  return { told: tab.faults.map(({ area, code, message }) => [area, code, message]), unhandled, said: await rowsOf(town).said() };
}

describe("a call that a turn's handler leaves unawaited", () => {
  it("and that outlives it is told, and ends no program (A-25)", async () => {
    const { told, unhandled, said } = await run(async (turn) => {
      turn.append(saying("hello"));
      void turn.step("slow", async () => {
        await rounds(3);
        return 1;
      });
      void turn.checkpoint();
    });
    expect(unhandled).toEqual([]);
    expect(told).toEqual(
      ['step "slow"', "checkpoint"].map((what) => ["steps", "invalid", `${what} was not awaited: its handler ended first`]),
    );
    expect(said).toEqual(["p", "hello"]);
  });

  it("and that fails before it has ended is told then, and ends no program", async () => {
    const { told, unhandled } = await run(async (turn) => {
      void turn.step("broken", () => {
        throw new Error("no money");
      });
      await rounds(20);
    });
    expect(unhandled).toEqual([]);
    expect(told).toEqual([["steps", "invalid", 'step "broken" was not awaited: it failed: no money']]);
  });

  it("is not told where it was awaited", async () => {
    const { told, unhandled } = await run(async (turn) => {
      const failing = turn.step("broken", () => {
        throw new Error("no money");
      });
      await failing.catch(() => undefined);
      await turn.step("works", () => 1);
      await turn.checkpoint();
    });
    expect([told, unhandled]).toEqual([[], []]);
  });
});
