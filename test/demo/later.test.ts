import type { ProcessRecord } from "holdfast";
import { describe, expect, it } from "vitest";
import { doing, leftInWords } from "../../demo/later.js";

const DAY_MS = 24 * 3_600_000;

const record = (more: Partial<ProcessRecord>): ProcessRecord => ({
  id: "1",
  registrationHash: "",
  input: { type: "task", name: "catalogue" },
  eventTypes: [],
  provenance: { ownerScope: { sessionId: "root" }, hostProfileId: "default" },
  createdAtMs: 0,
  updatedAtMs: 0,
  status: { state: "running" },
  ...more,
});

describe("what is done later, in words", () => {
  it.each([
    [-1, "0 s"],
    [1, "1 s"],
    [59_001, "1 min 0 s"],
    [61_000, "1 min 1 s"],
    [3_600_000, "1 h 0 min"],
    [2 * DAY_MS - 1_000, "1 d 23 h"],
  ])("%s ms are %s", (ms, words) => expect(leftInWords(ms)).toBe(words));

  it("says what a process waits for, how long, and whether a tab keeps it", () => {
    const waiting = [{ kind: "signal", key: "decided", name: "decided", sinceMs: 0, dueAtMs: 2 * DAY_MS }] as const;
    expect(doing(record({ waiting }), 0)).toBe("waits for your decision, 2 d 0 h left; kept in the memory of a tab");
    expect(doing(record({ waiting, suspended: true }), DAY_MS)).toBe(
      "waits for your decision, 1 d 0 h left; no tab keeps it in memory",
    );
    expect(doing(record({ waiting: [{ kind: "timer", key: "regret", sinceMs: 0, dueAtMs: 3_000 }] }), 0)).toBe(
      "goes on in 3 s; kept in the memory of a tab",
    );
    expect(doing(record({}), 0)).toBe("at work, or waiting for a tab that is free");
  });

  it("says how a process ended", () => {
    const success = { type: "success", value: "printed" } as const;
    expect(doing(record({ status: { state: "completed", awaitOutput: success } }), 0)).toBe("printed");
    const cancelled = { type: "cancelled", message: "cancelled in Otter" } as const;
    expect(doing(record({ status: { state: "cancelled", awaitOutput: cancelled } }), 0)).toBe("cancelled in Otter");
  });
});
