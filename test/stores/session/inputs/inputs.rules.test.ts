import { describe, expect, it } from "vitest";
import {
  INPUT_PHASES,
  type InputKind,
  type InputPhase,
  isTerminal,
  type StoredInputState,
} from "../../../../src/domain/session/input.js";
import {
  abandoned,
  admitted,
  candidateOf,
  coalesced,
  corruption,
  type InputEvent,
  interrupted,
  isIdle,
  MOST_CRASHES,
  recovered,
  replaceKeyIn,
  replaceKeyOf,
  superseded,
} from "../../../../src/stores/session/inputs/inputs.rules.js";
import { builtInPolicy, type HandlingMode, semanticsOf, startsRun } from "../../../../src/stores/session/inputs/policy.rules.js";
import type { InputRow } from "../../../../src/stores/session/inputs/tables.js";
import {
  chooseBatch,
  consumed,
  endsBatch,
  MOST_FAILURES,
  rolledBack,
  staged,
  workOf,
} from "../../../../src/stores/session/turns.rules.js";

const T = 1_000;
const NOW = 5_000;

const INPUT_OF: Record<InputKind, StoredInputState["persistedInput"]> = {
  prompt: { inputType: "prompt", text: "hello" },
  peer_message: { inputType: "peer" },
  peer_request: { inputType: "peer", convention: { conventionType: "request" } },
  peer_response_progress: { inputType: "peer", convention: { conventionType: "response_progress" } },
  peer_response_terminal: { inputType: "peer", convention: { conventionType: "response_terminal", requestId: "r" } },
  flow_step: { inputType: "flow_step" },
  external_event: { inputType: "external_event" },
  continuation: { inputType: "continuation" },
  operation: { inputType: "operation" },
};

interface Made {
  kind?: InputKind;
  handlingMode?: HandlingMode;
  idle?: boolean;
  silent?: boolean;
  record?: Partial<StoredInputState>;
  row?: Partial<InputRow>;
}

let ranks = 0;

function row(inputId: string, made: Made = {}): InputRow {
  const { kind = "prompt", handlingMode, idle = true, silent } = made;
  const question = { kind, ...(handlingMode && { handlingMode }), ...(silent && { silent }) };
  const decision = builtInPolicy({ ...question, idle });
  const input = INPUT_OF[kind];
  return {
    v: 1,
    runtimeId: "r",
    inputId,
    rank: ranks++,
    starts: startsRun(builtInPolicy({ ...question, idle: true })) ? 1 : 0,
    record: {
      inputId,
      currentState: "queued",
      policy: { version: 1, decision },
      runtimeSemantics: semanticsOf(kind, decision),
      durability: "durable",
      attemptCount: 0,
      recoveryCount: 0,
      history: [{ timestampMs: T, from: "accepted", to: "queued", reason: "admitted" }],
      ...(input && { persistedInput: input }),
      createdAtMs: T,
      updatedAtMs: T,
      ...made.record,
    },
    ...made.row,
  };
}

const run = { runId: "run", workId: "work", inputIds: ["a"] };
const phase = ({ record }: InputRow) => record.currentState;
const ids = (rows: readonly InputRow[]) => rows.map(({ inputId }) => inputId);

describe("the life of an input", () => {
  /** Each event by the function that stands for it, and from where it is allowed. */
  const EVENTS: { event: InputEvent; of: (input: InputRow) => InputRow; from: InputPhase[]; to: InputPhase }[] = [
    { event: "stage", of: (input) => staged(input, run, NOW), from: ["queued"], to: "staged" },
    {
      event: "rollback",
      of: (input) => rolledBack(input, "why", NOW),
      from: ["staged", "applied", "applied_pending_consumption"],
      to: "queued",
    },
    {
      event: "rollback",
      of: (input) => interrupted(input, NOW),
      from: ["staged", "applied", "applied_pending_consumption"],
      to: "queued",
    },
    { event: "complete", of: (input) => consumed(input, 0, NOW), from: ["staged"], to: "consumed" },
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
    ({ of, from, to, isAllowed }) => {
      const input = row("a", { record: { currentState: from, attemptCount: 1 } });
      const before = structuredClone(input);
      if (!isAllowed) {
        expect(() => of(input)).toThrow(expect.objectContaining({ code: "internal" }));
      } else {
        const next = of(input);
        expect(phase(next)).toBe(to);
        // Append-only, with the true phase before.
        expect(next.record.history.slice(0, 1)).toEqual(before.record.history);
        expect(next.record.history[1]).toMatchObject({ timestampMs: NOW, from });
        expect(next.record.history.at(-1)).toMatchObject({ to });
        expect(next.record.updatedAtMs).toBe(NOW);
      }
      expect(input).toEqual(before);
    },
  );

  it("a stage counts the attempt and names the run", () => {
    const next = staged(row("a", { record: { attemptCount: 2 } }), run, NOW);
    expect(next).toMatchObject({ workId: "work", workSize: 1, record: { attemptCount: 3, lastRunId: "run" } });
  });

  it("a boundary is three lines of history, and its sequence and outcome are kept", () => {
    const next = consumed(staged(row("a"), run, T), 4, NOW).record;
    expect(next.history.slice(2).map(({ from, to }) => [from, to])).toEqual([
      ["staged", "applied"],
      ["applied", "applied_pending_consumption"],
      ["applied_pending_consumption", "consumed"],
    ]);
    expect(next).toMatchObject({ lastBoundarySequence: 4, terminalOutcome: { outcomeType: "consumed" } });
  });

  it("consume on accept ends with an outcome, too (R-65)", () => {
    const next = admitted(row("a", { kind: "operation", record: { currentState: "accepted", history: [] } }), NOW);
    expect(next.record).toMatchObject({ currentState: "consumed", terminalOutcome: { outcomeType: "consumed" } });
    expect(next.record.history).toEqual([{ timestampMs: NOW, from: "accepted", to: "consumed", reason: "consumed on accept" }]);
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
    expect(whyOf(staged(at("queued"), run, NOW))).toEqual(["run started"]);
    expect(whyOf(consumed(at("staged"), 0, NOW))).toEqual(["boundary applied", "waits for the run to complete", "run completed"]);
    expect(whyOf(superseded(at("queued"), "b", NOW))).toEqual(["superseded by b"]);
    expect(whyOf(coalesced(at("queued"), "b", NOW))).toEqual(["coalesced into b"]);
    expect(whyOf(abandoned(at("queued"), "reset", NOW))).toEqual(["reset"]);
    expect(whyOf(abandoned(at("queued"), { max_attempts_exhausted: { attempts: 3 } }, NOW))).toEqual(["max_attempts_exhausted"]);
    expect(whyOf(rolledBack(at("staged"), "why", NOW))).toEqual(["why"]);
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

describe("the budgets", () => {
  const again = (input: InputRow) => staged(input, run, NOW);

  it("give an input up after three failures, with the cause of the last (R-61)", () => {
    let input = row("a");
    for (let failure = 1; failure < MOST_FAILURES; failure++) {
      input = rolledBack(again(input), `failure ${failure}`, NOW);
      expect(input.record).toMatchObject({ currentState: "queued", attemptCount: failure });
      expect(input.record.lastRunId).toBeUndefined();
    }
    input = rolledBack(again(input), "the last straw", NOW);
    expect(input.record).toMatchObject({
      currentState: "abandoned",
      attemptCount: 3,
      terminalOutcome: { outcomeType: "abandoned", reason: { max_attempts_exhausted: { attempts: 3 } } },
    });
    expect(input.record.history.at(-1)?.reason).toBe("max_attempts_exhausted: the last straw");
  });

  it("give it up after five crashes in a row (R-94)", () => {
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

  it("count crashes in a row: a failure in between begins anew", () => {
    let input = row("a");
    for (let round = 0; round < 2; round++) {
      for (let crash = 1; crash < MOST_CRASHES; crash++)
        input = recovered(again(input), { hasReceipt: false, inOrder: false }, NOW) as InputRow;
      input = rolledBack(again(input), "why", NOW);
    }
    expect(phase(input)).toBe("queued");
  });

  it("count neither what ended in order nor, as a failure, a crash", () => {
    let input = row("a");
    for (let reload = 0; reload < 20; reload++)
      input = recovered(again(input), { hasReceipt: false, inOrder: true }, NOW) as InputRow;
    for (let crash = 0; crash < MOST_CRASHES - 1; crash++)
      input = recovered(again(input), { hasReceipt: false, inOrder: false }, NOW) as InputRow;
    for (let failure = 1; failure < MOST_FAILURES; failure++) input = rolledBack(again(input), "why", NOW);
    expect(phase(input)).toBe("queued");
    expect(phase(rolledBack(again(input), "why", NOW))).toBe("abandoned");
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

  it("is no failure where a run was interrupted, and ends the row of crashes where one failed", () => {
    const ran = (attemptCount: number, more: Partial<InputRow>, recoveryCount = 0) =>
      rolledBack(row("a", { record: { currentState: "staged", attemptCount, recoveryCount }, row: more }), "why", NOW);
    expect(phase(ran(MOST_FAILURES - 1, {}))).toBe("queued");
    expect(phase(ran(MOST_FAILURES, {}))).toBe("abandoned");
    expect(phase(ran(MOST_FAILURES + 2, { interruptions: 2 }, 1))).toBe("queued");
    expect(phase(ran(MOST_FAILURES + 3, { interruptions: 2 }, 1))).toBe("abandoned");
    expect(ran(1, { crashes: 2 })).not.toHaveProperty("crashes");
    expect(ran(1, {}).record).not.toHaveProperty("lastRunId");
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

  it("without a receipt keeps the run and boundary, clears the outcome, and is no failure", () => {
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
    expect(phase(rolledBack(staged(next, run, NOW), "why", NOW))).toBe("abandoned");
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
      "true semantics",
      "other runtime execution semantics",
      { runtimeSemantics: { boundary: "immediate", executionKind: "content_turn" } },
    ],
    ["known convention", "peer convention", { persistedInput: { inputType: "peer", convention: "other" } }],
  ] as never)("needs the %s of an input that lives (R-113)", (_, reason, record) => {
    expect(corruption(row("a", { record }))).toContain("store corruption");
    expect(corruption(row("a", { record }))).toContain(reason);
    expect(corruption(row("a", { record: { ...(record as object), currentState: "consumed" } }))).toBeUndefined();
    expect(corruption(row("a"))).toBeUndefined();
  });
});

describe("the next batch (R-90, R-91)", () => {
  const batch = (rows: InputRow[], isDraining = false) => ids(chooseBatch(rows, isDraining));

  it("is nothing where nothing waits, and never more than what is queued", () => {
    expect(batch([])).toEqual([]);
    expect(batch([row("a", { record: { currentState: "staged" } }), row("b")])).toEqual(["b"]);
  });

  it("is the queue up to its first prompt, that one included", () => {
    const rows = [row("e1", { kind: "external_event" }), row("e2", { kind: "flow_step" }), row("p1"), row("p2")];
    expect(batch(rows)).toEqual(["e1", "e2", "p1"]);
    expect(batch(rows.slice(3))).toEqual(["p2"]);
  });

  it("is the steer lane first, whatever came before it (R-64)", () => {
    expect(batch([row("p"), row("c", { kind: "continuation" }), row("s", { kind: "continuation" })])).toEqual(["c", "s"]);
  });

  it("ends where boundary, execution or intent change", () => {
    const terminal = { kind: "peer_response_terminal" } as const;
    expect(batch([row("c", { kind: "continuation" }), row("s", { kind: "prompt", handlingMode: "steer" })])).toEqual(["c"]);
    expect(batch([row("t", { ...terminal, handlingMode: "steer" }), row("c", { kind: "continuation" })])).toEqual(["t"]);
    expect(batch([row("e", { kind: "external_event" }), row("t", terminal), row("p")])).toEqual(["e"]);
    expect(batch([row("q", { kind: "continuation", handlingMode: "queue" }), row("p")])).toEqual(["q"]);
    const atStart = row("s", { ...terminal, handlingMode: "steer" });
    const atBoundary = row("b", { ...terminal, handlingMode: "steer" });
    const decision = {
      ...builtInPolicy({ kind: "peer_response_terminal", idle: true }),
      applyMode: "stage_run_boundary" as const,
    };
    const other = {
      ...atBoundary,
      record: { ...atBoundary.record, runtimeSemantics: semanticsOf("peer_response_terminal", decision) },
    };
    expect(batch([atStart, other])).toEqual(["s"]);
  });

  it("waits for somebody who wakes, and takes along who does not", () => {
    const progress = row("g", { kind: "peer_response_progress" });
    const silent = row("q", { kind: "peer_request", silent: true });
    expect(batch([progress])).toEqual([]);
    expect(batch([silent])).toEqual([]);
    expect(batch([silent, row("p")])).toEqual(["q", "p"]);
    expect(batch([progress, row("p")])).toEqual(["g"]);
  });

  it("of a runtime that takes no more is whatever waits", () => {
    expect(batch([row("g", { kind: "peer_response_progress" })], true)).toEqual(["g"]);
  });

  it("begins with what came while it was busy as with anything else", () => {
    expect(batch([row("e", { kind: "external_event", idle: false })])).toEqual(["e"]);
    // A row that a caller handed over says only what was decided then.
    const { starts: _, ...handed } = row("p", { idle: false });
    expect(batch([handed])).toEqual(["p"]);
  });

  it("takes what waits in the queue together, whatever boundary each was to go to", () => {
    const decision = { ...builtInPolicy({ kind: "external_event", idle: true }), applyMode: "stage_run_boundary" as const };
    const policy = { version: 1, decision };
    const runtimeSemantics = semanticsOf("external_event", decision);
    const atBoundary = row("b", { kind: "external_event", record: { policy, runtimeSemantics } });
    expect(batch([row("a", { kind: "external_event" }), atBoundary])).toEqual(["a", "b"]);
  });

  it("leaves what was tried as another work", () => {
    const first = row("a", { kind: "external_event", row: { workId: "w", workSize: 1 } });
    expect(batch([first, row("b", { kind: "external_event", row: { workId: "v", workSize: 1 } })])).toEqual(["a"]);
    expect(workOf([])).toBeUndefined();
  });

  it("tries again exactly what was staged together", () => {
    const tried = row("e", { kind: "external_event", row: { workId: "w", workSize: 1 } });
    const both = ["a", "b"].map((id) => row(id, { kind: "external_event", row: { workId: "w2", workSize: 2 } }));
    expect(batch([tried, row("p")])).toEqual(["e"]);
    expect(batch([...both, row("p")])).toEqual(["a", "b"]);
    expect(workOf(both)).toBe("w2");
    // One of them has ended meanwhile: what was done with it is not theirs alone.
    expect(workOf(both.slice(1))).toBeUndefined();
    expect(workOf([row("p")])).toBeUndefined();
  });
});

describe("where a batch ends", () => {
  const event = (id: string, more: Made = {}) => row(id, { kind: "external_event", ...more });

  it("is a prompt of the queue, or what does not run with the first of its lane", () => {
    expect(endsBatch([], "queue")).toBe(false);
    expect(endsBatch([event("a"), event("b")], "queue")).toBe(false);
    expect(endsBatch([event("a"), row("p")], "queue")).toBe(true);
    expect(endsBatch([event("a"), event("b", { row: { workId: "w" } })], "queue")).toBe(true);
    expect(endsBatch([event("a"), row("t", { kind: "peer_response_terminal" })], "queue")).toBe(true);
  });

  it("is not said by what waits in the other lane, or waits no more", () => {
    const rows = [event("a", { handlingMode: "steer" }), row("p"), row("s", { record: { currentState: "staged" } })];
    expect(endsBatch(rows, "steer")).toBe(false);
    expect(endsBatch(rows, "queue")).toBe(true);
    expect(endsBatch(rows.slice(2), "queue")).toBe(false);
  });

  it("is no prompt of the steer lane", () => {
    const steering = ["a", "b"].map((id) => row(id, { handlingMode: "steer" }));
    expect(endsBatch(steering, "steer")).toBe(false);
    expect(ids(chooseBatch(steering, false))).toEqual(["a", "b"]);
  });
});

describe("what may be chosen", () => {
  it("is queued, of a known kind, and has its policy and its semantics", () => {
    const made = row("a");
    const { policy, runtimeSemantics } = made.record;
    expect(candidateOf(made)).toEqual({ row: made, kind: "prompt", decision: policy?.decision, semantics: runtimeSemantics });
    const missing: Record<string, unknown>[] = [
      { currentState: "staged" },
      { persistedInput: undefined },
      { persistedInput: { inputType: "peer", convention: "other" } },
      { policy: undefined },
      { runtimeSemantics: undefined },
    ];
    for (const record of missing) expect(candidateOf(row("a", { record: record as never }))).toBeUndefined();
  });

  it("is idle time for a runtime that initializes, is attached or idle, and for no other", () => {
    const states = ["initializing", "idle", "attached", "running", "retired", "stopped", "destroyed"] as const;
    expect(states.filter((state) => isIdle(state))).toEqual(["initializing", "idle", "attached"]);
  });
});

describe("who is superseded (R-76)", () => {
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

  it("is nobody who runs already, and nobody without the key", () => {
    expect(replaceKeyIn(keyed("a", { record: { currentState: "staged" } }))).toBeUndefined();
    expect(replaceKeyIn(row("b"))).toBeUndefined();
  });
});
