import type { Corridor } from "../../corridor/command.js";
import type { View } from "../../corridor/view.js";
import type { Watch } from "../../corridor/watch.js";
import { guarded } from "../../domain/admit.js";
import { checkFunction, checkId, checkList, checkWhole, optionsOf } from "../../domain/check.js";
import { asHoldfastError, HoldfastError, invalid } from "../../domain/errors.js";
import { checkRetry, type Retry, type RetryPolicy } from "../../domain/retry.rules.js";
import type { InputKind, PolicyDecision } from "../../domain/session/input.js";
import { checkPolicyDecision } from "../../domain/session/input-record.js";
import { checkOpsOptions, type OpsOptions } from "../../domain/session/ops-options.js";
import type { Message, RuntimeState } from "../../domain/session/session.js";
import type { Limits } from "../../domain/time.js";
import type { Host } from "../../stores/host/leases.rules.js";
import { loadRow } from "../../stores/schema.js";
import { type AcceptInput, type AcceptOutcome, acceptInput, cancelInput } from "../../stores/session/admission.js";
import { checkRuntime, type InputHappening, type RecoveryReport } from "../../stores/session/draft.js";
import { builtInPolicy, startsRun } from "../../stores/session/inputs/policy.rules.js";
import {
  type InputSubmission,
  type PreparedInput,
  type PromptSubmission,
  prepareSubmission,
} from "../../stores/session/inputs/submission.js";
import { type ChangeRuntime, changeRuntime, type OpenedSession, type RuntimeChange } from "../../stores/session/sessions.js";
import { disposable } from "../host/disposable.js";
import { mapLazy, methodsOf } from "../lazy.js";
import { emitInputs, type SessionEvent } from "./events.js";
import type { InputReads } from "./inputs/input-reads.js";
import { closedView, type LocalSession, type SessionKernel } from "./local-session.js";
import type { OpsRegistry } from "./operations.js";
import type { SessionChange } from "./session-changes.js";
import type { TurnHandler } from "./turn.js";
import type { SessionView } from "./view/session-view.rules.js";

/** What a session is opened with. The options of the call that opens it first in a tab count, where they are about all of it. */
export interface SessionOptions {
  /** Inputs that cannot be read or continued are set aside instead of failing the call; `quarantined` lists them. */
  quarantine?: boolean;
  /**
   * Decides for each input before the built-in table does; `undefined` leaves it to the table. Synchronous and without effects: it is
   * called for idle and for busy.
   */
  policy?: (input: { kind: InputKind; idle: boolean }) => PolicyDecision | undefined;
  /** Peer requests with these intents are queued and start no run. */
  silentIntents?: readonly string[];
  /**
   * When a turn that a handler of this object failed is tried again. Default: the kernel's `turnRetry`. Also for `KernelOptions.turns`,
   * which runs the session in this tab: that of the call that opens the session first counts there.
   */
  retry?: RetryPolicy;
  /** Options of the operations in this tab; those of the call that opens the session first count. */
  ops?: OpsOptions;
}

/**
 * A session that survives its tab. Every tab may submit and read; one tab at a time runs its turns.
 * Methods reject `not-found` once the session is deleted, `closed` once this object or its kernel is.
 */
export interface SessionRuntime extends InputReads, AsyncDisposable {
  /** `rt:session:<sessionId>` */
  readonly runtimeId: string;
  /** The state as this tab read it last. */
  readonly state: RuntimeState;
  /** What was recovered when the session was opened; absent where another tab is at work. */
  readonly recovery: RecoveryReport | undefined;
  /** Inputs that were set aside when the session was opened. */
  readonly quarantined: readonly { inputId: string; reason: string }[];
  /**
   * Resolves when the input is stored, or when its idempotency key stands for another one. Give the outcome to `outcome()` to wait for
   * the input's end. Rejects `invalid` for a value that is no input, `not-ready` when the session is retired, stopped or destroyed,
   * `conflict` for an input id that is known; nothing is stored then.
   */
  submit(input: PromptSubmission): Promise<Exclude<AcceptOutcome, { outcome: "rejected" }>>;
  /** The same for inputs of every kind. Some a session does not take: "rejected", with the reason; nothing is stored then. */
  submit(input: InputSubmission): Promise<AcceptOutcome>;
  /**
   * Takes an input back. An input that waits is abandoned at once. A turn that runs with it is ended, and the other inputs of that turn
   * wait again. An input that has ended, or is unknown, changes nothing.
   */
  cancel(inputId: string): Promise<void>;
  /**
   * Attaches a handler: this tab runs turns from now on while no other tab does. The last of several handlers runs them. Returns a
   * function that takes the handler off.
   */
  onTurn(handler: TurnHandler): () => void;
  /**
   * The stored messages, frozen; the first `after` are left out (default 0). A message is the same object in every call, and without
   * `after` the list is too, as long as nothing is added or replaced.
   */
  messages(options?: { after?: number }): Promise<readonly Message[]>;
  /** The bytes of an input's image. `hash` is the image's `blob`. */
  blob(hash: string): Promise<Uint8Array | undefined>;
  /** Calls `listener` with each change, in any tab, until the returned function is called. */
  subscribe(listener: (change: SessionChange) => void): () => void;
  /** The session as a user interface shows it. All objects of a session in this tab read it together. */
  readonly view: View<SessionView>;
  readonly ops: OpsRegistry;
  /** The session takes no more inputs. Those that wait are still run if a tab has a turn handler or `KernelOptions.turns`, and abandoned if none has. */
  retire(): Promise<{ abandoned: number; pendingDrain: number }>;
  /** Abandons the inputs that wait; the session is idle again. Rejects `not-ready` while a turn runs, and when stopped or destroyed. */
  reset(): Promise<{ abandoned: number }>;
  /** The session is idle again and keeps the inputs that wait. Rejects `not-ready` while a turn runs, and when stopped or destroyed. */
  recycle(): Promise<{ carriedOver: number }>;
  /** Ends the session for good: ends the turn that runs and abandons all inputs. */
  shutdown(): Promise<void>;
  /** Like `shutdown`, and the session takes no command any more. */
  destroy(): Promise<{ abandoned: number }>;
  /**
   * Lets go of this object, as disposing does: its handlers and listeners are taken off. Resolves when the turns that they ran are handed
   * back; with the last object of the session in this tab, its lease is, too. A turn of `KernelOptions.turns` goes on: only handlers of
   * this object are ended. The session stays as it is stored. Idempotent.
   */
  close(): Promise<void>;
}

interface SessionParts {
  readonly corridor: Corridor;
  readonly watch: Watch;
  readonly limits: Limits;
  readonly lazyParts: Pick<SessionKernel["lazyParts"], "inputReads">;
  readonly session: LocalSession;
  readonly options: CheckedSessionOptions;
  readonly found: Pick<OpenedSession, "recovery" | "quarantined">;
  readonly turnRetry: Retry;
  host(): Host;
  isDead(bootId: string): Promise<boolean>;
  newOrderedId(): string;
  newNonce(): string;
  emit(event: SessionEvent): void;
  /** The app has disposed of this object. */
  leave(): Promise<void>;
}

export function openRuntime(parts: SessionParts): SessionRuntime {
  const { corridor, limits, session, options } = parts;
  const { ref, sessionId, ops } = session;
  const { runtimeId } = ref;
  const view = session.openView();
  const undo = new Set<() => void | Promise<void>>();
  const closing = new AbortController();
  const reads = mapLazy(parts.lazyParts.inputReads, ({ inputReads }) => inputReads({ ...parts, ref, closing: closing.signal }));
  let leaving: Promise<void> | undefined;

  const open = () => {
    if (closing.signal.aborted) throw closing.signal.reason;
  };
  const undoable = (take: () => void | Promise<void>): (() => void) => {
    const once = () => (undo.delete(once) ? take() : undefined);
    undo.add(once);
    return () => void once();
  };

  const tellInputs = (happened: readonly InputHappening[]) => emitInputs(parts.emit, { sessionId }, happened);

  async function leave(): Promise<void> {
    view.end(closedView(view.get()));
    await Promise.all([...[...undo].map((take) => take()), parts.leave()]);
  }

  async function change(command: ChangeRuntime["command"]): Promise<RuntimeChange> {
    open();
    const changed = await corridor.run(changeRuntime, { ...ref, command, attachment: session.attachment() });
    session.learn(changed.state);
    tellInputs(changed.happened);
    return changed;
  }

  async function submit(input: InputSubmission): Promise<AcceptOutcome> {
    open();
    const prepared = prepareSubmission(input, limits);
    const { inputId = parts.newOrderedId(), ...rest } = prepared;
    const command: AcceptInput = {
      ...ref,
      ...rest,
      inputId,
      ticket: parts.newNonce(),
      ...policyFor(prepared, options),
      hostId: parts.host().hostId,
    };
    const size = JSON.stringify(prepared.persisted).length + prepared.blobs.reduce((sum, { bytes }) => sum + bytes.length, 0);
    const { outcome, happened, state } = await corridor.run(acceptInput, command, { size });
    session.learn(state);
    tellInputs(happened);
    session.submitted();
    return outcome;
  }

  async function close(): Promise<void> {
    closing.abort(new HoldfastError("closed", `the session "${sessionId}" is closed here`));
    leaving ??= leave();
    await leaving;
  }

  const runtime: Omit<SessionRuntime, keyof AsyncDisposable> = {
    runtimeId,
    get state() {
      return session.state === "idle" && session.hasHandler() ? "attached" : session.state;
    },
    recovery: parts.found.recovery,
    quarantined: parts.found.quarantined,
    // The type of a prompt admits none that is rejected.
    submit: submit as SessionRuntime["submit"],
    async cancel(inputId) {
      open();
      tellInputs(await corridor.run(cancelInput, { ...ref, inputId: checkId("inputId", inputId, limits.idLength) }));
    },
    onTurn(handler) {
      open();
      checkFunction("handler", handler);
      return undoable(session.attach({ run: (turn) => handler(turn), retry: options.retry ?? parts.turnRetry }));
    },
    async messages(given = {}) {
      open();
      const { after } = optionsOf("messages", given, ["after"]);
      const from = after === undefined ? 0 : checkWhole("options.after", after, 0);
      const messages = await session.transcript.read();
      return from === 0 ? messages : Object.freeze(messages.slice(from));
    },
    async blob(hash) {
      open();
      const name = checkId("hash", hash, limits.idLength);
      return await corridor.query(["runtimes", "blobs"], async (reader) => {
        checkRuntime(await loadRow(reader, "runtimes", runtimeId), ref);
        return (await loadRow(reader, "blobs", [runtimeId, name]))?.bytes;
      });
    },
    subscribe(listener) {
      open();
      return undoable(session.listen(checkFunction("listener", listener)));
    },
    view,
    ops,
    ...methodsOf<InputReads>(reads, { inputs: true, owner: true, outcome: true }, open),
    async retire() {
      const { abandoned, pending } = await change("retire");
      return { abandoned, pendingDrain: pending };
    },
    async reset() {
      return { abandoned: (await change("reset")).abandoned };
    },
    async recycle() {
      return { carriedOver: (await change("recycle")).pending };
    },
    async shutdown() {
      await change("shutdown");
    },
    async destroy() {
      return { abandoned: (await change("destroy")).abandoned };
    },
    close,
  };
  return disposable(runtime, close);
}

export interface CheckedSessionOptions {
  readonly quarantine: boolean;
  readonly policy: SessionOptions["policy"];
  readonly silentIntents: ReadonlySet<string>;
  readonly retry: Retry | undefined;
  readonly ops: OpsOptions;
}

export function checkSessionOptions(value: unknown, limits: Limits): CheckedSessionOptions {
  const m = optionsOf("session", value, ["quarantine", "policy", "silentIntents", "retry", "ops"]);
  if (m.quarantine !== undefined && typeof m.quarantine !== "boolean") throw invalid("options.quarantine must be a boolean");
  const intents = m.silentIntents === undefined ? [] : checkList("options.silentIntents", m.silentIntents, MOST_INTENTS);
  return {
    quarantine: m.quarantine === true,
    policy: m.policy === undefined ? undefined : checkFunction("options.policy", m.policy as SessionOptions["policy"]),
    silentIntents: new Set(intents.map((intent, at) => checkId(`options.silentIntents/${at}`, intent, limits.idLength))),
    retry: m.retry === undefined ? undefined : checkRetry("options.retry", m.retry),
    ops: checkOpsOptions("options.ops", m.ops),
  };
}

const MOST_INTENTS = 1_024;

/** The policy is asked outside the transaction, for idle and for busy: only the transaction knows which of them it is. */
function policyFor(
  input: PreparedInput,
  { policy, silentIntents }: CheckedSessionOptions,
): Pick<AcceptInput, "policy" | "starts"> {
  const { kind, handlingMode, intent } = input;
  const silent = kind === "peer_request" && intent !== undefined && silentIntents.has(intent);
  const decide = (idle: boolean): PolicyDecision => {
    const own = policy && guardedPolicy(() => policy({ kind, idle }));
    // A promise is refused below; a rejection of it must not go unhandled.
    if (own instanceof Promise) own.catch(() => undefined);
    if (own !== undefined) return checkPolicyDecision("the decision of options.policy", own);
    return builtInPolicy({ kind, idle, ...(handlingMode && { handlingMode }), ...(silent && { silent }) });
  };
  const idle = decide(true);
  return { policy: { idle, busy: decide(false) }, starts: startsRun(idle) };
}

function guardedPolicy<T>(ask: () => T): T {
  try {
    return guarded("options.policy", ask);
  } catch (thrown) {
    throw asHoldfastError(thrown, "invalid", "options.policy failed");
  }
}
