import type { Corridor } from "../../corridor/command.js";
import { checkFunction, checkId } from "../../domain/check.js";
import { HoldfastError } from "../../domain/errors.js";
import type { JsonValue } from "../../domain/json.js";
import type { ProcessLease } from "../../domain/lease.js";
import { keyPart } from "../../domain/process/own-key.js";
import { runtimeIdOf } from "../../domain/runtime-id.js";
import type { StoredInputState } from "../../domain/session/input.js";
import { checkMessage } from "../../domain/session/message.js";
import type { GivenMessage, Message } from "../../domain/session/session.js";
import type { Limits } from "../../domain/time.js";
import { admitPayload } from "../../stores/process/registration.js";
import { loadRow } from "../../stores/schema.js";
import { isTranscriptEligible, messageOf } from "../../stores/session/inputs/submission.js";
import { chainDigest } from "../../stores/session/transcript.rules.js";
import { type AppendedMessages, type BeganTurn, checkpointTurn, type RunRef, storeTurnStep } from "../../stores/session/turns.js";
import type { HeldLease } from "../host/held-lease.js";
import { createCalls } from "../process/calls.js";
import type { ProcessContext, StepRun } from "../process/context.js";
import type { Json } from "../process/definition/stored-json.js";
import type { RunningSteps } from "../process/running-steps.js";
import { deepFreeze, type Transcript } from "./transcript.js";

/** What a turn handler gets. Its writes are fenced by the executor's lease: once the lease is lost, they change nothing. */
export interface Turn {
  readonly runId: string;
  /** How often its inputs were staged: 1 for the first try. */
  readonly attempt: number;
  /** The inputs of this turn, in the order of their admission. */
  readonly inputs: StoredInputState[];
  /** The stored messages, then one for each new input that the transcript shows; frozen. */
  readonly messages: readonly Message[];
  /** Aborts when the session is stopped, destroyed or deleted, the lease is lost, the handler taken off, or the kernel closes. */
  readonly signal: AbortSignal;
  /** Like a process's step: the result is stored once per key, and every later attempt at these inputs gets it. */
  readonly step: ProcessContext["step"];
  /** Adds a message, which is stored when the turn ends or at the next checkpoint. Throws `invalid` for a value that is no message. */
  append(message: GivenMessage): void;
  /** Stores the messages that were appended so far. The next attempt sees them; no input changes. */
  checkpoint(): Promise<void>;
}

export type TurnHandler = (turn: Turn) => Promise<void> | void;

interface TurnParts {
  readonly corridor: Corridor;
  readonly limits: Limits;
  readonly transcript: Transcript;
  readonly heldLease: HeldLease;
  readonly signal: AbortSignal;
  /** Called with each error that a method of the turn throws to the handler: it is no failure of the handler's. */
  raised(error: unknown): void;
  /** Reports a call that the handler did not await. */
  unawaited(message: string): void;
  readonly steps: RunningSteps;
}

export interface OpenTurn {
  readonly turn: Turn;
  /** The messages that are not stored yet, after checkpoints under way. */
  pending(): Promise<AppendedMessages>;
  /** The handler has ended: its calls are refused from now on. */
  close(): void;
}

export type Began = Extract<BeganTurn, { kind: "turn" }>;

export async function openTurn(parts: TurnParts, began: Began, ref: Omit<RunRef, "lease">): Promise<OpenTurn> {
  const { corridor, limits, heldLease, transcript, signal } = parts;
  const { run, inputs } = began;
  const stored = await transcript.read();
  let base = { messageCount: began.messageCount, digest: began.digest };
  // A checkpoint of an earlier attempt may have stored an input's message already.
  const isSaid = (inputId: string, since: number) =>
    // A transcript that a snapshot replaced may be shorter, and hold any value.
    stored.slice(since > stored.length ? 0 : since).some((message) => message?.role === "user" && message.inputId === inputId);
  let appended: Message[] = inputs.flatMap(({ inputId, persistedInput, policy, durability }, at) => {
    const isShown = persistedInput && isTranscriptEligible(persistedInput) && policy?.decision.recordTranscript !== false;
    // An ephemeral input may have the id of an earlier input: only messages since its admission count.
    const since = durability === "ephemeral" ? (began.since[at] ?? 0) : 0;
    return isShown && !isSaid(inputId, since) ? [deepFreeze(messageOf(inputId, persistedInput))] : [];
  });
  /** How many of the appended messages are stored. */
  let settled = 0;
  let isOpen = true;
  let writing: Promise<void> = Promise.resolve();

  /** Marks errors of the storage and the end of the lease: they are no failure of the handler's. */
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

  /** Checkpoints run one after another: each continues from the digest of the one before. */
  function checkpoint(): Promise<void> {
    if (!isOpen) return Promise.reject(overError());
    // Messages that are appended while it waits belong to the next checkpoint.
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
    async step<T>(key: string, run: (step: StepRun) => Promise<T> | T) {
      const name = checkId("key", key, limits.idLength);
      checkFunction("run", run);
      if (!isOpen) throw overError();
      return structuredClone(await parts.steps.share(name, () => runStep(name, run))) as Json<T>;
    },
    append(message) {
      if (!isOpen || heldLease.over) throw overError();
      appended.push(
        deepFreeze(checkMessage("message", message, { maxBytes: limits.payloadBytes, maxDepth: limits.depth, mends: true })),
      );
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

/** The idempotency key of a turn's step, unique among all steps, for outside services too. A session id without `%` and `:` stays as it is. */
export function turnStepKey(runtimeId: string, workId: string, key: string): string {
  const sessionId = runtimeId.slice(runtimeIdOf("").length);
  return `${runtimeIdOf(keyPart(sessionId))}:${keyPart(workId)}:step:${key}`;
}
