import { describe, expect, it } from "vitest";
import { INPUT_KINDS, type InputKind, type PersistedInput } from "../../../../src/domain/session/input.js";
import {
  builtInPolicy,
  type HandlingMode,
  isConsumedOnAccept,
  kindOf,
  laneOf,
  semanticsOf,
  startsRun,
} from "../../../../src/stores/session/inputs/policy.rules.js";

type Line = [apply: string, idle: string, busy: string, queue: string, lane: string, transcript: boolean];

const WAKE = "wake_if_idle";
const INTERRUPT = "interrupt_yielding";
const START = "stage_run_start";
const BOUNDARY = "stage_run_boundary";

/** The policy for a submission that names no lane (`own`), and for one that names each lane. */
const TABLE: Record<InputKind, { own: Line; queue: Line; steer: Line }> = {
  prompt: {
    own: [START, WAKE, "none", "fifo", "queue", true],
    queue: [START, WAKE, "none", "fifo", "queue", true],
    steer: [BOUNDARY, WAKE, INTERRUPT, "fifo", "steer", true],
  },
  flow_step: {
    own: [START, WAKE, "none", "fifo", "queue", true],
    queue: [START, WAKE, "none", "fifo", "queue", true],
    steer: [BOUNDARY, WAKE, INTERRUPT, "fifo", "steer", true],
  },
  external_event: {
    own: [START, WAKE, "none", "fifo", "queue", true],
    queue: [START, WAKE, "none", "fifo", "queue", true],
    steer: [BOUNDARY, WAKE, INTERRUPT, "fifo", "steer", true],
  },
  peer_message: {
    own: [START, WAKE, WAKE, "fifo", "queue", true],
    queue: [START, WAKE, "none", "fifo", "queue", true],
    steer: [BOUNDARY, WAKE, INTERRUPT, "fifo", "steer", true],
  },
  peer_request: {
    own: [START, WAKE, WAKE, "fifo", "queue", true],
    queue: [START, WAKE, "none", "fifo", "queue", true],
    steer: [BOUNDARY, WAKE, INTERRUPT, "fifo", "steer", true],
  },
  peer_response_terminal: {
    own: [START, WAKE, WAKE, "fifo", "queue", true],
    queue: [START, WAKE, WAKE, "fifo", "queue", true],
    steer: [START, WAKE, INTERRUPT, "fifo", "steer", true],
  },
  peer_response_progress: {
    own: [BOUNDARY, "none", "none", "coalesce", "steer", true],
    queue: [BOUNDARY, "none", "none", "coalesce", "steer", true],
    steer: [BOUNDARY, "none", "none", "coalesce", "steer", true],
  },
  continuation: {
    own: [BOUNDARY, WAKE, INTERRUPT, "fifo", "steer", false],
    queue: [START, WAKE, "none", "fifo", "queue", false],
    steer: [BOUNDARY, WAKE, INTERRUPT, "fifo", "steer", false],
  },
  operation: {
    own: ["ignore", "none", "none", "priority", "drop", false],
    queue: ["ignore", "none", "none", "priority", "drop", false],
    steer: ["ignore", "none", "none", "priority", "drop", false],
  },
};

const CASES = INPUT_KINDS.flatMap((kind) =>
  (["own", "queue", "steer"] as const).flatMap((mode) => [true, false].map((idle) => ({ kind, mode, idle }))),
);

describe("the built-in policy (R-77, R-87)", () => {
  it.each(CASES)("of $kind, lane $mode, idle $idle", ({ kind, mode, idle }) => {
    const [apply, whenIdle, whenBusy, queue, lane, transcript] = TABLE[kind][mode];
    const handlingMode = mode === "own" ? {} : { handlingMode: mode as HandlingMode };
    expect(builtInPolicy({ kind, idle, ...handlingMode })).toEqual({
      applyMode: apply,
      wakeMode: idle ? whenIdle : whenBusy,
      queueMode: queue,
      consumePoint: kind === "operation" ? "on_accept" : "on_run_complete",
      drainPolicy: { queue: "queue_next_turn", steer: "steer_batch", drop: "ignore" }[lane],
      routingDisposition: lane,
      recordTranscript: transcript,
      emitOperatorContent: transcript,
      policyVersion: 1,
    });
  });

  it("lets a silent request start no run, in any lane", () => {
    for (const idle of [true, false]) {
      const decision = builtInPolicy({ kind: "peer_request", idle, silent: true });
      expect(decision).toEqual({ ...builtInPolicy({ kind: "peer_request", idle }), wakeMode: "none" });
      expect(startsRun(decision)).toBe(false);
    }
  });

  it("consumes operations alone on accept (R-65)", () => {
    expect(INPUT_KINDS.filter((kind) => isConsumedOnAccept(builtInPolicy({ kind, idle: true })))).toEqual(["operation"]);
  });

  it("consumes on accept what is to be ignored and consumed then, not what is only one of them", () => {
    const decision = builtInPolicy({ kind: "operation", idle: true });
    expect(isConsumedOnAccept({ ...decision, applyMode: "stage_run_start" })).toBe(false);
    expect(isConsumedOnAccept({ ...decision, consumePoint: "on_run_complete" })).toBe(false);
  });

  it("lets every kind but progress and operations begin a run by itself (R-90)", () => {
    expect(INPUT_KINDS.filter((kind) => !startsRun(builtInPolicy({ kind, idle: true })))).toEqual([
      "peer_response_progress",
      "operation",
    ]);
    const decision = builtInPolicy({ kind: "peer_response_progress", idle: true });
    expect(startsRun({ ...decision, drainPolicy: "immediate" })).toBe(true);
  });

  it("has two lanes (R-64)", () => {
    const decision = builtInPolicy({ kind: "prompt", idle: true });
    expect(
      (["queue", "steer", "immediate", "drop"] as const).map((routingDisposition) => laneOf({ ...decision, routingDisposition })),
    ).toEqual(["queue", "steer", "steer", "queue"]);
  });
});

describe("the semantics that follow", () => {
  it.each([
    ["stage_run_start", "run_start"],
    ["stage_run_boundary", "run_checkpoint"],
    ["inject_now", "immediate"],
    ["ignore", "run_start"],
  ] as const)("of %s are the boundary %s", (applyMode, boundary) => {
    const decision = { ...builtInPolicy({ kind: "prompt", idle: true }), applyMode };
    expect(semanticsOf("prompt", decision)).toEqual({ boundary, executionKind: "content_turn" });
  });

  it("resume for continuations, and apply terminal responses with an intent", () => {
    const kinds = INPUT_KINDS.map((kind) => {
      const { executionKind, peerResponseTerminalApplyIntent } = semanticsOf(kind, builtInPolicy({ kind, idle: true }));
      return [kind, executionKind, peerResponseTerminalApplyIntent];
    });
    for (const [kind, execution, intent] of kinds) {
      expect(execution).toBe(kind === "continuation" ? "resume_pending" : "content_turn");
      expect(intent).toBe(kind === "peer_response_terminal" ? "append_context_and_run" : undefined);
    }
  });
});

describe("the kind of an input", () => {
  it.each<[PersistedInput, InputKind | undefined]>([
    [{ inputType: "prompt" }, "prompt"],
    [{ inputType: "operation" }, "operation"],
    [{ inputType: "prompt", convention: { conventionType: "request" } }, "prompt"],
    [{ inputType: "peer" }, "peer_message"],
    [{ inputType: "peer", convention: { conventionType: "message" } }, "peer_message"],
    [{ inputType: "peer", convention: { conventionType: "request" } }, "peer_request"],
    [{ inputType: "peer", convention: { conventionType: "response_progress" } }, "peer_response_progress"],
    [{ inputType: "peer", convention: "response_terminal" }, "peer_response_terminal"],
    [{ inputType: "peer", convention: { conventionType: "other" } }, undefined],
    [{ inputType: "peer", convention: { conventionType: "toString" } }, undefined],
    [{ inputType: "peer", convention: null }, undefined],
    [{ inputType: "peer", convention: ["request"] }, undefined],
  ])("%j is %s", (input, kind) => {
    expect(kindOf(input)).toBe(kind);
  });
});
