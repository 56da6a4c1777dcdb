// How many rows lists of processes read.
import { afterEach, describe, expect, it } from "vitest";
import type { Kernel } from "../../../src/kernel/kernel.js";
import type { ProcessFilter } from "../../../src/stores/process/processes.js";
import { bench, closeBenches } from "../../kernel/hosts.js";

afterEach(closeBenches);

const idOf = (n: number) => `p${10_000 + n}`;

/** Makes that many processes, in the order of their ids. Those that `ends` names have ended. `sessionOf` gives the session of each. */
async function house(count: number, ends: (n: number) => boolean, sessionOf = (_: number) => "root") {
  const { kernel, probed } = await bench({ loop: "off" });
  const { processes } = kernel;
  for (let at = 0; at < count; at += 250)
    await Promise.all(
      Array.from({ length: Math.min(250, count - at) }, async (_, n) => {
        const provenance = { ownerScope: { sessionId: sessionOf(at + n) }, hostProfileId: "default" };
        await processes.registerProcess({ id: idOf(at + n), input: { type: "external", metadata: at + n }, provenance });
        if (ends(at + n)) await processes.completeProcess(idOf(at + n), { type: "success", value: null });
      }),
    );
  const listed = async (list: (of: Kernel["processes"]) => Promise<{ id: string; input: unknown }[]>) => {
    const before = probed.seen.length;
    const records = await list(processes);
    const seen = probed.seen.slice(before);
    return {
      ids: records.map(({ id }) => id),
      records,
      gets: seen.flatMap(({ gets }) => gets).length,
      ranges: seen.flatMap(({ ranges }) => ranges).length,
      rows: seen.reduce((sum, { rows }) => sum + rows, 0),
    };
  };
  return { listed };
}

const numbers = (count: number) => Array.from({ length: count }, (_, n) => n);

describe("a list of a thousand", () => {
  const FILTERS: [string, ProcessFilter | undefined][] = [
    ["that run", undefined],
    ["of every state", {}],
    ["of a state", { state: "running" }],
    ["of a session", { sessionId: "root" }],
  ];

  it.each(FILTERS)("%s is two reads", async (_, filter) => {
    const { listed } = await house(1_000, () => false);
    const { ids, records, ranges, gets } = await listed((of) => (filter ? of.list(filter) : of.listNonTerminal()));
    expect(ids).toEqual(numbers(1_000).map(idOf));
    expect(records.map(({ input }) => input)).toEqual(numbers(1_000).map((n) => ({ type: "external", metadata: n })));
    expect([ranges, gets]).toEqual([2, 0]);
  });
});

describe("a list", () => {
  it("goes past what lies between", async () => {
    const { listed } = await house(1_200, (n) => n % 3 !== 0);
    const { ids, ranges, gets } = await listed((of) => of.listNonTerminal());
    expect(ids).toEqual(numbers(400).map((n) => idOf(3 * n)));
    expect([ranges, gets]).toEqual([2, 0]);
  });

  it("reads one by one where much lies between, and little of that", async () => {
    const { listed } = await house(3_000, (n) => n % 30 !== 0);
    const { ids, gets, rows } = await listed((of) => of.listNonTerminal());
    expect(ids).toEqual(numbers(100).map((n) => idOf(30 * n)));
    expect(gets).toBeGreaterThan(0);
    expect(rows).toBeLessThan(100 + 4 * 100 + 100);
  });

  it("of a session goes past those of others", async () => {
    const { listed } = await house(
      600,
      () => false,
      (n) => (n % 2 === 0 ? "even" : "odd"),
    );
    const { ids, gets } = await listed((of) => of.list({ sessionId: "odd" }));
    expect(ids).toEqual(numbers(300).map((n) => idOf(2 * n + 1)));
    expect(gets).toBe(0);
  });

  it("of several pages has all of them once", async () => {
    const { listed } = await house(2_100, (n) => n % 7 === 0);
    const { ids } = await listed((of) => of.listNonTerminal());
    expect(ids).toEqual(
      numbers(2_100)
        .filter((n) => n % 7 !== 0)
        .map(idOf),
    );
    const { ids: some } = await listed((of) => of.list({ after: idOf(5), limit: 3 }));
    expect(some).toEqual([6, 7, 8].map(idOf));
  });
});

describe("a record", () => {
  it("is its caller's: what that changes is in no other", async () => {
    const { kernel } = await bench({ loop: "off" });
    const { processes } = kernel;
    const input = { type: "external" as const, metadata: null };
    const eventTypes = [{ name: "note", payloadSchema: { type: "object" as const } }];
    const records = await Promise.all(["a", "a", "b"].map((id) => processes.registerProcess({ id, input, eventTypes })));
    records.push(...(await processes.listNonTerminal()));
    const untouched = JSON.stringify(await processes.getProcess("a"));
    for (const { eventTypes: types } of records) {
      for (const type of types) {
        type.name = "changed";
        if (type.semantics?.terminal) type.semantics.terminal.state = "failed";
        if (type.payloadSchema) type.payloadSchema = { type: "string" };
      }
      types.length = 1;
    }
    expect(JSON.stringify(await processes.getProcess("a"))).toBe(untouched);
    expect((await processes.completeProcess("a", { type: "success", value: 1 })).status.state).toBe("completed");
  });

  it("that was changed leaves those read at once with it as they were", async () => {
    const { kernel } = await bench({ loop: "off" });
    const input = { type: "external" as const, metadata: null };
    const [first, second] = await Promise.all(["a", "b"].map((id) => kernel.processes.registerProcess({ id, input })));
    for (const type of first?.eventTypes ?? []) type.name = "changed";
    expect(second?.eventTypes.map(({ name }) => name)).not.toContain("changed");
    const [third, fourth] = await kernel.processes.listNonTerminal();
    for (const type of third?.eventTypes ?? []) type.name = "changed";
    expect(fourth?.eventTypes.map(({ name }) => name)).not.toContain("changed");
  });
});
