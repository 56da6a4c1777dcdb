import { describe, expect, it } from "vitest";
import type { StoredInputState } from "../../../../src/domain/session/input.js";
import type { Message } from "../../../../src/domain/session/session.js";
import {
  type Admission,
  type SessionView,
  unknownAdmission,
  type ViewFacts,
  viewFrom,
} from "../../../../src/kernel/session/view/session-view.rules.js";
import type { InputRow } from "../../../../src/stores/session/inputs/tables.js";

const NOTHING: SessionView = { status: "loading", messages: [], live: [], waiting: 0, state: "initializing" };

interface Given {
  rank: number;
  since?: number;
  atMs?: number;
  gone?: "failed" | "cancelled";
  error?: string;
  durability?: "ephemeral";
  hidden?: true;
}

function row(inputId: string, { rank, since = 0, atMs = rank, gone, error, durability, hidden }: Given): InputRow {
  const reason = gone === "failed" ? { max_attempts_exhausted: { attempts: 3 } } : ("cancelled" as const);
  return {
    v: 1,
    runtimeId: "r",
    inputId,
    rank,
    since,
    ...(gone ? { givenUpSince: since } : { liveRank: rank }),
    record: {
      inputId,
      currentState: gone ? "abandoned" : "queued",
      attemptCount: 1,
      recoveryCount: 0,
      history: [],
      ...(error !== undefined && { error }),
      persistedInput: {
        inputType: "prompt",
        text: inputId,
        visibility: { transcriptEligible: !hidden, operatorEligible: true },
      },
      createdAtMs: atMs,
      updatedAtMs: 1,
      ...(durability && { durability }),
      ...(gone && { terminalOutcome: { outcomeType: "abandoned", reason } as StoredInputState["terminalOutcome"] }),
    } as StoredInputState,
  };
}

const user = (inputId: string): Message => ({ role: "user", content: inputId, inputId });
const says = (content: string): Message => ({ role: "assistant", content });

function facts(messages: Message[], rows: InputRow[], running: string[] = []): ViewFacts {
  const run = { runId: "run", attempt: 1, inputIds: running, hostId: "h", self: true };
  return { messages, rows, run: running.length > 0 ? run : undefined, state: "idle" };
}

/** The view's lines, with the admissions that it asks for. */
function lines(given: ViewFacts, known: Record<string, Admission> = {}): string[] {
  const admissions = new Map<string, Admission | undefined>();
  for (let unknown = unknownAdmission(given, admissions); unknown !== undefined; ) {
    admissions.set(unknown, known[unknown]);
    unknown = unknownAdmission(given, admissions);
  }
  return viewFrom(NOTHING, given, admissions).messages.map(
    ({ content, pending }) => `${content}${pending === undefined ? "" : ` ${pending}`}`,
  );
}

describe("the messages of a session's view (A-21)", () => {
  it("end with the prompts that wait and run, in the order of their ranks", () => {
    const rows = [row("c", { rank: 3 }), row("steer", { rank: -1 }), row("a", { rank: 1 })];
    expect(lines(facts([user("x"), says("y")], rows, ["steer"]))).toEqual(["x", "y", "steer running", "a waiting", "c waiting"]);
  });

  it("show a prompt once whose message is stored already, at its place", () => {
    expect(lines(facts([user("a"), says("half")], [row("a", { rank: 1 })], ["a"]))).toEqual(["a running", "half"]);
    expect(lines(facts([user("a"), says("half")], [row("a", { rank: 1, gone: "failed" })]))).toEqual(["a failed", "half"]);
  });

  it("take no message for an ephemeral prompt's that was there before it came", () => {
    const brief = row("a", { rank: 2, since: 1, durability: "ephemeral" });
    expect(lines(facts([user("a")], [brief]))).toEqual(["a", "a waiting"]);
    expect(lines(facts([user("a"), user("a")], [brief]))).toEqual(["a", "a waiting"]);
  });

  it("have what was given up where it came, before what was admitted later", () => {
    const known = { y: { createdAtMs: 5, rank: 5 }, x: { createdAtMs: 0, rank: 0 } };
    const given = facts([user("x"), says("1"), user("y"), says("2")], [row("a", { rank: 3, since: 2, gone: "failed" })]);
    expect(lines(given, known)).toEqual(["x", "1", "a failed", "y", "2"]);
  });

  it("have what was given up behind the answers to prompts that were admitted before it", () => {
    const known = { x: { createdAtMs: 1, rank: 1 }, w: { createdAtMs: 1, rank: 2 }, y: { createdAtMs: 1, rank: 5 } };
    const messages = [user("x"), says("1"), user("w"), says("2"), user("y"), says("3")];
    const a = row("a", { rank: 3, atMs: 1, since: 0, gone: "cancelled" });
    expect(lines(facts(messages, [a]), known)).toEqual(["x", "1", "w", "2", "a cancelled", "y", "3"]);
    // The turn under way had stored its prompt when this one came.
    const late = row("a", { rank: 3, atMs: 1, since: 1, gone: "cancelled" });
    expect(lines(facts(messages, [late]), known)).toEqual(["x", "1", "w", "2", "a cancelled", "y", "3"]);
    expect(lines(facts(messages.slice(0, 4), [late]), known)).toEqual(["x", "1", "w", "2", "a cancelled"]);
  });

  it("have what was given up before a prompt of the steer lane that came later", () => {
    const known = { steer: { createdAtMs: 9, rank: -1 } };
    const given = facts([user("steer"), says("1")], [row("a", { rank: 3, since: 0, gone: "failed" })]);
    expect(lines(given, known)).toEqual(["a failed", "steer", "1"]);
  });

  it("stay where they are when a row of the transcript tells nothing of its admission", () => {
    const given = facts([user("unknown"), says("1")], [row("a", { rank: 3, since: 0, gone: "failed" })]);
    expect(lines(given)).toEqual(["a failed", "unknown", "1"]);
  });

  it("stand within a transcript that was replaced by a shorter one", () => {
    expect(lines(facts([says("1")], [row("a", { rank: 3, since: 7, gone: "failed" })]))).toEqual(["1", "a failed"]);
  });
});

describe("the rest of a session's view (A-21)", () => {
  it("counts what waits without what runs", () => {
    const rows = [row("a", { rank: 1 }), row("b", { rank: 2 }), row("c", { rank: 3, gone: "failed" })];
    expect(viewFrom(NOTHING, facts([], rows, ["a"]), new Map()).waiting).toBe(1);
    expect(viewFrom(NOTHING, facts([], rows), new Map()).waiting).toBe(2);
  });

  it("tells the error of the newest prompt that failed, unless a later one was answered", () => {
    const errorOf = (messages: Message[], ...rows: InputRow[]) =>
      viewFrom(NOTHING, facts(messages, rows), new Map([["y", { createdAtMs: 9, rank: 9 }]])).error;
    expect(errorOf([], row("a", { rank: 1, error: "first" }), row("b", { rank: 2, error: "second" }))).toBe("second");
    expect(errorOf([], row("a", { rank: 1, gone: "failed", error: "over" }), row("b", { rank: 2 }))).toBe("over");
    expect(errorOf([user("a"), says("half")], row("a", { rank: 1, error: "again" }))).toBe("again");
    expect(errorOf([user("y"), says("1")], row("a", { rank: 1, gone: "failed", error: "over" }))).toBe(undefined);
    expect(errorOf([], row("a", { rank: 1 }), row("b", { rank: 2, gone: "cancelled" }))).toBe(undefined);
    expect(errorOf([], row("a", { rank: 1, error: "unseen", hidden: true }))).toBe("unseen");
  });
});
