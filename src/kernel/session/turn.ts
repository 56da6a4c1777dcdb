import type { Corridor } from "../../corridor/command.js";
import { checkFunction, checkId, optionsOf } from "../../domain/check.js";
import { HoldfastError } from "../../domain/errors.js";
import type { JsonValue } from "../../domain/json.js";
import type { ProcessLease } from "../../domain/lease.js";
import { keyPart } from "../../domain/process/own-key.js";
import type { Retry } from "../../domain/retry.rules.js";
import { runtimeIdOf } from "../../domain/runtime-id.js";
import type { StoredInputState } from "../../domain/session/input.js";
import { checkMessage } from "../../domain/session/message.js";
import type { GivenMessage, Message } from "../../domain/session/session.js";
import type { Limits } from "../../domain/time.js";
import { admitPayload } from "../../stores/process/registration.js";
import { loadRow, loadRows } from "../../stores/schema.js";
import { isShown, messageOf } from "../../stores/session/inputs/prompt-message.rules.js";
import { chainDigest } from "../../stores/session/transcript.rules.js";
import { type AppendedMessages, type BeganTurn, checkpointTurn, type RunRef, storeTurnStep } from "../../stores/session/turns.js";
import type { HeldLease } from "../host/leases/held-lease.js";
import { createCalls } from "../process/context/calls.js";
import type { RunningSteps } from "../process/context/running-steps.js";
import type { StepRun } from "../process/context/step.js";
import type { Json } from "../process/definition/stored-json.js";
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
  /** Like a process's step without options: the result is stored once per key, and every later attempt at these inputs gets it. */
  step<T>(key: string, run: (step: StepRun) => Promise<T> | T): Promise<Json<T>>;
  /**
   * Adds a message, which is stored when the turn ends or at the next checkpoint. Under a `key` it is added once for these inputs: false
   * says that this attempt used the key before, or that an earlier one stored a message under it; then nothing is added. Throws `invalid`
   * for a value that is no message.
   */
  append(message: GivenMessage, options?: { key?: string }): boolean;
  /** Stores the messages that were appended so far. The next attempt sees them; no input changes. */
  checkpoint(): Promise<void>;
}

/** Runs a turn. It may be async: the turn ends when its promise does. What it gives is not used. */
export type TurnHandler = (turn: Turn) => unknown;

/** A handler as it was attached. The same function may be attached twice, and each attachment is taken off alone. */
export interface AttachedHandler {
  readonly run: TurnHandler;
  /** When a turn that it failed is tried again. */
  readonly retry: Retry;
}

/** Runs the turns of every session that has no handler of its own in this tab. */
export type AnyTurnHandler = (turn: Turn, session: { sessionId: string }) => unknown;

interface TurnParts {
  readonly corridor: Corridor;
  readonly limits: Limits;
  readonly transcript: Transcript;
  readonly heldLease: HeldLease;
  readonly signal: AbortSignal;
  /** Called with each error of the storage or the lease, and with the refusal of each value that cannot be stored, that a method throws. */
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
  const [stored, keys] = await Promise.all([transcript.read(), loadKeys(corridor, ref.runtimeId, run)]);
  let base = { messageCount: began.messageCount, digest: began.digest };
  // A checkpoint of an earlier attempt may have stored an input's message already.
  const isSaid = (inputId: string, since: number) =>
    // A transcript that a snapshot replaced may be shorter, and hold any value.
    stored.slice(since > stored.length ? 0 : since).some((message) => message?.role === "user" && message.inputId === inputId);
  let appended: PendingMessage[] = inputs.flatMap((input, at) => {
    const { inputId, persistedInput, durability } = input;
    // An ephemeral input may have the id of an earlier input: only messages since its admission count.
    const since = durability === "ephemeral" ? (began.since[at] ?? 0) : 0;
    if (!persistedInput || !isShown(input) || isSaid(inputId, since)) return [];
    return [{ message: deepFreeze(messageOf(inputId, persistedInput)) }];
  });
  /** How many of the appended messages are stored. */
  let settled = 0;
  let isOpen = true;
  let writing: Promise<void> = Promise.resolve();

  /** Marks the errors of the turn's own methods: trouble is no failure of the handler's, and what cannot be stored is its last one. */
  const own = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (thrown) {
      throw raise(heldLease.over ?? thrown);
    }
  };

  function raise(error: unknown): unknown {
    parts.raised(error);
    return error;
  }

  const fenced = <T>(write: (named: RunRef) => Promise<T>): Promise<T> =>
    own(() => heldLease.write((lease: ProcessLease) => write({ ...ref, lease })));

  function pendingNow(count = appended.length): AppendedMessages {
    const messages = appended.slice(0, count).map(({ message }) => message);
    return { base, messages, digest: chainDigest(base.digest, messages) };
  }

  /** Checkpoints run one after another: each continues from the digest of the one before. */
  function checkpoint(): Promise<void> {
    if (!isOpen) return Promise.reject(overError());
    // Messages that are appended while it waits belong to the next checkpoint.
    const until = settled + appended.length;
    const next = writing.then(async () => {
      const pending = pendingNow(until - settled);
      const size = JSON.stringify(pending.messages).length;
      const stored = appended.slice(0, until - settled).flatMap(({ key }) => key ?? []);
      await fenced((named) => corridor.run(checkpointTurn, { ...named, ...pending, keys: stored }, { size }));
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
    const result = await own(async () => admitPayload(value ?? null, `the result of step "${key}"`, limits));
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
    messages: Object.freeze([...stored, ...appended.map(({ message }) => message)]),
    signal,
    async step<T>(key: string, run: (step: StepRun) => Promise<T> | T, options: unknown = {}) {
      const name = checkId("key", key, limits.idLength);
      checkFunction("run", run);
      optionsOf("step", options, []);
      if (!isOpen) throw overError();
      return structuredClone(await parts.steps.share(name, () => runStep(name, run))) as Json<T>;
    },
    append(message, options = {}) {
      if (!isOpen || heldLease.over) throw overError();
      try {
        const bounds = { maxBytes: limits.payloadBytes, maxDepth: limits.depth, mends: true };
        const given = optionsOf("append", options, ["key"]).key;
        const key = given === undefined ? undefined : checkId("options.key", given, limits.idLength);
        const checked = deepFreeze(checkMessage("message", message, bounds));
        if (key !== undefined && keys.has(key)) return false;
        appended.push({ message: checked, ...(key !== undefined && { key }) });
        if (key !== undefined) keys.add(key);
        return true;
      } catch (error) {
        throw raise(error);
      }
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

interface PendingMessage {
  readonly message: Message;
  readonly key?: string;
}

/** The keys under which earlier attempts at these inputs stored messages. */
async function loadKeys(corridor: Corridor, runtimeId: string, { runId, workId }: Began["run"]): Promise<Set<string>> {
  // The first attempt gives the work its id.
  if (workId === runId) return new Set();
  const rows = await corridor.query(["turnKeys"], (reader) => loadRows(reader, "turnKeys", { prefix: [runtimeId, workId] }));
  return new Set(rows.map(({ appendKey }) => appendKey));
}

/** The idempotency key of a turn's step, unique among all steps, for outside services too. A session id without `%` and `:` stays as it is. */
export function turnStepKey(runtimeId: string, workId: string, key: string): string {
  const sessionId = runtimeId.slice(runtimeIdOf("").length);
  return `${runtimeIdOf(keyPart(sessionId))}:${keyPart(workId)}:step:${key}`;
}
