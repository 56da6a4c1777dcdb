import { describe, expect, it } from "vitest";
import { isHoldfastError } from "../../../src/domain/errors.js";
import {
  asOpsSnapshot,
  OPERATION_STATUSES,
  type OperationOutcome,
  type OperationStatus,
  type PersistedOperation,
  type PersistedOpsSnapshot,
  type StoredOperationSpec,
} from "../../../src/domain/session/ops.js";
import {
  collectedOps,
  type Ending,
  endedOps,
  feedLength,
  freshOps,
  hasEnded,
  keptOf,
  knownOutcome,
  OPS_TRANSITIONS,
  type Ops,
  type OpsAction,
  opsError,
  recoveredOps,
  refusalOf,
  unknownOperation,
  watermarkOf,
} from "../../../src/stores/session/ops.rules.js";

const T = 1_000_000;
const SETTINGS = { maxCompleted: 256, maxConcurrent: null };
const LIVE = ["provisioning", "running", "retiring"] as const;

const specOf = (id: string): StoredOperationSpec => ({
  id,
  kind: "background_tool_op",
  ownerSessionId: "s",
  displayName: `the ${id}`,
  sourceLabel: "",
  childSessionId: null,
  expectPeerChannel: false,
});
const done = (result: string | number): OperationOutcome => ({ outcomeType: "completed", result });
const ending = (id: string, more: Partial<Ending> = {}): Ending => ({
  spec: specOf(id),
  peerReady: false,
  progressCount: 0,
  watcherCount: 0,
  outcome: done(id),
  since: 0,
  ...more,
});
const afterEnds = (ops: Ops, ids: readonly string[], maxCompleted = 256): Ops =>
  endedOps(
    ops,
    ids.map((id) => ending(id, { since: watermarkOf(ops) })),
    { maxCompleted, maxConcurrent: null },
    T,
  ).ops;
const fresh = () => freshOps("epoch", SETTINGS);
const numbered = (count: number, from = 1) => Array.from({ length: count }, (_, at) => `op-${at + from}`);

/** The promised call table, written out again. */
const TABLE: Record<OpsAction, { from: readonly OperationStatus[]; to: OperationStatus | "same" }> = {
  provisioningSucceeded: { from: ["provisioning"], to: "running" },
  provisioningFailed: { from: LIVE, to: "failed" },
  fail: { from: LIVE, to: "failed" },
  abortProvisioning: { from: ["provisioning"], to: "aborted" },
  complete: { from: ["running", "retiring"], to: "completed" },
  cancel: { from: LIVE, to: "cancelled" },
  requestRetire: { from: ["running"], to: "retiring" },
  markRetired: { from: ["running", "retiring"], to: "retired" },
  terminateOwner: { from: LIVE, to: "terminated" },
  peerReady: { from: ["running", "retiring"], to: "same" },
  reportProgress: { from: ["running", "retiring"], to: "same" },
};
const actions = Object.keys(TABLE) as OpsAction[];

describe("the call table", () => {
  it("knows every call and no other", () => {
    expect(Object.keys(OPS_TRANSITIONS).sort()).toEqual([...actions].sort());
  });

  it.each(actions.flatMap((action) => OPERATION_STATUSES.map((status) => [action, status] as const)))(
    "%s of one that is %s",
    (action, status) => {
      const refusal = refusalOf(action, { id: "op", kind: "mob_member_child", status, peerReady: false });
      if (TABLE[action].from.includes(status)) return expect(refusal).toBeUndefined();
      expect(refusal).toMatchObject({
        code: (LIVE as readonly string[]).includes(status) ? "conflict" : "terminal",
        details: { reason: "InvalidTransition", id: "op", status, action },
      });
    },
  );

  it.each(actions)("%s leads where it should", (action) => {
    const { to } = OPS_TRANSITIONS[action] as { to?: OperationStatus };
    expect(to ?? "same").toBe(TABLE[action].to);
  });

  it("has six ends, and nothing leads out of them", () => {
    const ends = OPERATION_STATUSES.filter(hasEnded);
    expect(ends).toEqual(["completed", "failed", "aborted", "cancelled", "retired", "terminated"]);
    for (const { from } of Object.values(OPS_TRANSITIONS)) for (const status of from) expect(ends).not.toContain(status);
  });

  it("looks at a peer's kind first, then at its readiness, then at the status (R-140)", () => {
    const reasonOf = (standing: Partial<Parameters<typeof refusalOf>[1]>) => {
      const refusal = refusalOf("peerReady", {
        id: "op",
        kind: "mob_member_child",
        status: "running",
        peerReady: false,
        ...standing,
      });
      return refusal && (refusal.details as { reason: string }).reason;
    };
    expect(reasonOf({ kind: "background_tool_op", peerReady: true, status: "failed" })).toBe("PeerNotExpected");
    expect(reasonOf({ peerReady: true, status: "failed" })).toBe("AlreadyPeerReady");
    expect(reasonOf({ status: "failed" })).toBe("InvalidTransition");
    expect(reasonOf({})).toBeUndefined();
  });

  it("looks at a peer for its readiness alone", () => {
    const standing = { id: "op", kind: "background_tool_op", status: "running", peerReady: true } as const;
    expect(refusalOf("complete", standing)).toBeUndefined();
  });

  it("refuses with a code, a word of its own, and the operation", () => {
    const standing = { id: "op", kind: "mob_member_child", status: "running", peerReady: true } as const;
    expect(refusalOf("peerReady", standing)).toMatchObject({
      code: "conflict",
      details: { reason: "AlreadyPeerReady", id: "op" },
    });
    expect(refusalOf("peerReady", { ...standing, kind: "background_tool_op" })).toMatchObject({
      code: "conflict",
      details: { reason: "PeerNotExpected", id: "op" },
    });
    expect(unknownOperation("op")).toMatchObject({ code: "not-found", details: { reason: "NotFound", id: "op" } });
    expect(opsError("conflict", "Why", "why").details).toEqual({ reason: "Why" });
  });
});

describe("an end", () => {
  it("is kept whole, and is one line of the feed (R-144)", () => {
    const { ops, ends } = endedOps(
      fresh(),
      [ending("a", { peerReady: true, progressCount: 3, watcherCount: 2 })],
      { maxCompleted: 7, maxConcurrent: 2 },
      T,
    );
    expect(ends).toEqual([{ id: "a", outcome: done("a"), late: false }]);
    expect(ops).toEqual({
      epochId: "epoch",
      authorityState: {
        operations: {
          a: {
            status: "completed",
            kind: "background_tool_op",
            peerReady: true,
            progressCount: 3,
            watcherCount: 2,
            terminalOutcome: done("a"),
            terminalBuffered: true,
          },
        },
        completedOrder: ["a"],
        maxCompleted: 7,
        maxConcurrent: 2,
        activeCount: 0,
        waitRequestId: null,
        waitOperationIds: [],
        nextCompletionSeq: 2,
      },
      operationSpecs: { a: specOf("a") },
      completionEntries: [
        {
          seq: 1,
          operationId: "a",
          kind: "background_tool_op",
          displayName: "the a",
          terminalOutcome: done("a"),
          completedAtMs: T,
        },
      ],
      cursors: { agentAppliedCursor: 0, runtimeObservedSeq: 0, runtimeLastInjectedSeq: 0 },
    });
  });

  it("is a snapshot that decodes, whatever the outcome", () => {
    const outcomes: OperationOutcome[] = [
      done(1),
      { outcomeType: "failed", error: "" },
      { outcomeType: "aborted" },
      { outcomeType: "cancelled", reason: "why" },
      { outcomeType: "retired" },
      { outcomeType: "terminated", reason: "why" },
    ];
    const { ops } = endedOps(
      fresh(),
      outcomes.map((outcome, at) => ending(`op-${at}`, { outcome })),
      SETTINGS,
      T,
    );
    expect(asOpsSnapshot("snapshot", JSON.parse(JSON.stringify(ops)))).toEqual(ops);
    expect(Object.values(ops.authorityState.operations).map(({ status }) => status)).toEqual(
      outcomes.map(({ outcomeType }) => outcomeType),
    );
  });

  it("changes nothing of what it began from", () => {
    const before = afterEnds(fresh(), ["a"]);
    const copy = structuredClone(before);
    endedOps(before, [ending("b")], { maxCompleted: 1, maxConcurrent: null }, T);
    collectedOps(before);
    expect(before).toEqual(copy);
  });

  it("takes the next sequence each (R-144)", () => {
    const ops = afterEnds(afterEnds(fresh(), ["a", "b"]), ["c"]);
    expect(ops.completionEntries.map(({ seq, operationId }) => [seq, operationId])).toEqual([
      [1, "a"],
      [2, "b"],
      [3, "c"],
    ]);
    expect(watermarkOf(ops)).toBe(3);
    expect(watermarkOf(fresh())).toBe(0);
  });

  it("pushes out the oldest over the number that is kept, with its spec, and no line of the feed (R-143)", () => {
    const ops = afterEnds(fresh(), numbered(258));
    expect(ops.authorityState.completedOrder).toEqual(numbered(256, 3));
    expect(Object.keys(ops.authorityState.operations)).toEqual(numbered(256, 3));
    expect(Object.keys(ops.operationSpecs)).toEqual(numbered(256, 3));
    expect(ops.completionEntries.map(({ operationId }) => operationId)).toEqual(numbered(258));
    expect(keptOf(ops, "op-2")).toBeUndefined();
    expect(keptOf(ops, "op-3")?.terminalOutcome).toEqual(done("op-3"));
  });

  it("drops the oldest lines over max(4 * maxCompleted, 1024) (R-143)", () => {
    expect([1, 255, 256, 257, 1000].map(feedLength)).toEqual([1024, 1024, 1024, 1028, 4000]);
    const small = afterEnds(fresh(), numbered(1030), 2);
    expect(small.completionEntries.map(({ seq }) => seq)).toEqual(Array.from({ length: 1024 }, (_, at) => at + 7));
    expect(small.authorityState.completedOrder).toEqual(["op-1029", "op-1030"]);
    expect(afterEnds(fresh(), numbered(1030), 257).completionEntries.map(({ seq }) => seq)[0]).toBe(3);
  });

  it("that stands already in just this way is found and not told twice", () => {
    const before = afterEnds(fresh(), ["a"]);
    const { ops, ends } = endedOps(before, [ending("a")], SETTINGS, T + 5);
    expect(ends).toEqual([{ id: "a", outcome: done("a"), late: false }]);
    expect(ops).toEqual(before);
  });

  it("that comes late gets the outcome that stands", () => {
    const before = afterEnds(fresh(), ["a"]);
    const { ops, ends } = endedOps(before, [ending("a", { outcome: { outcomeType: "retired" } }), ending("b")], SETTINGS, T);
    expect(ends).toEqual([
      { id: "a", outcome: done("a"), late: true },
      { id: "b", outcome: done("b"), late: false },
    ]);
    expect(ops.completionEntries.map(({ operationId }) => operationId)).toEqual(["a", "b"]);
  });

  it("is found in the feed when the operation itself was collected, if it is this registration's", () => {
    const { ops } = collectedOps(afterEnds(fresh(), ["a"]));
    expect(knownOutcome(ops, "a", 0)).toEqual(done("a"));
    expect(knownOutcome(ops, "a", 1)).toBeUndefined();
    const again = endedOps(ops, [ending("a", { since: 1 })], SETTINGS, T).ops;
    expect(again.completionEntries.map(({ seq, operationId }) => [seq, operationId])).toEqual([
      [1, "a"],
      [2, "a"],
    ]);
  });

  it("is found of an operation that is kept, also when its line of the feed is gone", () => {
    expect(knownOutcome({ ...afterEnds(fresh(), ["a"]), completionEntries: [] }, "a", 0)).toEqual(done("a"));
  });

  it("may have an id that every object has a member of", () => {
    for (const id of ["constructor", "toString", "hasOwnProperty"]) {
      expect(keptOf(fresh(), id)).toBeUndefined();
      expect(knownOutcome(fresh(), id, 0)).toBeUndefined();
      expect(keptOf(afterEnds(fresh(), [id]), id)?.status).toBe("completed");
    }
  });
});

describe("collecting", () => {
  it("takes every ended operation, oldest first, and leaves the feed and its sequence (R-146)", () => {
    const before = afterEnds(fresh(), ["b", "a", "10", "9"]);
    const { ops, taken } = collectedOps(before);
    expect(taken).toEqual(["b", "a", "10", "9"].map((id) => ({ id, outcome: done(id) })));
    expect(ops.authorityState).toEqual({ ...before.authorityState, operations: {}, completedOrder: [] });
    expect(ops.operationSpecs).toEqual({});
    expect(ops.completionEntries).toEqual(before.completionEntries);
    expect(collectedOps(ops).taken).toEqual([]);
    expect(watermarkOf(afterEnds(ops, ["next"]))).toBe(5);
  });
});

describe("recovery", () => {
  const operation = (status: OperationStatus, terminalOutcome: PersistedOperation["terminalOutcome"]): PersistedOperation => ({
    status,
    kind: "background_tool_op",
    peerReady: true,
    progressCount: 4,
    watcherCount: 1,
    terminalOutcome,
    terminalBuffered: true,
  });
  const stored = (): PersistedOpsSnapshot => {
    const { authorityState, ...rest } = afterEnds(fresh(), ["gone", "old", "new"]);
    const { gone: _, ...kept } = authorityState.operations;
    return {
      ...rest,
      authorityState: {
        ...authorityState,
        operations: {
          ...kept,
          runs: operation("running", done(1)),
          begins: operation("provisioning", null),
          endless: operation("failed", null),
          nameless: operation("retired", { outcomeType: "retired" }),
        },
        completedOrder: ["gone", "runs", "old", "new"],
        activeCount: 2,
        waitRequestId: "wait",
        waitOperationIds: ["runs"],
        nextCompletionSeq: 9,
      },
      operationSpecs: { ...rest.operationSpecs, runs: specOf("runs"), begins: specOf("begins"), endless: specOf("endless") },
      cursors: { agentAppliedCursor: 1, runtimeObservedSeq: 3, runtimeLastInjectedSeq: 2 },
    };
  };

  it("keeps only ended operations, and no wait (R-148)", () => {
    const { authorityState, operationSpecs } = recoveredOps(stored());
    expect(Object.keys(authorityState.operations)).toEqual(["old", "new"]);
    expect(Object.keys(operationSpecs)).toEqual(["old", "new"]);
    expect(authorityState).toMatchObject({
      completedOrder: ["old", "new"],
      activeCount: 0,
      waitRequestId: null,
      waitOperationIds: [],
    });
  });

  it("keeps the order in which they ended, and how", () => {
    const before = stored();
    before.authorityState.completedOrder = ["new", "gone", "old"];
    before.authorityState.operations.old = operation("failed", { outcomeType: "failed", error: "why" });
    const ops = recoveredOps(before);
    expect(ops.authorityState.completedOrder).toEqual(["new", "old"]);
    expect(keptOf(ops, "old")?.terminalOutcome).toEqual({ outcomeType: "failed", error: "why" });
  });

  it("of a registry in which nothing has ended begins with the first sequence", () => {
    expect(recoveredOps(fresh()).authorityState.nextCompletionSeq).toBe(1);
  });

  it("keeps every line of the feed, epoch and cursors, and goes on behind the sequence that was next (R-148, R-150)", () => {
    const before = stored();
    const ops = recoveredOps(before);
    expect(ops.completionEntries).toEqual(before.completionEntries);
    expect(ops.completionEntries[0]?.operationId).toBe("gone");
    expect(watermarkOf(ops)).toBe(3);
    expect(ops.epochId).toBe("epoch");
    expect(ops.cursors).toEqual(before.cursors);
    const next = afterEnds(ops, ["next"]);
    expect(next.completionEntries.at(-1)?.seq).toBe(9);
    expect(next.cursors).toEqual(before.cursors);
  });

  it("never gives a sequence again, whatever the snapshot says is next", () => {
    const before = stored();
    before.authorityState.nextCompletionSeq = 1;
    before.completionEntries.reverse();
    const ops = recoveredOps(before);
    expect(ops.completionEntries.map(({ seq }) => seq)).toEqual([1, 2, 3]);
    expect(afterEnds(ops, ["next"]).completionEntries.at(-1)?.seq).toBe(4);
  });

  it("forgets in time also what no order names", () => {
    const before = stored();
    before.authorityState.completedOrder = ["new", "new"];
    const ops = recoveredOps(before);
    expect(ops.authorityState.completedOrder).toEqual(["old", "new"]);
    expect(afterEnds(ops, ["next"], 2).authorityState.completedOrder).toEqual(["new", "next"]);
  });

  it("lifts a result whose members stand beside the tag", () => {
    const result = { id: "call", content: "text", isError: false, durationMs: 5, tokensUsed: 0 };
    const flat = { outcomeType: "completed" as const, ...result };
    const before = stored();
    before.authorityState.operations.old = operation("completed", flat);
    const [entry] = before.completionEntries;
    const ops = recoveredOps({
      ...before,
      completionEntries: [{ ...(entry as NonNullable<typeof entry>), terminalOutcome: flat }],
    });
    expect(keptOf(ops, "old")?.terminalOutcome).toEqual({ outcomeType: "completed", result });
    expect(ops.completionEntries[0]?.terminalOutcome).toEqual({ outcomeType: "completed", result });
  });

  it("of what was recovered changes nothing more", () => {
    const once = recoveredOps(stored());
    expect(recoveredOps(structuredClone(once))).toEqual(once);
  });
});

describe("a stored snapshot", () => {
  const good = () => JSON.parse(JSON.stringify(afterEnds(fresh(), ["a"])));
  const broken: [path: string, damage: (snapshot: ReturnType<typeof good>) => void][] = [
    ["snapshot.epochId", (s) => delete s.epochId],
    ["snapshot.authorityState", (s) => Object.assign(s, { authorityState: [] })],
    ["snapshot.authorityState.operations", (s) => Object.assign(s.authorityState, { operations: null })],
    ["snapshot.authorityState.operations/a.status", (s) => Object.assign(s.authorityState.operations.a, { status: "done" })],
    ["snapshot.authorityState.operations/a.terminalOutcome", (s) => delete s.authorityState.operations.a.terminalOutcome],
    ["snapshot.authorityState.completedOrder/0", (s) => Object.assign(s.authorityState, { completedOrder: [1] })],
    ["snapshot.authorityState.maxConcurrent", (s) => Object.assign(s.authorityState, { maxConcurrent: -1 })],
    ["snapshot.authorityState.nextCompletionSeq", (s) => Object.assign(s.authorityState, { nextCompletionSeq: 1.5 })],
    ["snapshot.operationSpecs/a.childSessionId", (s) => Object.assign(s.operationSpecs.a, { childSessionId: 5 })],
    ["snapshot.completionEntries/0.seq", (s) => Object.assign(s.completionEntries[0], { seq: 0 })],
    ["outcomeType", (s) => Object.assign(s.completionEntries[0].terminalOutcome, { outcomeType: "ended" })],
    ["snapshot.completionEntries/0.terminalOutcome.result", (s) => delete s.completionEntries[0].terminalOutcome.result],
    ["terminalOutcome.error", (s) => Object.assign(s.completionEntries[0], { terminalOutcome: { outcomeType: "failed" } })],
    ["snapshot.cursors.runtimeObservedSeq", (s) => delete s.cursors.runtimeObservedSeq],
  ];

  it.each(broken)("without a good %s does not decode, and the refusal names it", (path, damage) => {
    const snapshot = good();
    expect(() => asOpsSnapshot("snapshot", structuredClone(snapshot))).not.toThrow();
    damage(snapshot);
    let thrown: unknown;
    try {
      asOpsSnapshot("snapshot", snapshot);
    } catch (error) {
      thrown = error;
    }
    expect(isHoldfastError(thrown) && thrown.code).toBe("invalid");
    expect((thrown as Error).message).toContain(path);
  });
});
