// Rows leave entries behind in the ranges of an index, and the sweeper removes these.
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { LASTING_INDEXES, WORN_RANGES } from "../../src/stores/host/worn.js";
import { SCHEMA } from "../../src/stores/schema.js";
import { rounds } from "../kernel/rounds.js";
import { buildTown, type Town, type TownHost } from "./town.js";

let town: Town;
beforeEach(() => {
  town = buildTown();
});
afterEach(() => town.close());

const name = ({ table, index }: { table: string; index: string }) => `${table}.${index}`;

/** Ranges that were read in write transactions that wrote nothing, with how durable they were. */
function scansOf({ probed }: TownHost) {
  return probed.seen.flatMap(({ mode, ranges, writes, durability }) =>
    mode === "write" && writes.length === 0 ? ranges.map((range) => ({ range, durability })) : [],
  );
}

describe("an index", () => {
  it("is mended by the sweeper, or rows never leave a range of it that is read", () => {
    const indexes = Object.entries(SCHEMA.tables).flatMap(([table, { indexes = {} }]) =>
      Object.keys(indexes).map((index) => name({ table, index })),
    );
    const listed = [...WORN_RANGES.map(name), ...Object.keys(LASTING_INDEXES)];
    expect([...listed].sort()).toEqual([...indexes].sort());
  });
});

describe("a sweep", () => {
  it("reads a part of each worn range in a relaxed write transaction that writes nothing", async () => {
    const a = await town.host("a");
    await rounds();
    const before = scansOf(a).length;
    await town.clock.advance(60_000);
    const scans = scansOf(a).slice(before);
    for (const { table, index, prefix, limit } of WORN_RANGES) {
      const query = { index, limit, ...(prefix && { prefix }) };
      expect(scans).toContainEqual({ range: `${table} ${JSON.stringify(query)}`, durability: "relaxed" });
    }
    expect(a.faults).toEqual([]);
  });

  it("goes on where the one before it ended, and begins anew behind the last row", async () => {
    const off = await town.host("off", { loop: "off" });
    for (let n = 0; n < 300; n++)
      await off.kernel.processes.registerProcess({ id: `p${1_000 + n}`, input: { type: "external", metadata: null } });
    const a = await town.host("a");
    await town.clock.advance(120_000);
    const running = scansOf(a).filter(({ range }) => range.startsWith('processes {"index":"byState"'));
    const afters = running.map(({ range }) => (JSON.parse(range.slice("processes ".length)) as { after?: unknown }).after);
    expect(afters.slice(0, 3)).toEqual([undefined, ["running", "p1255"], undefined]);
  });

  it("reads the beginning of what retention removes from there each time, however many are kept behind it", async () => {
    const off = await town.host("off", { loop: "off" });
    for (let n = 0; n < 600; n++) {
      const id = `p${1_000 + n}`;
      await off.kernel.processes.registerProcess({ id, input: { type: "external", metadata: null } });
      await off.kernel.processes.completeProcess(id, { type: "success", value: n });
    }
    const a = await town.host("a");
    await town.clock.advance(120_000);
    const ended = scansOf(a).filter(({ range }) => range.startsWith('processes {"index":"ended"'));
    const queries = ended.map(({ range }) => JSON.parse(range.slice("processes ".length)) as { limit: number; after?: unknown });
    const parts = queries.filter(({ limit }) => limit > 1);
    // The parts make one round over all that is kept; the beginning is read beside each of them.
    expect(parts.slice(0, 4).map(({ after }) => after === undefined)).toEqual([true, false, false, true]);
    const beginnings = queries.filter(({ after }) => after === undefined);
    expect(beginnings.length).toBe(parts.length);
  });

  it("by one host at a time, under the sweeper's lock, is enough", async () => {
    const a = await town.host("a");
    const b = await town.host("b");
    await rounds();
    const before = scansOf(a).length + scansOf(b).length;
    await town.clock.advance(15_000);
    const sweeps = a.sweeps.length + b.sweeps.length;
    expect(scansOf(a).length + scansOf(b).length - before).toBeLessThanOrEqual(sweeps * WORN_RANGES.length);
  });
});
