import { describe, expect, it } from "vitest";
import type { RunBoundaryReceipt } from "../../../src/domain/session/session.js";
import {
  duplicateReceipt,
  nextRuntime,
  receiptWrite,
  snapshotWrites,
  storedBytes,
  storedReceipt,
  storedState,
} from "../../../src/stores/session/runtime.rules.js";
import { newRuntime } from "../../../src/stores/session/runtime-state.rules.js";
import type { RuntimeRow } from "../../../src/stores/session/tables.js";

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
  it("is not made by a call that changes nothing of it", () => {
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

  it("gets no head that it did not have", () => {
    const { head: _, ...headless } = stored;
    expect(nextRuntime(headless, { ...nothing, state: "stopped" }, 2)).not.toHaveProperty("head");
    expect(nextRuntime(stored, { ...nothing, replaced: true }, 2)).not.toHaveProperty("head");
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

  it("forgets what stands of a transcript, whichever of the three that is", () => {
    const { head: _, ...empty } = { ...stored, messageCount: 0, digest: "" };
    const wanted = { ...empty, updatedAtMs: 2 };
    for (const more of [{ messageCount: 1 }, { digest: "d" }, { head: { id: "s", title: "t" } }])
      expect(nextRuntime({ ...empty, ...more }, { ...nothing, replaced: true }, 2)).toEqual(wanted);
  });

  it("is written for a new revision of its inputs alone, and keeps its head", () => {
    expect(nextRuntime(stored, { ...nothing, inputRevision: 7 }, 2)).toEqual({ ...stored, inputRevision: 7, updatedAtMs: 2 });
    expect(nextRuntime(undefined, { ...nothing, inputRevision: 7 }, 2)).toMatchObject({ inputRevision: 7, endedKeys: 0 });
  });
});

describe("a snapshot", () => {
  it("takes the place of the messages, and says of which session it is", () => {
    const bytes = new Uint8Array([1]);
    expect(snapshotWrites("r", { bytes, id: "s", messageCount: 3 }, 2)).toEqual([
      { table: "snapshots", put: { v: 1, runtimeId: "r", bytes } },
      { table: "messages", dropPrefix: ["r"] },
      { table: "sessions", put: { v: 1, sessionId: "s", runtimeId: "r", messageCount: 3, updatedAtMs: 2 } },
    ]);
  });
});

describe("a receipt", () => {
  const receipt: RunBoundaryReceipt = {
    runId: "run",
    boundary: "run_start",
    contributingInputIds: ["a"],
    messageCount: 1,
    sequence: 4,
  };

  it("is stored under its runtime, run and sequence", () => {
    expect(receiptWrite("r", receipt)).toEqual({
      table: "receipts",
      put: { v: 1, runtimeId: "r", runId: "run", sequence: 4, receipt },
    });
  });

  it("that is stored already is refused by its run and sequence", () => {
    expect(duplicateReceipt(receipt)).toMatchObject({ code: "write-failed", details: { runId: "run", sequence: 4 } });
  });
});

describe("what is stored of a runtime", () => {
  const receipt: RunBoundaryReceipt = {
    runId: "i".repeat(5_000),
    boundary: "immediate",
    contributingInputIds: [],
    messageCount: 0,
    sequence: 0,
  };
  const row = { v: 1, runtimeId: "r", runId: "run", sequence: 4, receipt };

  it("is read: a receipt of any length, a known state or none, and bytes", () => {
    expect(storedReceipt(row)).toEqual(receipt);
    expect(storedState(stored)).toBe("running");
    expect(storedState(newRuntime("r", 1))).toBeUndefined();
    const bytes = new Uint8Array([1]);
    expect(storedBytes({ v: 1, runtimeId: "r", bytes })).toBe(bytes);
  });

  it.each<[string, () => unknown, string, string]>([
    [
      "a receipt",
      () => storedReceipt({ ...row, receipt: { ...receipt, boundary: "never" as never } }),
      "receipts",
      '["r","run",4]',
    ],
    ["a state", () => storedState({ ...stored, state: "asleep" as never }), "runtimes", '["r"]'],
    ["bytes", () => storedBytes({ v: 1, runtimeId: "r", bytes: "text" as never }), "snapshots", '["r"]'],
  ])("is read-failed by its row where it does not decode: %s", (_, read, table, key) => {
    expect(read).toThrow(expect.objectContaining({ code: "read-failed", details: { table, key } }));
  });

  it("has for its cause what is wrong with a receipt", () => {
    expect(() => storedReceipt({ ...row, receipt: { ...receipt, messageCount: -1 } })).toThrow(
      expect.objectContaining({
        cause: expect.objectContaining({ code: "invalid", message: expect.stringContaining("receipt.messageCount") }),
      }),
    );
  });
});
