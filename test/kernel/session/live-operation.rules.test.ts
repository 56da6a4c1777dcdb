import { describe, expect, it } from "vitest";
import type { OperationOutcome, StoredOperationSpec } from "../../../src/domain/session/ops.js";
import {
  awaitedOf,
  endingOf,
  feedBehind,
  hasAdvanced,
  type LiveOperation,
  newOperation,
  outcomesAtClose,
  outcomesOf,
  permitOf,
  refusalOfAbsent,
  refusalOfRegistration,
  refusalOfWait,
  shownAll,
  shownLive,
  shownOne,
  storedEndOf,
} from "../../../src/kernel/session/operations/live-operation.rules.js";
import { endedOps, freshOps, type Ops } from "../../../src/stores/session/ops.rules.js";

const NOW = 1_000;
const SETTINGS = { maxCompleted: 8, maxConcurrent: null };
const FRESH = freshOps("epoch", SETTINGS);

const specOf = (id: string, more: Partial<StoredOperationSpec> = {}): StoredOperationSpec => ({
  id,
  kind: "background_tool_op",
  ownerSessionId: "s",
  displayName: `the ${id}`,
  sourceLabel: "",
  childSessionId: null,
  expectPeerChannel: false,
  ...more,
});
const liveOf = (id: string, more: Partial<LiveOperation> = {}, ops?: Ops): LiveOperation => ({
  ...newOperation(specOf(id), ops, NOW),
  ...more,
});
const done = (result: string): OperationOutcome => ({ outcomeType: "completed", result });
const withEnds = (ops: Ops, ...ids: string[]): Ops =>
  endedOps(
    ops,
    ids.map((id) => endingOf(liveOf(id, { status: "running" }, ops), done(id))),
    SETTINGS,
    NOW,
  ).ops;
const reasonOf = (error: unknown) => (error as { details?: { reason?: string } } | undefined)?.details?.reason;

describe("a registration", () => {
  const roomy = { active: 0, limit: null };

  it("is refused for an id that lives or is kept, and before its room is looked at", () => {
    const full = { active: 2, limit: 2 };
    expect(reasonOf(refusalOfRegistration("a", { isLive: true, ops: undefined }, full))).toBe("AlreadyRegistered");
    expect(reasonOf(refusalOfRegistration("a", { isLive: false, ops: withEnds(FRESH, "a") }, full))).toBe("AlreadyRegistered");
    expect(refusalOfRegistration("b", { isLive: false, ops: withEnds(FRESH, "a") }, roomy)).toBeUndefined();
  });

  it("is refused where as many live as may, and never where there is no limit", () => {
    const unknown = { isLive: false, ops: undefined };
    expect(refusalOfRegistration("a", unknown, { active: 1, limit: 2 })).toBeUndefined();
    expect(refusalOfRegistration("a", unknown, { active: 2, limit: 2 })).toMatchObject({
      code: "conflict",
      details: { reason: "MaxConcurrentExceeded", limit: 2, active: 2 },
    });
    expect(refusalOfRegistration("a", unknown, { active: 1_000, limit: null })).toBeUndefined();
  });

  it("begins behind what the feed has", () => {
    expect(newOperation(specOf("a"), undefined, NOW)).toMatchObject({ status: "provisioning", since: 0, startedAtMs: NOW });
    expect(newOperation(specOf("a"), withEnds(FRESH, "x", "y"), NOW).since).toBe(2);
  });
});

describe("a call", () => {
  it("waits while an end is being stored, whatever the table says of the status", () => {
    expect(permitOf("complete", liveOf("a", { status: "running" }), true)).toEqual({ kind: "wait" });
    expect(permitOf("complete", liveOf("a"), true)).toEqual({ kind: "wait" });
  });

  it("acts or is refused as the table says where none is", () => {
    expect(permitOf("complete", liveOf("a", { status: "running" }), false)).toEqual({ kind: "act" });
    expect(permitOf("complete", liveOf("a"), false)).toMatchObject({
      kind: "refuse",
      error: { code: "conflict", details: { reason: "InvalidTransition" } },
    });
  });

  it("on what does not live here is refused as ended where it is kept, else as unknown", () => {
    const ops = withEnds(FRESH, "a");
    expect(refusalOfAbsent("complete", "a", ops)).toMatchObject({ code: "terminal" });
    expect(refusalOfAbsent("complete", "b", ops)).toMatchObject({ code: "not-found" });
    expect(refusalOfAbsent("complete", "a", undefined)).toMatchObject({ code: "not-found" });
  });
});

describe("an end in the storage", () => {
  it("is that of an operation that was registered before it, and of no later one of its id", () => {
    const before = liveOf("a");
    const ops = withEnds(FRESH, "a");
    expect(storedEndOf(before, ops)).toEqual(done("a"));
    const forgotten: Ops = { ...ops, authorityState: { ...ops.authorityState, operations: {} } };
    expect(storedEndOf(before, forgotten)).toEqual(done("a"));
    expect(storedEndOf(liveOf("a", {}, forgotten), forgotten)).toBeUndefined();
  });
});

describe("what is shown", () => {
  it("is a copy of what lives, with what only its tab knows", () => {
    const progress = { message: "half", atMs: NOW };
    const op = liveOf("a", { status: "running", progress, peer: { address: "x" } });
    expect(shownLive(op)).toEqual({
      ...specOf("a"),
      status: "running",
      peerReady: false,
      progressCount: 0,
      startedAtMs: NOW,
      progress,
      peer: { address: "x" },
    });
    expect(shownLive(op).progress).not.toBe(progress);
  });

  it("is the stored end where there is one, also of what lived when the read began", () => {
    const ops = withEnds(FRESH, "a");
    expect(shownOne("a", liveOf("a"), ops)).toMatchObject({ status: "completed", terminalOutcome: done("a") });
    expect(shownOne("b", liveOf("b"), ops)).toMatchObject({ status: "provisioning" });
    expect(shownOne("c", undefined, ops)).toBeUndefined();
    expect(shownAll([liveOf("a"), liveOf("b")], ops).map(({ id, status }) => [id, status])).toEqual([
      ["a", "completed"],
      ["b", "provisioning"],
    ]);
    expect(shownAll([liveOf("b")], undefined).map(({ id }) => id)).toEqual(["b"]);
  });
});

describe("a wait", () => {
  it("is refused for an id twice, then for another wait", () => {
    expect(refusalOfWait(["a", "b", "a"], true)).toMatchObject({ details: { reason: "DuplicateWaitOperation", id: "a" } });
    expect(reasonOf(refusalOfWait(["a", "b"], true))).toBe("WaitAlreadyActive");
    expect(refusalOfWait(["a", "b"], false)).toBeUndefined();
    expect(refusalOfWait([], false)).toBeUndefined();
  });

  it("is for what lives here first, then for what is kept, and for nothing else", () => {
    const ops = withEnds(FRESH, "a");
    const live = liveOf("a");
    expect(awaitedOf("a", live, ops)).toBe(live);
    expect(awaitedOf("a", undefined, ops)).toEqual({ outcome: done("a"), watcherCount: 0 });
    expect(awaitedOf("b", undefined, ops)).toMatchObject({ code: "not-found" });
    expect(awaitedOf("b", undefined, undefined)).toMatchObject({ code: "not-found" });
  });

  it("is over when all have ended, and gives their ends in order", () => {
    const [one, two] = [liveOf("a", { outcome: done("a") }), liveOf("b")];
    expect(outcomesOf([two, one])).toBeUndefined();
    expect(outcomesOf([one, { ...two, outcome: done("b") }])).toEqual([done("a"), done("b")]);
    expect(outcomesOf([])).toEqual([]);
  });

  it("that a close ends gives the ends that there were, and the reason for the others", () => {
    expect(outcomesAtClose([liveOf("a", { outcome: done("a") }), liveOf("b")], "closed")).toEqual([
      done("a"),
      { outcomeType: "terminated", reason: "closed" },
    ]);
  });
});

describe("the feed", () => {
  it("is read behind a sequence, with its newest one", () => {
    const ops = withEnds(withEnds(FRESH, "a"), "b");
    expect(feedBehind(ops, 1)).toMatchObject({ entries: [{ seq: 2, operationId: "b" }], watermark: 2 });
    expect(feedBehind(ops, 9)).toEqual({ entries: [], watermark: 2 });
    expect(feedBehind(undefined, 0)).toEqual({ entries: [], watermark: 0 });
  });

  it("has advanced above the sequence that is waited for, or away from where it stood, as a new feed does", () => {
    expect(hasAdvanced(3, { seq: 2, first: 3 })).toBe(true);
    expect(hasAdvanced(2, { seq: 2, first: 2 })).toBe(false);
    expect(hasAdvanced(2, { seq: 50, first: 1 })).toBe(true);
    expect(hasAdvanced(1, { seq: 50, first: 1 })).toBe(false);
  });
});
