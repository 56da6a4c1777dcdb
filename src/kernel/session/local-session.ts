import type { Corridor } from "../../corridor/command.js";
import { type OpenView, openView, viewOf } from "../../corridor/view.js";
import type { Watch } from "../../corridor/watch.js";
import { HoldfastError } from "../../domain/errors.js";
import type { OpsOptions } from "../../domain/session/ops-options.js";
import type { RuntimeState } from "../../domain/session/session.js";
import type { Limits, Timings } from "../../domain/time.js";
import type { Clock } from "../../ports/clock.js";
import type { Notices } from "../../ports/notices.js";
import type { Host } from "../../stores/host/leases.rules.js";
import { type Attachment, deletedSession, type SessionRef } from "../../stores/session/draft.js";
import { putAttachment } from "../../stores/session/sessions.js";
import { faultOf, faultOfApp } from "../host/fault.js";
import type { HeldLeases } from "../host/leases/held-leases.js";
import type { Fault } from "../host/loop-contract.js";
import { type Lazy, mapLazy, methodsOf, whenLoaded } from "../lazy.js";
import type { SessionEvent } from "./events.js";
import type { OpsRegistry } from "./operations.js";
import type { LookEnd } from "./pacing.rules.js";
import { followSession, type SessionChange } from "./session-changes.js";
import { createTranscript, type Transcript } from "./transcript.js";
import type { AttachedHandler } from "./turn.js";
import { createTurnHandlers } from "./turn-handlers.js";
import type { SessionView } from "./view/session-view.rules.js";

/** A session that this kernel has open. The app may hold several objects of it. */
export interface LocalSession {
  readonly ref: SessionRef;
  readonly sessionId: string;
  readonly transcript: Transcript;
  readonly ops: OpsRegistry;
  /** A view of an object that the app holds. */
  openView(): OpenView<SessionView>;
  hasHandler(): boolean;
  attachment(): Attachment;
  /** The session's state as it was read last. */
  readonly state: RuntimeState;
  learn(state: RuntimeState): void;
  listen(listener: (change: SessionChange) => void): () => void;
  /** This tab stored an input: its executor looks at once. */
  submitted(): void;
  /** Returns what takes the handler off; that resolves when a running turn of it is handed back. */
  attach(handler: AttachedHandler): () => Promise<void>;
  /** Starts the executor if there is a handler. */
  start(): void;
  /** Stores that this tab has the session open, and whether it has a handler; starts the executor. Never rejects. */
  storeAttachment(): Promise<void>;
  /** Hands the running turns back. */
  stop(): Promise<unknown>;
  /** Ends the running turns at once; nothing is written. */
  end(reason: HoldfastError): void;
  /** The session was deleted, perhaps in another tab. */
  vanish(): void;
  /** This tab has the session open no more. */
  close(): void;
}

/** What a session needs of its kernel. */
export interface SessionKernel {
  readonly corridor: Corridor;
  readonly notices: Notices;
  readonly watch: Watch;
  readonly clock: Clock;
  readonly timings: Timings;
  readonly limits: Limits;
  readonly heldLeases: HeldLeases;
  /** False where the loop is off. */
  readonly runsTurns: boolean;
  readonly hasLocks: boolean;
  readonly lazyParts: {
    readonly ops: Lazy<typeof import("./operations.js")>;
    readonly inputReads: Lazy<typeof import("./inputs/input-reads.js")>;
    readonly turns: Lazy<typeof import("./executor.js")>;
    readonly sessionView: Lazy<typeof import("./view/session-view.js")>;
  };
  host(): Host;
  newOrderedId(): string;
  newNonce(): string;
  emit(event: SessionEvent): void;
  fault(fault: Fault): void;
}

interface LocalSessionParts extends SessionKernel {
  readonly ref: SessionRef;
  readonly sessionId: string;
  ops(): OpsOptions;
  /** One for all executors of this kernel: an executor takes up the lease of the one before it as its own. */
  readonly ownerId: string;
  /** The kernel's handler for all sessions, and whether it may begin another turn of this one. */
  readonly kernelHandler: AttachedHandler | undefined;
  mayBegin(): boolean;
  /** The executor has looked, and does not look again at once. */
  rested(end: LookEnd): void;
  /** The loop is on, and the host's Web Lock is held, if there are locks: without it, other tabs could not see that a lease's owner lives. */
  mayRun(): boolean;
  isClosing(): boolean;
  /** The session was deleted; its listeners are told after this. */
  onGone(): void;
}

const LOADING: SessionView = { status: "loading", messages: [], live: [], waiting: 0, state: "initializing" };

const CLOSED = "the session was closed";

const OPERATIONS = {
  register: true,
  provisioningSucceeded: true,
  provisioningFailed: true,
  abortProvisioning: true,
  peerReady: true,
  reportProgress: true,
  complete: true,
  fail: true,
  cancel: true,
  requestRetire: true,
  markRetired: true,
  terminateOwner: true,
  get: true,
  list: true,
  watch: true,
  waitAll: true,
  listSince: true,
  waitForAdvance: true,
  collectCompleted: true,
} as const satisfies Record<keyof OpsRegistry, true>;

export function createLocalSession(given: LocalSessionParts): LocalSession {
  const { ref, sessionId, corridor } = given;
  const parts: LocalSessionParts = { ...given, fault: (fault) => given.fault({ ...fault, sessionId }) };
  const transcript = createTranscript(corridor, ref);
  let state: RuntimeState = "idle";
  let isGone = false;
  let isClosed = false;
  const tell = (error: unknown) => tellSessionFault(parts, error);

  const operations = mapLazy(parts.lazyParts.ops, ({ createOpsRegistry }) => {
    const own = { ownerSessionId: sessionId, newEpochId: parts.newOrderedId };
    const made = createOpsRegistry({ ...parts, ...ref, ...parts.ops(), ...own });
    if (isClosed) made.close(CLOSED);
    return made;
  });

  function learn(next: RuntimeState): void {
    if (next === state) return;
    state = next;
    parts.emit({ sessionId, code: "runtime.state_changed", state });
  }

  const handlers = createTurnHandlers({
    ...parts,
    isOver: () => isGone || isClosed || parts.isClosing(),
    executorParts: { ...parts, transcript, learn, vanish },
    tell,
  });

  const threw = (error: unknown) => parts.fault(faultOfApp("listener", "a listener of the session", error));
  const changes = followSession({ ...parts, learn, vanish, hear: handlers.hear, threw });

  const view: OpenView<SessionView> = openView(LOADING, (show) => {
    const last = view.get;
    return whenLoaded(
      parts.lazyParts.sessionView,
      parts,
      ({ followSessionView }) => followSessionView({ ...parts, transcript, hasHandler, vanish, last, show }),
      (error) => show({ ...last(), error: (error as HoldfastError).message }),
    );
  });

  function vanish(): void {
    if (isGone) return;
    isGone = true;
    parts.onGone();
    changes.vanish();
    view.end(closedView(view.get()));
    // The executor finds out by itself: a running turn ends with its reason.
    handlers.poke();
  }

  const hasHandler = () => parts.runsTurns && !handlers.isEmpty;
  const attachment = () => attachmentOf(parts, hasHandler());

  async function storeAttachment(): Promise<void> {
    if (parts.isClosing()) return;
    handlers.start();
    try {
      await corridor.run(putAttachment, { ...ref, attachment: attachment() });
    } catch (error) {
      tell(error);
    }
  }

  return {
    ref,
    sessionId,
    transcript,
    ops: methodsOf<OpsRegistry>(operations, OPERATIONS),
    openView: () => viewOf(view, threw),
    get state() {
      return state;
    },
    attachment,
    hasHandler,
    start: handlers.start,
    learn,
    listen: changes.listen,
    submitted: handlers.poke,
    attach(handler) {
      if (isGone) throw deletedSession(ref);
      const isFirst = handlers.isEmpty;
      const takeOff = handlers.add(handler);
      if (isFirst) void storeAttachment();
      return async () => {
        const handedBack = takeOff();
        if (handlers.isEmpty && !isClosed) void storeAttachment();
        await handedBack;
      };
    },
    storeAttachment,
    stop: handlers.stop,
    end: handlers.end,
    vanish,
    close() {
      changes.end();
      view.end(closedView(view.get()));
      isClosed = true;
      operations.loaded?.close(CLOSED);
      handlers.end(new HoldfastError("lease-lost", "the session was closed here"));
    },
  };
}

export function attachmentOf(
  { host, timings, hasLocks }: Pick<SessionKernel, "host" | "timings" | "hasLocks">,
  handler: boolean,
): Attachment {
  return { host: host(), ttlMs: timings.leaseTtlMs, handler, hasLocks };
}

export function closedView(last: SessionView): SessionView {
  return last.status === "closed" ? last : { ...last, status: "closed" };
}

export function tellSessionFault({ fault }: Pick<SessionKernel, "fault">, thrown: unknown): void {
  const told = faultOf("session", thrown, "a session failed");
  if (told.code !== "closed" && told.code !== "not-found") fault(told);
}
