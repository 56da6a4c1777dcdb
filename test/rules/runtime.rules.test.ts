import { describe, expect, it } from "vitest";
import { newRuntime, nextRuntime } from "../../src/stores/runtime.rules.js";
import type { RuntimeRow } from "../../src/stores/schema.js";

const stored: RuntimeRow = {
  v: 1,
  runtimeId: "r",
  state: "running",
  incarnation: 3,
  sessionId: "s",
  run: { runId: "run", before: "idle", inputIds: ["a"], workId: "w" },
  nextRank: 9,
  firstRank: -2,
  endedKeys: 5,
  messageCount: 4,
  digest: "d",
  head: { id: "s", title: "t" },
  updatedAtMs: 1,
};
const nothing = { runtimeId: "r", endedKeys: 0, replaced: false };

describe("a runtime's row", () => {
  it("is not made where nobody needs it", () => {
    expect(nextRuntime(undefined, nothing, 2)).toBeUndefined();
    expect(nextRuntime(undefined, { ...nothing, replaced: true }, 2)).toBeUndefined();
  });

  it("is made for a state, and for a count", () => {
    const fresh = { v: 1, runtimeId: "r", incarnation: 0, nextRank: 0, firstRank: 0, messageCount: 0, digest: "" };
    expect(newRuntime("r", 2)).toEqual({ ...fresh, endedKeys: 0, updatedAtMs: 2 });
    expect(nextRuntime(undefined, { ...nothing, state: "idle" }, 2)).toEqual({
      ...fresh,
      endedKeys: 0,
      state: "idle",
      updatedAtMs: 2,
    });
    expect(nextRuntime(undefined, { ...nothing, endedKeys: 2 }, 2)).toEqual({ ...fresh, endedKeys: 2, updatedAtMs: 2 });
  });

  it("is not written where nothing of it changes", () => {
    expect(nextRuntime(stored, nothing, 2)).toBeUndefined();
    const { head: _, ...empty } = { ...stored, messageCount: 0, digest: "" };
    expect(nextRuntime(empty, { ...nothing, replaced: true }, 2)).toBeUndefined();
  });

  it("keeps all but what is changed, its run too", () => {
    expect(nextRuntime(stored, { ...nothing, state: "stopped", endedKeys: -2 }, 2)).toEqual({
      ...stored,
      state: "stopped",
      endedKeys: 3,
      updatedAtMs: 2,
    });
  });

  it("forgets its messages when a snapshot replaces them, and no more than these", () => {
    const { head: _, ...rest } = stored;
    expect(nextRuntime(stored, { ...nothing, replaced: true }, 2)).toEqual({
      ...rest,
      messageCount: 0,
      digest: "",
      updatedAtMs: 2,
    });
  });
});
