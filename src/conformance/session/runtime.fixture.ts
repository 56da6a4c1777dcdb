import type { JsonValue } from "../../domain/json.js";
import type { PersistedInput, PolicyDecision, StoredInputState } from "../../domain/session/input.js";
import type { RunBoundaryReceipt, SessionDelta } from "../../domain/session/session.js";
import type { RuntimeStore } from "../../kernel/runtime-store.js";

export const RUNTIME = "rt:session:s";

export const DECISION: PolicyDecision = {
  applyMode: "stage_run_start",
  wakeMode: "wake_if_idle",
  queueMode: "fifo",
  consumePoint: "on_run_complete",
  drainPolicy: "queue_next_turn",
  routingDisposition: "queue",
  recordTranscript: true,
  emitOperatorContent: true,
  policyVersion: 1,
};

export const PROMPT: PersistedInput = {
  inputType: "prompt",
  text: "hello",
  source: { type: "operator" },
  visibility: { transcriptEligible: true, operatorEligible: true },
};

/** An input with the required members only. */
export function input(inputId: string, more: Partial<StoredInputState> = {}): StoredInputState {
  return {
    inputId,
    currentState: "queued",
    attemptCount: 0,
    recoveryCount: 0,
    history: [],
    createdAtMs: 1_000,
    updatedAtMs: 2_000,
    ...more,
  };
}

/** An input with every member. */
export function fullInput(inputId: string, more: Partial<StoredInputState> = {}): StoredInputState {
  return input(inputId, {
    currentState: "consumed",
    policy: { version: 1, decision: DECISION },
    runtimeSemantics: { boundary: "run_start", executionKind: "content_turn" },
    terminalOutcome: { outcomeType: "consumed" },
    durability: "durable",
    idempotencyKey: `key of ${inputId}`,
    attemptCount: 2,
    recoveryCount: 1,
    history: [
      { timestampMs: 1_000, from: "accepted", to: "queued" },
      { timestampMs: 1_500, from: "queued", to: "staged", reason: "run started" },
    ],
    reconstructionSource: { sourceType: "coalescing", sourceInputIds: ["b", "a"] },
    persistedInput: PROMPT,
    lastRunId: "run",
    lastBoundarySequence: 0,
    ...more,
  });
}

export function receipt(more: Partial<RunBoundaryReceipt> = {}): RunBoundaryReceipt {
  return { runId: "run", boundary: "run_start", contributingInputIds: ["b", "a"], messageCount: 2, sequence: 0, ...more };
}

export function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

export function snapshot(value: JsonValue): SessionDelta {
  return { sessionSnapshot: bytesOf(JSON.stringify(value)) };
}

/** Every value that the public reads show of these runtimes. */
export async function readRuntimes(runtime: RuntimeStore, runtimeIds: readonly string[] = [RUNTIME]): Promise<unknown> {
  return await Promise.all(
    runtimeIds.map(async (runtimeId) => ({
      state: (await runtime.loadRuntimeState(runtimeId)) ?? "none",
      snapshot: textOf(await runtime.loadSessionSnapshot(runtimeId)),
      inputs: await runtime.loadInputStates(runtimeId),
      receipt: (await runtime.loadBoundaryReceipt(runtimeId, "run", 0)) ?? "none",
      ops: (await runtime.loadOpsLifecycle(runtimeId)) ?? "none",
    })),
  );
}

export function textOf(bytes: Uint8Array | undefined): string {
  return bytes === undefined ? "none" : new TextDecoder().decode(bytes);
}
