import { describe, expect, it } from "vitest";
import type { Row } from "../../src/ports/storage.js";
import { type BesideRows, unfinished } from "../../src/simulation/judge/unfinished.rules.js";
import { ObservedRows } from "../../src/simulation/machine/rows.js";
import type { TableName } from "../../src/stores/schema.js";

const NOW_MS = 100_000;
const BESIDE: BesideRows = { nowMs: NOW_MS, staleAfterMs: 30_000, waiting: [], keeperOf: () => undefined };

function rowsOf(...puts: [table: TableName, row: Omit<Row, "v">][]): ObservedRows {
  const rows = new ObservedRows();
  rows.apply(puts.map(([table, row]) => ({ table, put: { v: 1, ...row } as Row })));
  return rows;
}

describe("what is unfinished", () => {
  it("is what runs, what is not over and what is held, and every call that is waited for", () => {
    const rows = rowsOf(
      ["processes", { processId: "p", state: "running" }],
      ["processes", { processId: "q", state: "completed" }],
      ["inputs", { runtimeId: "r", inputId: "i", record: { currentState: "queued" } }],
      ["inputs", { runtimeId: "r", inputId: "j", record: { currentState: "consumed" } }],
      ["runtimes", { runtimeId: "r", run: { runId: "one" } }],
      ["runtimes", { runtimeId: "s" }],
      ["leases", { resource: "p", leaseToken: "t" }],
      ["leases", { resource: "q" }],
    );
    expect(unfinished(rows, { ...BESIDE, waiting: ["h1.1 starts p, and still waits"] })).toEqual([
      "process p runs",
      "input i is queued",
      "r is in run one",
      "p is leased",
      "h1.1 starts p, and still waits",
    ]);
    expect(unfinished(new ObservedRows(), BESIDE)).toEqual([]);
  });

  it("is an agent that is online where no app has it, or offline where one has", () => {
    const agent = (agentId: string, more: object) => ["agents", { agentId, lastSeenAtMs: 0, ...more }] as const;
    const rows = rowsOf(
      ["hosts", { bootId: "live", lastSeenAtMs: NOW_MS }],
      ["hosts", { bootId: "over", lastSeenAtMs: NOW_MS, end: "left" }],
      [...agent("kept", { bootId: "live" })],
      [...agent("left alone", { bootId: "live" })],
      [...agent("stale", { lastSeenAtMs: NOW_MS - 30_000 })],
      [...agent("ended", { bootId: "live", ended: "expired" })],
      [...agent("of one that is over", { bootId: "over" })],
    );
    const kept = new Set(["kept", "stale", "ended"]);
    const keeperOf = (agentId: string) => (kept.has(agentId) ? { name: "h1.1" } : undefined);
    expect(unfinished(rows, { ...BESIDE, keeperOf })).toEqual([
      "agent left alone is online, and no app has it",
      "agent stale of h1.1 is offline",
      "agent ended of h1.1 is offline",
    ]);
  });
});
