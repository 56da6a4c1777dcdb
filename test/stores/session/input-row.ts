import type { InputKind, StoredInputState } from "../../../src/domain/session/input.js";
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
