import { describe, expect, it } from "vitest";
import { INPUT_PHASES, type InputPhase } from "../../../src/domain/session/input.js";
import { abandoned, MOST_CRASHES, recovered } from "../../../src/stores/session/inputs/inputs.rules.js";
import { builtInPolicy, semanticsOf } from "../../../src/stores/session/inputs/policy.rules.js";
import type { InputRow } from "../../../src/stores/session/inputs/tables.js";
import {
  chooseBatch,
  consumed,
  endsBatch,
  rolledBack,
  staged,
  type TurnFailure,
  workOf,
} from "../../../src/stores/session/turns.rules.js";
import { expectMove, type Made, NOW, phase, row } from "./input-row.js";

const run = { runId: "run", workId: "work", inputIds: ["a"] };
const again = (input: InputRow) => staged(input, run, NOW);
const MOST_FAILURES = 3;
const BACKOFF = { attempts: MOST_FAILURES, backoffMs: 1_000, factor: 4, maxBackoffMs: 10_000, jitter: 0 };
const failing = (more: Partial<TurnFailure> = {}): TurnFailure => ({
  cause: "why",
  isFinal: false,
  backoff: BACKOFF,
  roll: 0.5,
  ...more,
});
const failed = (input: InputRow, cause: string) => rolledBack([input], failing({ cause }), NOW)[0] as InputRow;
const ids = (rows: readonly InputRow[]) => rows.map(({ inputId }) => inputId);

describe("what a run makes of an input", () => {
  const STEPS: { step: string; of: (input: InputRow) => InputRow; from: InputPhase[]; to: InputPhase }[] = [
    { step: "a stage", of: again, from: ["queued"], to: "staged" },
    {
      step: "a rollback",
      of: (input) => failed(input, "why"),
      from: ["staged", "applied", "applied_pending_consumption"],
      to: "queued",
    },
    { step: "a boundary", of: (input) => consumed(input, 0, NOW), from: ["staged"], to: "consumed" },
  ];

  it.each(STEPS.flatMap((line) => INPUT_PHASES.map((from) => ({ ...line, from, isAllowed: line.from.includes(from) }))))(
    "$step from $from is allowed: $isAllowed (R-66, R-67)",
    (move) => expectMove(move),
  );

  it("a stage counts the attempt and names the run", () => {
    const next = staged(row("a", { record: { attemptCount: 2 } }), run, NOW);
    expect(next).toMatchObject({ workId: "work", workSize: 1, record: { attemptCount: 3, lastRunId: "run" } });
  });

  it("a boundary is three lines of history, and its sequence and outcome are kept", () => {
    const next = consumed(staged(row("a"), run, NOW), 4, NOW).record;
    expect(next.history.slice(2).map(({ from, to }) => [from, to])).toEqual([
      ["staged", "applied"],
      ["applied", "applied_pending_consumption"],
      ["applied_pending_consumption", "consumed"],
    ]);
    expect(next).toMatchObject({ lastBoundarySequence: 4, terminalOutcome: { outcomeType: "consumed" } });
  });

  it("has a history that says why", () => {
    const whyOf = (next: InputRow) => next.record.history.slice(1).map(({ reason }) => reason);
    const staged = again(row("a"));
    expect(whyOf(staged)).toEqual(["run started"]);
    expect(whyOf(failed(staged, "why"))).toEqual(["run started", "why"]);
    expect(whyOf(consumed(staged, 0, NOW))).toEqual([
      "run started",
      "boundary applied",
      "waits for the run to complete",
      "run completed",
    ]);
  });
});

describe("the failures of an input", () => {
  it("give it up after three failures, with the cause of the last (R-61)", () => {
    let input = row("a");
    for (let failure = 1; failure < MOST_FAILURES; failure++) {
      input = failed(again(input), `failure ${failure}`);
      expect(input.record).toMatchObject({ currentState: "queued", attemptCount: failure });
      expect(input.record.lastRunId).toBeUndefined();
    }
    input = failed(again(input), "the last straw");
    expect(input.record).toMatchObject({
      currentState: "abandoned",
      attemptCount: 3,
      terminalOutcome: { outcomeType: "abandoned", reason: { max_attempts_exhausted: { attempts: 3 } } },
    });
    expect(input.record.history.at(-1)?.reason).toBe("max_attempts_exhausted: the last straw");
  });

  it("are stored with a time that can be read, however long the pause", () => {
    const endless = { ...BACKOFF, backoffMs: Number.MAX_SAFE_INTEGER, maxBackoffMs: Number.MAX_SAFE_INTEGER, jitter: 1 };
    const [next] = rolledBack([again(row("a"))], failing({ backoff: endless, roll: 1 }), NOW);
    expect(Number.isSafeInteger(next?.record.retryAtMs)).toBe(true);
  });

  it("end a row of crashes: it begins anew", () => {
    let input = row("a");
    for (let round = 0; round < 2; round++) {
      for (let crash = 1; crash < MOST_CRASHES; crash++)
        input = recovered(again(input), { hasReceipt: false, inOrder: false }, NOW) as InputRow;
      input = failed(again(input), "why");
    }
    expect(phase(input)).toBe("queued");
  });

  it("are neither what ended in order nor a crash", () => {
    let input = row("a");
    for (let reload = 0; reload < 20; reload++)
      input = recovered(again(input), { hasReceipt: false, inOrder: true }, NOW) as InputRow;
    for (let crash = 0; crash < MOST_CRASHES - 1; crash++)
      input = recovered(again(input), { hasReceipt: false, inOrder: false }, NOW) as InputRow;
    for (let failure = 1; failure < MOST_FAILURES; failure++) input = failed(again(input), "why");
    expect(phase(input)).toBe("queued");
    expect(phase(failed(again(input), "why"))).toBe("abandoned");
  });

  it("are none where its receipt was missing", () => {
    const found = (attemptCount: number) =>
      recovered(
        row("a", { record: { currentState: "applied", attemptCount } }),
        { hasReceipt: false, inOrder: false },
        NOW,
      ) as InputRow;
    expect(phase(failed(again(found(MOST_FAILURES - 1)), "why"))).toBe("queued");
    expect(phase(failed(again(found(MOST_FAILURES)), "why"))).toBe("abandoned");
  });

  it("are none where a run was interrupted, and end the row of crashes", () => {
    const ran = (attemptCount: number, more: Partial<InputRow>, recoveryCount = 0) =>
      failed(row("a", { record: { currentState: "staged", attemptCount, recoveryCount }, row: more }), "why");
    expect(phase(ran(MOST_FAILURES - 1, {}))).toBe("queued");
    expect(phase(ran(MOST_FAILURES, {}))).toBe("abandoned");
    expect(phase(ran(MOST_FAILURES + 2, { interruptions: 2 }, 1))).toBe("queued");
    expect(phase(ran(MOST_FAILURES + 3, { interruptions: 2 }, 1))).toBe("abandoned");
    expect(ran(1, { crashes: 2 })).not.toHaveProperty("crashes");
    expect(ran(1, {}).record).not.toHaveProperty("lastRunId");
  });
});

describe("the pause after a failure (A-18)", () => {
  const tried = (attemptCount: number, more: Partial<InputRow> = {}) =>
    row("a", { record: { currentState: "staged", attemptCount, lastRunId: "run" }, row: more });
  const stored = (input: InputRow | undefined) => [input?.record.error, (input?.record.retryAtMs ?? Number.NaN) - NOW];

  it("grows with the failures of the input, up to the longest, and is one for the whole batch", () => {
    const backoff = { ...BACKOFF, attempts: 9 };
    const pausesOf = (...rows: InputRow[]) => rolledBack(rows, failing({ backoff }), NOW).map(stored);
    expect(pausesOf(tried(1))).toEqual([["why", 1_000]]);
    expect(pausesOf(tried(2))).toEqual([["why", 4_000]]);
    expect(pausesOf(tried(3))).toEqual([["why", 10_000]]);
    expect(pausesOf(tried(3, { interruptions: 2 }))).toEqual([["why", 1_000]]);
    expect(pausesOf(tried(1), tried(2))).toEqual([
      ["why", 4_000],
      ["why", 4_000],
    ]);
  });

  it("is none where the failure is final, or the attempts are used up: the input keeps the cause", () => {
    for (const [input, more] of [
      [tried(1), { isFinal: true }],
      [tried(MOST_FAILURES), {}],
      [tried(1), { backoff: { ...BACKOFF, attempts: 1 } }],
    ] as const) {
      const [{ record } = tried(0)] = rolledBack([input], failing(more), NOW);
      expect(record).toMatchObject({ currentState: "abandoned", error: "why", lastRunId: "run" });
      expect(record).not.toHaveProperty("retryAtMs");
    }
  });

  it("ends with the wait of the input; what failed before is forgotten once it is consumed", () => {
    const paused = failed(tried(1), "why");
    const next = again(paused).record;
    expect(next).toMatchObject({ error: "why" });
    expect(next).not.toHaveProperty("retryAtMs");
    const done = consumed(again(paused), 0, NOW).record;
    expect(done).not.toHaveProperty("error");
    expect(abandoned(paused, "cancelled", NOW).record).not.toHaveProperty("retryAtMs");
  });
});

describe("the next batch (R-90, R-91)", () => {
  const batch = (rows: InputRow[], isDraining = false, nowMs = NOW) => ids(chooseBatch(rows, isDraining, nowMs));

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

  it("waits for an input that starts a run, and takes along those that do not", () => {
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

  it("is none of a lane whose first input is paused; the other lane runs (A-18)", () => {
    const pausedIn = (id: string, more: Made = {}) => row(id, { ...more, record: { retryAtMs: NOW + 1 } });
    const steer = row("s", { kind: "continuation" });
    expect(batch([pausedIn("p"), row("q")])).toEqual([]);
    expect(batch([pausedIn("p"), row("q")], true)).toEqual([]);
    expect(batch([pausedIn("p"), row("q")], false, NOW + 1)).toEqual(["p"]);
    expect(batch([pausedIn("p"), steer])).toEqual(["s"]);
    expect(batch([pausedIn("c", { kind: "continuation" }), steer, row("q")])).toEqual(["q"]);
    // What starts no run waits for what does, and a paused input does not.
    const progress = row("g", { kind: "peer_response_progress" });
    expect(batch([progress, pausedIn("p")])).toEqual([]);
    // An input that goes before it is not held up.
    expect(batch([row("first"), pausedIn("p")])).toEqual(["first"]);
  });

  it("begins with what came while it was busy as with anything else", () => {
    expect(batch([row("e", { kind: "external_event", idle: false })])).toEqual(["e"]);
    // A row that a caller stored says only what was decided at that moment.
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
    // One of the inputs has ended meanwhile: the steps of that attempt do not belong to the others alone.
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
    expect(ids(chooseBatch(steering, false, NOW))).toEqual(["a", "b"]);
  });
});
