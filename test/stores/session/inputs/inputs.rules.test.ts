import { describe, expect, it } from "vitest";
import { INPUT_PHASES, type InputPhase, isTerminal, type StoredInputState } from "../../../../src/domain/session/input.js";
import {
  abandoned,
  admitted,
  coalesced,
  corruption,
  doesStart,
  type InputEvent,
  interrupted,
  isIdle,
  MOST_CRASHES,
  type QueuedInput,
  queuedInputOf,
  recovered,
  replaceKeyIn,
  replaceKeyOf,
  superseded,
  transition,
} from "../../../../src/stores/session/inputs/inputs.rules.js";
import { builtInPolicy } from "../../../../src/stores/session/inputs/policy.rules.js";
import type { InputRow } from "../../../../src/stores/session/inputs/tables.js";
import { expectMove, type Made, NOW, phase, row } from "../input-row.js";

describe("the life of an input", () => {
  /** Each event: the function that stands for it, and the phases from which it is allowed. */
  const EVENTS: { event: InputEvent; of: (input: InputRow) => InputRow; from: InputPhase[]; to: InputPhase }[] = [
    { event: "stage", of: (input) => transition(input, "stage", NOW, "why"), from: ["queued"], to: "staged" },
    {
      event: "rollback",
      of: (input) => interrupted(input, NOW),
      from: ["staged", "applied", "applied_pending_consumption"],
      to: "queued",
    },
    { event: "apply", of: (input) => transition(input, "apply", NOW, "why"), from: ["staged"], to: "applied" },
    {
      event: "pend",
      of: (input) => transition(input, "pend", NOW, "why"),
      from: ["applied"],
      to: "applied_pending_consumption",
    },
    {
      event: "complete",
      of: (input) => transition(input, "complete", NOW, "why"),
      from: ["accepted", "applied", "applied_pending_consumption"],
      to: "consumed",
    },
    { event: "supersede", of: (input) => superseded(input, "b", NOW), from: ["queued"], to: "superseded" },
    { event: "coalesce", of: (input) => coalesced(input, "b", NOW), from: ["queued"], to: "coalesced" },
    {
      event: "abandon",
      of: (input) => abandoned(input, "reset", NOW),
      from: ["accepted", "queued", "staged", "applied", "applied_pending_consumption"],
      to: "abandoned",
    },
    { event: "admit", of: (input) => admitted(input, NOW), from: ["accepted"], to: "queued" },
  ];

  it.each(EVENTS.flatMap((line) => INPUT_PHASES.map((from) => ({ ...line, from, isAllowed: line.from.includes(from) }))))(
    "$event from $from is allowed: $isAllowed (R-66, R-67)",
    (move) => expectMove(move),
  );

  it("consume on accept ends with an outcome, too (R-65)", () => {
    const next = admitted(row("a", { kind: "operation", record: { currentState: "accepted", history: [] } }), NOW);
    expect(next.record).toMatchObject({ currentState: "consumed", terminalOutcome: { outcomeType: "consumed" } });
    expect(next.record.history).toEqual([{ timestampMs: NOW, from: "accepted", to: "consumed", reason: "consumed on accept" }]);
  });

  it("of an older program, without a policy, is queued when it is admitted", () => {
    expect(phase(admitted(row("a", { record: { currentState: "accepted", policy: undefined } as never }), NOW))).toBe("queued");
  });

  it("is refused what its phase does not allow with the input, the phase and the event", () => {
    expect(() => superseded(row("a", { record: { currentState: "staged" } }), "b", NOW)).toThrow(
      expect.objectContaining({ code: "internal", details: { inputId: "a", phase: "staged", event: "supersede" } }),
    );
  });

  it("has a history that says why", () => {
    const whyOf = (next: InputRow | undefined) => next?.record.history.slice(1).map(({ reason }) => reason);
    const at = (currentState: InputPhase, more: Partial<InputRow> = {}) => row("a", { record: { currentState }, row: more });
    const facts = { hasReceipt: false, inOrder: false };
    expect(whyOf(admitted(at("accepted"), NOW))).toEqual(["admitted"]);
    expect(whyOf(superseded(at("queued"), "b", NOW))).toEqual(["superseded by b"]);
    expect(whyOf(coalesced(at("queued"), "b", NOW))).toEqual(["coalesced into b"]);
    expect(whyOf(abandoned(at("queued"), "reset", NOW))).toEqual(["reset"]);
    expect(whyOf(abandoned(at("queued"), { max_attempts_exhausted: { attempts: 3 } }, NOW))).toEqual(["max_attempts_exhausted"]);
    expect(whyOf(interrupted(at("staged"), NOW))).toEqual(["interrupted"]);
    expect(whyOf(recovered(at("staged"), facts, NOW))).toEqual(["recovered from a crash"]);
    expect(whyOf(recovered(at("staged", { crashes: MOST_CRASHES - 1 }), facts, NOW))).toEqual([
      "max_attempts_exhausted: its owners died",
    ]);
    expect(whyOf(recovered(at("staged", { cancelRequested: 1 }), facts, NOW))).toEqual(["cancelled"]);
    expect(whyOf(recovered(at("applied"), { ...facts, hasReceipt: true }, NOW))).toEqual(["its receipt is stored"]);
    expect(whyOf(recovered(at("applied"), facts, NOW))).toEqual(["its receipt is missing"]);
  });

  it("what replaces it is named in its outcome (R-77, R-78)", () => {
    expect(superseded(row("a"), "b", NOW).record.terminalOutcome).toEqual({ outcomeType: "superseded", supersededBy: "b" });
    expect(coalesced(row("a"), "b", NOW).record.terminalOutcome).toEqual({ outcomeType: "coalesced", aggregateId: "b" });
  });
});

describe("the crashes of an input's owners", () => {
  /** The row when it is staged once more. */
  const again = (input: InputRow) =>
    transition(input, "stage", NOW, "run started", { attemptCount: input.record.attemptCount + 1, lastRunId: "run" });

  it("give it up after five in a row (R-94)", () => {
    let input = row("a");
    for (let crash = 1; crash < MOST_CRASHES; crash++) {
      input = recovered(again(input), { hasReceipt: false, inOrder: false }, NOW) as InputRow;
      expect(input.record).toMatchObject({ currentState: "queued", attemptCount: crash, recoveryCount: crash, lastRunId: "run" });
    }
    input = recovered(again(input), { hasReceipt: false, inOrder: false }, NOW) as InputRow;
    expect(input.record).toMatchObject({
      currentState: "abandoned",
      recoveryCount: 5,
      terminalOutcome: { reason: { max_attempts_exhausted: { attempts: 5 } } },
    });
  });
});

describe("what is counted on the row", () => {
  it("is each interruption, and an end to the row of crashes", () => {
    const input = row("a", { record: { currentState: "staged" }, row: { crashes: 2, interruptions: 3 } });
    const next = interrupted(input, NOW);
    expect(next.interruptions).toBe(4);
    expect(next).not.toHaveProperty("crashes");
    expect(interrupted(row("a", { record: { currentState: "staged" } }), NOW).interruptions).toBe(1);
  });

  it("is each crash, on the row and in the record", () => {
    const input = row("a", { record: { currentState: "staged", recoveryCount: 3 }, row: { crashes: 1 } });
    expect(recovered(input, { hasReceipt: false, inOrder: false }, NOW)).toMatchObject({
      crashes: 2,
      record: { recoveryCount: 4 },
    });
  });

  it("is each missing receipt, as an interruption", () => {
    const input = row("a", { record: { currentState: "applied_pending_consumption" }, row: { interruptions: 2 } });
    expect(recovered(input, { hasReceipt: false, inOrder: true }, NOW)).toMatchObject({ interruptions: 3 });
  });
});

describe("recovery", () => {
  const FACTS = [true, false].flatMap((hasReceipt) => [true, false].map((inOrder) => ({ hasReceipt, inOrder })));

  it.each(FACTS)("by phase, with %o (R-110)", (facts) => {
    const to = (currentState: InputPhase, made: Made = {}) => {
      const next = recovered(row("a", { ...made, record: { currentState, attemptCount: 1, ...made.record } }), facts, NOW);
      return next && phase(next);
    };
    expect(to("accepted")).toBe("queued");
    expect(to("accepted", { kind: "operation" })).toBe("consumed");
    expect(to("queued")).toBeUndefined();
    expect(to("staged")).toBe("queued");
    expect(to("applied")).toBe(facts.hasReceipt ? "consumed" : "queued");
    expect(to("applied_pending_consumption")).toBe(facts.hasReceipt ? "consumed" : "queued");
    for (const ended of INPUT_PHASES.filter(isTerminal)) expect(to(ended)).toBeUndefined();
  });

  it("with a receipt ends with its outcome", () => {
    const next = recovered(row("a", { record: { currentState: "applied" } }), { hasReceipt: true, inOrder: false }, NOW);
    expect(next?.record.terminalOutcome).toEqual({ outcomeType: "consumed" });
  });

  it("without a receipt keeps the run and boundary, clears the outcome, and counts as an interruption", () => {
    const record = {
      currentState: "applied" as const,
      attemptCount: 3,
      lastRunId: "run",
      lastBoundarySequence: 2,
      terminalOutcome: { outcomeType: "consumed" as const },
    };
    const next = recovered(row("a", { record }), { hasReceipt: false, inOrder: false }, NOW) as InputRow;
    expect(next.record).toMatchObject({ currentState: "queued", lastRunId: "run", lastBoundarySequence: 2, attemptCount: 3 });
    expect(next.record.terminalOutcome).toBeUndefined();
    expect(next.interruptions).toBe(1);
  });

  it("abandons what was cancelled while it ran", () => {
    const input = row("a", { record: { currentState: "staged" }, row: { cancelRequested: 1 } });
    expect(recovered(input, { hasReceipt: false, inOrder: true }, NOW)?.record.terminalOutcome).toEqual({
      outcomeType: "abandoned",
      reason: "cancelled",
    });
  });

  it.each<[string, string, Partial<StoredInputState>]>([
    ["payload", "has no persisted input", { persistedInput: undefined }],
    ["policy", "missing runtime admission policy stamp", { policy: undefined }],
    ["semantics", "missing runtime execution semantics stamp", { runtimeSemantics: undefined }],
    [
      "true boundary",
      "other runtime execution semantics",
      { runtimeSemantics: { boundary: "immediate", executionKind: "content_turn" } },
    ],
    [
      "true execution",
      "other runtime execution semantics",
      { runtimeSemantics: { boundary: "run_start", executionKind: "resume_pending" } },
    ],
    [
      "true intent",
      "other runtime execution semantics",
      {
        runtimeSemantics: {
          boundary: "run_start",
          executionKind: "content_turn",
          peerResponseTerminalApplyIntent: "append_context_and_run",
        },
      },
    ],
    ["known convention", "peer convention", { persistedInput: { inputType: "peer", convention: "other" } }],
  ] as never)("needs the %s of an input that lives (R-113)", (_, reason, record) => {
    expect(corruption(row("a", { record }))).toContain("store corruption");
    expect(corruption(row("a", { record }))).toContain(reason);
    expect(corruption(row("a", { record: { ...(record as object), currentState: "consumed" } }))).toBeUndefined();
    expect(corruption(row("a"))).toBeUndefined();
  });
});

describe("what may be chosen", () => {
  it("is queued, of a known kind, and has its policy and its semantics", () => {
    const made = row("a");
    const { policy, runtimeSemantics } = made.record;
    expect(queuedInputOf(made)).toEqual({ row: made, kind: "prompt", decision: policy?.decision, semantics: runtimeSemantics });
    const missing: Record<string, unknown>[] = [
      { currentState: "staged" },
      { persistedInput: undefined },
      { persistedInput: { inputType: "peer", convention: "other" } },
      { policy: undefined },
      { runtimeSemantics: undefined },
    ];
    for (const record of missing) expect(queuedInputOf(row("a", { record: record as never }))).toBeUndefined();
  });

  it("is idle time for a runtime that initializes, is attached or idle, and for no other", () => {
    const states = ["initializing", "idle", "attached", "running", "retired", "stopped", "destroyed"] as const;
    expect(states.filter((state) => isIdle(state))).toEqual(["initializing", "idle", "attached"]);
  });
});

describe("what begins a run by itself", () => {
  const starts = (made: Made, given?: 0 | 1) => {
    const { starts: _, ...handed } = row("a", made);
    return doesStart(queuedInputOf({ ...handed, ...(given !== undefined && { starts: given }) }) as QueuedInput);
  };
  const progress = { kind: "peer_response_progress" } as const;

  it("is said by its row", () => {
    expect([starts({}, 0), starts(progress, 1)]).toEqual([false, true]);
  });

  it("is said by what was decided, or by its kind, where the row does not say it", () => {
    const decision = { ...builtInPolicy({ ...progress, idle: true }), wakeMode: "wake_if_idle" as const };
    expect(starts({})).toBe(true);
    // A busy moment's "none" is not "never".
    expect(starts({ idle: false })).toBe(true);
    expect(starts(progress)).toBe(false);
    expect(starts({ ...progress, record: { policy: { version: 1, decision } } })).toBe(true);
  });
});

describe("the input that is superseded (R-76)", () => {
  const keyed = (inputId: string, made: Made = {}, supersessionKey = "k") => {
    const made_ = row(inputId, made);
    const persistedInput = { ...made_.record.persistedInput, supersessionKey } as never;
    return { ...made_, record: { ...made_.record, persistedInput } };
  };

  it("is found by lane, kind and key, each of them whole", () => {
    expect(replaceKeyIn(keyed("a"))).toBe(replaceKeyOf("queue", "prompt", "k"));
    expect(replaceKeyIn(keyed("s", { handlingMode: "steer" }))).toBe(replaceKeyOf("steer", "prompt", "k"));
    expect(replaceKeyIn(keyed("e", { kind: "external_event" }, "o k"))).toBe(replaceKeyOf("queue", "external_event", "o k"));
    expect(replaceKeyOf("queue", "prompt", "a b")).not.toBe(replaceKeyOf("queue", "prompt", "a"));
  });

  it("is none that runs already, and none without the key", () => {
    expect(replaceKeyIn(keyed("a", { record: { currentState: "staged" } }))).toBeUndefined();
    expect(replaceKeyIn(row("b"))).toBeUndefined();
    expect(replaceKeyIn(row("c", { record: { persistedInput: undefined } as never }))).toBeUndefined();
  });
});
