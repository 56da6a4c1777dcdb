import type { Corridor } from "../../corridor/command.js";
import { checkFunction, checkId } from "../../domain/check.js";
import { HoldfastError } from "../../domain/errors.js";
import type { JsonValue } from "../../domain/json.js";
import type { ProcessLease } from "../../domain/lease.js";
import { keyPart } from "../../domain/process/own-key.js";
import { runtimeIdOf } from "../../domain/runtime-id.js";
import type { StoredInputState } from "../../domain/session/input.js";
import { checkMessage } from "../../domain/session/message.js";
import type { Message } from "../../domain/session/session.js";
import type { Limits } from "../../domain/time.js";
import { admitPayload } from "../../stores/process/registration.js";
import { loadRow } from "../../stores/schema.js";
import { isTranscriptEligible, messageOf } from "../../stores/session/inputs/submission.js";
import { chainDigest } from "../../stores/session/transcript.rules.js";
import { type AppendedMessages, type BeganTurn, checkpointTurn, type RunRef, storeTurnStep } from "../../stores/session/turns.js";
import type { HeldLease } from "../host/held-lease.js";
import { createCalls } from "../process/calls.js";
import type { ProcessContext, StepRun } from "../process/context.js";
import type { RunningSteps } from "../process/running-steps.js";
import { deepFreeze, type Transcript } from "./transcript.js";

/** What a turn handler gets. Its writes are fenced by the executor's lease: once that is lost, they change nothing more. */
export interface Turn {
  readonly runId: string;
  /** How often its inputs were staged: 1 for the first try. */
  readonly attempt: number;
  /** In the order of their admission. */
  readonly inputs: StoredInputState[];
  /** The stored messages and one per new input; frozen. */
  readonly messages: readonly Message[];
  /** Aborts when the session is stopped, destroyed or deleted, the lease is lost, the handler taken off, or the kernel closes. */
  readonly signal: AbortSignal;
  /** As in a process: the result is stored once per key, and every later attempt at these inputs gets it. */
  readonly step: ProcessContext["step"];
  /** Stored when the turn ends, or at the next checkpoint. Throws `invalid` for what is no message. */
  append(message: Message): void;
  /** Stores what was appended so far. The next attempt sees it; no input changes. */
  checkpoint(): Promise<void>;
}

export type TurnHandler = (turn: Turn) => Promise<void>;

export interface TurnParts {
  readonly corridor: Corridor;
  readonly limits: Limits;
  readonly transcript: Transcript;
  readonly heldLease: HeldLease;
  readonly signal: AbortSignal;
  /** What happened to this turn, thrown to its handler: not the handler's own failure. */
  raised(error: unknown): void;
  /** A call that the handler left unawaited. */
  unawaited(message: string): void;
  readonly steps: RunningSteps;
}

export interface OpenTurn {
  readonly turn: Turn;
  /** What is not stored yet. */
  pending(): Promise<AppendedMessages>;
  /** The handler is done: nothing more is appended. */
  close(): void;
}

export type Began = Extract<BeganTurn, { kind: "turn" }>;

export async function openTurn(parts: TurnParts, began: Began, ref: Omit<RunRef, "lease">): Promise<OpenTurn> {
  const { corridor, limits, heldLease, transcript, signal } = parts;
  const { run, inputs } = began;
  const stored = await transcript.read();
  let base = { messageCount: began.messageCount, digest: began.digest };
  // A checkpoint of an earlier attempt may have stored them; what the transcript shows is what counts.
  const isSaid = (inputId: string, since: number) =>
    // A transcript that was handed over whole may be shorter, and hold anything.
    stored.slice(since > stored.length ? 0 : since).some((message) => message?.role === "user" && message.inputId === inputId);
  let appended: Message[] = inputs.flatMap(({ inputId, persistedInput, policy, durability }, at) => {
    const isShown = persistedInput && isTranscriptEligible(persistedInput) && policy?.decision.recordTranscript !== false;
    // The id of an ephemeral one may have been another's before.
    const since = durability === "ephemeral" ? (began.since[at] ?? 0) : 0;
    return isShown && !isSaid(inputId, since) ? [deepFreeze(messageOf(inputId, persistedInput))] : [];
  });
  /** Of those appended, how many are stored. */
  let settled = 0;
  let isOpen = true;
  let writing: Promise<void> = Promise.resolve();

  /** The storage's trouble, or the lease's end, is not the handler's own. */
  const own = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (thrown) {
      const error = heldLease.over ?? thrown;
      parts.raised(error);
      throw error;
    }
  };

  const fenced = <T>(write: (named: RunRef) => Promise<T>): Promise<T> =>
    own(() => heldLease.write((lease: ProcessLease) => write({ ...ref, lease })));

  function pendingNow(count = appended.length): AppendedMessages {
    const messages = appended.slice(0, count);
    return { base, messages, digest: chainDigest(base.digest, messages) };
  }

  /** One after another: each stands on what the one before it stored. */
  function checkpoint(): Promise<void> {
    if (!isOpen) return Promise.reject(overError());
    // What is appended while it waits is not its own.
    const until = settled + appended.length;
    const next = writing.then(async () => {
      const pending = pendingNow(until - settled);
      await fenced((named) =>
        corridor.run(checkpointTurn, { ...named, ...pending }, { size: JSON.stringify(pending.messages).length }),
      );
      settle(pending);
    });
    writing = next.catch(() => undefined);
    return next;
  }

  function settle({ messages, digest }: AppendedMessages): void {
    transcript.extend(base, messages, digest);
    base = { messageCount: base.messageCount + messages.length, digest };
    appended = appended.slice(messages.length);
    settled += messages.length;
  }

  async function runStep(key: string, run: (step: StepRun) => unknown): Promise<JsonValue> {
    const { workId } = began.run;
    const known = await own(() =>
      corridor.query(["turnSteps"], (reader) => loadRow(reader, "turnSteps", [ref.runtimeId, workId, key])),
    );
    if (known) return known.result;
    const { fencingToken } = heldLease.lease;
    const idempotencyKey = turnStepKey(ref.runtimeId, workId, key);
    const value = await parts.steps.begin(key, () => run({ idempotencyKey, fencingToken, attempt, signal }));
    const result = admitPayload(value ?? null, `the result of step "${key}"`, limits);
    return await fenced((named) =>
      corridor.run(storeTurnStep, { ...named, workId, stepKey: key, result }, { size: JSON.stringify(result).length }),
    );
  }

  const overError = () =>
    heldLease.over ??
    new HoldfastError("lease-lost", `the turn of run "${run.runId}" is over`, { details: { runId: run.runId } });
  const attempt = Math.max(...inputs.map(({ attemptCount }) => attemptCount));
  const turn: Turn = {
    runId: run.runId,
    attempt,
    inputs: structuredClone(inputs) as StoredInputState[],
    messages: Object.freeze([...stored, ...appended]),
    signal,
    async step<T extends JsonValue>(key: string, run: (step: StepRun) => Promise<T> | T) {
      const name = checkId("key", key, limits.idLength);
      checkFunction("run", run);
      if (!isOpen) throw overError();
      return structuredClone(await parts.steps.share(name, () => runStep(name, run))) as T;
    },
    append(message) {
      if (!isOpen || heldLease.over) throw overError();
      appended.push(deepFreeze(checkMessage("message", message, { maxBytes: limits.payloadBytes, maxDepth: limits.depth })));
    },
    checkpoint,
  };
  const calls = createCalls(parts.unawaited);
  return {
    turn: calls.watched(turn, ["step", "checkpoint"]),
    async pending() {
      await writing;
      return pendingNow();
    },
    close() {
      isOpen = false;
      if (!signal.aborted) calls.end();
    },
  };
}

/** What tells a turn's step from any other, outside too: no two share one. A session id without `%` and `:` stays as it is. */
export function turnStepKey(runtimeId: string, workId: string, key: string): string {
  const sessionId = runtimeId.slice(runtimeIdOf("").length);
  return `${runtimeIdOf(keyPart(sessionId))}:${keyPart(workId)}:step:${key}`;
}
