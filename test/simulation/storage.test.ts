import { describe, expect, it } from "vitest";
import type { OpenStorage, Row } from "../../src/ports/storage.js";
import { createDice } from "../../src/simulation/machine/dice.js";
import { createLife, createMachine, type Trap } from "../../src/simulation/machine/machine.js";
import { createSharedStorage } from "../../src/simulation/machine/storage.js";
import { createTimeline } from "../../src/simulation/machine/timeline.js";
import { SCHEMA } from "../../src/stores/schema.js";

const ROW: Row = { v: 1, name: "leases", floor: 7 };

/** One write of one row by a host with one trap: what its caller is told, how often its body ran, and what is stored. */
async function writeUnder(kind: Trap["kind"], seed: number) {
  const timeline = createTimeline();
  const machine = createMachine(timeline);
  const life = createLife(machine, "h1.1", createDice(`storage ${seed}`));
  const struck: string[] = [];
  let commits = 0;
  let bodies = 0;
  const ground = createSharedStorage({
    machine,
    onCommit: () => void commits++,
    happened: (fault) => void struck.push(fault),
    sabotage: undefined,
  });
  const write = async (storage: OpenStorage) =>
    await storage.transact(["floors"], "write", async (tx) => {
      bodies++;
      tx.write([{ table: "floors", put: ROW }]);
    });
  const told = ground
    .placeFor(life)
    .open({ name: "s", schema: SCHEMA, durability: "strict", newDatabaseId: "d", onState: () => {} })
    .then((storage) => {
      life.traps.push({ kind, left: 1, spring: () => {} });
      return write(storage);
    })
    .then(
      () => "stored",
      (error: { code: string; details?: unknown }) => ({ code: error.code, details: error.details }),
    );
  await timeline.run(1_000, () => false);
  timeline.close();
  return { told: await told, struck, bodies, commits, stored: ground.rows.all("floors") };
}

const SEEDS = Array.from({ length: 30 }, (_, at) => at);

describe("a connection that is lost", () => {
  it("under a commit is told as an unknown outcome, and the commit is stored in some worlds and not in others", async () => {
    const found = await Promise.all(SEEDS.map((seed) => writeUnder("unheard", seed)));
    for (const { told, struck, bodies, commits, stored } of found) {
      expect(told).toEqual({ code: "unavailable", details: { outcome: "unknown" } });
      expect([struck, bodies]).toEqual([["unheard"], 1]);
      expect(stored).toEqual(commits === 1 ? [ROW] : []);
    }
    expect(new Set(found.map(({ commits }) => commits))).toEqual(new Set([0, 1]));
  });

  it("before a commit is asked for is opened again, and the write is stored once, whether its body had run or not", async () => {
    const found = await Promise.all(SEEDS.map((seed) => writeUnder("cut", seed)));
    for (const { told, struck, commits, stored } of found) {
      expect([told, struck, commits]).toEqual(["stored", ["cut"], 1]);
      expect(stored).toEqual([ROW]);
    }
    expect(new Set(found.map(({ bodies }) => bodies))).toEqual(new Set([1, 2]));
  });
});
