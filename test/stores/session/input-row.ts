import { expect } from "vitest";
import type { InputKind, InputPhase, StoredInputState } from "../../../src/domain/session/input.js";
import { builtInPolicy, type HandlingMode, semanticsOf, startsRun } from "../../../src/stores/session/inputs/policy.rules.js";
import type { InputRow } from "../../../src/stores/session/inputs/tables.js";

/** When an input was made, and the moment at which a test looks at it. */
const T = 1_000;
export const NOW = 5_000;

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

/** How an input differs from the default, which is a prompt that waits in the queue. */
export interface Made {
  kind?: InputKind;
  handlingMode?: HandlingMode;
  idle?: boolean;
  silent?: boolean;
  record?: Partial<StoredInputState>;
  row?: Partial<InputRow>;
}

let ranks = 0;

export function row(inputId: string, made: Made = {}): InputRow {
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

export const phase = ({ record }: InputRow) => record.currentState;

/** One change of an input's phase: from an allowed phase it is made and recorded, from any other it is refused and changes nothing. */
export function expectMove(move: { of(input: InputRow): InputRow; from: InputPhase; to: InputPhase; isAllowed: boolean }): void {
  const { of, from, to, isAllowed } = move;
  const input = row("a", { record: { currentState: from, attemptCount: 1 } });
  const before = structuredClone(input);
  if (!isAllowed) {
    expect(() => of(input)).toThrow(expect.objectContaining({ code: "internal" }));
  } else {
    const next = of(input);
    expect(next.record.currentState).toBe(to);
    // The history is append-only and names the true earlier phase.
    expect(next.record.history.slice(0, 1)).toEqual(before.record.history);
    expect(next.record.history[1]).toMatchObject({ timestampMs: NOW, from });
    expect(next.record.history.at(-1)).toMatchObject({ to });
    expect(next.record.updatedAtMs).toBe(NOW);
  }
  expect(input).toEqual(before);
}
