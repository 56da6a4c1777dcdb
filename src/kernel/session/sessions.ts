import type { Corridor } from "../../corridor/command.js";
import type { Watch } from "../../corridor/watch.js";
import { asHoldfastError, HoldfastError } from "../../domain/errors.js";
import { runtimeIdOf } from "../../domain/runtime-id.js";
import { checkSessionId, type RuntimeState } from "../../domain/session/session.js";
import type { Limits, Timings } from "../../domain/time.js";
import type { Clock } from "../../ports/clock.js";
import type { Notices } from "../../ports/notices.js";
import { freeHost } from "../../stores/host/hosts.js";
import type { Host } from "../../stores/host/leases.rules.js";
import { loadRow, readable } from "../../stores/schema.js";
import { type Attendance, deletedSession, type InputHappening, type SessionRef } from "../../stores/session/draft.js";
import { attendSession, leaveSession, type OpenedSession, openSession } from "../../stores/session/sessions.js";
import type { Tenures } from "../host/held-lease.js";
import type { Fault } from "../host/loop-contract.js";
import { type Lazy, mapLazy, methodsOf } from "../lazy.js";
import type { SessionTurn } from "../process/runner.js";
import type { SessionEvent } from "./events.js";
import type { Executor } from "./executor.js";
import type { OpsRegistry } from "./operations.js";
import { type CheckedSessionOptions, checkSessionOptions, openRuntime, type Seat, type SessionRuntime } from "./session.js";
import { followSession } from "./session-changes.js";
import { createTranscript } from "./transcript.js";
import type { TurnHandler } from "./turn.js";

/** The sessions that this kernel has open, and the turns that it runs. */
export interface Sessions {
  open(sessionId: string, options?: unknown): Promise<SessionRuntime>;
  /** Somebody must renew their attachments. */
  readonly isAttending: boolean;
  /** Of sessions with a turn handler: processes that are turns of theirs are run here. */
  readonly attached: string[];
  /** What runs a process that is a turn of it. */
  turnOf(sessionId: string): SessionTurn | undefined;
  /** Runs end where they stand, nothing is written. */
  endAll(reason: HoldfastError): void;
  /** The host is another boot now: what is open is attended anew. */
  onBoot(isReady: boolean): void;
}

export interface SessionsParts {
  readonly corridor: Corridor;
  readonly notices: Notices;
  readonly watch: Watch;
  readonly clock: Clock;
  readonly timings: Timings;
  readonly limits: Limits;
  readonly tenures: Tenures;
  /** Where the loop is off, turns are run by nobody here. */
  readonly runsTurns: boolean;
  readonly hasLocks: boolean;
  readonly lazyParts: {
    readonly ops: Lazy<typeof import("./operations.js")>;
    readonly turns: Lazy<typeof import("./executor.js")>;
  };
  readonly hostId: string;
  host(): Host;
  /** Its host's Web Lock is free. */
  isDead(bootId: string): Promise<boolean>;
  saidGoodbye(bootId: string): boolean;
  newOrderedId(): string;
  newNonce(): string;
  emit(event: SessionEvent): void;
  fault(fault: Fault): void;
}

interface Place extends Seat {
  uses: number;
  /** Of whoever opened it first. */
  readonly options: CheckedSessionOptions;
  readonly handlers: TurnHandler[];
  executor: Executor | undefined;
  attend(): Promise<void>;
  /** Its session was deleted, perhaps in another tab. */
  vanish(): void;
  close(): void;
}

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

export function createSessions(parts: SessionsParts): Sessions {
  const { corridor, notices, limits, timings } = parts;
  const places = new Map<string, Place>();
  /** How often a session was left by the last who had it open. */
  let leaves = 0;
  /** Of every executor here: one that comes after another takes up its lease as its own. */
  const ownerId = `${parts.hostId}:${parts.newNonce().slice(0, 12)}`;
  let closing: HoldfastError | undefined;
  /** The host's lock is held, if there are locks: a lease that is claimed before says nothing of its owner's life. */
  let isBooted = false;

  const attendanceOf = (place: Pick<Place, "hasHandler"> | undefined): Attendance => ({
    host: parts.host(),
    ttlMs: timings.leaseTtlMs,
    handler: place?.hasHandler === true,
    hasLocks: parts.hasLocks,
  });

  async function open(sessionId: string, given: unknown = {}): Promise<SessionRuntime> {
    const id = checkSessionId("sessionId", sessionId, limits.idLength);
    const options = checkSessionOptions(given, limits);
    const runtimeId = runtimeIdOf(id);
    await freeIfDead(runtimeId);
    const attendance = attendanceOf(places.get(runtimeId));
    const { quarantine } = options;
    const left = leaves;
    const opened = await corridor.run(openSession, { runtimeId, sessionId: id, quarantine, attendance });
    if (closing) throw closing;
    const { incarnation, state, recovery, quarantined } = opened;
    tellHappened(id, opened.happened);
    for (const { inputId, reason } of quarantined)
      parts.fault({ area: "session", code: "read-failed", message: `input "${inputId}" was set aside: ${reason}` });
    let place = places.get(runtimeId);
    if (place?.ref.incarnation !== incarnation) {
      place?.vanish();
      place = takePlace(id, { runtimeId, incarnation }, options);
      places.set(runtimeId, place);
    }
    place.uses++;
    place.learn(state);
    // While this was under way: another boot, or its lock granted, or the last one who had it open left.
    if (attendance.host !== parts.host() || left !== leaves) void place.attend();
    return runtimeFor(place, options, { recovery, quarantined });
  }

  /** What crashed tabs left is taken up at once, without waiting for a loop to find them dead. */
  async function freeIfDead(runtimeId: string): Promise<void> {
    const rows = await corridor.query(["leases", "attachments"], async (reader) => {
      const [lease, attachments] = await Promise.all([
        loadRow(reader, "leases", runtimeId),
        reader.range("attachments", { prefix: [runtimeId] }),
      ]);
      return [...(lease ? [lease] : []), ...readable("attachments", attachments)];
    });
    const locked = rows.flatMap(({ bootId, locked }) => (locked === 1 && bootId !== undefined ? [bootId] : []));
    for (const bootId of new Set(locked)) {
      if (bootId === parts.host().bootId || !(await parts.isDead(bootId))) continue;
      await corridor.run(freeHost, { bootId, inOrder: parts.saidGoodbye(bootId) });
    }
  }

  function runtimeFor(
    place: Place,
    options = place.options,
    found: Pick<OpenedSession, "recovery" | "quarantined"> = { quarantined: [] },
  ): SessionRuntime {
    const { sessionId } = place;
    return openRuntime({
      corridor,
      limits,
      seat: place,
      options,
      recovery: found.recovery,
      quarantined: found.quarantined,
      host: parts.host,
      newInputId: parts.newOrderedId,
      newTicket: parts.newNonce,
      happened: (happenings) => tellHappened(sessionId, happenings),
    });
  }

  function takePlace(sessionId: string, ref: SessionRef, options: CheckedSessionOptions): Place {
    const { runtimeId } = ref;
    const transcript = createTranscript(corridor, ref);
    let state: RuntimeState = "idle";
    let isGone = false;
    /** Turns that were taken from handlers here, until nothing of them is left to be written. Never rejects. */
    let handingBack: Promise<unknown> = Promise.resolve();
    /** Of loading what runs turns. */
    let cancelRetry = () => {};
    let isClosed = false;
    const operations = mapLazy(parts.lazyParts.ops, ({ createOpsRegistry }) => {
      const own = { ownerSessionId: sessionId, newEpochId: parts.newOrderedId };
      const made = createOpsRegistry({ ...parts, ...ref, ...options.ops, ...own });
      if (isClosed) made.close(CLOSED);
      return made;
    });

    function startExecutor(): void {
      if (!parts.runsTurns || !isBooted || closing || isGone || place.executor || place.handlers.length === 0) return;
      const { turns } = parts.lazyParts;
      if (!turns.loaded) {
        cancelRetry();
        turns.load().then(startExecutor, (error: unknown) => {
          if (closing || isGone || place.handlers.length === 0) return;
          tell(error);
          cancelRetry();
          cancelRetry = parts.clock.setTimer(startExecutor, timings.pollMs);
        });
        return;
      }
      place.executor = turns.loaded.createExecutor({
        ...parts,
        ref,
        transcript,
        ownerId,
        handler: () => place.handlers.at(-1),
        learn: place.learn,
        found: (happenings) => tellHappened(sessionId, happenings),
        newRunId: parts.newOrderedId,
        happened(code, runId, more = {}) {
          parts.emit({ sessionId, code, runId, ...(more.error !== undefined && { error: more.error }) });
          tellHappened(sessionId, more.inputs ?? [], runId);
        },
        gone: () => place.vanish(),
      });
      place.executor.poke();
    }

    function stopExecutor(): Promise<unknown> {
      const { executor } = place;
      place.executor = undefined;
      return handBack(executor?.stop(detached()));
    }

    function handBack(work: Promise<void> | undefined): Promise<unknown> {
      if (work) handingBack = Promise.all([handingBack, work.catch(tell)]);
      return handingBack;
    }

    const changes = followSession({
      ref,
      sessionId,
      corridor,
      notices,
      clock: parts.clock,
      pollMs: timings.pollMs,
      learn: (next) => place.learn(next),
      vanished: () => place.vanish(),
      heard: (heard) => place.executor?.hear(heard),
    });

    const place: Place = {
      ref,
      sessionId,
      transcript,
      ops: methodsOf<OpsRegistry>(operations, OPERATIONS),
      options,
      uses: 0,
      handlers: [],
      executor: undefined,
      get state() {
        return state;
      },
      get attendance() {
        return attendanceOf(place);
      },
      get hasHandler() {
        return parts.runsTurns && place.handlers.length > 0;
      },
      learn(next) {
        if (next === state) return;
        state = next;
        parts.emit({ sessionId, code: "runtime.state_changed", state });
      },
      listen: changes.listen,
      submitted: () => place.executor?.poke(),
      attach(handler) {
        if (isGone) throw deletedSession(ref);
        // One function may be attached twice: each is taken off alone.
        const own: TurnHandler = (turn) => handler(turn);
        const wasAlone = place.handlers.length === 0;
        place.handlers.push(own);
        if (wasAlone) void place.attend();
        startExecutor();
        return async () => {
          place.handlers.splice(place.handlers.indexOf(own), 1);
          const handedBack = place.handlers.length > 0 ? handBack(place.executor?.takeOff(own, detached())) : stopExecutor();
          if (place.handlers.length === 0 && place.uses > 0) void place.attend();
          await handedBack;
        };
      },
      async attend() {
        if (closing) return;
        startExecutor();
        try {
          await corridor.run(attendSession, { ...ref, attendance: place.attendance });
        } catch (error) {
          tell(error);
        }
      },
      async leave() {
        if (--place.uses > 0) return;
        // After a deletion another may have its place, and its attachment.
        const isHere = places.get(runtimeId) === place;
        if (isHere) places.delete(runtimeId);
        leaves++;
        // Asked for at once: whoever opens it again after this is attended after this.
        const left = isHere && corridor.run(leaveSession, { runtimeId, bootId: parts.host().bootId }).catch(tell);
        await stopExecutor();
        place.close();
        await left;
      },
      vanish() {
        if (isGone) return;
        isGone = true;
        if (places.get(runtimeId) === place) places.delete(runtimeId);
        changes.vanish();
        // It finds out by itself, and what runs is told why it ends.
        place.executor?.poke();
      },
      close() {
        changes.end();
        cancelRetry();
        isClosed = true;
        operations.loaded?.close(CLOSED);
        place.executor?.end(new HoldfastError("lease-lost", "the session was closed here"));
        place.executor = undefined;
      },
    };
    return place;
  }

  function tellHappened(sessionId: string, happenings: readonly InputHappening[], runId?: string): void {
    for (const { code, inputId } of happenings) parts.emit({ sessionId, code, inputId, ...(runId !== undefined && { runId }) });
  }

  function tell(thrown: unknown): void {
    const { code, message } = asHoldfastError(thrown, "internal", "a session failed");
    if (code !== "closed" && code !== "not-found") parts.fault({ area: "session", code, message });
  }

  return {
    open,
    get isAttending() {
      return places.size > 0;
    },
    get attached() {
      return [...places.values()].filter(({ hasHandler }) => hasHandler).map(({ sessionId }) => sessionId);
    },
    turnOf(sessionId) {
      const place = places.get(runtimeIdOf(sessionId));
      if (!place?.hasHandler) return undefined;
      return async (run) => {
        const { turns } = parts.lazyParts;
        // Waited for as the run waits: what does not arrive is trouble, and no end of the process.
        const { runSessionTurn } = turns.loaded ?? (await run.waiting(() => turns.load()));
        return await runSessionTurn(parts, runtimeFor(place), place.ref.incarnation, run);
      };
    },
    endAll(reason) {
      if (reason.code === "closed") closing = reason;
      isBooted = false;
      for (const place of places.values()) {
        place.executor?.end(reason);
        place.executor = undefined;
        if (closing) place.close();
      }
    },
    onBoot(isReady) {
      isBooted = isReady;
      for (const place of places.values()) void place.attend();
    },
  };
}

function detached(): HoldfastError {
  return new HoldfastError("aborted", "the turn handler was taken off", { details: { reason: "detached" } });
}
