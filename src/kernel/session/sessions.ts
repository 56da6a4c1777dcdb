import type { HoldfastError } from "../../domain/errors.js";
import type { Retry } from "../../domain/retry.rules.js";
import { runtimeIdOf } from "../../domain/runtime-id.js";
import { checkSessionId } from "../../domain/session/session.js";
import { freeHost } from "../../stores/host/hosts.js";
import { loadRow, readable } from "../../stores/schema.js";
import { dropAttachment, type OpenedSession, openSession } from "../../stores/session/sessions.js";
import type { Lazy } from "../lazy.js";
import type { SessionTurn } from "../process/run-process.js";
import type { Attendant, Opened } from "./attendance/attendant.js";
import { emitInputs } from "./events.js";
import { attachmentOf, createLocalSession, type SessionKernel, tellSessionFault } from "./local-session.js";
import { type CheckedSessionOptions, checkSessionOptions, openRuntime, type SessionRuntime } from "./session.js";
import type { AnyTurnHandler, Turn } from "./turn.js";

/** The sessions that this kernel has open, and the turns that it runs. */
export interface Sessions {
  open(sessionId: string, options?: unknown): Promise<SessionRuntime>;
  /** There are attachments that the loop must renew. */
  readonly isAttending: boolean;
  /** Ids of sessions with a turn handler: this host runs processes that are turns of them. */
  readonly attached: string[];
  /** Runs a process that is a turn of this session; `undefined` without a turn handler. */
  turnOf(sessionId: string): SessionTurn | undefined;
  /** Ends the running turns at once; nothing is written. */
  endAll(reason: HoldfastError): void;
  /** The host is another boot now, or its lock was granted: each open session stores its attachment again. */
  onBoot(isReady: boolean): void;
}

interface SessionsParts extends SessionKernel {
  readonly hostId: string;
  readonly turnRetry: Retry;
  /** `KernelOptions.turns` */
  readonly turns: AnyTurnHandler | undefined;
  /** How many sessions may be visited at once. */
  readonly concurrency: number;
  readonly lazyParts: SessionKernel["lazyParts"] & {
    readonly attendant: Lazy<typeof import("./attendance/attendant.js")>;
  };
  /** The Web Lock of that boot is free. */
  isDead(bootId: string): Promise<boolean>;
  saidFarewell(bootId: string): boolean;
}

type OpeningReport = Pick<OpenedSession, "recovery" | "quarantined">;

export function createSessions(parts: SessionsParts): Sessions {
  const { corridor, limits, turns } = parts;
  const runsAll = parts.runsTurns && turns !== undefined;
  const entries = new Map<string, Opened>();
  /** How often a session was left by its last object. */
  let leaves = 0;
  const ownerId = `${parts.hostId}:${parts.newNonce().slice(0, 12)}`;
  let closing: HoldfastError | undefined;
  let isBooted = false;
  let attendant: Attendant | undefined;

  /** Frees what crashed tabs left, at once: no loop has to find them dead first. */
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
      await corridor.run(freeHost, { bootId, inOrder: parts.saidFarewell(bootId) });
    }
  }

  function enter(sessionId: string, { incarnation }: OpenedSession, options: CheckedSessionOptions): Opened {
    const runtimeId = runtimeIdOf(sessionId);
    const known = entries.get(runtimeId);
    if (known?.session.ref.incarnation === incarnation) return known;
    known?.session.vanish();
    const ref = { runtimeId, incarnation };
    const session = createLocalSession({
      ...parts,
      ref,
      sessionId,
      ops: () => entry.options.ops,
      ownerId,
      mayRun: () => parts.runsTurns && isBooted,
      isClosing: () => closing !== undefined,
      kernelHandler: turns && {
        run: handle,
        get retry() {
          return entry.options.retry ?? parts.turnRetry;
        },
      },
      mayBegin: () => entry.uses > 0 || entry.visit?.mayBegin() === true,
      rested: (end) => entry.visit?.rested(end),
      onGone() {
        if (entries.get(runtimeId) === entry) entries.delete(runtimeId);
        entry.visit?.rested({ kind: "idle" });
      },
    });
    async function handle(turn: Turn): Promise<void> {
      entry.visit?.ran();
      entry.turns++;
      try {
        await turns?.(turn, { sessionId });
      } finally {
        entry.turns--;
      }
    }
    const entry: Opened = { session, options, uses: 0, turns: 0, visit: undefined };
    entries.set(runtimeId, entry);
    return entry;
  }

  async function leave(entry: Opened): Promise<void> {
    if (entry.uses > 0 || entry.visit) return;
    const { session } = entry;
    const { runtimeId } = session.ref;
    if (entry.turns > 0 && isBooted) {
      // The app's object does not run this turn: the session stays open until the turn has ended.
      const rested = () => {
        entry.visit = undefined;
        void leave(entry);
      };
      entry.visit = { mayBegin: () => false, ran() {}, rested };
      return;
    }
    // A session of the same id may have been opened after this one was deleted: the attachment is that one's.
    const isHere = entries.get(runtimeId) === entry;
    if (isHere) entries.delete(runtimeId);
    leaves++;
    // Queued at once: an attachment of a later call that opens the session again is stored after this.
    const left =
      isHere &&
      corridor.run(dropAttachment, { runtimeId, bootId: parts.host().bootId }).catch((error) => tellSessionFault(parts, error));
    await session.stop();
    session.close();
    await left;
    if (isHere && !entries.has(runtimeId)) attendant?.left(runtimeId);
  }

  function runtimeFor(entry: Opened, options = entry.options, found: OpeningReport = { quarantined: [] }): SessionRuntime {
    const leaveOnce = () => {
      entry.uses--;
      return leave(entry);
    };
    return openRuntime({ ...parts, session: entry.session, options, found, leave: leaveOnce });
  }

  /** With an incarnation, that life of the session is opened, and none is made. `hold` keeps the entry from being left. */
  async function openHere(
    sessionId: string,
    options: CheckedSessionOptions,
    hold: (entry: Opened) => void,
    incarnation?: number,
  ): Promise<{ entry: Opened; opened: OpenedSession }> {
    const runtimeId = runtimeIdOf(sessionId);
    await freeIfDead(runtimeId);
    const attachment = attachmentOf(parts, runsAll || entries.get(runtimeId)?.session.hasHandler() === true);
    const { quarantine } = options;
    const left = leaves;
    const command = { runtimeId, sessionId, quarantine, attachment, ...(incarnation !== undefined && { incarnation }) };
    const opened = await corridor.run(openSession, command);
    if (closing) throw closing;
    emitInputs(parts.emit, { sessionId }, opened.happened);
    for (const { inputId, reason } of opened.quarantined)
      parts.fault({ area: "session", code: "read-failed", message: `input "${inputId}" was set aside: ${reason}`, sessionId });
    const entry = enter(sessionId, opened, options);
    const { session } = entry;
    hold(entry);
    session.learn(opened.state);
    // While this call was under way the host became another boot, its lock was granted, or the last object of a session was left.
    if (attachment.host !== parts.host() || left !== leaves) void session.storeAttachment();
    session.start();
    return { entry, opened };
  }

  /** Goes on with the sessions that wait and that no code has open here. */
  function attend(): void {
    if (!runsAll || !isBooted || attendant) return;
    parts.lazyParts.attendant.load().then(
      ({ createAttendant }) => {
        if (isBooted) attendant ??= createAttendant({ ...parts, entries, openHere, leave });
      },
      (error: unknown) => {
        tellSessionFault(parts, error);
        parts.clock.setTimer(attend, parts.timings.pollMs);
      },
    );
  }

  return {
    async open(sessionId, given = {}) {
      const id = checkSessionId("sessionId", sessionId, limits.idLength);
      const options = checkSessionOptions(given, limits);
      const hold = (entry: Opened) => {
        if (entry.uses++ === 0) entry.options = options;
      };
      const { entry, opened } = await openHere(id, options, hold);
      return runtimeFor(entry, options, opened);
    },
    get isAttending() {
      return entries.size > 0;
    },
    get attached() {
      return [...entries.values()].flatMap(({ session, uses }) => (uses > 0 && session.hasHandler() ? [session.sessionId] : []));
    },
    turnOf(sessionId) {
      const entry = entries.get(runtimeIdOf(sessionId));
      if (!entry || entry.uses === 0 || !entry.session.hasHandler()) return undefined;
      return async (run) => {
        const { turns } = parts.lazyParts;
        // Loading counts as a wait of the run: code that does not arrive is trouble, and does not end the process.
        const { runSessionTurn } = turns.loaded ?? (await run.waiting(() => turns.load()));
        return await runSessionTurn(parts, runtimeFor(entry).submit, entry.session.ref.incarnation, run);
      };
    },
    endAll(reason) {
      if (reason.code === "closed") closing = reason;
      isBooted = false;
      for (const { session } of entries.values()) {
        session.end(reason);
        if (closing) session.close();
      }
      attendant?.stop();
      attendant = undefined;
    },
    onBoot(isReady) {
      isBooted = isReady;
      attend();
      for (const { session } of entries.values()) void session.storeAttachment();
    },
  };
}
