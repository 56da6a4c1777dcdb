import type { Corridor } from "../../corridor/command.js";
import { guarded } from "../../domain/admit.js";
import { checkFunction, checkId, checkList, checkWhole, membersOf } from "../../domain/check.js";
import { asHoldfastError, HoldfastError, invalid } from "../../domain/errors.js";
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
import { type InputSubmission, type PreparedInput, prepareSubmission } from "../../stores/session/inputs/submission.js";
import { type ChangeRuntime, changeRuntime, type OpenedSession, type RuntimeChange } from "../../stores/session/sessions.js";
import { emitInputs, type SessionEvent } from "./events.js";
import type { LocalSession } from "./local-session.js";
import type { OpsRegistry } from "./operations.js";
import type { SessionChange } from "./session-changes.js";
import type { TurnHandler } from "./turn.js";

export interface SessionOptions {
  /** Sets inputs aside that cannot be read or gone on with, instead of failing on them; they are in `quarantined`. */
  quarantine?: boolean;
  /** Asked for each input before the built-in table; `undefined` leaves it to that. Synchronous and without effects: it is asked for both moments. */
  policy?: (input: { kind: InputKind; idle: boolean }) => PolicyDecision | undefined;
  /** Intents of peers' requests that are queued and are no reason to run. */
  silentIntents?: readonly string[];
  /** Of the operations in this tab; the first that opens the session decides. */
  ops?: OpsOptions;
}

/**
 * A session that survives its tab. Any tab submits and reads; one at a time runs its turns.
 * Methods reject `not-found` once the session is deleted, `closed` once this object or its kernel is.
 */
export interface SessionRuntime extends AsyncDisposable {
  /** `rt:session:<sessionId>` */
  readonly runtimeId: string;
  /** As this tab last read it. */
  readonly state: RuntimeState;
  /** What opening it found to recover; absent where another tab is at work. */
  readonly recovery: RecoveryReport | undefined;
  /** What opening it set aside. */
  readonly quarantined: readonly { inputId: string; reason: string }[];
  /**
   * Resolves after the input is stored. Rejects `invalid` for what is no input, `not-ready` when the session is retired, stopped or
   * destroyed, `conflict` for an input id that is known; nothing is stored then.
   */
  submit(input: InputSubmission): Promise<AcceptOutcome>;
  /**
   * Takes an input back: one that waits is abandoned at once, a turn that runs with it is ended, and what ran beside it waits again. Of one
   * that has ended, or is not known, nothing changes.
   */
  cancel(inputId: string): Promise<void>;
  /** Attaches: this tab runs turns from now on, if no other does. Of several handlers the last one runs. Returns what takes it off. */
  onTurn(handler: TurnHandler): () => void;
  /** The stored ones, from `after` messages on (default 0). */
  messages(options?: { after?: number }): Promise<Message[]>;
  /** The bytes of an image that an input brought, by its `blob`. */
  blob(hash: string): Promise<Uint8Array | undefined>;
  subscribe(listener: (change: SessionChange) => void): () => void;
  readonly ops: OpsRegistry;
  /** Takes no more inputs. What waits is still run where a tab has a turn handler, and abandoned where none has. */
  retire(): Promise<{ abandoned: number; pendingDrain: number }>;
  /** Abandons what waits and begins anew as idle. Rejects `not-ready` while a turn runs, and when stopped or destroyed. */
  reset(): Promise<{ abandoned: number }>;
  /** Back to idle with all that waits. Rejects `not-ready` while a turn runs, and when stopped or destroyed. */
  recycle(): Promise<{ carriedOver: number }>;
  /** Ends the turn that runs and abandons all inputs. */
  stop(): Promise<void>;
  /** The same, for good. */
  destroy(): Promise<{ abandoned: number }>;
}

export interface SessionParts {
  readonly corridor: Corridor;
  readonly limits: Limits;
  readonly session: LocalSession;
  readonly options: CheckedSessionOptions;
  readonly found: Pick<OpenedSession, "recovery" | "quarantined">;
  host(): Host;
  newOrderedId(): string;
  newNonce(): string;
  emit(event: SessionEvent): void;
  /** This object is done with it. */
  leave(): Promise<void>;
}

export function openRuntime(parts: SessionParts): SessionRuntime {
  const { corridor, limits, session, options } = parts;
  const { ref, sessionId, ops } = session;
  const { runtimeId } = ref;
  const undo = new Set<() => void | Promise<void>>();
  let closed = false;
  let leaving: Promise<void> | undefined;

  const open = () => {
    if (closed) throw new HoldfastError("closed", `the session "${sessionId}" is closed here`);
  };
  const undoable = (take: () => void | Promise<void>): (() => void) => {
    const once = () => (undo.delete(once) ? take() : undefined);
    undo.add(once);
    return () => void once();
  };

  const tellInputs = (happened: readonly InputHappening[]) => emitInputs(parts.emit, { sessionId }, happened);

  async function leave(): Promise<void> {
    await Promise.all([...[...undo].map((take) => take()), parts.leave()]);
  }

  async function change(command: ChangeRuntime["command"]): Promise<RuntimeChange> {
    open();
    const changed = await corridor.run(changeRuntime, { ...ref, command, attachment: session.attachment() });
    session.learn(changed.state);
    tellInputs(changed.happened);
    return changed;
  }

  return {
    runtimeId,
    get state() {
      return session.state === "idle" && session.hasHandler() ? "attached" : session.state;
    },
    recovery: parts.found.recovery,
    quarantined: parts.found.quarantined,
    async submit(input) {
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
    },
    async cancel(inputId) {
      open();
      tellInputs(await corridor.run(cancelInput, { ...ref, inputId: checkId("inputId", inputId, limits.idLength) }));
    },
    onTurn(handler) {
      open();
      return undoable(session.attach(checkFunction("handler", handler)));
    },
    async messages(given = {}) {
      open();
      const { after } = membersOf("options", given, ["after"]);
      const from = after === undefined ? 0 : checkWhole("options.after", after, 0);
      const messages = await session.transcript.read();
      return structuredClone(messages.slice(from)) as Message[];
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
    ops,
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
    async stop() {
      await change("stop");
    },
    async destroy() {
      return { abandoned: (await change("destroy")).abandoned };
    },
    async [Symbol.asyncDispose]() {
      closed = true;
      leaving ??= leave();
      await leaving;
    },
  };
}

export interface CheckedSessionOptions {
  readonly quarantine: boolean;
  readonly policy: SessionOptions["policy"];
  readonly silentIntents: ReadonlySet<string>;
  readonly ops: OpsOptions;
}

export function checkSessionOptions(value: unknown, limits: Limits): CheckedSessionOptions {
  const m = membersOf("options", value, ["quarantine", "policy", "silentIntents", "ops"]);
  if (m.quarantine !== undefined && typeof m.quarantine !== "boolean") throw invalid("options.quarantine must be a boolean");
  const intents = m.silentIntents === undefined ? [] : checkList("options.silentIntents", m.silentIntents, MOST_INTENTS);
  return {
    quarantine: m.quarantine === true,
    policy: m.policy === undefined ? undefined : checkFunction("options.policy", m.policy as SessionOptions["policy"]),
    silentIntents: new Set(intents.map((intent, at) => checkId(`options.silentIntents/${at}`, intent, limits.idLength))),
    ops: checkOpsOptions("options.ops", m.ops),
  };
}

const MOST_INTENTS = 1_024;

/** Asked outside the transaction, for both moments; which of them it is, is known inside. */
function policyFor(
  input: PreparedInput,
  { policy, silentIntents }: CheckedSessionOptions,
): Pick<AcceptInput, "policy" | "starts"> {
  const { kind, handlingMode, intent } = input;
  const silent = kind === "peer_request" && intent !== undefined && silentIntents.has(intent);
  const decide = (idle: boolean): PolicyDecision => {
    const own = policy && guardedPolicy(() => policy({ kind, idle }));
    // It is refused below; what the promise may still come to is ignored.
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
